"""Exact count(DISTINCT) over sliding frames: how often each value stands in the rows that a frame covers now.

A frame's rows [lo, hi) move forward with the events of its key, adding rows at one end and removing them at the other:
O(1) amortised in order. For a late event they move back to its frame and forward again with the next.
An entry of the table is four words: (key's serial, call) as one id, the value's two words, the count; 0 is empty.
"""

from __future__ import annotations

import numpy as np

from features.arena import DISTINCTS, NEED, STOP, STOP_DISTINCTS, Halves, Int, half
from features.hashing import mix
from features.intern import plain
from features.kernel import kernel
from features.sheet import Ints
from features.window_plan import DISTINCT_MEASURE, KIND, VALID_AT, VALUE_AT

ENTRY = 4
ID, LO_WORD, HI_WORD, TIMES = 0, 1, 2, 3
# Three halves of a key's header for each call.
ANCHOR_LO, ANCHOR_HI, NUMBER_OF_VALUES = 0, 1, 2


@kernel
def _home(number: int, lo: int, hi: int, mask: int) -> Int:
    h = mix(np.uint64(number) ^ mix(np.uint64(lo) ^ mix(np.uint64(hi))))
    return np.int64(h) * ENTRY & mask


@kernel
def _bump(distinct: Ints, meta: Ints, number: int, lo: int, hi: int, change: int) -> int:
    """Add to a value's count; the change (-1, 0, 1) in how many values there are."""
    mask = len(distinct) - 1
    at = _home(number, lo, hi, mask)
    while distinct[at + TIMES] != 0:
        if distinct[at + ID] == number and distinct[at + LO_WORD] == lo and distinct[at + HI_WORD] == hi:
            distinct[at + TIMES] += change
            if distinct[at + TIMES] == 0:
                _remove(distinct, at)
                meta[DISTINCTS] -= 1
                return -1
            return 0
        at = (at + ENTRY) & mask
    distinct[at + ID], distinct[at + LO_WORD], distinct[at + HI_WORD], distinct[at + TIMES] = number, lo, hi, change
    meta[DISTINCTS] += 1
    return 1


@kernel
def _remove(distinct: Ints, at: int) -> None:
    """Empty an entry and move later ones of its run up."""
    mask = len(distinct) - 1
    hole, at = at, (at + ENTRY) & mask
    while distinct[at + TIMES] != 0:
        home = _home(distinct[at + ID], distinct[at + LO_WORD], distinct[at + HI_WORD], mask)
        if (at - home) & mask >= (at - hole) & mask:
            distinct[hole : hole + ENTRY] = distinct[at : at + ENTRY]
            hole = at
        at = (at + ENTRY) & mask
    distinct[hole : hole + ENTRY] = 0


@kernel
def grow_distinct(old: Ints, new: Ints) -> None:
    """Fill a larger, empty table from another."""
    mask = len(new) - 1
    for entry in range(0, len(old), ENTRY):
        if old[entry + TIMES] != 0:
            at = _home(old[entry + ID], old[entry + LO_WORD], old[entry + HI_WORD], mask)
            while new[at + TIMES] != 0:
                at = (at + ENTRY) & mask
            new[at : at + ENTRY] = old[entry : entry + ENTRY]


@kernel
def _count_row(
    measures: Ints, m: int, words: Ints, halves: Halves, distinct: Ints, meta: Ints, anchor: int, number: int,
    row: int, change: int,
) -> None:  # fmt: skip
    """Add a row to the counted values, or take it out."""
    if words[row + measures[m, VALID_AT]] == 0:
        return
    value = row + measures[m, VALUE_AT]
    lo, hi = plain(words[value], measures[m, KIND]), 0
    if measures[m, VALID_AT] - measures[m, VALUE_AT] == 2:
        hi = words[value + 1]
    halves[anchor + NUMBER_OF_VALUES] += _bump(distinct, meta, number, lo, hi, change)


@kernel
def count_distinct(
    measures: Ints, distincts: Ints, d: int, words: Ints, halves: Halves, distinct: Ints, meta: Ints, anchor: int,
    serial: int, rows_at: int, stride: int, lo: int, hi: int,
) -> int:  # fmt: skip
    """Move the frame to rows [lo, hi); how many values it holds, or -1 when the table must grow first."""
    m, number = distincts[d, DISTINCT_MEASURE], serial * len(distincts) + d
    left, right = half(halves, anchor + ANCHOR_LO), half(halves, anchor + ANCHOR_HI)
    room = len(distinct) // (2 * ENTRY) - meta[DISTINCTS]
    need = max(0, hi - right) + max(0, left - lo)
    if need > room:
        meta[STOP], meta[NEED] = STOP_DISTINCTS, need
        return -1
    for k in range(right, hi):
        _count_row(measures, m, words, halves, distinct, meta, anchor, number, rows_at + k * stride, 1)
    for k in range(lo, left):
        _count_row(measures, m, words, halves, distinct, meta, anchor, number, rows_at + k * stride, 1)
    for k in range(hi, right):
        _count_row(measures, m, words, halves, distinct, meta, anchor, number, rows_at + k * stride, -1)
    for k in range(left, lo):
        _count_row(measures, m, words, halves, distinct, meta, anchor, number, rows_at + k * stride, -1)
    halves[anchor + ANCHOR_LO], halves[anchor + ANCHOR_HI] = lo, hi
    return half(halves, anchor + NUMBER_OF_VALUES)


@kernel
def insert_row(
    measures: Ints, distincts: Ints, d: int, words: Ints, halves: Halves, distinct: Ints, meta: Ints, anchor: int,
    serial: int, rows_at: int, stride: int, at: int,
) -> None:  # fmt: skip
    """A late row came to stand at `at`: the frame shifts, and counts it if it stands inside."""
    left, right = half(halves, anchor + ANCHOR_LO), half(halves, anchor + ANCHOR_HI)
    if at >= right:
        return
    halves[anchor + ANCHOR_HI] = right + 1
    if at <= left:
        halves[anchor + ANCHOR_LO] = left + 1
        return
    m, number = distincts[d, DISTINCT_MEASURE], serial * len(distincts) + d
    _count_row(measures, m, words, halves, distinct, meta, anchor, number, rows_at + at * stride, 1)


@kernel
def forget_row(
    measures: Ints, distincts: Ints, d: int, words: Ints, halves: Halves, distinct: Ints, meta: Ints, anchor: int,
    serial: int, rows_at: int, stride: int, first: int,
) -> None:  # fmt: skip
    """Row `first` is dropped: the frame begins behind it."""
    left, right = half(halves, anchor + ANCHOR_LO), half(halves, anchor + ANCHOR_HI)
    if left > first:
        return
    if first < right:
        m, number = distincts[d, DISTINCT_MEASURE], serial * len(distincts) + d
        _count_row(measures, m, words, halves, distinct, meta, anchor, number, rows_at + first * stride, -1)
    halves[anchor + ANCHOR_LO] = first + 1
    halves[anchor + ANCHOR_HI] = max(right, first + 1)
