"""The rows that a key retains, in (event_time, arrival) order, each with running totals over all rows up to it.

A window over rows [lo, hi) is the difference of two rows' totals. Totals are never rebased (they wrap at 128 bits), and
the row before the first retained one stays as the base, so dropping old rows changes no difference.

A key's record in the arena: header (int32 halves), folds (what UNBOUNDED frames and lag keep of dropped rows), the key's
words, rows 0..capacity, trees (see extremes). Row first - 1 is the base: at birth zeros at the beginning of time.
A row: event_time, then what its measures need (see window_plan.Measure).
"""

from __future__ import annotations

import numpy as np

from features.arena import ROWS, VALUES, Halves, allocate, block_words, class_of, half, release
from features.distincts import forget_row, insert_row
from features.extremes import fold_extreme, node_count, rebuild
from features.intern import TEXT, hash_words, probe, remove
from features.kernel import kernel
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
    LO,
    NOT_NULL,
    PASSES,
    RING_SIZE,
    ROW_WORDS,
    SQUARE_AT,
    SUM_AT,
    SUM_WORDS,
    TREE_NODES,
    VALID_AT,
    VALUE_AT,
)  # fmt: skip

# Header of a record, in int32 halves. Behind these: one hint a bound, then three numbers a count(DISTINCT).
KEY_WORDS, CLASS, FIRST, COUNT, CAPACITY, HINTS = 0, 1, 2, 3, 4, 5

# A text's record: header, references, bytes.
REFERENCES, TEXT_AT = 1, 2
DAWN = -(2**63)


@kernel
def rows_of(shape: Ints, halves: Halves, record: int) -> int:
    """Where the record's rows begin."""
    return record + shape[KEY_AT] + half(halves, 2 * record + KEY_WORDS)


@kernel
def first_at(words: Ints, column: int, stride: int, lo: int, hi: int, least: int) -> int:
    """The first row of [lo, hi) whose word at `column` is >= least, or hi; that word never falls."""
    while lo < hi:
        middle = (lo + hi) >> 1
        if words[column + middle * stride] < least:
            lo = middle + 1
        else:
            hi = middle
    return lo


@kernel
def gallop(words: Ints, column: int, stride: int, lo: int, hi: int, hint: int, least: int) -> int:
    """The same as `first_at`, in steps that double from `hint`: O(log of the distance)."""
    hint = min(max(hint, lo), hi)
    step = 1
    if hint > lo and words[column + (hint - 1) * stride] >= least:
        top = hint - 1
        while top - step >= lo and words[column + (top - step) * stride] >= least:
            top -= step
            step *= 2
        return first_at(words, column, stride, max(lo, top - step + 1), top, least)
    while hint + step <= hi and words[column + (hint + step - 1) * stride] < least:
        hint += step
        step *= 2
    return first_at(words, column, stride, hint, min(hi, hint + step - 1), least)


@kernel
def record_words(shape: Ints, key_words: int, capacity: int) -> int:
    """Words of a record that holds `capacity` rows beside the base."""
    nodes = node_count(capacity + 1) * shape[TREE_NODES] if shape[TREE_NODES] > 0 else 0
    return shape[KEY_AT] + key_words + (capacity + 1) * shape[ROW_WORDS] + nodes


@kernel
def capacity_of(shape: Ints, key_words: int, size: int, least: int) -> int:
    """How many rows fit into a block of `size` words, which holds `least` for certain."""
    capacity = least + (size - record_words(shape, key_words, least)) // shape[ROW_WORDS]
    while record_words(shape, key_words, capacity) > size:
        capacity -= 1
    return capacity


@kernel
def new_record(shape: Ints, words: Ints, halves: Halves, meta: Ints, key: Ints, start: int, count: int) -> int:
    """A record without rows for the key key[start : start + count], or 0 when the arena is full."""
    size_class = class_of(record_words(shape, count, 1))
    record = allocate(words, meta, size_class)
    if record == 0:
        return 0
    rows_at = record + shape[KEY_AT] + count
    words[record : rows_at + shape[ROW_WORDS]] = 0
    words[record + shape[KEY_AT] : rows_at] = key[start : start + count]
    words[rows_at] = DAWN
    header = 2 * record
    halves[header + KEY_WORDS], halves[header + CLASS] = count, size_class
    halves[header + FIRST] = 1
    halves[header + CAPACITY] = capacity_of(shape, count, block_words(size_class), 1)
    return record


