"""The window engine's kernel: one store takes in a batch of events, in arrival order.

Blocks of events go through three passes: read keys and hash them; for each event find its key, place its row and leave
what its frames hold in the stage; compute the calls from the stage, one call over the block after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.arena import (
    CURSOR,
    DISTINCTS,
    EVENTS,
    KEYS,
    NEED,
    PENDING,
    SECRET,
    SERIAL,
    STOP,
    STOP_DISTINCTS,
    STOP_KEYS,
    STOP_TABLE,
    STOP_TEXT,
    STOP_VALUES,
    TEXT_TOP,
    VALUES,
    Int,
    Store,
    allocate,
    class_of,
    half,
    release,
)  # fmt: skip
from features.distincts import ENTRY, count_distinct
from features.extremes import extreme, unordered
from features.intern import (
    FOREVER,
    LINE,
    NEWEST,
    REF,
    SLOT,
    TEXT,
    WIDE,
    hash_words,
    home_of,
    probe,
    record_in,
    ref_of,
    remove,
    text_words,
    write_key,
    write_text,
)  # fmt: skip
from features.kernel import bare, inlined, inner, prefetch
from features.narrow import stays_narrow, widen
from features.record import (
    CAPACITY,
    CLASS,
    COUNT,
    FIRST,
    HINTS,
    is_narrow,
    late_run,
    rows_of,
    stride_of,
)  # fmt: skip
from features.rows import (
    DAWN,
    REFERENCES,
    TEXT_AT,
    comes_late,
    evict,
    first_at,
    gallop,
    new_record,
    open_late_run,
    place,
    repack,
)  # fmt: skip
from features.sheet import ENTERS, ERROR, HANDLE_BITS, NULL, VALID, Bytes, Ints
from features.shims import mean, uadd, usub, variance
from features.window_plan import (
    ARGUMENT,
    AVG,
    BEGIN,
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
    NARROW_WORDS,
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
    ROW_WORDS,
    SERIAL_AT,
    SQUARE_AT,
    SQUARE_WORDS,
    STAGE_ROWS,
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
    Program,
)  # fmt: skip
from features.window_plan import COUNT as COUNT_CALL

BLOCK = 64  # events
SWEEP_EVERY, SWEEP_SLOTS = 16, 64  # events, slots of the key table


class Events(NamedTuple):
    """A batch as the kernel sees it: the sheet's arrays, and per event its fate, whether its values are wanted, W."""

    cells: Ints
    valid: Bytes
    text: Bytes
    fate: Bytes
    wanted: Bytes
    watermark: Ints


class Block(NamedTuple):
    """Scratch for the events of a block. starts, counts: their keys' words (-1 for no windows).   alive: has values.

    fresh, edges, spans: of one event, what it brings to each measure, the row of each bound, the rows of each frame.
    stage: int64[rows, BLOCK + 1], what the calls are computed from, and a spare column.
    """

    starts: Ints
    counts: Ints
    hashes: Ints
    alive: Ints
    fresh: Ints
    edges: Ints
    spans: Ints
    stage: Ints


def scratch_words(plan: Program) -> int:
    """Words of scratch that `run_store` needs."""
    rows = int(plan.shape[STAGE_ROWS])
    return BLOCK * 4 + (BLOCK + 1) * rows + 4 * len(plan.measures) + len(plan.bounds) + 2 * len(plan.frames)


@inlined
def _block(plan: Program, scratch: Ints) -> Block:
    """Divide the scratch."""
    fresh = 4 * BLOCK
    edges = fresh + 4 * len(plan.measures)
    spans = edges + len(plan.bounds)
    stage = spans + 2 * len(plan.frames)
    return Block(
        scratch[:BLOCK],
        scratch[BLOCK : 2 * BLOCK],
        scratch[2 * BLOCK : 3 * BLOCK],
        scratch[3 * BLOCK : 4 * BLOCK],
        scratch[fresh:edges].reshape(len(plan.measures), 4),
        scratch[edges:spans],
        scratch[spans:stage].reshape(len(plan.frames), 2),
        scratch[stage:].reshape(-1, BLOCK + 1),
    )


