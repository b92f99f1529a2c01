"""A ledger remembers records by key for a horizon of event time: first events, payments, verdicts.

Records stand one behind the other in one heap, oldest first, with a hash table over them. Each is stamped with W at
its writing; W never falls, so the oldest record is always the next to expire and the heap is a queue.

Keys are hashed with the secret of their state (features.hashing), so one ledger always gets the same.

A record is HEADER words, then `words` payload words, then the key's bytes padded to a word, then `extra` text words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.hashing import hash_bytes
from features.kernel import bare, inner, prefetch
from features.sheet import Bytes, Ints

SIZE, HASH, KEY, STAMP = 0, 1, 2, 3  # KEY: the key's length in bytes, and above it the space that it belongs to
HEADER = 4
SPACE_BITS = 32
# What stands in `marks`.
HEAD, TAIL, COUNT = 0, 1, 2
NEVER = -(2**62)  # before every event time
_STEP = 1 << 19  # words


@dataclass
class Ledger:
    """heap: int64 words.   table: int64, a power of two, 1 + a record's position or 0.   marks: HEAD, TAIL, COUNT."""

    words: int
    heap: Ints
    table: Ints
    marks: Ints

    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """What has to be kept: the live records. The table is made anew."""
        head, tail, _ = self.marks
        return {"heap": self.heap[head:tail].copy()}

    def reserve(self, words: int, records: int) -> None:
        """Make room for `records` more records of `words` words in all."""
        head, tail, count = self.marks.tolist()
        live, size = tail - head, len(self.heap)
        if tail + words > size and 3 * (live + words) <= 2 * size:
            self.heap[:live] = self.heap[head:tail]
            self.marks[HEAD], self.marks[TAIL] = 0, live
            self.table[self.table > 0] -= head
        elif tail + words > size:  # a large one grows by steps in which nobody waits: its pages are moved, not copied
            self.heap.resize(size + words + min(size // 2, _STEP), refcheck=False)
        if 2 * (count + records) > len(self.table):
            self.table = np.zeros(1 << (4 * (count + records)).bit_length(), np.int64)
            self.marks[COUNT] = _index(self.heap, self.table, self.marks)

    @property
    def bytes(self) -> int:
        return int(self.heap.nbytes + self.table.nbytes)


def new_ledger(words: int, arrays: Mapping[str, npt.NDArray[np.int64]] | None = None) -> Ledger:
    """An empty ledger of `words` payload words, or the one that `arrays` came from."""
    heap = arrays["heap"].copy() if arrays else np.empty(0, np.int64)
    ledger = Ledger(words, heap, np.zeros(16, np.int64), np.array([0, len(heap), 0], np.int64))
    ledger.marks[COUNT] = _records(heap, ledger.marks)
    ledger.table = np.zeros(max(16, 1 << int(4 * ledger.marks[COUNT]).bit_length()), np.int64)
    _index(ledger.heap, ledger.table, ledger.marks)
    return ledger


@bare
def _records(heap: Ints, marks: Ints) -> int:
    at, count = marks[HEAD], 0
    while at < marks[TAIL]:
        at += heap[at + SIZE]
        count += 1
    return count


@bare
def _index(heap: Ints, table: Ints, marks: Ints) -> int:
    """Enter every record of the heap into an empty table."""
    mask = len(table) - 1
    at, count = marks[HEAD], 0
    while at < marks[TAIL]:
        slot = heap[at + HASH] & mask
        while table[slot]:
            slot = (slot + 1) & mask
        table[slot] = at + 1
        at += heap[at + SIZE]
        count += 1
    return count


@bare
def record_words(words: int, key_bytes: int, text_bytes: int) -> int:
    """How many words a record takes."""
    return HEADER + words + (key_bytes + 7) // 8 + (text_bytes + 7) // 8


@inner
def fetch(secret: Ints, table: Ints, text: Bytes, start: int, length: int, space: int) -> None:
    """Ask for the slot of a key that will be looked up soon."""
    prefetch(table, np.int64(hash_bytes(secret, text, start, length, space)) & (len(table) - 1))


@bare
def find(secret: Ints, heap: Ints, table: Ints, words: int, text: Bytes, start: int, length: int, space: int) -> int:
    """The position of the record of the key text[start : start + length] in its space, or -1, expired or not."""
    hashed = np.int64(hash_bytes(secret, text, start, length, space))
    key = length | space << SPACE_BITS
    octets = heap.view(np.uint8)
    mask = len(table) - 1
    slot = hashed & mask
    while table[slot]:
        at = table[slot] - 1
        if heap[at + HASH] == hashed and heap[at + KEY] == key:
            base, same = 8 * (at + HEADER + words), True
            for k in range(length):
                if octets[base + k] != text[start + k]:
                    same = False
                    break
            if same:
                return at
        slot = (slot + 1) & mask
    return -1


@bare
def append(
    secret: Ints, heap: Ints, table: Ints, marks: Ints, words: int, text: Bytes, start: int, length: int, space: int,
    stamp: int, extra_bytes: int,
) -> int:  # fmt: skip
    """Write a record whose payload and extra bytes are still unset; its position. The room must have been reserved."""
    hashed = np.int64(hash_bytes(secret, text, start, length, space))
    octets = heap.view(np.uint8)
    at = marks[TAIL]
    heap[at + SIZE] = record_words(words, length, extra_bytes)
    heap[at + HASH], heap[at + KEY], heap[at + STAMP] = hashed, length | space << SPACE_BITS, stamp
    base = 8 * (at + HEADER + words)
    for k in range(length):
        octets[base + k] = text[start + k]
    mask = len(table) - 1
    slot = hashed & mask
    while table[slot]:
        slot = (slot + 1) & mask
    table[slot] = at + 1
    marks[TAIL] += heap[at + SIZE]
    marks[COUNT] += 1
    return at


@bare
def expire(heap: Ints, table: Ints, marks: Ints, before: int) -> None:
    """Forget the records stamped before `before`."""
    mask = len(table) - 1
    while marks[HEAD] < marks[TAIL] and heap[marks[HEAD] + STAMP] < before:
        at = marks[HEAD]
        hole = heap[at + HASH] & mask
        while table[hole] != at + 1:
            hole = (hole + 1) & mask
        # Close the gap: what hashed at or before the hole moves into it, so that no probe is cut short.
        slot = (hole + 1) & mask
        while table[slot]:
            home = heap[table[slot] - 1 + HASH] & mask
            if ((slot - home) & mask) >= ((slot - hole) & mask):
                table[hole] = table[slot]
                hole = slot
            slot = (slot + 1) & mask
        table[hole] = 0
        marks[HEAD] += heap[at + SIZE]
        marks[COUNT] -= 1
