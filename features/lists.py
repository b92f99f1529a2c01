"""Lists of values that are active for spans of event time, as one hash table that kernels read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.hashing import KNOWN_KEY, hash_bytes, secret_of
from features.kernel import inner, kernel
from features.sheet import Bytes, Ints
from features.strings import span


class Entry(Protocol):
    """One value of a list, active for event times in [starts_us, expires_us)."""

    @property
    def value(self) -> str: ...
    @property
    def starts_us(self) -> int: ...
    @property
    def expires_us(self) -> int: ...


@dataclass(frozen=True)
class ListTables:
    """All lists of a pack.

    index: a list's number by name.   text: the values' UTF-8 bytes.   secret: of the hashes, see features.hashing.
    slots: int64[a power of two], open addressing, -1 or a row of `keys`.
    keys: int64[values, 5]: list, begin and end in `text`, first and last row (exclusive) of `spans`.
    spans: int64[entries, 2]: starts_us, expires_us.
    """

    index: Mapping[str, int]
    slots: Ints
    keys: Ints
    spans: Ints
    text: Bytes
    secret: Ints


def build_lists(lists: Mapping[str, Sequence[Entry]], key: bytes = KNOWN_KEY) -> ListTables:
    """The tables of named lists; a value may have several entries."""
    text = bytearray()
    keys: list[tuple[int, ...]] = []
    spans: list[tuple[int, int]] = []
    for number, entries in enumerate(lists.values()):
        active: dict[bytes, list[tuple[int, int]]] = {}
        for entry in entries:
            active.setdefault(entry.value.encode(), []).append((entry.starts_us, entry.expires_us))
        for value, periods in active.items():
            keys.append((number, len(text), len(text) + len(value), len(spans), len(spans) + len(periods)))
            text += value
            spans += periods
    arrays = (np.array(keys, np.int64).reshape(-1, 5), np.array(spans, np.int64).reshape(-1, 2))
    raw = np.frombuffer(bytes(text), np.uint8)
    slots, secret = _new_slots(len(keys)), secret_of(key)
    _fill(secret, slots, arrays[0], raw, 0)
    return ListTables({name: k for k, name in enumerate(lists)}, slots, *arrays, raw, secret)


def with_spans(tables: ListTables, changes: Mapping[tuple[int, str], Sequence[tuple[int, int]]]) -> ListTables:
    """The tables with other (starts_us, expires_us) for some values, by list number and value.

    A value without spans is on the list no more. The tables given stay as they are; the rows of old spans are left.
    """
    keys, text, spans, added = tables.keys.copy(), bytearray(), list[tuple[int, int]](), list[tuple[int, ...]]()
    for (number, value), periods in changes.items():
        raw, first = value.encode(), len(tables.spans) + len(spans)
        row = _row_of(tables.secret, number, np.frombuffer(raw, np.uint8), tables.slots, keys, tables.text)
        if row >= 0:
            keys[row, 3:] = first, first + len(periods)
        else:
            start = len(tables.text) + len(text)
            added.append((number, start, start + len(raw), first, first + len(periods)))
            text += raw
        spans += periods
    keys = np.concatenate([keys, np.array(added, np.int64).reshape(-1, 5)])
    values = np.concatenate([tables.text, np.frombuffer(bytes(text), np.uint8)])
    values.flags.writeable = False  # as those of a pack: one type of array for the kernels
    grown = 2 * len(keys) >= tables.slots.size
    slots = _new_slots(len(keys)) if grown else tables.slots.copy()
    _fill(tables.secret, slots, keys, values, 0 if grown else len(tables.keys))
    spans_now = np.concatenate([tables.spans, np.array(spans, np.int64).reshape(-1, 2)])
    return ListTables(tables.index, slots, keys, spans_now, values, tables.secret)


def _new_slots(values: int) -> Ints:
    return np.full(1 << (2 * values + 1).bit_length(), -1, np.int64)


@inner
def _same_bytes(a: Bytes, start: int, end: int, b: Bytes, b_start: int, b_end: int) -> bool:
    if end - start != b_end - b_start:
        return False
    for k in range(end - start):  # noqa: SIM110 - a kernel has no generators
        if a[start + k] != b[b_start + k]:
            return False
    return True


@kernel
def _row_of(secret: Ints, number: int, value: Bytes, slots: Ints, keys: Ints, text: Bytes) -> int:
    """The row of a value of a list, or -1."""
    mask = slots.size - 1
    at = np.int64(hash_bytes(secret, value, 0, value.size, number)) & mask
    while slots[at] >= 0:
        k = slots[at]
        if keys[k, 0] == number and _same_bytes(value, 0, value.size, text, keys[k, 1], keys[k, 2]):
            return int(k)
        at = (at + 1) & mask
    return -1


@kernel
def _fill(secret: Ints, slots: Ints, keys: Ints, text: Bytes, first: int) -> None:
    """Enter the rows of `keys` from `first` on."""
    mask = slots.size - 1
    for k in range(first, keys.shape[0]):
        start = keys[k, 1]
        at = np.int64(hash_bytes(secret, text, start, keys[k, 2] - start, keys[k, 0])) & mask
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = k


@inner
def is_listed(
    secret: Ints, number: int, text: Bytes, handle: int, at_us: int, slots: Ints, keys: Ints, spans: Ints, values: Bytes
) -> bool:
    """True when list `number` has the text (compared by bytes) in an entry that is active at `at_us`."""
    start, end = span(handle)
    mask = slots.size - 1
    at = np.int64(hash_bytes(secret, text, start, end - start, number)) & mask
    while slots[at] >= 0:
        k = slots[at]
        if keys[k, 0] == number and _same_bytes(text, start, end, values, keys[k, 1], keys[k, 2]):
            for s in range(keys[k, 3], keys[k, 4]):  # noqa: SIM110
                if spans[s, 0] <= at_us < spans[s, 1]:
                    return True
            return False
        at = (at + 1) & mask
    return False