@bare
def run_store(plan: Program, store: Store, events: Events, time_row: int, start: int) -> int:
    """Take in the events from `start` on; the number of the first one not taken, because an array must grow (STOP)."""
    n = events.cells.shape[1]
    block, middle = _block(plan, store.scratch), len(store.key) // 2
    keys, spare = store.key[:middle], store.key[middle:]
    while start < n:
        size = _read_keys(plan, store, events, start, min(BLOCK, n - start), keys, block)
        _fetch(plan, store, block, size)
        done = 0
        while done < size and _take_in(plan, store, events, time_row, start + done, done, keys, spare, block):
            done += 1
        _finish(plan, events, block, start, done)
        start += done
        if done < size or size == 0:
            break
    return start


@inlined
def _read_keys(plan: Program, store: Store, events: Events, start: int, size: int, keys: Ints, block: Block) -> int:
    """Write and hash the keys of the next events; how many fitted into `keys`."""
    end = 0
    for b in range(size):
        block.starts[b], block.counts[b] = end, -1
        if events.fate[start + b] != ENTERS:
            continue
        stop = write_key(plan.parts, events.cells, events.valid, events.text, start + b, keys, end)
        if stop < -1:
            store.meta[STOP], store.meta[NEED] = STOP_KEYS, -1 - stop
            return b
        if stop >= 0:
            block.counts[b] = stop - end
            block.hashes[b] = hash_words(store.meta[SECRET:], keys, end, stop - end)
            prefetch(store.table, home_of(block.hashes[b], len(store.table) - 1))
            end = stop
    return size


@inlined
def _fetch(plan: Program, store: Store, block: Block, size: int) -> None:
    """Ask for what the events will need: slots, then records, then rows, so that the misses of all of them overlap."""
    words, table, mask = store.words, store.table, len(store.table) - 1
    for b in range(size):
        block.alive[b] = 0
        if block.counts[b] >= 0:
            at = home_of(block.hashes[b], mask)
            while table[at + REF] != 0 and table[at + REF] >> 32 != block.hashes[b] >> 32:
                at = (at + SLOT) & mask
            block.alive[b] = record_in(table, at)
            prefetch(words, block.alive[b])
            prefetch(words, block.alive[b] + LINE)
    for b in range(size):
        record = block.alive[b]
        if record != 0:
            rows_at, first = rows_of(plan, store, record), half(store, 2 * record + FIRST)
            stride = stride_of(store, record)
            last = rows_at + (first + half(store, 2 * record + COUNT) - 1) * stride
            prefetch(words, last)
            prefetch(words, last + LINE)
            if last - record > 4 * LINE:
                for k in range(len(plan.bounds)):
                    prefetch(words, rows_at + half(store, 2 * record + HINTS + k) * stride)


@inlined
def _take_in(
    plan: Program, store: Store, events: Events, time_row: int, i: int, b: int, keys: Ints, spare: Ints, block: Block
) -> bool:
    """Place event i's row and stage what its frames hold; False when an array must grow first."""
    block.alive[b] = 0
    if block.counts[b] < 0:
        return True
    time, watermark, meta, table = events.cells[time_row, i], events.watermark[i], store.meta, store.table
    reach = watermark - plan.shape[LATENESS_US] if watermark > DAWN // 4 else DAWN // 2
    start, count = block.starts[b], block.counts[b]
    slot = probe(table, store.words, plan.shape[KEY_AT], block.hashes[b], keys, start, count)
    run = record_in(table, slot)
    if meta[PENDING] == 0:
        # in this order: making room may free a text that the event brings back
        if not _has_room(plan, store, slot) and not _make_room(
            plan, store, slot, block.hashes[b], keys, start, count, time, reach
        ):
            return False
        if not _read_measures(plan, store, events, i, spare, block.fresh):
            return False
        run = record_in(table, slot)
        if is_narrow(plan, store, run) and not stays_narrow(plan, store, run, block.fresh):
            run = widen(plan, store, run)
            if run == 0:
                return False
            table[slot + REF] = ref_of(block.hashes[b], run)
        if comes_late(plan, store, run, time):
            run = open_late_run(plan, store, run)
            if run == 0:
                return False
        meta[PENDING] = place(plan, store, run, time, block.fresh)
        newest = table[slot + NEWEST]
        table[slot + NEWEST] = time if newest == FOREVER else max(newest, time)
    if events.wanted[i] != 0:
        record = record_in(table, slot)
        _find_frames(plan, store, run, time, meta[PENDING], True, block)
        _stage_sums(plan, store, run, block, b)
        if late_run(store, record) != 0:
            _stage_other_run(plan, store, record if run != record else late_run(store, record), time, block, b)
        if len(plan.distincts) + len(plan.picks) > 0 and not _stage_others(
            plan, store, record, meta[PENDING], block, b
        ):
            return False
        block.alive[b] = 1
    meta[PENDING] = 0
    meta[EVENTS] += 1
    if meta[EVENTS] % SWEEP_EVERY == 0:
        _sweep(plan, store, reach)
    return True


