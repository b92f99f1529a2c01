"""The one door to Numba: a kernel is plain Python over arrays, compiled on first use and kept on disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic
from numba.np import arrayobj

from features.compiler import PartCompiler, WholeCompiler

_F = TypeVar("_F", bound=Callable[..., Any])
_MARKS = (b"@kernel", b"@bare", b"@inner", b"@inlined", b"numba.core")
_RULES: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}
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


def kernels_cached() -> bool:
    """Whether an earlier run of this Python left the kernels on disk; else the first batch waits for the compiler.

    The windows' kernels count: they compile longest, and last.
    """
    made_by = f"*.py{sys.version_info.major}{sys.version_info.minor}.nbi"
    return any(Path(config.CACHE_DIR).rglob(f"window_kernel.{made_by}"))


_python_index = arrayobj.fix_integer_index


def _index(context: Any, builder: Any, type: Any, index: Any, size: Any) -> Any:
    """In kernels without reference counts an index never counts from an array's end: to ask each costs a fifth."""
    if context.enable_nrt or not type.signed:
        return _python_index(context, builder, type, index, size)
    return context.cast(builder, index, type, types.intp)


arrayobj.fix_integer_index = _index


def _part(function: _F, **options: Any) -> _F:
    """A kernel for kernels."""
    doors = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    part = numba.njit(pipeline_class=PartCompiler, **_RULES, **doors, **options)(function)
    resolve = part.get_call_template

    def general(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """A constant argument would be a type, and so a compilation, of its own."""
        return resolve(
            tuple(map(types.unliteral, args)), {name: types.unliteral(type) for name, type in keywords.items()}
        )

    part.get_call_template = general
    return cast(_F, part)


def _whole(function: _F, **options: Any) -> _F:
    """A kernel for Python, and for kernels."""
    whole: Any = numba.njit(pipeline_class=WholeCompiler, cache=True, **_RULES, **options)(function)
    part: Any = _part(function, forceinline=False, **options)
    whole.get_call_template, whole.get_overload = part.get_call_template, part.get_overload
    return cast(_F, whole)


def kernel(function: _F) -> _F:
    """Compile `function` for the CPU: no GIL, NumPy's error model, no fused or reordered float arithmetic."""
    return _whole(function)


def bare(function: _F) -> _F:
    """A kernel that makes no arrays: Numba then counts no references, atomic steps that cost more than the work.

    Its indexes are never negative.
    """
    return _whole(function, _nrt=False)


def inner(function: _F) -> _F:
    """A `bare` kernel that only kernels call: without the door for Python it compiles faster."""
    return _part(function, _nrt=False, forceinline=False)


def inlined(function: _F) -> _F:
    """An `inner` kernel of a few lines, put into each of its callers."""
    return _part(function, _nrt=False, forceinline=True)


def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index] without waiting for it, so that the misses of many requests overlap."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        shape = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        to_write, locality, is_data = (ir.Constant(word, number) for number in (1, 3, 1))
        builder.call(ask, [builder.bitcast(builder.gep(data, [args[1]]), byte), to_write, locality, is_data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


prefetch: Callable[[Any, Any], None] = intrinsic(_prefetch)
