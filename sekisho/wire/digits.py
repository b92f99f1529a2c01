"""Decimal digits of whole numbers, two at a time."""

from __future__ import annotations

import numpy as np

from features.kernel import inlined, inner
from features.sheet import Bytes
from features.shims import Int, Word

PAIRS = np.frombuffer(b"".join(b"%02d" % k for k in range(100)), np.uint8)
POW10 = np.array([10**k for k in range(20)], np.uint64)
_TEN, _HUNDRED = np.uint64(10), np.uint64(100)


@inlined
def digits_of(value: Word) -> Int:
    """How many digits a uint64 has, 1 for 0."""
    width = np.int64(1)
    while width < 20 and value >= POW10[width]:
        width += 1
    return width


@inner
def write_digits(value: Word, width: Int, out: Bytes, at: Int) -> Int:
    """Write the last `width` digits of a uint64 at out[at]; where they end."""
    end = at + width
    for k in range(end - 2, at - 1, -2):
        rest = value // _HUNDRED
        pair = np.int64(value - rest * _HUNDRED) << 1
        out[k], out[k + 1] = PAIRS[pair], PAIRS[pair + 1]
        value = rest
    if width & 1:
        out[at] = np.uint8(value % _TEN) + 48
    return end