@kernel
def move(words: Ints, source: int, target: int, count: int) -> None:
    """Copy words that may overlap."""
    if target <= source:
        for k in range(count):
            words[target + k] = words[source + k]
    else:
        for k in range(count - 1, -1, -1):
            words[target + k] = words[source + k]


@kernel
def repack(
    shape: Ints,
    measures: Ints,
    trees: Ints,
    distincts: Ints,
    words: Ints,
    halves: Halves,
    meta: Ints,
    record: int,
    want: int,
) -> int:
    """Move the rows to the front of the smallest block for `want` of them; the record, or 0 if the arena is full."""
    header, stride = 2 * record, shape[ROW_WORDS]
    key_words = half(halves, header + KEY_WORDS)
    first, count = half(halves, header + FIRST), half(halves, header + COUNT)
    old_class, size_class = half(halves, header + CLASS), class_of(record_words(shape, key_words, want))
    new = record
    if size_class != old_class:
        new = allocate(words, meta, size_class)
        if new == 0:
            return 0
        move(words, record, new, shape[KEY_AT] + key_words)
    rows_at, new_rows_at = rows_of(shape, halves, record), rows_of(shape, halves, new)
    move(words, rows_at + (first - 1) * stride, new_rows_at, (count + 1) * stride)
    if new != record:
        release(words, meta, record, old_class)
    header = 2 * new
    halves[header + FIRST], halves[header + CLASS] = 1, size_class
    halves[header + CAPACITY] = capacity_of(shape, key_words, block_words(size_class), want)
    for hint in range(HINTS, HINTS + shape[BOUNDS]):
        halves[header + hint] = max(1, half(halves, header + hint) - first + 1)
    for d in range(len(distincts)):
        anchor = header + HINTS + shape[BOUNDS] + 3 * d
        halves[anchor] = max(1, half(halves, anchor) - first + 1)
        halves[anchor + 1] = max(1, half(halves, anchor + 1) - first + 1)
    if len(trees) > 0:
        rebuild(shape, measures, trees, words, new_rows_at, half(halves, header + CAPACITY), 1, count + 1)
    return new


@kernel
def passes(words: Ints, row: int, stride: int, count_at: int) -> bool:
    """True when the row at `row` counts for the measure whose running count is at `count_at`."""
    return words[row + count_at] != words[row - stride + count_at]


@kernel
def drop_reference(words: Ints, values: Ints, meta: Ints, value: int) -> None:
    """Let go of a text once; nobody holding it, it is freed."""
    words[value + REFERENCES] -= 1
    if words[value + REFERENCES] == 0:
        count = words[value] & 0xFFFFFFFF
        h = hash_words(words, value + TEXT_AT, count)
        remove(values, probe(values, words, TEXT_AT, h, words, value + TEXT_AT, count))
        release(words, meta, value, words[value] >> 32)
        meta[VALUES] -= 1


@kernel
def _fold_row(
    measures: Ints, folds: Ints, trees: Ints, words: Ints, values: Ints, meta: Ints, record: int, row: int, stride: int
) -> None:
    """Keep of a row that is dropped what UNBOUNDED frames and lag will ask of it."""
    for t in range(len(trees)):
        fold_extreme(measures, trees, t, words, record, row, stride)
    for f in range(len(folds)):
        m = folds[f, FOLD_MEASURE]
        if not passes(words, row, stride, measures[m, COUNT_AT]):
            continue
        value, size = row + measures[m, VALUE_AT], measures[m, VALID_AT] - measures[m, VALUE_AT] + 1
        text = measures[m, KIND] == TEXT
        earlier = words[row - stride + measures[m, COUNT_AT]]
        if folds[f, FOLD_FIRST] >= 0 and earlier == 0:
            move(words, value, record + folds[f, FOLD_FIRST], size)
            if text and words[value + size - 1] != 0:
                words[words[value] + REFERENCES] += 1
        if folds[f, FOLD_RING] >= 0:
            ring, last = record + folds[f, FOLD_RING], (folds[f, RING_SIZE] - 1) * size
            if text and words[ring + last + size - 1] != 0:
                drop_reference(words, values, meta, words[ring + last])
            move(words, ring, ring + size, last)
            move(words, value, ring, size)
            if text and words[value + size - 1] != 0:
                words[words[value] + REFERENCES] += 1


