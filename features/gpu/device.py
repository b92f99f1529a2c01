"""The one door to CuPy and numba.cuda, and the host as their stand-in.

A kernel of this folder has the parameters (first, step, ...) and takes every step-th element from `first` on. On a
device each thread gets its own `first`; on the host one call takes all elements, so that njit judges the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from features.refusal import Refusal

Array = Any  # of NumPy or CuPy
_THREADS, _BLOCKS = 256, 4096
_FIX = "see `nvidia-smi`, or take the backend cpu"


class Device(Protocol):
    """Where rows live. xp: the array module that computes there."""

    xp: ModuleType

    def up(self, array: np.ndarray) -> Array:
        """The array on the device."""

    def down(self, array: Array) -> np.ndarray:
        """The array on the host."""

    def run(self, kernel: Callable[..., None], n: int, *arguments: Any) -> None:
        """Run a kernel of this folder over n elements."""


class Host:
    """NumPy and njit in the device's place: what the GPU computes, where no GPU is."""

    xp = np

    def up(self, array: np.ndarray) -> Array:
        """The array as kernels take it."""
        return np.ascontiguousarray(array)

    def down(self, array: Array) -> np.ndarray:
        """The array itself."""
        return array

    def run(self, kernel: Callable[..., None], n: int, *arguments: Any) -> None:
        """All n elements in one call."""
        kernel(0, 1, *arguments)


class Cuda:
    """A CUDA device by CuPy, which owns the memory, and numba.cuda, which runs the kernels.

    Raises Refusal where there is none that works.
    """

    def __init__(self) -> None:
        try:
            import cupy
            from numba import cuda
        except ImportError as error:
            raise Refusal(f"backend gpu: {error}", "install sekisho[gpu], or take the backend cpu") from error
        try:
            found = cupy.cuda.runtime.getDeviceCount() > 0 and cuda.is_available()
        except Exception as error:  # CuPy and numba.cuda each have their own errors for a missing driver
            raise Refusal(f"backend gpu: no usable device: {error}", _FIX) from error
        if not found:
            raise Refusal("backend gpu: no CUDA device is visible", _FIX)
        self.xp: ModuleType = cupy

    def up(self, array: np.ndarray) -> Array:
        """A copy in the device's memory."""
        return self.xp.asarray(np.ascontiguousarray(array))

    def down(self, array: Array) -> np.ndarray:
        """A copy in the host's memory."""
        return np.asarray(self.xp.asnumpy(array))

    def run(self, kernel: Callable[..., None], n: int, *arguments: Any) -> None:
        """A thread an element, or a thread for several of very many."""
        if n:
            launcher(kernel)[min(_BLOCKS, -(-n // _THREADS)), _THREADS](*arguments)


@cache
def launcher(kernel: Any) -> Any:
    """The kernel for CUDA, each thread with its own first element. Parameters are spelled out: CUDA takes no *args."""
    from numba import config, cuda

    body = kernel if config.ENABLE_CUDASIM else cuda.jit(device=True)(kernel.py_func)
    names = ", ".join(list(signature(kernel.py_func).parameters)[2:])
    scope = {"cuda": cuda, "body": body}
    exec(f"def launch({names}):\n    body(cuda.grid(1), cuda.gridsize(1), {names})", scope)
    return cuda.jit(scope["launch"])
