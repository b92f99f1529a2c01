"""Narrow rows: totals of one word instead of two or three, as long as nothing that a frame can hold needs more.

Totals wrap at 64 bits, and a difference of two is right as long as what lies between them fits. In a narrow record
values have 32 bits, so that any 2^31 rows sum up in 63; the squares of all rows retained sum up in 63 bits; and rows
whose argument is NULL, which would need a count of their own, do not occur. (Where frames are UNBOUNDED, that is said
of all rows there ever were.) The first event that would break this makes its key's record full, for good.
"""

from __future__ import annotations

from features.arena import Int, Store, half, release
from features.kernel import inlined, inner
from features.record import CLASS, COUNT, FIRST, HINTS, KEY_WORDS, late_run, rows_of, stride_of
from features.rows import merge, new_record
from features.sheet import Ints
from features.window_plan import (
    BOUNDS,
    COUNT_AT,
    FREES,
    HI,
    KEY_AT,
    LO,
    PASSES,
    ROW_WORDS,
    SQUARE_AT,
    SUM_AT,
    SUM_WORDS,
    Program,
)  # fmt: skip

_BITS = 31  # of a value, beside its sign
_MOST = 2**62  # of a total over all rows there ever were


@inlined
def stays_narrow(plan: Program, store: Store, record: int, fresh: Ints) -> bool:
    """True when a narrow record can take in the arriving event's row."""
    words, narrow = store.words, plan.narrow
    late, base, last = late_run(store, record), _row_before(plan, store, record), _last_row(plan, store, record)
    late_last = _last_row(plan, store, late) if late != 0 else base
    for m in range(len(narrow)):
        lo, sum_at, square_at = fresh[m, LO], narrow[m, SUM_AT], narrow[m, SQUARE_AT]
        if narrow[m, COUNT_AT] < 0 and plan.measures[m, COUNT_AT] >= 0 and fresh[m, PASSES] == 0:
            return False
        if sum_at >= 0 and (lo >> _BITS != lo >> 63 or fresh[m, HI] != lo >> 63):
            return False
        if sum_at >= 0 and plan.shape[FREES] == 0:
            total = words[last + sum_at] + lo
            if total > _MOST or total < -_MOST:
                return False
        if square_at >= 0:
            held = words[last + square_at] - (words[base + square_at] if plan.shape[FREES] != 0 else 0)
            if late != 0:
                held += words[late_last + square_at]
            if held + lo * lo < 0:
                return False
    return True


@inlined
def _row_before(plan: Program, store: Store, record: int) -> Int:
    return rows_of(plan, store, record) + (half(store, 2 * record + FIRST) - 1) * stride_of(store, record)


@inlined
def _last_row(plan: Program, store: Store, record: int) -> Int:
    return _row_before(plan, store, record) + half(store, 2 * record + COUNT) * stride_of(store, record)


@inner
def widen(plan: Program, store: Store, record: int) -> Int:
    """Make a narrow record full, with room for one more row, its late rows among the others; 0 if the arena is full."""
    words, halves, key_words = store.words, store.halves, half(store, 2 * record + KEY_WORDS)
    late = late_run(store, record)
    late_count = half(store, 2 * late + COUNT) if late != 0 else 0
    want = half(store, 2 * record + COUNT) + late_count + 1
    full = new_record(
        plan, store, words, record + plan.shape[KEY_AT], key_words, plan.shape[ROW_WORDS], want + want // 2
    )
    if full == 0:
        return 0
    if late != 0:
        merge(plan, store, record)
    first, count = half(store, 2 * record + FIRST), half(store, 2 * record + COUNT)
    halves[2 * full + COUNT] = count
    for hint in range(HINTS, HINTS + plan.shape[BOUNDS]):
        halves[2 * full + hint] = max(1, half(store, 2 * record + hint) - first + 1)
    base, target = _row_before(plan, store, record), rows_of(plan, store, full)
    for k in range(count + 1):
        row = base + k * stride_of(store, record)
        words[target + k * plan.shape[ROW_WORDS]] = words[row]
        for m in range(len(plan.measures)):
            _widen_measure(plan, words, m, base, row, k, target + k * plan.shape[ROW_WORDS])
    release(store, record, half(store, 2 * record + CLASS))
    return full


@inlined
def _widen_measure(plan: Program, words: Ints, m: int, base: int, row: int, k: int, target: int) -> None:
    """A measure's totals of the k-th row behind the base, in full."""
    narrow, full = plan.narrow, plan.measures
    if full[m, COUNT_AT] >= 0:
        words[target + full[m, COUNT_AT]] = words[row + narrow[m, COUNT_AT]] if narrow[m, COUNT_AT] >= 0 else k
    for column, size in ((SUM_AT, full[m, SUM_WORDS]), (SQUARE_AT, 2)):
        if full[m, column] < 0:
            continue
        since = words[base + narrow[m, column]] if plan.shape[FREES] != 0 else 0
        total = words[row + narrow[m, column]] - since
        words[target + full[m, column]] = total
        for part in range(1, size):
            words[target + full[m, column] + part] = total >> 63
