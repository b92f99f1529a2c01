"""The record of a key in the arena, and where its parts stand.

Header (int32 halves), the key's serial where count(DISTINCT) needs it, folds (what UNBOUNDED frames and lag keep of
dropped rows), the key's words, rows 0..capacity, trees (see extremes). Row first - 1 is the base: at birth zeros at the
dawn of time.
"""

from __future__ import annotations

from features.arena import Int, Store, half
from features.kernel import inlined
from features.window_plan import HEADER_HALVES, KEY_AT, ROW_WORDS, Program

# The header's halves. STRIDE: words of a row. LATE: see late_run. Behind these: one hint a bound, then three numbers a
# count(DISTINCT).
KEY_WORDS, CLASS, FIRST, COUNT, CAPACITY, LATE, STRIDE, HINTS = 0, 1, 2, 3, 4, 5, 6, HEADER_HALVES


@inlined
def rows_of(plan: Program, store: Store, record: int) -> Int:
    """Where the record's rows begin."""
    return record + plan.shape[KEY_AT] + half(store, 2 * record + KEY_WORDS)


@inlined
def stride_of(store: Store, record: int) -> Int:
    """Words of the record's rows."""
    return half(store, 2 * record + STRIDE)


@inlined
def is_narrow(plan: Program, store: Store, record: int) -> bool:
    """True when the record's rows are narrow: their measures are `plan.narrow`, not `plan.measures`."""
    return stride_of(store, record) != plan.shape[ROW_WORDS]


@inlined
def late_run(store: Store, record: int) -> Int:
    """The record of the key's late rows, 0 for none. (Blocks begin at multiples of eight words.)"""
    return half(store, 2 * record + LATE) << 3
