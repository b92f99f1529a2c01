"""The rows that a key retains, in (event_time, arrival) order, each with running totals over all rows up to it.

A window over rows [lo, hi) is the difference of two rows' totals. Totals are never rebased (they wrap at 128 bits), and
the row before the first retained one stays as the base, so dropping old rows changes no difference.

A row (in a key's record, see record.py): event_time, then what the measures need of it (see window_plan); in a narrow
record less, as long as that is enough (see narrow.py).

A late row changes the totals of all later ones. Where frames only sum over times, a row with many later ones goes to a
second record of the key, its late run, so that few totals change: a frame holds what it holds of both. Once full it is
merged. The main record always has room for that. Of equal times, the late run's rows arrived after the main ones.
"""

from __future__ import annotations

import numpy as np

from features.arena import ROWS, SECRET, VALUES, Int, Store, allocate, block_words, class_of, half, move, release
from features.distincts import anchor_of, forget_row, insert_row
from features.extremes import fold_extreme, node_count, rebuild
from features.intern import TEXT, hash_words, probe, remove
from features.kernel import inlined, inner
from features.record import (
    CAPACITY,
    CLASS,
    COUNT,
    FIRST,
    HINTS,
    KEY_WORDS,
    LATE,
    STRIDE,
    is_narrow,
    late_run,
    rows_of,
    stride_of,
)  # fmt: skip
from features.sheet import Ints
from features.shims import mul64, uadd
from features.window_plan import (
    BOUNDS,
    COUNT_AT,
    FOLD_FIRST,
    FOLD_MEASURE,
    FOLD_RING,
    HI,
    KEEP_ROWS,
    KEEP_US,
    KEY_AT,
    KIND,
    LATE_ROWS,
    LO,
    NOT_NULL,
    PASSES,
    RING_SIZE,
    ROW_WORDS,
    SQUARE_AT,
    SQUARE_WORDS,
    SUM_AT,
    SUM_WORDS,
    TREE_NODES,
    VALID_AT,
    VALUE_AT,
    Program,
)  # fmt: skip

# A text's record: header, references, bytes.
REFERENCES, TEXT_AT = 1, 2
DAWN = -(2**63)


@inlined
def first_at(words: Ints, column: int, stride: int, lo: int, hi: int, least: int) -> int:
    """The first row of [lo, hi) whose word at `column` is >= least, or hi; that word never falls."""
    while lo < hi:
        middle = (lo + hi) >> 1
        if words[column + middle * stride] < least:
            lo = middle + 1
        else:
            hi = middle
    return lo


@inlined
def gallop(words: Ints, column: int, stride: int, lo: int, hi: int, hint: int, least: int) -> int:
    """The same as `first_at`, in steps that double from `hint`: O(log of the distance)."""
    hint = min(max(hint, lo), hi)
    step = 1
    if hint > lo and words[column + (hint - 1) * stride] >= least:
        top = hint - 1
        while top - step >= lo and words[column + (top - step) * stride] >= least:
            top -= step
            step *= 2
        lo, hi = max(lo, top - step + 1), top
    else:
        while hint + step <= hi and words[column + (hint + step - 1) * stride] < least:
            hint += step
            step *= 2
        lo, hi = hint, min(hi, hint + step - 1)
    return first_at(words, column, stride, lo, hi, least)


@inlined
def record_words(plan: Program, key_words: int, stride: int, capacity: int) -> Int:
    """Words of a record that holds `capacity` rows of `stride` words beside the base."""
    shape = plan.shape
    nodes = node_count(capacity + 1) * shape[TREE_NODES] if shape[TREE_NODES] > 0 else 0
    return shape[KEY_AT] + key_words + (capacity + 1) * stride + nodes


@inner
def capacity_of(plan: Program, key_words: int, stride: int, size: int, least: int) -> Int:
    """How many rows fit into a block of `size` words, which holds `least` for certain."""
    capacity = least + (size - record_words(plan, key_words, stride, least)) // stride
    while record_words(plan, key_words, stride, capacity) > size:
        capacity -= 1
    return capacity


