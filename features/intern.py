"""Keys and texts by their bytes: hash tables whose slots point at records in an arena, freed when no longer needed.

A key is a run of int64 words: for each part its 8 or 16 bytes, or a text's length and its bytes padded with zeros. The
kinds of the parts are fixed in a store, so equal words are equal keys. A slot is two words: the upper half of the hash
beside a record's number (its offset / 8; 0 is an empty slot), and a word for the owner. A key's home follows from that
half of its hash. Linear probing, at most half full; a removal closes the gap, so there are no tombstones.
"""

from __future__ import annotations

import numpy as np

from features.arena import Int
from features.hashing import absorb
from features.kernel import inlined, inner, kernel
from features.sheet import HANDLE_BITS, VALID, Bytes, Ints

SLOT = 2
REF, NEWEST = 0, 1  # NEWEST: the greatest event_time of a key, FOREVER where none is
FOREVER = 2**63 - 1
LINE = 8  # words of a cache line; records begin at multiples of it
_NUMBER = (1 << 32) - 1

NARROW, WIDE, DOUBLE, TEXT = 0, 1, 2, 3  # how a cell is read

_NEGATIVE_ZERO = -(2**63)


@inlined
def hash_words(secret: Ints, key: Ints, start: int, count: int) -> Int:
    """A hash of key[start : start + count]."""
    first, factor = np.uint64(secret[0]), np.uint64(secret[1])
    h = first ^ np.uint64(count)
    for k in range(start, start + count):
        h = absorb(h, np.uint64(key[k]), factor)
    return np.int64(absorb(h, np.uint64(0), first | np.uint64(1)))


@inlined
def plain(cell: int, kind: int) -> int:
    """The cell with the two zeros of a double made one, so that bits compare as values."""
    return 0 if kind == DOUBLE and cell == _NEGATIVE_ZERO else cell


@inlined
def text_words(handle: int) -> int:
    """Words that `write_text` writes."""
    return 1 + (((handle & ((1 << HANDLE_BITS) - 1)) + 7) >> 3)


@inlined
def write_text(handle: int, text: Bytes, key: Ints, start: int) -> int:
    """Write a text's length and bytes at key[start]; the end of what was written."""
    origin, length = handle >> HANDLE_BITS, handle & ((1 << HANDLE_BITS) - 1)
    key[start] = length
    end = start + 1 + ((length + 7) >> 3)
    if length > 0:
        key[end - 1] = 0
    target = key.view(np.uint8)
    for k in range(length):
        target[8 * (start + 1) + k] = text[origin + k]
    return end


@inlined
def write_key(parts: Ints, cells: Ints, valid: Bytes, text: Bytes, i: int, key: Ints, start: int) -> int:
    """Write event i's key at key[start]; its end, -1 if a part is NULL, or -1 - (words needed) if there is no room.

    parts: int64[p, 2], the row of each part and how it is read.
    """
    need = start
    for k in range(len(parts)):
        row, kind = parts[k, 0], parts[k, 1]
        if valid[row, i] != VALID:
            return -1
        need += text_words(cells[row, i]) if kind == TEXT else 2 if kind == WIDE else 1
    if need > len(key):
        return -1 - need
    at = start
    for k in range(len(parts)):
        row, kind = parts[k, 0], parts[k, 1]
        if kind == TEXT:
            at = write_text(cells[row, i], text, key, at)
            continue
        key[at] = plain(cells[row, i], kind)
        at += 1
        if kind == WIDE:
            key[at] = cells[row + 1, i]
            at += 1
    return at


@inlined
def ref_of(h: int, record: int) -> int:
    """The first word of the slot of a record whose key has this hash."""
    return h & ~_NUMBER | record // LINE


@inlined
def record_in(table: Ints, slot: int) -> Int:
    """The record that a slot points at, 0 for an empty one."""
    return (table[slot + REF] & _NUMBER) * LINE


@inlined
def home_of(ref: int, mask: int) -> int:
    """Where the search for a key begins, by its hash or its slot's first word."""
    return (ref >> 32) * SLOT & mask


@inlined
def probe(table: Ints, words: Ints, key_at: int, h: int, key: Ints, start: int, count: int) -> int:
    """Where in the table the key's slot is, or the empty slot where it belongs.

    key_at: where in a record its key begins; the low half of a record's first word is how many words it has.
    """
    mask, at = len(table) - 1, home_of(h, len(table) - 1)
    while table[at + REF] != 0:
        if table[at + REF] >> 32 == h >> 32:
            record = record_in(table, at)
            if words[record] & _NUMBER == count:
                k = 0
                while k < count and words[record + key_at + k] == key[start + k]:
                    k += 1
                if k == count:
                    return at
        at = (at + SLOT) & mask
    return at


@inlined
def _copy_slot(source: Ints, slot: int, target: Ints, at: int) -> None:
    for k in range(SLOT):
        target[at + k] = source[slot + k]


@inner
def remove(table: Ints, at: int) -> None:
    """Empty a slot and move later ones of its run up, so that every key stays reachable."""
    mask = len(table) - 1
    hole, at = at, (at + SLOT) & mask
    while table[at + REF] != 0:
        home = home_of(table[at + REF], mask)
        if (at - home) & mask >= (at - hole) & mask:
            _copy_slot(table, at, table, hole)
            hole = at
        at = (at + SLOT) & mask
    table[hole + REF], table[hole + NEWEST] = 0, FOREVER


@kernel
def rehash(old: Ints, new: Ints) -> None:
    """Fill a larger, empty table from another."""
    mask = len(new) - 1
    for slot in range(0, len(old), SLOT):
        if old[slot + REF] != 0:
            at = home_of(old[slot + REF], mask)
            while new[at + REF] != 0:
                at = (at + SLOT) & mask
            _copy_slot(old, slot, new, at)
