"""A well-mixed 64-bit hash of bytes, the same on every machine. It is for tables, never for output."""

from __future__ import annotations

import numpy as np

from features.kernel import kernel
from features.sheet import Bytes

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_FIVE, _ADD = np.uint64(5), np.uint64(0x52DCE729)


@kernel
def _rotate(x: np.uint64, bits: int) -> np.uint64:
    return np.uint64((x << np.uint64(bits)) | (x >> np.uint64(64 - bits)))


@kernel
def mix(h: np.uint64) -> np.uint64:
    """The finaliser of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit."""
    h ^= h >> np.uint64(33)
    h *= _M1
    h ^= h >> np.uint64(33)
    h *= _M2
    return np.uint64(h ^ (h >> np.uint64(33)))


@kernel
def hash_bytes(data: Bytes, start: int, length: int, seed: int) -> np.uint64:
    """Hash of data[start : start + length], eight bytes at a time in the manner of MurmurHash3."""
    h = np.uint64(seed) ^ np.uint64(length)
    at, end = start, start + length
    while at < end:
        word = np.uint64(0)
        for k in range(min(8, end - at)):
            word |= np.uint64(data[at + k]) << np.uint64(8 * k)
        word *= _C1
        word = _rotate(word, 31) * _C2
        h ^= word
        h = _rotate(h, 27) * _FIVE + _ADD
        at += 8
    return mix(h)