@inner
def new_record(plan: Program, store: Store, key: Ints, start: int, count: int, stride: int, capacity: int) -> Int:
    """A record with room for rows of the key key[start : start + count], or 0 when the arena is full."""
    shape, words, halves = plan.shape, store.words, store.halves
    size_class = class_of(record_words(plan, count, stride, capacity))
    record = allocate(store, size_class)
    if record == 0:
        return 0
    rows_at = record + shape[KEY_AT] + count
    for k in range(record, rows_at + stride):
        words[k] = 0
    for k in range(count):
        words[record + shape[KEY_AT] + k] = key[start + k]
    words[rows_at] = DAWN
    header = 2 * record
    halves[header + KEY_WORDS], halves[header + CLASS] = count, size_class
    halves[header + FIRST], halves[header + STRIDE] = 1, stride
    halves[header + CAPACITY] = capacity_of(plan, count, stride, block_words(size_class), capacity)
    return record


@inner
def repack(plan: Program, store: Store, record: int, want: int) -> Int:
    """Move the rows to the front of the smallest block for `want` of them; the record, or 0 if the arena is full."""
    header, stride, halves = 2 * record, stride_of(store, record), store.halves
    key_words = half(store, header + KEY_WORDS)
    first, count = half(store, header + FIRST), half(store, header + COUNT)
    old_class, size_class = half(store, header + CLASS), class_of(record_words(plan, key_words, stride, want))
    new = record
    if size_class != old_class:
        new = allocate(store, size_class)
        if new == 0:
            return 0
        move(store.words, record, new, plan.shape[KEY_AT] + key_words)
    new_rows_at = rows_of(plan, store, new)
    move(store.words, rows_of(plan, store, record) + (first - 1) * stride, new_rows_at, (count + 1) * stride)
    if new != record:
        release(store, record, old_class)
    header = 2 * new
    halves[header + FIRST], halves[header + CLASS] = 1, size_class
    halves[header + CAPACITY] = capacity_of(plan, key_words, stride, block_words(size_class), want)
    for hint in range(header + HINTS, header + HINTS + plan.shape[BOUNDS]):
        halves[hint] = max(1, half(store, hint) - first + 1)
    for d in range(len(plan.distincts)):
        anchor = anchor_of(plan, new, d)
        for end in (anchor, anchor + 1):
            halves[end] = max(1, half(store, end) - first + 1)
    if len(plan.trees) > 0:
        rebuild(plan, store, new_rows_at, half(store, header + CAPACITY), 1, count + 1)
    return new


@inner
def drop_reference(store: Store, value: int) -> None:
    """Let go of a text once; nobody holding it, it is freed."""
    words = store.words
    words[value + REFERENCES] -= 1
    if words[value + REFERENCES] == 0:
        count = words[value] & 0xFFFFFFFF
        h = hash_words(store.meta[SECRET:], words, value + TEXT_AT, count)
        remove(store.values, probe(store.values, words, TEXT_AT, h, words, value + TEXT_AT, count))
        release(store, value, words[value] >> 32)
        store.meta[VALUES] -= 1


@inner
def _fold_row(plan: Program, store: Store, record: int, row: int) -> None:
    """Keep of a row that is dropped what UNBOUNDED frames and lag will ask of it."""
    words, measures, folds = store.words, plan.measures, plan.folds
    for t in range(len(plan.trees)):
        fold_extreme(plan, store, t, record, row)
    for f in range(len(folds)):
        m = folds[f, FOLD_MEASURE]
        earlier = words[row - plan.shape[ROW_WORDS] + measures[m, COUNT_AT]]
        if words[row + measures[m, COUNT_AT]] == earlier:
            continue
        value, size = row + measures[m, VALUE_AT], measures[m, VALID_AT] - measures[m, VALUE_AT] + 1
        text = measures[m, KIND] == TEXT
        if folds[f, FOLD_FIRST] >= 0 and earlier == 0:
            move(words, value, record + folds[f, FOLD_FIRST], size)
            if text and words[value + size - 1] != 0:
                words[words[value] + REFERENCES] += 1
        if folds[f, FOLD_RING] >= 0:
            ring, last = record + folds[f, FOLD_RING], (folds[f, RING_SIZE] - 1) * size
            if text and words[ring + last + size - 1] != 0:
                drop_reference(store, words[ring + last])
            move(words, ring, ring + size, last)
            move(words, value, ring, size)
            if text and words[value + size - 1] != 0:
                words[words[value] + REFERENCES] += 1


