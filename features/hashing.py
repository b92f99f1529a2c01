"""Keyed 64-bit hashes for tables, never for output. Who does not know the key cannot choose keys that collide.

Each word is taken in by a 128-bit product with a secret factor, its halves folded into one (as in Wang Yi's wyhash).
A secret start alone would not do: under a known factor, words that differ in their top bits collide from any start.
"""

from __future__ import annotations

import numpy as np

from features.kernel import inlined, kernel
from features.sheet import Bytes, Ints
from features.shims import Word, umul
from features.unaligned import read_word

# What libraries and tests use. Whoever takes in what others wrote gives each state a key drawn by chance.
KNOWN_KEY = bytes.fromhex("87c37b91114253d59e3779b97f4a7c15")


def secret_of(key: bytes) -> Ints:
    """int64[2], the start and the factor of a state's hashes, from the 16 bytes of its key."""
    start, factor = np.frombuffer(key, "<i8")
    return np.array([start, factor | 1], np.int64)


@inlined
def absorb(h: Word, word: Word, factor: Word) -> Word:
    """The hash h with one more word."""
    lo, hi = umul(h ^ word, factor)
    return lo ^ hi


@kernel
def hash_bytes(secret: Ints, data: Bytes, start: int, length: int, space: int) -> np.uint64:
    """Hash of data[start : start + length], a key of a space of keys."""
    first, factor = np.uint64(secret[0]), np.uint64(secret[1])
    h = first ^ np.uint64(space << 32 | length)
    at, end = start, start + length
    while at < end:
        h = absorb(h, read_word(data, at, end - at), factor)
        at += 8
    return absorb(h, np.uint64(0), first | np.uint64(1))
