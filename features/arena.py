"""The memory of one store: an arena of int64 words in blocks, each size class with a list of its free blocks.

A block's first word holds, as two int32 halves, how many words of key or text it stores, and its size class; in a free
block it links to the next. Word 0 is never given out, so that offset 0 means "none". `meta` (int64[META]) holds the
free lists' heads, the store's counters and the secret of its hashes. Kernels never allocate: they stop and name the
array that must grow.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.kernel import inlined, inner
from features.sheet import Bytes, Ints

Int = Any  # an int64 scalar inside kernels
Halves = npt.NDArray[np.int32]  # the arena's words seen as pairs of int32

CLASSES = 64
TOP = CLASSES  # the first word never used so far
KEYS, VALUES, DISTINCTS = TOP + 1, TOP + 2, TOP + 3  # entries in use of the three hash tables
SERIAL = TOP + 4  # of the youngest key
EVENTS, CURSOR = TOP + 5, TOP + 6  # events taken in, and where the sweep over keys stands
PENDING = TOP + 7  # the row of the event that was placed before the kernel had to stop; 0 for none
ROWS = TOP + 8  # rows retained
TEXT_TOP = TOP + 9  # bytes in the buffer of outgoing text
STOP, NEED = TOP + 10, TOP + 11  # which array must grow, and how many elements it lacks
SECRET = TOP + 12  # two words, see features.hashing
META = TOP + 14

STOP_WORDS, STOP_TABLE, STOP_VALUES, STOP_DISTINCTS, STOP_KEYS, STOP_TEXT = 1, 2, 3, 4, 5, 6


class Store(NamedTuple):
    """The arrays of one store.

    words: the arena; halves: the same memory.   table, values, distinct: hash tables of keys, texts, distinct values.
    meta: counters.   out, key, scratch: buffers of a batch, nothing of which is remembered.
    """

    words: Ints
    halves: Halves
    table: Ints
    values: Ints
    distinct: Ints
    meta: Ints
    out: Bytes
    key: Ints
    scratch: Ints


@inlined
def half(store: Store, at: int) -> Int:
    """One half of a word as an int64."""
    return np.int64(store.halves[at])


@inlined
def block_words(size_class: int) -> int:
    """Words of a block: 16, 24, 32, 48, 64, 96 ..."""
    return (16 + 8 * (size_class & 1)) << (size_class >> 1)


@inner
def class_of(count: int) -> int:
    """The smallest size class that holds `count` words."""
    size_class = 0
    while block_words(size_class) < count:
        size_class += 1
    return size_class


@inner
def allocate(store: Store, size_class: int) -> Int:
    """The offset of a block, or 0 when the arena is full (STOP and NEED are set)."""
    meta = store.meta
    block = meta[size_class]
    if block != 0:
        meta[size_class] = store.words[block]
        return block
    block, size = meta[TOP], block_words(size_class)
    if block + size > len(store.words):
        meta[STOP], meta[NEED] = STOP_WORDS, size
        return 0
    meta[TOP] = block + size
    for k in range(block, block + size):  # so that equal logs give equal arenas
        store.words[k] = 0
    return block


@inlined
def release(store: Store, block: int, size_class: int) -> None:
    """Give a block back to the list of its class."""
    store.words[block] = store.meta[size_class]
    store.meta[size_class] = block


@inlined
def move(words: Ints, source: int, target: int, count: int) -> None:
    """Copy words that may overlap."""
    if target <= source:
        for k in range(count):
            words[target + k] = words[source + k]
    else:
        for k in range(count - 1, -1, -1):
            words[target + k] = words[source + k]