@inner
def evict(plan: Program, store: Store, record: int, reach: int) -> None:
    """Drop the rows that no later event can see, `reach` being W - lateness.

    They are older than `reach` by the store's longest frame, and not among the newest KEEP_ROWS older than `reach`.
    """
    if late_run(store, record) != 0:
        merge(plan, store, record)
    words, measures, header, stride = store.words, plan.measures, 2 * record, stride_of(store, record)
    rows_at, start = rows_of(plan, store, record), half(store, header + FIRST)
    first, end, keep = start, start + half(store, header + COUNT), plan.shape[KEEP_ROWS]
    while first < end and words[rows_at + first * stride] < reach - plan.shape[KEEP_US]:
        if keep > 0 and (first + keep >= end or words[rows_at + (first + keep) * stride] >= reach):
            break
        row = rows_at + first * stride
        _fold_row(plan, store, record, row)
        forget_row(plan, store, record, rows_at, first)
        for m in range(len(measures)):
            if measures[m, KIND] == TEXT and measures[m, VALUE_AT] >= 0 and words[row + measures[m, VALID_AT]] != 0:
                drop_reference(store, words[row + measures[m, VALUE_AT]])
        first += 1
    store.halves[header + FIRST], store.halves[header + COUNT] = first, end - first
    store.meta[ROWS] -= first - start


@inlined
def comes_late(plan: Program, store: Store, record: int, time: int) -> bool:
    """True when so many rows are later that the event's row goes to the late run."""
    words, stride, late_rows = store.words, stride_of(store, record), plan.shape[LATE_ROWS]
    count, rows_at = half(store, 2 * record + COUNT), rows_of(plan, store, record)
    end = half(store, 2 * record + FIRST) + count
    if late_rows == 0 or count < late_rows or words[rows_at + (end - 1) * stride] <= time:
        return False
    return words[rows_at + (end - late_rows) * stride] > time


@inner
def open_late_run(plan: Program, store: Store, record: int) -> Int:
    """The late run with room for one more row, or 0 when the arena is full."""
    late = late_run(store, record)
    if late != 0 and half(store, 2 * late + COUNT) < plan.shape[LATE_ROWS]:
        return late
    if late != 0:
        merge(plan, store, record)
    late = new_record(plan, store, store.key, 0, 0, stride_of(store, record), plan.shape[LATE_ROWS])
    store.halves[2 * record + LATE] = late >> 3
    return late


@inner
def merge(plan: Program, store: Store, record: int) -> None:
    """Put the late rows among the others, from the last one on, and give up their record."""
    words, stride, late = store.words, stride_of(store, record), late_run(store, record)
    measures = plan.narrow if is_narrow(plan, store, record) else plan.measures
    rows_at, late_at = rows_of(plan, store, record), rows_of(plan, store, late)
    first, count, late_count = (
        half(store, 2 * record + FIRST),
        half(store, 2 * record + COUNT),
        half(store, 2 * late + COUNT),
    )
    i, j = first + count - 1, late_count
    while j > 0:
        row, late_row, target = rows_at + i * stride, late_at + j * stride, rows_at + (i + j) * stride
        _add_totals(measures, words, row, late_row, target)
        if i >= first and words[row] > words[late_row]:
            words[target] = words[row]
            i -= 1
        else:
            words[target] = words[late_row]
            j -= 1
    release(store, late, half(store, 2 * late + CLASS))
    store.halves[2 * record + LATE], store.halves[2 * record + COUNT] = 0, count + late_count


