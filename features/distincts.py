"""Exact count(DISTINCT) over sliding frames: how often each value stands in the rows that a frame covers now.

A frame's rows [lo, hi) move forward with the events of its key, adding rows at one end and removing them at the other:
O(1) amortised in order. For a late event they move back to its frame and forward again with the next.
An entry of the table is four words: (key's serial, call) as one id, the value's two words, the count; 0 is empty.
"""

from __future__ import annotations

import numpy as np

from features.arena import DISTINCTS, NEED, SECRET, STOP, STOP_DISTINCTS, Int, Store, half, move
from features.hashing import absorb
from features.intern import plain
from features.kernel import inlined, inner, kernel
from features.sheet import Ints
from features.window_plan import (
    BOUNDS,
    DISTINCT_MEASURE,
    HEADER_HALVES,
    KIND,
    ROW_WORDS,
    SERIAL_AT,
    VALID_AT,
    VALUE_AT,
    Program,
)  # fmt: skip

ENTRY = 4
ID, LO_WORD, HI_WORD, TIMES = 0, 1, 2, 3
# Three halves of a key's header for each call.
ANCHOR_LO, ANCHOR_HI, NUMBER_OF_VALUES = 0, 1, 2


@inlined
def _home(secret: Ints, number: int, lo: int, hi: int, mask: int) -> Int:
    first, factor = np.uint64(secret[0]), np.uint64(secret[1])
    h = absorb(absorb(absorb(first, np.uint64(hi), factor), np.uint64(lo), factor), np.uint64(number), factor)
    return np.int64(absorb(h, np.uint64(0), first | np.uint64(1))) * ENTRY & mask


@inner
def _bump(store: Store, number: int, lo: int, hi: int, change: int) -> int:
    """Add to a value's count; the change (-1, 0, 1) in how many values there are."""
    distinct, meta = store.distinct, store.meta
    mask = len(distinct) - 1
    at = _home(meta[SECRET:], number, lo, hi, mask)
    while distinct[at + TIMES] != 0:
        if distinct[at + ID] == number and distinct[at + LO_WORD] == lo and distinct[at + HI_WORD] == hi:
            distinct[at + TIMES] += change
            if distinct[at + TIMES] == 0:
                _remove(meta[SECRET:], distinct, at)
                meta[DISTINCTS] -= 1
                return -1
            return 0
        at = (at + ENTRY) & mask
    distinct[at + ID], distinct[at + LO_WORD], distinct[at + HI_WORD], distinct[at + TIMES] = number, lo, hi, change
    meta[DISTINCTS] += 1
    return 1


@inner
def _remove(secret: Ints, distinct: Ints, at: int) -> None:
    """Empty an entry and move later ones of its run up."""
    mask = len(distinct) - 1
    hole, at = at, (at + ENTRY) & mask
    while distinct[at + TIMES] != 0:
        home = _home(secret, distinct[at + ID], distinct[at + LO_WORD], distinct[at + HI_WORD], mask)
        if (at - home) & mask >= (at - hole) & mask:
            move(distinct, at, hole, ENTRY)
            hole = at
        at = (at + ENTRY) & mask
    for k in range(ENTRY):
        distinct[hole + k] = 0


@kernel
def grow_distinct(secret: Ints, old: Ints, new: Ints) -> None:
    """Fill a larger, empty table from another."""
    mask = len(new) - 1
    for entry in range(0, len(old), ENTRY):
        if old[entry + TIMES] != 0:
            at = _home(secret, old[entry + ID], old[entry + LO_WORD], old[entry + HI_WORD], mask)
            while new[at + TIMES] != 0:
                at = (at + ENTRY) & mask
            for k in range(ENTRY):
                new[at + k] = old[entry + k]


@inlined
def anchor_of(plan: Program, record: int, d: int) -> Int:
    """Where in a key's header the numbers of its d-th count(DISTINCT) stand."""
    return 2 * record + HEADER_HALVES + plan.shape[BOUNDS] + 3 * d


@inner
def _count_rows(plan: Program, store: Store, d: int, record: int, rows_at: int, lo: int, hi: int, change: int) -> None:
    """Add the rows [lo, hi) to the counted values, or take them out."""
    m, changed = plan.distincts[d, DISTINCT_MEASURE], 0
    number = store.words[record + plan.shape[SERIAL_AT]] * len(plan.distincts) + d
    value_at, valid_at = plan.measures[m, VALUE_AT], plan.measures[m, VALID_AT]
    for k in range(lo, hi):
        row = rows_at + k * plan.shape[ROW_WORDS]
        if store.words[row + valid_at] == 0:
            continue
        low = plain(store.words[row + value_at], plan.measures[m, KIND])
        high = store.words[row + value_at + 1] if valid_at - value_at == 2 else 0
        changed += _bump(store, number, low, high, change)
    store.halves[anchor_of(plan, record, d) + NUMBER_OF_VALUES] += changed


@inner
def count_distinct(plan: Program, store: Store, d: int, record: int, rows_at: int, lo: int, hi: int) -> Int:
    """Move the frame to rows [lo, hi); how many values it holds, or -1 when the table must grow first."""
    anchor, meta = anchor_of(plan, record, d), store.meta
    left, right = half(store, anchor + ANCHOR_LO), half(store, anchor + ANCHOR_HI)
    need = max(0, hi - right) + max(0, left - lo)
    if need > len(store.distinct) // (2 * ENTRY) - meta[DISTINCTS]:
        meta[STOP], meta[NEED] = STOP_DISTINCTS, need
        return -1
    for begin, end, change in ((right, hi, 1), (lo, left, 1), (hi, right, -1), (left, lo, -1)):
        if begin < end:
            _count_rows(plan, store, d, record, rows_at, begin, end, change)
    store.halves[anchor + ANCHOR_LO], store.halves[anchor + ANCHOR_HI] = lo, hi
    return half(store, anchor + NUMBER_OF_VALUES)


@inner
def insert_row(plan: Program, store: Store, record: int, rows_at: int, at: int) -> None:
    """A late row came to stand at `at`: frames shift, and count it if it stands inside."""
    for d in range(len(plan.distincts)):
        anchor = anchor_of(plan, record, d)
        left, right = half(store, anchor + ANCHOR_LO), half(store, anchor + ANCHOR_HI)
        if at < right:
            store.halves[anchor + ANCHOR_HI] = right + 1
            if at <= left:
                store.halves[anchor + ANCHOR_LO] = left + 1
            else:
                _count_rows(plan, store, d, record, rows_at, at, at + 1, 1)


@inner
def forget_row(plan: Program, store: Store, record: int, rows_at: int, first: int) -> None:
    """Row `first` is dropped: frames begin behind it."""
    for d in range(len(plan.distincts)):
        anchor = anchor_of(plan, record, d)
        left, right = half(store, anchor + ANCHOR_LO), half(store, anchor + ANCHOR_HI)
        if left <= first:
            if first < right:
                _count_rows(plan, store, d, record, rows_at, first, first + 1, -1)
            store.halves[anchor + ANCHOR_LO] = first + 1
            store.halves[anchor + ANCHOR_HI] = max(right, first + 1)
