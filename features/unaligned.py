"""Bytes by the word and by the line from any place in an array: short texts cost too much by the byte.

Words are little-endian, as on every machine that Numba compiles for here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic
from numba.np.arrayobj import make_array

from features.kernel import inlined
from features.sheet import Bytes
from features.shims import Int, Word

SLACK = 16  # bytes behind what is copied that may be read, and behind its target that may be written
_WORD, _LINE = ir.IntType(64), ir.VectorType(ir.IntType(8), SLACK)


def _pointer(context: Any, builder: Any, array: Any, data: Any, at: Any, to: Any) -> Any:
    """Where element `at` of an array of bytes stands, as a pointer to what it is read as."""
    first = make_array(array)(context, builder, data).data
    return builder.bitcast(builder.gep(first, [at]), to.as_pointer())


def _type_word(typing: Any, data: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], _WORD), align=1)

    return types.uint64(data, types.int64), generate


def _type_line(typing: Any, source: Any, start: Any, out: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], _LINE), align=1)
        builder.store(line, _pointer(context, builder, signature.args[2], args[2], args[3], _LINE), align=1)
        return context.get_dummy_value()

    return types.void(source, types.int64, out, types.int64), generate


_word: Any = intrinsic(_type_word)  # data[at : at + 8] as a uint64
_line: Any = intrinsic(_type_line)  # out[at : at + 16] = source[start : start + 16]


@inlined
def read_word(data: Bytes, at: Int, size: Int) -> Word:
    """The first up to eight of `size` bytes from data[at] on as a uint64, least first."""
    if at + 8 <= len(data):
        word = _word(data, at)
        return word if size >= 8 else word & ((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1))
    word = np.uint64(0)
    for k in range(min(size, 8)):
        word |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return word


@inlined
def copy_bytes(source: Bytes, start: Int, end: Int, out: Bytes, at: Int) -> Int:
    """Copy source[start : end] to out[at:], and up to SLACK bytes behind it that mean nothing; where it ends."""
    for k in range(0, end - start, SLACK):
        _line(source, start + k, out, at + k)
    return at + end - start
