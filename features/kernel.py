"""The one door to Numba: a kernel is plain Python over arrays, compiled on first use and kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import config

_F = TypeVar("_F", bound=Callable[..., Any])
_MARKS = (b"@kernel", b"@inlined", b"@inner")
_ROOMS = ("features", "models", "rules", "sekisho")


def _cache_folder() -> str:
    """A folder named after the kernels' own source: Numba alone does not notice a changed callee."""
    root, digest = Path(__file__).resolve().parent.parent, sha256()
    for room in _ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            source = file.read_bytes()
            if any(mark in source for mark in _MARKS):
                digest.update(source)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return str(Path(base) / "sekisho" / f"kernels-{digest.hexdigest()[:16]}")


if "NUMBA_CACHE_DIR" not in os.environ:
    config.CACHE_DIR = _cache_folder()


def kernel(function: _F) -> _F:
    """Compile `function` for the CPU: no GIL, NumPy's error model, no fused or reordered float arithmetic."""
    return cast(_F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)(function))


def inlined(function: _F) -> _F:
    """A piece of a kernel that only kernels call: inlined, and without the door for Python, so it compiles faster."""
    options = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(_F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False, **options)(function))


def inner(function: _F) -> _F:
    """A kernel that only kernels call, too large or too rare to be inlined."""
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(_F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False, **options)(function))
