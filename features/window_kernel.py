"""The window engine's kernel: one store takes in a batch of events, in arrival order.

Blocks of events go through three passes: read keys and hash them; for each event find its key, place its row and leave
what its frames hold in the stage; compute the calls from the stage, one call over the block after the other.
"""

from __future__ import annotations

import numpy as np

from features.arena import (
    CURSOR,
    DISTINCTS,
    EVENTS,
    KEYS,
    NEED,
    PENDING,
    SERIAL,
    STOP,
    STOP_DISTINCTS,
    STOP_KEYS,
    STOP_TABLE,
    STOP_TEXT,
    STOP_VALUES,
    TEXT_TOP,
    VALUES,
    Halves,
    allocate,
    class_of,
    half,
    release,
)  # fmt: skip
from features.distincts import ENTRY, count_distinct
from features.extremes import extreme, unordered
from features.intern import (
    HASH,
    NEWEST,
    NUMBER,
    RECORD,
    SLOT,
    TEXT,
    WIDE,
    hash_words,
    probe,
    remove,
    text_words,
    write_key,
    write_text,
)  # fmt: skip
from features.kernel import kernel
from features.rows import (
    CAPACITY,
    CLASS,
    COUNT,
    DAWN,
    FIRST,
    HINTS,
    REFERENCES,
    TEXT_AT,
    evict,
    gallop,
    new_record,
    place,
    repack,
    rows_of,
)  # fmt: skip
from features.sheet import ENTERS, ERROR, HANDLE_BITS, NULL, VALID, Bytes, Ints
from features.shims import mean, usub, variance
from features.window_plan import (
    ARGUMENT,
    AVG,
    BEGIN,
    BOUNDS,
    CALL_COUNT,
    CALL_FUNCTION,
    CALL_OUT,
    CALL_SCALE,
    CALL_SQUARE,
    CALL_SUM,
    CALL_VALUE,
    CALL_WORDS,
    COUNT_AT,
    COUNT_DISTINCT,
    COUNT_STAR,
    CURRENT,
    DISTINCT_FRAME,
    DISTINCT_STAGE,
    END,
    EXCLUDES,
    FILTER,
    FIRST_VALUE,
    FOLD_FIRST,
    FOLD_RING,
    FREES,
    HI,
    KEEP_US,
    KEY_AT,
    KIND,
    LAG,
    LATENESS_US,
    LO,
    MAX,
    MIN,
    MODE,
    NOT_NULL,
    NULLS,
    PASSES,
    PICK_FRAME,
    PICK_FUNCTION,
    PICK_MEASURE,
    PICK_OFFSET,
    PICK_STAGE,
    PICK_USES,
    RANGE,
    RING_SIZE,
    ROW_WORDS,
    SQUARE_AT,
    STDDEV_POP,
    STDDEV_SAMP,
    SUM,
    SUM_AT,
    SUM_FRAME,
    SUM_MEASURE,
    SUM_STAGE,
    SUM_WORDS,
    TREE_FLIP,
    TREE_FOLD,
    UNBOUNDED,
    VALID_AT,
    VALUE_AT,
    VAR_SAMP,
)  # fmt: skip
from features.window_plan import COUNT as COUNT_CALL

BLOCK = 64  # events
SWEEP_EVERY, SWEEP_SLOTS = 16, 64  # events, slots of the key table
_FOREVER = 2**63 - 1


@kernel
def scratch_words(stage_rows: int, measures: int, bounds: int, frames: int) -> int:
    """Words of scratch that `run_store` needs."""
    return BLOCK * (4 + stage_rows) + 4 * measures + bounds + 2 * frames