@kernel
def evict(
    shape: Ints, measures: Ints, folds: Ints, trees: Ints, distincts: Ints,
    words: Ints, halves: Halves, values: Ints, distinct: Ints, meta: Ints,
    record: int, serial: int, reach: int,
) -> None:  # fmt: skip
    """Drop the rows that no later event can see: older than `reach` (= W - lateness) by the store's longest frame, and
    not among the newest KEEP_ROWS older than `reach`.
    """
    header, stride, rows_at = 2 * record, shape[ROW_WORDS], rows_of(shape, halves, record)
    first, count = half(halves, header + FIRST), half(halves, header + COUNT)
    end, start, keep = first + count, first, shape[KEEP_ROWS]
    held = len(folds) > 0 or len(trees) > 0
    while first < end and words[rows_at + first * stride] < reach - shape[KEEP_US]:
        if keep > 0 and (first + keep >= end or words[rows_at + (first + keep) * stride] >= reach):
            break
        row = rows_at + first * stride
        if held:
            _fold_row(measures, folds, trees, words, values, meta, record, row, stride)
        for d in range(len(distincts)):
            anchor = header + HINTS + shape[BOUNDS] + 3 * d
            forget_row(measures, distincts, d, words, halves, distinct, meta, anchor, serial, rows_at, stride, first)
        for m in range(len(measures)):
            if measures[m, KIND] == TEXT and measures[m, VALUE_AT] >= 0 and words[row + measures[m, VALID_AT]] != 0:
                drop_reference(words, values, meta, words[row + measures[m, VALUE_AT]])
        first += 1
    halves[header + FIRST], halves[header + COUNT] = first, end - first
    meta[ROWS] -= first - start


@kernel
def place(
    shape: Ints, measures: Ints, trees: Ints, distincts: Ints,
    words: Ints, halves: Halves, distinct: Ints, meta: Ints,
    record: int, serial: int, time: int, fresh: Ints,
) -> int:  # fmt: skip
    """Put the arriving event's row behind all rows of an earlier or equal time; its index. There is room for it."""
    header, stride, rows_at = 2 * record, shape[ROW_WORDS], rows_of(shape, halves, record)
    first = half(halves, header + FIRST)
    end = first + half(halves, header + COUNT)
    at = end
    if words[rows_at + (end - 1) * stride] > time:
        at = first_at(words, rows_at, stride, first, end, time + 1)
        move(words, rows_at + at * stride, rows_at + (at + 1) * stride, (end - at) * stride)
    row = rows_at + at * stride
    words[row] = time
    for m in range(len(measures)):
        _write_measure(measures, m, words, row, stride, end - at, fresh)
    halves[header + COUNT] = end - first + 1
    meta[ROWS] += 1
    if at < end:
        for d in range(len(distincts)):
            anchor = header + HINTS + shape[BOUNDS] + 3 * d
            insert_row(measures, distincts, d, words, halves, distinct, meta, anchor, serial, rows_at, stride, at)
    if len(trees) > 0:
        rebuild(shape, measures, trees, words, rows_at, half(halves, header + CAPACITY), at, end + 1)
    return at


@kernel
def _write_measure(measures: Ints, m: int, words: Ints, row: int, stride: int, later: int, fresh: Ints) -> None:
    """Fill a measure's words in a new row, and add what it brings to the running totals of the `later` rows."""
    lo, hi, passed = fresh[m, LO], fresh[m, HI], fresh[m, PASSES]
    if measures[m, COUNT_AT] >= 0:
        _add(words, row + measures[m, COUNT_AT], stride, 1, later, passed, 0)
    if measures[m, SUM_AT] >= 0:
        _add(words, row + measures[m, SUM_AT], stride, measures[m, SUM_WORDS], later, lo * passed, hi * passed)
    if measures[m, SQUARE_AT] >= 0:
        square_lo, square_hi = mul64(lo * passed, lo * passed)
        _add(words, row + measures[m, SQUARE_AT], stride, 2, later, square_lo, square_hi)
    if measures[m, VALUE_AT] >= 0:
        value = row + measures[m, VALUE_AT]
        words[value] = lo
        if measures[m, VALID_AT] - measures[m, VALUE_AT] == 2:
            words[value + 1] = hi
        words[row + measures[m, VALID_AT]] = fresh[m, NOT_NULL]
        if measures[m, KIND] == TEXT and fresh[m, NOT_NULL] != 0:
            words[lo + REFERENCES] += 1


@kernel
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
