"""Copying bytes between arrays, sixteen at a time: short texts cost too much by the byte."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic
from numba.np.arrayobj import make_array

from features.kernel import inlined
from features.sheet import Bytes
from features.shims import Int

SLACK = 16  # bytes behind what is copied that may be read, and behind its target that may be written
_SIXTEEN = ir.VectorType(ir.IntType(8), 16)


def _copy_sixteen(typing: Any, source: Any, start: Any, out: Any, at: Any) -> Any:
    """out[at : at + 16] = source[start : start + 16]"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def pointer(k: int) -> Any:
            data = make_array(signature.args[k])(context, builder, args[k]).data
            return builder.bitcast(builder.gep(data, [args[k + 1]]), _SIXTEEN.as_pointer())

        builder.store(builder.load(pointer(0), align=1), pointer(2), align=1)
        return context.get_dummy_value()

    return types.void(source, types.int64, out, types.int64), generate


_sixteen: Any = intrinsic(_copy_sixteen)


@inlined
def copy_bytes(source: Bytes, start: Int, end: Int, out: Bytes, at: Int) -> Int:
    """Copy source[start : end] to out[at:], and up to SLACK bytes behind it that mean nothing; where it ends."""
    for k in range(0, end - start, 16):
        _sixteen(source, start + k, out, at + k)
    return at + end - start