@kernel
def run_store(
    shape: Ints, parts: Ints, measures: Ints, bounds: Ints, frames: Ints, sums: Ints, trees: Ints, folds: Ints,
    distincts: Ints, picks: Ints, calls: Ints,
    words: Ints, table: Ints, values: Ints, distinct: Ints, meta: Ints, out: Bytes, key: Ints, scratch: Ints,
    cells: Ints, valid: Bytes, text: Bytes, fate: Bytes, wanted: Bytes, watermark: Ints, time_row: int, start: int,
) -> int:  # fmt: skip
    """Take in the events from `start` on; the number of the first one not taken, because an array must grow (STOP)."""
    n = cells.shape[1]
    keys, spare = key[: len(key) // 2], key[len(key) // 2 :]
    starts, counts = scratch[:BLOCK], scratch[BLOCK : 2 * BLOCK]
    hashes, alive = scratch[2 * BLOCK : 3 * BLOCK], scratch[3 * BLOCK : 4 * BLOCK]
    at = 4 * BLOCK
    fresh = scratch[at : at + 4 * len(measures)].reshape(len(measures), 4)
    at += 4 * len(measures)
    bound_at = scratch[at : at + len(bounds)]
    at += len(bounds)
    spans = scratch[at : at + 2 * len(frames)]
    stage = scratch[at + 2 * len(frames) :].reshape(-1, BLOCK)
    while start < n:
        size = min(BLOCK, n - start)
        size = _read_keys(parts, cells, valid, text, fate, start, size, keys, meta, starts, counts, hashes)
        done = _take_in(
            shape, measures, bounds, frames, sums, trees, folds, distincts, picks,
            words, table, values, distinct, meta, out, keys, spare, starts, counts, hashes, alive, fresh, bound_at, spans,
            stage,
            cells, valid, text, wanted, watermark, time_row, start, size,
        )  # fmt: skip
        _finish(calls, stage, alive, cells, valid, start, done)
        start += done
        if done < size or size == 0:
            break
    return start


@kernel
def _read_keys(
    parts: Ints, cells: Ints, valid: Bytes, text: Bytes, fate: Bytes, start: int, size: int, key: Ints, meta: Ints,
    starts: Ints, counts: Ints, hashes: Ints,
) -> int:  # fmt: skip
    """The keys of the next events, -1 words for an event without windows; how many fitted into `key`."""
    end = 0
    for b in range(size):
        starts[b], counts[b] = end, -1
        if fate[start + b] != ENTERS:
            continue
        stop = write_key(parts, cells, valid, text, start + b, key, end)
        if stop < -1:
            meta[STOP], meta[NEED] = STOP_KEYS, -1 - stop
            return b
        if stop >= 0:
            counts[b] = stop - end
            hashes[b] = hash_words(key, end, stop - end)
            end = stop
    return size


@kernel
def _take_in(
    shape: Ints, measures: Ints, bounds: Ints, frames: Ints, sums: Ints, trees: Ints, folds: Ints, distincts: Ints,
    picks: Ints,
    words: Ints, table: Ints, values: Ints, distinct: Ints, meta: Ints, out: Bytes, key: Ints, spare: Ints, starts: Ints,
    counts: Ints, hashes: Ints, alive: Ints, fresh: Ints, bound_at: Ints, spans: Ints, stage: Ints,
    cells: Ints, valid: Bytes, text: Bytes, wanted: Bytes, watermark: Ints, time_row: int, start: int, size: int,
) -> int:  # fmt: skip
    """Place each event's row and stage what its frames hold; how many events were taken."""
    halves = words.view(np.int32)
    for b in range(size):
        i = start + b
        alive[b] = 0
        if counts[b] < 0:
            continue
        time = cells[time_row, i]
        reach = watermark[i] - shape[LATENESS_US] if watermark[i] > DAWN // 4 else DAWN // 2
        slot = probe(table, words, shape[KEY_AT], hashes[b], key, starts[b], counts[b])
        if meta[PENDING] == 0:
            # in this order: making room may free a text that the event brings back
            if not _make_room(
                shape, measures, trees, folds, distincts, words, halves, table, values, distinct, meta,
                slot, hashes[b], key, starts[b], counts[b], time, reach,
            ):  # fmt: skip
                return b
            if not _read_measures(measures, words, values, meta, cells, valid, text, spare, i, fresh):
                return b
        record, serial = table[slot + RECORD], table[slot + NUMBER]
        if meta[PENDING] == 0:
            meta[PENDING] = place(
                shape, measures, trees, distincts, words, halves, distinct, meta, record, serial, time, fresh
            )
            newest = table[slot + NEWEST]
            table[slot + NEWEST] = time if newest == _FOREVER else max(newest, time)
        if wanted[i] != 0:
            at = meta[PENDING]
            _find_frames(shape, bounds, frames, words, halves, record, time, at, bound_at, spans)
            _stage_sums(shape, measures, frames, sums, words, halves, record, spans, stage, b)
            if not _stage_others(
                shape, measures, frames, trees, folds, distincts, picks, words, halves, distinct, meta, out,
                record, serial, at, spans, stage, b,
            ):  # fmt: skip
                return b
            alive[b] = 1
        meta[PENDING] = 0
        meta[EVENTS] += 1
        if meta[EVENTS] % SWEEP_EVERY == 0:
            _sweep(shape, measures, trees, folds, distincts, words, halves, table, values, distinct, meta, reach)
    return size


@kernel
def _read_measures(
    measures: Ints, words: Ints, values: Ints, meta: Ints, cells: Ints, valid: Bytes, text: Bytes, key: Ints, i: int,
    fresh: Ints,
) -> bool:  # fmt: skip
    """What the event brings to each measure; False when a text found no room."""
    for m in range(len(measures)):
        row, condition = measures[m, ARGUMENT], measures[m, FILTER]
        passed = condition < 0 or (valid[condition, i] == VALID and cells[condition, i] != 0)
        not_null = row < 0 or valid[row, i] == VALID
        lo, hi = 0, 0
        if passed and not_null and row >= 0:
            lo = cells[row, i]
            hi = cells[row + 1, i] if measures[m, KIND] == WIDE else lo >> 63
            if measures[m, KIND] == TEXT and measures[m, VALUE_AT] >= 0:
                lo, hi = _intern(lo, text, words, values, meta, key), 0
                if lo == 0:
                    return False
        fresh[m, PASSES] = 1 if passed and (not_null or measures[m, NULLS] != 0) else 0
        fresh[m, LO], fresh[m, HI] = lo, hi
        fresh[m, NOT_NULL] = 1 if passed and not_null else 0
    return True


@kernel
def _intern(handle: int, text: Bytes, words: Ints, values: Ints, meta: Ints, spare: Ints) -> int:
    """The record of a text, new if need be; 0 when an array must grow."""
    count = text_words(handle)
    if count > len(spare):
        meta[STOP], meta[NEED] = STOP_KEYS, count
        return 0
    write_text(handle, text, spare, 0)
    h = hash_words(spare, 0, count)
    slot = probe(values, words, TEXT_AT, h, spare, 0, count)
    if values[slot + RECORD] != 0:
        return values[slot + RECORD]
    if 2 * (meta[VALUES] + 1) * SLOT > len(values):
        meta[STOP], meta[NEED] = STOP_VALUES, 1
        return 0
    size_class = class_of(TEXT_AT + count)
    record = allocate(words, meta, size_class)
    if record == 0:
        return 0
    words[record], words[record + REFERENCES] = size_class << 32 | count, 0
    words[record + TEXT_AT : record + TEXT_AT + count] = spare[:count]
    values[slot + HASH], values[slot + RECORD] = h, record
    meta[VALUES] += 1
    return record


@kernel
def _make_room(
    shape: Ints, measures: Ints, trees: Ints, folds: Ints, distincts: Ints,
    words: Ints, halves: Halves, table: Ints, values: Ints, distinct: Ints, meta: Ints,
    slot: int, h: int, key: Ints, start: int, count: int, time: int, reach: int,
) -> bool:  # fmt: skip
    """See that the key has a record with room for one more row; False when an array must grow."""
    if 2 * ENTRY * (meta[DISTINCTS] + len(distincts)) > len(distinct):
        meta[STOP], meta[NEED] = STOP_DISTINCTS, len(distincts)
        return False
    record = table[slot + RECORD]
    if record == 0:
        if 2 * (meta[KEYS] + 1) * SLOT > len(table):
            meta[STOP], meta[NEED] = STOP_TABLE, 1
            return False
        record = new_record(shape, words, halves, meta, key, start, count)
        if record == 0:
            return False
        meta[KEYS] += 1
        meta[SERIAL] += 1
        table[slot + HASH], table[slot + RECORD] = h, record
        table[slot + NEWEST], table[slot + NUMBER] = time, meta[SERIAL]
        return True
    header = 2 * record
    if halves[header + FIRST] + halves[header + COUNT] <= halves[header + CAPACITY]:
        return True
    evict(
        shape,
        measures,
        folds,
        trees,
        distincts,
        words,
        halves,
        values,
        distinct,
        meta,
        record,
        table[slot + NUMBER],
        reach,
    )
    rows = half(halves, header + COUNT)
    record = repack(shape, measures, trees, distincts, words, halves, meta, record, rows + rows // 2 + 1)
    if record == 0:
        return False
    table[slot + RECORD] = record
    return True


@kernel
def _find_frames(
    shape: Ints, bounds: Ints, frames: Ints, words: Ints, halves: Halves, record: int, time: int, at: int,
    bound_at: Ints, spans: Ints,
) -> None:  # fmt: skip
    """The rows [spans[2f], spans[2f + 1]) of each frame f, as seen by the row `at`."""
    header, stride, rows_at = 2 * record, shape[ROW_WORDS], rows_of(shape, halves, record)
    first = half(halves, header + FIRST)
    in_order = at + 1 == first + half(halves, header + COUNT)
    for k in range(len(bounds)):
        hint = half(halves, header + HINTS + k)
        bound_at[k] = gallop(words, rows_at, stride, first, at + 1, hint, time - bounds[k])
        if in_order:
            halves[header + HINTS + k] = bound_at[k]
    for f in range(len(frames)):
        begin, end = frames[f, BEGIN], frames[f, END]
        if frames[f, MODE] == RANGE:
            lo = first if begin == UNBOUNDED else bound_at[begin]
            hi = at + 1 if end == CURRENT else bound_at[end]
        else:
            lo = first if begin == UNBOUNDED else max(first, at - begin)
            hi = at - end + 1
        if frames[f, EXCLUDES] != 0:
            hi = at
        spans[2 * f], spans[2 * f + 1] = lo, max(lo, hi)


@kernel
def _rows_that_count(
    measures: Ints, m: int, words: Ints, rows_at: int, stride: int, lo: int, hi: int, all_before: bool
) -> int:
    """How many of the rows [lo, hi) count for the measure; with all rows dropped before them if `all_before`."""
    column = measures[m, COUNT_AT]
    if column < 0:
        return hi - lo
    upto = words[rows_at + (hi - 1) * stride + column]
    return upto if all_before else upto - words[rows_at + (lo - 1) * stride + column]


@kernel
def _stage_sums(
    shape: Ints, measures: Ints, frames: Ints, sums: Ints, words: Ints, halves: Halves, record: int, spans: Ints,
    stage: Ints, b: int,
) -> None:  # fmt: skip
    """Leave count, sum and sum of squares of each frame and measure: the difference of two rows' running totals."""
    stride, rows_at = shape[ROW_WORDS], rows_of(shape, halves, record)
    for s in range(len(sums)):
        f, m, to = sums[s, SUM_FRAME], sums[s, SUM_MEASURE], sums[s, SUM_STAGE]
        lo, hi, unbounded = spans[2 * f], spans[2 * f + 1], frames[f, BEGIN] == UNBOUNDED
        stage[to, b] = _rows_that_count(measures, m, words, rows_at, stride, lo, hi, unbounded)
        to += 1
        upto, before = rows_at + (hi - 1) * stride, rows_at + (lo - 1) * stride
        if measures[m, SUM_AT] >= 0:
            _stage_difference(words, upto, before, measures[m, SUM_AT], measures[m, SUM_WORDS], unbounded, stage, to, b)
            to += measures[m, SUM_WORDS]
        if measures[m, SQUARE_AT] >= 0:
            _stage_difference(words, upto, before, measures[m, SQUARE_AT], 2, unbounded, stage, to, b)


@kernel
def _stage_difference(
    words: Ints, upto: int, before: int, column: int, size: int, unbounded: bool, stage: Ints, to: int, b: int
) -> None:
    """The total of `size` words at `column` of one row less that of another; undiminished if `unbounded`."""
    borrow = np.uint64(0)
    for k in range(size):
        less = np.uint64(0) if unbounded else np.uint64(words[before + column + k])
        word, borrow = usub(np.uint64(words[upto + column + k]), less, borrow)
        stage[to + k, b] = np.int64(word)


@kernel
def _stage_others(
    shape: Ints, measures: Ints, frames: Ints, trees: Ints, folds: Ints, distincts: Ints, picks: Ints,
    words: Ints, halves: Halves, distinct: Ints, meta: Ints, out: Bytes, record: int, serial: int, at: int,
    spans: Ints, stage: Ints, b: int,
) -> bool:  # fmt: skip
    """Leave distinct counts and picked values; False when an array must grow."""
    stride, rows_at = shape[ROW_WORDS], rows_of(shape, halves, record)
    for d in range(len(distincts)):
        f, anchor = distincts[d, DISTINCT_FRAME], 2 * record + HINTS + shape[BOUNDS] + 3 * d
        found = count_distinct(
            measures, distincts, d, words, halves, distinct, meta, anchor, serial, rows_at, stride,
            spans[2 * f], spans[2 * f + 1],
        )  # fmt: skip
        if found < 0:
            return False
        stage[distincts[d, DISTINCT_STAGE], b] = found
    before = meta[TEXT_TOP]
    for p in range(len(picks)):
        f, to, kind = picks[p, PICK_FRAME], picks[p, PICK_STAGE], measures[picks[p, PICK_MEASURE], KIND]
        lo, hi, unbounded = spans[2 * f], spans[2 * f + 1], frames[f, BEGIN] == UNBOUNDED
        if picks[p, PICK_FUNCTION] in (MIN, MAX):
            low, high, there = _pick_extreme(shape, measures, trees, picks, p, words, halves, record, lo, hi, unbounded)
        else:
            value = _pick_row(shape, measures, folds, picks, p, words, halves, record, lo, hi, unbounded, at)
            width = 2 if kind == WIDE else 1
            there = value > 0 and words[value + width] != 0
            low, high = (words[value], words[value + 1]) if there else (0, 0)
        if there and kind == TEXT:
            low = _write_out(words, low, out, meta)
            if low < 0:
                meta[TEXT_TOP] = before
                return False
        stage[to, b], stage[to + 1, b], stage[to + 2, b] = low, high, there
    return True


@kernel
def _pick_extreme(
    shape: Ints, measures: Ints, trees: Ints, picks: Ints, p: int, words: Ints, halves: Halves, record: int,
    lo: int, hi: int, unbounded: bool,
) -> tuple[int, int, bool]:  # fmt: skip
    """The least or greatest value of the rows [lo, hi), as a cell, and whether there is one."""
    t, m, stride, rows_at = (
        picks[p, PICK_USES],
        picks[p, PICK_MEASURE],
        shape[ROW_WORDS],
        rows_of(shape, halves, record),
    )
    if _rows_that_count(measures, m, words, rows_at, stride, lo, hi, unbounded) == 0:
        return 0, 0, False
    capacity = half(halves, 2 * record + CAPACITY)
    first, second = extreme(shape, measures, trees, t, words, rows_at, capacity, lo, hi)
    if unbounded and words[rows_at + (lo - 1) * stride + measures[m, COUNT_AT]] > 0:
        fold = record + trees[t, TREE_FOLD]
        a, b = words[fold], words[fold + 1] if measures[m, KIND] == WIDE else 0
        if a < first or (a == first and b < second):
            first, second = a, b
    low, high = unordered(measures[m, KIND], trees[t, TREE_FLIP], first, second)
    return low, high, True


@kernel
def _pick_row(
    shape: Ints, measures: Ints, folds: Ints, picks: Ints, p: int, words: Ints, halves: Halves, record: int,
    lo: int, hi: int, unbounded: bool, at: int,
) -> int:  # fmt: skip
    """Where the value of first_value, last_value or lag stands (its words, then whether it is not NULL); 0 for nowhere.

    The rows that count are numbered by their running count; those dropped come first.
    """
    m, uses, stride, rows_at = (
        picks[p, PICK_MEASURE],
        picks[p, PICK_USES],
        shape[ROW_WORDS],
        rows_of(shape, halves, record),
    )
    column = rows_at + measures[m, COUNT_AT]
    size = measures[m, VALID_AT] - measures[m, VALUE_AT] + 1
    first = half(halves, 2 * record + FIRST)
    dropped = words[column + (first - 1) * stride]
    if picks[p, PICK_FUNCTION] == LAG:
        lo, hi = first, at
        number = words[column + (at - 1) * stride] - picks[p, PICK_OFFSET] + 1
        hint = at - picks[p, PICK_OFFSET]
    else:
        since = 0 if unbounded else words[column + (lo - 1) * stride]
        upto = words[column + (hi - 1) * stride]
        if upto == since:
            return 0
        is_first = picks[p, PICK_FUNCTION] == FIRST_VALUE
        number, hint = (since + 1, lo) if is_first else (upto, hi - 1)
        if is_first and number <= dropped:
            return record + folds[uses, FOLD_FIRST]
    if number <= 0:
        return 0
    if number <= dropped:
        back = dropped - number
        return record + folds[uses, FOLD_RING] + back * size if back < folds[uses, RING_SIZE] else 0
    row = gallop(words, column, stride, lo, hi, hint, number)
    return rows_at + row * stride + measures[m, VALUE_AT]


@kernel
def _write_out(words: Ints, value: int, out: Bytes, meta: Ints) -> int:
    """Append a text to the outgoing bytes; its handle there, or -1 when they must grow."""
    length, at = words[value + TEXT_AT], meta[TEXT_TOP]
    if at + length > len(out):
        meta[STOP], meta[NEED] = STOP_TEXT, length
        return -1
    source = words.view(np.uint8)
    for k in range(length):
        out[at + k] = source[8 * (value + TEXT_AT + 1) + k]
    meta[TEXT_TOP] = at + length
    return at << HANDLE_BITS | length


@kernel
def _sweep(
    shape: Ints, measures: Ints, trees: Ints, folds: Ints, distincts: Ints,
    words: Ints, halves: Halves, table: Ints, values: Ints, distinct: Ints, meta: Ints, reach: int,
) -> None:  # fmt: skip
    """Look at the next slots of the key table: free keys that no later event can see, shrink those that must stay."""
    mask = len(table) - 1
    meta[CURSOR] &= mask
    for _ in range(SWEEP_SLOTS):
        at = meta[CURSOR]
        record = table[at + RECORD]
        meta[CURSOR] = (at + SLOT) & mask
        if record == 0 or table[at + NEWEST] >= reach - shape[KEEP_US]:
            continue
        evict(
            shape,
            measures,
            folds,
            trees,
            distincts,
            words,
            halves,
            values,
            distinct,
            meta,
            record,
            table[at + NUMBER],
            reach,
        )
        if shape[FREES] != 0:
            release(words, meta, record, half(halves, 2 * record + CLASS))
            remove(table, at)
            meta[KEYS] -= 1
            meta[CURSOR] = at  # another key may have moved here
            continue
        rows = half(halves, 2 * record + COUNT)
        packed = repack(shape, measures, trees, distincts, words, halves, meta, record, max(1, rows))
        if packed != 0:
            table[at + RECORD], table[at + NEWEST] = packed, _FOREVER


@kernel
def _finish(calls: Ints, stage: Ints, alive: Ints, cells: Ints, valid: Bytes, start: int, size: int) -> None:
    """Compute the calls' values from the stage."""
    for c in range(len(calls)):
        function, out = calls[c, CALL_FUNCTION], calls[c, CALL_OUT]
        if calls[c, CALL_VALUE] >= 0:
            _finish_pick(calls, c, stage, alive, cells, valid, start, size)
        elif function in (COUNT_STAR, COUNT_CALL, COUNT_DISTINCT):
            for b in range(size):
                valid[out, start + b] = VALID if alive[b] != 0 else NULL
                cells[out, start + b] = stage[calls[c, CALL_COUNT], b] if alive[b] != 0 else 0
        elif function in (SUM, AVG):
            _finish_sum(calls, c, stage, alive, cells, valid, start, size)
        else:
            _finish_spread(calls, c, stage, alive, cells, valid, start, size)


@kernel
def _finish_pick(
    calls: Ints, c: int, stage: Ints, alive: Ints, cells: Ints, valid: Bytes, start: int, size: int
) -> None:
    """min, max, first_value, last_value and lag: the picked cell."""
    out, value = calls[c, CALL_OUT], calls[c, CALL_VALUE]
    for b in range(size):
        there = alive[b] != 0 and stage[value + 2, b] != 0
        valid[out, start + b] = VALID if there else NULL
        cells[out, start + b] = stage[value, b] if there else 0
        if calls[c, CALL_WORDS] == 2:
            valid[out + 1, start + b] = VALID if there else NULL
            cells[out + 1, start + b] = stage[value + 1, b] if there else 0


@kernel
def _finish_sum(
    calls: Ints, c: int, stage: Ints, alive: Ints, cells: Ints, valid: Bytes, start: int, size: int
) -> None:
    """sum and avg; over nothing they are NULL, beyond 128 bits they are an ERROR."""
    out, count, total, scale = calls[c, CALL_OUT], calls[c, CALL_COUNT], calls[c, CALL_SUM], calls[c, CALL_SCALE]
    doubles = cells.view(np.float64)
    for b in range(size):
        i = start + b
        valid[out, i] = NULL
        if alive[b] == 0 or stage[count, b] == 0:
            continue
        lo, hi = stage[total, b], stage[total + 1, b]
        if calls[c, CALL_WORDS] == 3 and stage[total + 2, b] != hi >> 63:
            valid[out, i] = ERROR
            continue
        valid[out, i] = VALID
        if calls[c, CALL_FUNCTION] == SUM:
            cells[out, i], cells[out + 1, i] = lo, hi
            valid[out + 1, i] = VALID
        else:
            doubles[out, i] = mean(lo, hi, stage[count, b], scale)


@kernel
def _finish_spread(
    calls: Ints, c: int, stage: Ints, alive: Ints, cells: Ints, valid: Bytes, start: int, size: int
) -> None:
    """Variances and standard deviations; NULL where they would divide by zero."""
    function, out, count = calls[c, CALL_FUNCTION], calls[c, CALL_OUT], calls[c, CALL_COUNT]
    total, square, scale = calls[c, CALL_SUM], calls[c, CALL_SQUARE], calls[c, CALL_SCALE]
    sample = 1 if function in (VAR_SAMP, STDDEV_SAMP) else 0
    rooted = function in (STDDEV_SAMP, STDDEV_POP)
    doubles = cells.view(np.float64)
    for b in range(size):
        i, n = start + b, stage[count, b]
        valid[out, i] = NULL
        if alive[b] == 0 or n <= sample:
            continue
        result = variance(
            n, stage[total, b], stage[total + 1, b], stage[square, b], stage[square + 1, b], scale, sample
        )
        doubles[out, i] = np.sqrt(result) if rooted else result
        valid[out, i] = VALID
