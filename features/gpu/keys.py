"""Keys as dense numbers: a table on the host that knows each key by its bytes."""

from __future__ import annotations

import numpy as np

from features.intern import (
    LINE,
    REF,
    SLOT,
    TEXT,
    WIDE,
    hash_words,
    home_of,
    probe,
    record_in,
    ref_of,
    write_key,
)  # fmt: skip
from features.kernel import inlined, kernel
from features.sheet import ENTERS, HANDLE_BITS, VALID, Bytes, Ints, Sheet

_KEY_AT = 2  # a record: how many words the key has, its number, its words


class KeyTable:
    """Numbers 0, 1, 2 ... for the keys of one partition, in the order in which they come.

    parts: int64[p, 2], the sheet's row of each part of a key and how it is read.   secret: see features.hashing.
    """

    def __init__(self, parts: Ints, secret: Ints) -> None:
        self.parts, self.secret, self.count, self.top = parts, secret, 0, LINE
        self.words, self.table = np.zeros(64, np.int64), np.zeros(64 * SLOT, np.int64)

    def number(self, sheet: Sheet, fate: Bytes) -> Ints:
        """int64[n]: each event's key, -1 where it enters no window: its fate says so, or a part is NULL."""
        longest, need = self._room(sheet)
        self._reserve(self.top + need, 2 * (self.count + sheet.n + 1) * SLOT)
        numbers, meta = np.full(sheet.n, -1, np.int64), np.array([self.top, self.count], np.int64)
        _number(
            self.secret, self.parts, sheet.cells, sheet.valid, sheet.text, fate, self.words, self.table, meta,
            np.zeros(longest, np.int64), numbers,
        )  # fmt: skip
        self.top, self.count = int(meta[0]), int(meta[1])
        return numbers

    def keep(self, alive: Ints) -> None:
        """Forget all keys but these (ascending); the k-th of them is number k from now on."""
        kept = np.full(self.count, -1, np.int64)
        kept[alive] = np.arange(len(alive))
        words, table = np.zeros_like(self.words), np.zeros_like(self.table)
        self.top = _rebuild(self.secret, self.words, self.top, kept, words, table)
        self.words, self.table, self.count = words, table, len(alive)

    def arrays(self) -> dict[str, Ints]:
        """All that is remembered."""
        return {"words": self.words[: self.top], "meta": np.array([self.count, *self.secret], np.int64)}

    @classmethod
    def restore(cls, parts: Ints, words: Ints, meta: Ints) -> KeyTable:
        """The table that `arrays` was taken from."""
        table, count = cls(parts, meta[1:].copy()), int(meta[0])
        table._reserve(len(words), 2 * (count + 1) * SLOT)
        fresh = np.zeros_like(table.words)
        table.top = _rebuild(table.secret, words, len(words), np.arange(count), fresh, table.table)
        table.words, table.count = fresh, count
        return table

    def _room(self, sheet: Sheet) -> tuple[int, int]:
        """Words of the batch's longest key, and of records for all of its keys."""
        words = np.full(sheet.n, 0, np.int64)
        for row, kind in self.parts:
            if kind == TEXT:
                length = sheet.cells[row] & ((1 << HANDLE_BITS) - 1)
                words += np.where(sheet.valid[row] == VALID, 1 + (length + 7) // 8, 0)
            else:
                words += 2 if kind == WIDE else 1
        return int(words.max(initial=1)) + 1, int((words + _KEY_AT + LINE - 1).sum())

    def _reserve(self, words: int, slots: int) -> None:
        """See that so many words, and so many words of slots, fit."""
        if words > len(self.words):
            self.words = np.concatenate([self.words, np.zeros(2 * words - len(self.words), np.int64)])
        if slots > len(self.table):
            self.table = np.zeros(1 << (slots - 1).bit_length(), np.int64)
            fresh = np.zeros_like(self.words)
            self.top = _rebuild(self.secret, self.words, self.top, np.arange(self.count), fresh, self.table)
            self.words = fresh


@inlined
def _size(count: int) -> int:
    """Words of the record of a key of so many words."""
    return (_KEY_AT + count + LINE - 1) // LINE * LINE


@kernel
def _number(
    secret: Ints, parts: Ints, cells: Ints, valid: Bytes, text: Bytes, fate: Bytes, words: Ints, table: Ints,
    meta: Ints, key: Ints, numbers: Ints,
) -> None:  # fmt: skip
    """Number the keys of a batch; `words` and `table` have room for all of them."""
    for i in range(cells.shape[1]):
        if fate[i] != ENTERS:
            continue
        count = write_key(parts, cells, valid, text, i, key, 0)
        if count < 0:
            continue
        h = hash_words(secret, key, 0, count)
        slot = probe(table, words, _KEY_AT, h, key, 0, count)
        if table[slot + REF] == 0:
            record = meta[0]
            words[record], words[record + 1] = count, meta[1]
            for k in range(count):
                words[record + _KEY_AT + k] = key[k]
            table[slot + REF] = ref_of(h, record)
            meta[0], meta[1] = record + _size(count), meta[1] + 1
        numbers[i] = words[record_in(table, slot) + 1]


@kernel
def _rebuild(secret: Ints, old: Ints, end: int, kept: Ints, words: Ints, table: Ints) -> int:
    """Copy the records of keys with a new number >= 0 into empty arrays; the end of the words used."""
    at, top, mask = LINE, LINE, len(table) - 1
    while at < end:
        count, number = old[at], kept[old[at + 1]]
        if number >= 0:
            words[top], words[top + 1] = count, number
            for k in range(count):
                words[top + _KEY_AT + k] = old[at + _KEY_AT + k]
            h = hash_words(secret, words, top + _KEY_AT, count)
            slot = home_of(h, mask)
            while table[slot + REF] != 0:
                slot = (slot + SLOT) & mask
            table[slot + REF] = ref_of(h, top)
            top += _size(count)
        at += _size(count)
    return top