@inlined
def _add_totals(measures: Ints, words: Ints, one: int, other: int, target: int) -> None:
    """The totals of two rows, added into a third."""
    for m in range(len(measures)):
        sum_words, square_words = measures[m, SUM_WORDS], measures[m, SQUARE_WORDS]
        for column, size in ((COUNT_AT, 1), (SUM_AT, sum_words), (SQUARE_AT, square_words)):
            at, carry = measures[m, column], np.uint64(0)
            for k in range(at, at + size if at >= 0 else at):
                total, carry = uadd(np.uint64(words[one + k]), np.uint64(words[other + k]), carry)
                words[target + k] = np.int64(total)


@inlined
def place(plan: Program, store: Store, record: int, time: int, fresh: Ints) -> Int:
    """Put the arriving event's row behind all rows of an earlier or equal time; its index. There is room for it."""
    words, header, stride = store.words, 2 * record, stride_of(store, record)
    rows_at, first = rows_of(plan, store, record), half(store, header + FIRST)
    measures, end = (
        (plan.narrow if is_narrow(plan, store, record) else plan.measures),
        first + half(store, header + COUNT),
    )
    at = end
    if words[rows_at + (end - 1) * stride] > time:
        at = first_at(words, rows_at, stride, first, end, time + 1)
        move(words, rows_at + at * stride, rows_at + (at + 1) * stride, (end - at) * stride)
    words[rows_at + at * stride] = time
    for m in range(len(measures)):
        _write_measure(measures, words, m, rows_at + at * stride, stride, end - at, fresh)
    store.halves[header + COUNT] = end - first + 1
    store.meta[ROWS] += 1
    if at < end:
        insert_row(plan, store, record, rows_at, at)
    if len(plan.trees) > 0:
        rebuild(plan, store, rows_at, half(store, header + CAPACITY), at, end + 1)
    return at


@inlined
def _write_measure(measures: Ints, words: Ints, m: int, row: int, stride: int, later: int, fresh: Ints) -> None:
    """Fill a measure's words in a new row, and add what it brings to the running totals of the `later` rows."""
    lo, hi, passed = fresh[m, LO], fresh[m, HI], fresh[m, PASSES]
    if measures[m, COUNT_AT] >= 0:
        _add(words, row + measures[m, COUNT_AT], stride, 1, later, passed, 0)
    if measures[m, SUM_AT] >= 0:
        _add(words, row + measures[m, SUM_AT], stride, measures[m, SUM_WORDS], later, lo, hi)
    if measures[m, SQUARE_AT] >= 0:
        square_lo, square_hi = mul64(lo, lo)
        _add(words, row + measures[m, SQUARE_AT], stride, measures[m, SQUARE_WORDS], later, square_lo, square_hi)
    if measures[m, VALUE_AT] >= 0:
        value = row + measures[m, VALUE_AT]
        words[value] = lo
        if measures[m, VALID_AT] - measures[m, VALUE_AT] == 2:
            words[value + 1] = hi
        words[row + measures[m, VALID_AT]] = fresh[m, NOT_NULL]
        if measures[m, KIND] == TEXT and fresh[m, NOT_NULL] != 0:
            words[lo + REFERENCES] += 1


@inlined
def _add(words: Ints, at: int, stride: int, size: int, later: int, lo: int, hi: int) -> None:
    """Start the total at `at` from the row before; then add (lo, hi) to it and to those of the `later` rows."""
    for k in range(size):
        words[at + k] = words[at - stride + k]
    if lo == 0 and hi == 0:
        return
    sign = np.uint64(hi >> 63)
    for total in range(at, at + (later + 1) * stride, stride):
        low, carry = uadd(np.uint64(words[total]), np.uint64(lo), np.uint64(0))
        words[total] = np.int64(low)
        if size > 1:
            high, carry = uadd(np.uint64(words[total + 1]), np.uint64(hi), carry)
            words[total + 1] = np.int64(high)
        if size > 2:
            words[total + 2] = np.int64(np.uint64(words[total + 2]) + sign + carry)