@inlined
def _end_of(store: Store, record: int) -> Int:
    """The number of a next row, the late ones counted."""
    late = late_run(store, record)
    late_count = half(store, 2 * late + COUNT) if late != 0 else 0
    return half(store, 2 * record + FIRST) + half(store, 2 * record + COUNT) + late_count


@inlined
def _has_room(plan: Program, store: Store, slot: int) -> bool:
    """True when the key has a record with room for one more row, and the distinct values may become more."""
    record = record_in(store.table, slot)
    header = 2 * record
    full = _end_of(store, record) > half(store, header + CAPACITY)
    spare = len(store.distinct) - 2 * ENTRY * (store.meta[DISTINCTS] + len(plan.distincts))
    return header != 0 and not full and spare >= 0


@inner
def _make_room(
    plan: Program, store: Store, slot: int, h: int, keys: Ints, start: int, count: int, time: int, reach: int
) -> bool:
    """See that the key has a record with room for one more row; False when an array must grow."""
    meta, table = store.meta, store.table
    if 2 * ENTRY * (meta[DISTINCTS] + len(plan.distincts)) > len(store.distinct):
        meta[STOP], meta[NEED] = STOP_DISTINCTS, len(plan.distincts)
        return False
    record = record_in(table, slot)
    if record == 0:
        if 2 * (meta[KEYS] + 1) * SLOT > len(table):
            meta[STOP], meta[NEED] = STOP_TABLE, 1
            return False
        narrow = plan.shape[NARROW_WORDS]
        record = new_record(plan, store, keys, start, count, narrow if narrow > 0 else plan.shape[ROW_WORDS], 1)
        if record == 0:
            return False
        meta[KEYS] += 1
        meta[SERIAL] += 1
        if len(plan.distincts) > 0:
            store.words[record + plan.shape[SERIAL_AT]] = meta[SERIAL]
        table[slot + REF], table[slot + NEWEST] = ref_of(h, record), time
        return True
    if _end_of(store, record) <= half(store, 2 * record + CAPACITY):
        return True
    evict(plan, store, record, reach)
    rows = half(store, 2 * record + COUNT)
    record = repack(plan, store, record, rows + rows // 2 + 1)
    if record == 0:
        return False
    table[slot + REF] = ref_of(h, record)
    return True


@inlined
def _read_measures(plan: Program, store: Store, events: Events, i: int, spare: Ints, fresh: Ints) -> bool:
    """What the event brings to each measure; False when a text found no room."""
    measures, cells, valid = plan.measures, events.cells, events.valid
    for m in range(len(measures)):
        row, condition = measures[m, ARGUMENT], measures[m, FILTER]
        passed = condition < 0 or (valid[condition, i] == VALID and cells[condition, i] != 0)
        not_null = row < 0 or valid[row, i] == VALID
        lo, hi = 0, 0
        if passed and not_null and row >= 0:
            lo = cells[row, i]
            hi = cells[row + 1, i] if measures[m, KIND] == WIDE else lo >> 63
            if measures[m, KIND] == TEXT and measures[m, VALUE_AT] >= 0:
                lo, hi = _intern(store, lo, events.text, spare), 0
                if lo == 0:
                    return False
        fresh[m, PASSES] = 1 if passed and (not_null or measures[m, NULLS] != 0) else 0
        fresh[m, LO], fresh[m, HI] = lo, hi
        fresh[m, NOT_NULL] = 1 if passed and not_null else 0
    return True


@inner
def _intern(store: Store, handle: int, text: Bytes, spare: Ints) -> Int:
    """The record of a text, new if need be; 0 when an array must grow."""
    words, values, meta, count = store.words, store.values, store.meta, text_words(handle)
    if count > len(spare):
        meta[STOP], meta[NEED] = STOP_KEYS, count
        return 0
    write_text(handle, text, spare, 0)
    h = hash_words(meta[SECRET:], spare, 0, count)
    slot = probe(values, words, TEXT_AT, h, spare, 0, count)
    if values[slot + REF] != 0:
        return record_in(values, slot)
    if 2 * (meta[VALUES] + 1) * SLOT > len(values):
        meta[STOP], meta[NEED] = STOP_VALUES, 1
        return 0
    size_class = class_of(TEXT_AT + count)
    record = allocate(store, size_class)
    if record == 0:
        return 0
    words[record], words[record + REFERENCES] = size_class << 32 | count, 0
    for k in range(count):
        words[record + TEXT_AT + k] = spare[k]
    values[slot + REF] = ref_of(h, record)
    meta[VALUES] += 1
    return record


@inlined
def _edge(words: Ints, column: int, stride: int, lo: int, hi: int, hint: int, least: int) -> int:
    """The same as `gallop`; without a branch where it is `hint` or the row behind, as most often."""
    if lo <= hint and hint + 2 <= hi and (hint == lo or words[column + (hint - 1) * stride] < least):
        row = column + hint * stride
        if words[row + stride] >= least:
            return hint + (1 if words[row] < least else 0)
    return gallop(words, column, stride, lo, hi, hint, least)


@inlined
def _find_frames(plan: Program, store: Store, record: int, time: int, at: int, own: bool, block: Block) -> None:
    """The rows [spans[f, 0], spans[f, 1]) of each frame f; `at` is the event's own row, or the last not after it."""
    header, stride, rows_at = 2 * record, stride_of(store, record), rows_of(plan, store, record)
    frames, edges, spans, first = plan.frames, block.edges, block.spans, half(store, header + FIRST)
    in_order = at + 1 == first + half(store, header + COUNT)
    for k in range(len(edges)):
        hint = half(store, header + HINTS + k)
        edges[k] = _edge(store.words, rows_at, stride, first, at + 1, hint, time - plan.bounds[k])
        if in_order:
            store.halves[header + HINTS + k] = edges[k]
    for f in range(len(frames)):
        begin, end = frames[f, BEGIN], frames[f, END]
        if frames[f, MODE] == RANGE:
            lo = first if begin == UNBOUNDED else edges[begin]
            hi = at + 1 if end == CURRENT else edges[end]
        else:
            lo = first if begin == UNBOUNDED else max(first, at - begin)
            hi = at - end + 1
        if own and frames[f, EXCLUDES] != 0:
            hi = at
        spans[f, 0], spans[f, 1] = lo, max(lo, hi)


@inlined
def _stage_sums(plan: Program, store: Store, record: int, block: Block, b: int) -> None:
    """Leave count, sum and sum of squares of each frame and measure: the difference of two rows' running totals."""
    words, sums, spans, stage = store.words, plan.sums, block.spans, block.stage
    measures, stride = (plan.narrow if is_narrow(plan, store, record) else plan.measures), stride_of(store, record)
    base = rows_of(plan, store, record) - stride
    for s in range(len(sums)):
        f, m, to = sums[s, SUM_FRAME], sums[s, SUM_MEASURE], sums[s, SUM_STAGE]
        lo, hi, keep = spans[f, 0], spans[f, 1], plan.frames[f, BEGIN] == UNBOUNDED
        before, upto = base + lo * stride, base + hi * stride
        count_at, sum_at, square_at = measures[m, COUNT_AT], measures[m, SUM_AT], measures[m, SQUARE_AT]
        if count_at < 0:
            stage[to, b] = hi - lo
        else:
            stage[to, b] = words[upto + count_at] - (0 if keep else words[before + count_at])
        if sum_at >= 0:
            size, full = measures[m, SUM_WORDS], plan.measures[m, SUM_WORDS]
            _stage_difference(words, upto + sum_at, before + sum_at, size, keep, stage, to + 1, full, b)
            to += full
        if square_at >= 0:
            size = measures[m, SQUARE_WORDS]
            _stage_difference(words, upto + square_at, before + square_at, size, keep, stage, to + 1, 2, b)


@inlined
def _stage_difference(
    words: Ints, upto: int, before: int, size: int, keep: bool, stage: Ints, to: int, full: int, b: int
) -> None:
    """A total of so many words less an earlier one of the same, undiminished if `keep`, as one of `full` words."""
    if size == 1:
        total = words[upto] - (0 if keep else words[before])
        for k in range(to, to + full):
            stage[k, b] = total
            total >>= 63
        return
    mask = np.uint64(0 if keep else -1)
    word, borrow = usub(np.uint64(words[upto]), np.uint64(words[before]) & mask, np.uint64(0))
    stage[to, b] = np.int64(word)
    word, borrow = usub(np.uint64(words[upto + 1]), np.uint64(words[before + 1]) & mask, borrow)
    stage[to + 1, b] = np.int64(word)
    if size > 2:
        word, borrow = usub(np.uint64(words[upto + 2]), np.uint64(words[before + 2]) & mask, borrow)
        stage[to + 2, b] = np.int64(word)


@inner
def _stage_other_run(plan: Program, store: Store, run: int, time: int, block: Block, b: int) -> None:
    """Add what the frames hold of that run of the key's rows in which the event's own does not stand."""
    first, rows_at = half(store, 2 * run + FIRST), rows_of(plan, store, run)
    end = first + half(store, 2 * run + COUNT)
    at = first_at(store.words, rows_at, stride_of(store, run), first, end, time + 1) - 1
    _find_frames(plan, store, run, time, at, False, block)
    _stage_sums(plan, store, run, block, BLOCK)
    for s in range(len(plan.sums)):
        m, to = plan.sums[s, SUM_MEASURE], plan.sums[s, SUM_STAGE]
        _add_staged(block.stage, to, 1, b)
        if plan.measures[m, SUM_AT] >= 0:
            _add_staged(block.stage, to + 1, plan.measures[m, SUM_WORDS], b)
        if plan.measures[m, SQUARE_AT] >= 0:
            _add_staged(block.stage, to + 1 + plan.measures[m, SUM_WORDS], 2, b)


@inlined
def _add_staged(stage: Ints, to: int, size: int, b: int) -> None:
    """Add to a total what stands in the spare column."""
    carry = np.uint64(0)
    for k in range(to, to + size):
        word, carry = uadd(np.uint64(stage[k, b]), np.uint64(stage[k, BLOCK]), carry)
        stage[k, b] = np.int64(word)


@inner
def _stage_others(plan: Program, store: Store, record: int, at: int, block: Block, b: int) -> bool:
    """Leave distinct counts and picked values; False when an array must grow."""
    words, picks, stage, rows_at = store.words, plan.picks, block.stage, rows_of(plan, store, record)
    for d in range(len(plan.distincts)):
        f = plan.distincts[d, DISTINCT_FRAME]
        lo, hi = block.spans[f, 0], block.spans[f, 1]
        found = count_distinct(plan, store, d, record, rows_at, lo, hi)
        if found < 0:
            return False
        stage[plan.distincts[d, DISTINCT_STAGE], b] = found
    before = store.meta[TEXT_TOP]
    for p in range(len(picks)):
        f, to, kind = picks[p, PICK_FRAME], picks[p, PICK_STAGE], plan.measures[picks[p, PICK_MEASURE], KIND]
        lo, hi = block.spans[f, 0], block.spans[f, 1]
        if picks[p, PICK_FUNCTION] in (MIN, MAX):
            low, high, there = _pick_extreme(plan, store, p, record, lo, hi)
        else:
            value = _pick_row(plan, store, p, record, lo, hi, at)
            there = value > 0 and words[value + (2 if kind == WIDE else 1)] != 0
            low, high = (int(words[value]), int(words[value + 1])) if there else (0, 0)
        if there and kind == TEXT:
            low = _write_out(store, low)
            if low < 0:
                store.meta[TEXT_TOP] = before
                return False
        stage[to, b], stage[to + 1, b], stage[to + 2, b] = low, high, there
    return True


@inner
def _pick_extreme(plan: Program, store: Store, p: int, record: int, lo: int, hi: int) -> tuple[int, int, bool]:
    """The least or greatest value of the rows [lo, hi), as a cell, and whether there is one."""
    words, t, m = store.words, plan.picks[p, PICK_USES], plan.picks[p, PICK_MEASURE]
    rows_at = rows_of(plan, store, record)
    column, stride, kind = rows_at + plan.measures[m, COUNT_AT], plan.shape[ROW_WORDS], plan.measures[m, KIND]
    unbounded = plan.frames[plan.picks[p, PICK_FRAME], BEGIN] == UNBOUNDED
    earlier, upto = words[column + (lo - 1) * stride], words[column + (hi - 1) * stride]
    if upto == (0 if unbounded else earlier):
        return 0, 0, False
    first, second = extreme(plan, store, t, rows_at, half(store, 2 * record + CAPACITY), lo, hi)
    if unbounded and earlier > 0:
        fold = record + plan.trees[t, TREE_FOLD]
        a, b = words[fold], words[fold + 1] if kind == WIDE else 0
        if a < first or (a == first and b < second):
            first, second = a, b
    low, high = unordered(kind, plan.trees[t, TREE_FLIP], first, second)
    return low, high, True


@inner
def _pick_row(plan: Program, store: Store, p: int, record: int, lo: int, hi: int, at: int) -> Int:
    """Where the value of first_value, last_value or lag stands (its words, then whether it is not NULL); 0 for nowhere.

    The rows that count are numbered by their running count; those dropped come first.
    """
    words, folds, picks = store.words, plan.folds, plan.picks
    function, m, offset = picks[p, PICK_FUNCTION], picks[p, PICK_MEASURE], picks[p, PICK_OFFSET]
    stride, rows_at = plan.shape[ROW_WORDS], rows_of(plan, store, record)
    value_at, column = plan.measures[m, VALUE_AT], rows_at + plan.measures[m, COUNT_AT]
    first = half(store, 2 * record + FIRST)
    dropped = words[column + (first - 1) * stride]
    if function == LAG:
        lo, hi, hint = first, at, at - offset
        number = words[column + (at - 1) * stride] - offset + 1
    else:
        unbounded = plan.frames[picks[p, PICK_FRAME], BEGIN] == UNBOUNDED
        since = 0 if unbounded else words[column + (lo - 1) * stride]
        upto = words[column + (hi - 1) * stride]
        if upto == since:
            return 0
        number, hint = upto, hi - 1
        if function == FIRST_VALUE:
            number, hint = since + 1, lo
        if function == FIRST_VALUE and number <= dropped:
            return record + folds[picks[p, PICK_USES], FOLD_FIRST]
    if number <= 0:
        return 0
    if number <= dropped:
        size = plan.measures[m, VALID_AT] - value_at + 1
        return record + folds[picks[p, PICK_USES], FOLD_RING] + (dropped - number) * size
    return rows_at + gallop(words, column, stride, lo, hi, hint, number) * stride + value_at


@inner
def _write_out(store: Store, value: int) -> Int:
    """Append a text to the outgoing bytes; its handle there, or -1 when they must grow."""
    words, meta = store.words, store.meta
    length, at = words[value + TEXT_AT], meta[TEXT_TOP]
    if at + length > len(store.out):
        meta[STOP], meta[NEED] = STOP_TEXT, length
        return -1
    for k in range(length):
        store.out[at + k] = (words[value + TEXT_AT + 1 + (k >> 3)] >> (8 * (k & 7))) & 0xFF
    meta[TEXT_TOP] = at + length
    return at << HANDLE_BITS | length


@inner
def _sweep(plan: Program, store: Store, reach: int) -> None:
    """Look at the next slots of the key table: free keys that no later event can see, shrink those that must stay."""
    meta, table, mask = store.meta, store.table, len(store.table) - 1
    limit = reach - plan.shape[KEEP_US]
    meta[CURSOR] &= mask
    for _ in range(SWEEP_SLOTS):
        at = meta[CURSOR]
        meta[CURSOR] = (at + SLOT) & mask
        if table[at + NEWEST] >= limit:
            continue
        record = record_in(table, at)
        evict(plan, store, record, reach)
        if plan.shape[FREES] != 0:
            release(store, record, half(store, 2 * record + CLASS))
            remove(table, at)
            meta[KEYS] -= 1
            meta[CURSOR] = at  # another key may have moved here
            continue
        packed = repack(plan, store, record, max(1, half(store, 2 * record + COUNT)))
        if packed != 0:
            table[at + REF], table[at + NEWEST] = ref_of(table[at + REF], packed), FOREVER


@inner
def _finish(plan: Program, events: Events, block: Block, start: int, size: int) -> None:
    """Compute the calls' values from the stage."""
    for c in range(len(plan.calls)):
        function = plan.calls[c, CALL_FUNCTION]
        if plan.calls[c, CALL_VALUE] >= 0:
            _finish_pick(plan.calls, c, events, block, start, size)
        elif function in (COUNT_STAR, COUNT_CALL, COUNT_DISTINCT):
            _finish_count(plan.calls, c, events, block, start, size)
        elif function in (SUM, AVG):
            _finish_sum(plan.calls, c, events, block, start, size)
        else:
            _finish_spread(plan.calls, c, events, block, start, size)


@inner
def _finish_pick(calls: Ints, c: int, events: Events, block: Block, start: int, size: int) -> None:
    """min, max, first_value, last_value and lag: the picked cell."""
    out, value, wide = calls[c, CALL_OUT], calls[c, CALL_VALUE], calls[c, CALL_WORDS] == 2
    for b in range(size):
        there = block.alive[b] != 0 and block.stage[value + 2, b] != 0
        events.valid[out, start + b] = VALID if there else NULL
        events.cells[out, start + b] = block.stage[value, b] if there else 0
        if wide:
            events.cells[out + 1, start + b] = block.stage[value + 1, b] if there else 0


@inner
def _finish_count(calls: Ints, c: int, events: Events, block: Block, start: int, size: int) -> None:
    """Counts, which are 0 over nothing."""
    out, count = calls[c, CALL_OUT], calls[c, CALL_COUNT]
    for b in range(size):
        events.valid[out, start + b] = VALID if block.alive[b] != 0 else NULL
        events.cells[out, start + b] = block.stage[count, b]


@inner
def _finish_sum(calls: Ints, c: int, events: Events, block: Block, start: int, size: int) -> None:
    """sum and avg; over nothing they are NULL, beyond 128 bits they are an ERROR."""
    out, count, total, scale = calls[c, CALL_OUT], calls[c, CALL_COUNT], calls[c, CALL_SUM], calls[c, CALL_SCALE]
    cells, valid, stage, doubles = events.cells, events.valid, block.stage, events.cells.view(np.float64)
    is_sum, checked = calls[c, CALL_FUNCTION] == SUM, calls[c, CALL_WORDS] == 3
    for b in range(size):
        i = start + b
        valid[out, i] = NULL
        if block.alive[b] == 0 or stage[count, b] == 0:
            continue
        lo, hi = stage[total, b], stage[total + 1, b]
        if checked and stage[total + 2, b] != hi >> 63:
            valid[out, i] = ERROR
            continue
        valid[out, i] = VALID
        if is_sum:
            cells[out, i], cells[out + 1, i] = lo, hi
        else:
            doubles[out, i] = mean(lo, hi, stage[count, b], scale)


@inner
def _finish_spread(calls: Ints, c: int, events: Events, block: Block, start: int, size: int) -> None:
    """Variances and standard deviations; NULL where they would divide by zero."""
    function, out, count = calls[c, CALL_FUNCTION], calls[c, CALL_OUT], calls[c, CALL_COUNT]
    total, square, scale = calls[c, CALL_SUM], calls[c, CALL_SQUARE], calls[c, CALL_SCALE]
    sample, rooted = 1 if function in (VAR_SAMP, STDDEV_SAMP) else 0, function in (STDDEV_SAMP, STDDEV_POP)
    stage, doubles = block.stage, events.cells.view(np.float64)
    for b in range(size):
        i, n = start + b, stage[count, b]
        events.valid[out, i] = NULL
        if block.alive[b] == 0 or n <= sample:
            continue
        sum_lo, sum_hi, square_lo, square_hi = (
            stage[total, b],
            stage[total + 1, b],
            stage[square, b],
            stage[square + 1, b],
        )
        result = variance(n, sum_lo, sum_hi, square_lo, square_hi, scale, sample)
        doubles[out, i] = np.sqrt(result) if rooted else result
        events.valid[out, i] = VALID
