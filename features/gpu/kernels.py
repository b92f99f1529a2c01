"""The kernels of the device's windows. Each takes every step-th element from `first` on; none waits for another."""

from __future__ import annotations

import math

import numpy as np

from features.gpu.plan import LIMB_AT, SQUARE_LIMBS, SUM_LIMBS
from features.intern import WIDE
from features.kernel import inlined, kernel
from features.sheet import ERROR, NULL, VALID, Bytes, Ints
from features.shims import mean, mul64, variance
from features.window_plan import (
    ARGUMENT,
    AVG,
    BEGIN,
    CALL_COUNT,
    CALL_FUNCTION,
    CALL_SCALE,
    CALL_SQUARE,
    CALL_SUM,
    CALL_WORDS,
    COUNT,
    COUNT_STAR,
    CURRENT,
    END,
    EXCLUDES,
    FILTER,
    KIND,
    NULLS,
    STDDEV_POP,
    STDDEV_SAMP,
    SUM,
    SUM_FRAME,
    SUM_MEASURE,
    SUM_STAGE,
    SUM_WORDS,
    UNBOUNDED,
    VAR_SAMP,
)  # fmt: skip

_LIMB = 0xFFFFFFFF
_FIRST = -(2**63)  # no row is earlier


@kernel
def bring(first: int, step: int, measures: Ints, limbs: Ints, cells: Ints, valid: Bytes, addends: Ints) -> None:
    """addends[:, j]: what event j brings to each measure. cells, valid: the plan's inputs."""
    for j in range(first, addends.shape[1], step):
        for m in range(len(measures)):
            row, condition, at = measures[m, ARGUMENT], measures[m, FILTER], limbs[m, LIMB_AT]
            passed = condition < 0 or (valid[condition, j] == VALID and cells[condition, j] != 0)
            there = row < 0 or valid[row, j] == VALID
            addends[at, j] = 1 if passed and (there or measures[m, NULLS] != 0) else 0
            lo = cells[row, j] if passed and there and row >= 0 else 0
            hi = lo >> 63
            if measures[m, KIND] == WIDE and passed and there:
                hi = cells[row + 1, j]
            at += 1
            if limbs[m, SUM_LIMBS] == 2:
                addends[at, j], addends[at + 1, j] = lo & _LIMB, lo >> 32
            if limbs[m, SUM_LIMBS] == 4:
                _split(addends, at, j, lo, hi)
                addends[at + 3, j] = hi >> 32
            if limbs[m, SQUARE_LIMBS] > 0:
                square_lo, square_hi = mul64(lo, lo)
                _split(addends, at + limbs[m, SUM_LIMBS], j, square_lo, square_hi)


@inlined
def _split(addends: Ints, at: int, j: int, lo: int, hi: int) -> None:
    """128 bits as four limbs."""
    addends[at, j], addends[at + 1, j] = lo & _LIMB, (lo >> 32) & _LIMB
    addends[at + 2, j], addends[at + 3, j] = hi & _LIMB, (hi >> 32) & _LIMB


@inlined
def _row(keys: Ints, times: Ints, lo: int, hi: int, key: int, time: int) -> int:
    """The first row of [lo, hi) that is not before (key, time)."""
    while lo < hi:
        middle = (lo + hi) >> 1
        if keys[middle] < key or (keys[middle] == key and times[middle] < time):
            lo = middle + 1
        else:
            hi = middle
    return lo


@kernel
def add_run(
    first: int, step: int, frames: Ints, bounds: Ints, sums: Ints, limbs: Ints, totals: Ints, keys: Ints, times: Ints,
    arrivals: Ints, prefix: Ints, event_key: Ints, event_time: Ints, sums_of: Ints,
) -> None:  # fmt: skip
    """Add to each event's totals what its frames hold of a run.

    The run's rows stand by key, and in a key by time; where `arrivals` is not empty also by arrival, and rows that
    arrived after event j, arrivals being counted like the events, do not count. prefix: int64[limbs, rows + 1].
    sums_of: int64[width, events].
    """
    for j in range(first, len(event_key), step):
        key, time = event_key[j], event_time[j]
        begin = _row(keys, times, 0, len(keys), key, _FIRST)
        if begin == len(keys) or keys[begin] != key:
            continue
        end = _row(keys, times, begin, len(keys), key + 1, _FIRST)
        for f in range(len(frames)):
            lo, hi = begin, 0
            if frames[f, BEGIN] != UNBOUNDED:
                lo = _row(keys, times, begin, end, key, time - bounds[frames[f, BEGIN]])
            if frames[f, END] == CURRENT:
                hi = _row(keys, times, lo, end, key, time + 1)
            else:
                hi = _row(keys, times, lo, end, key, time - bounds[frames[f, END]])
            if len(arrivals) > 0:
                seen = j + (0 if frames[f, EXCLUDES] != 0 else 1)
                hi = max(lo, min(hi, _row(keys, arrivals, begin, end, key, seen)))
            if lo == hi:
                continue
            for s in range(len(sums)):
                if sums[s, SUM_FRAME] == f:
                    m = sums[s, SUM_MEASURE]
                    at = limbs[m, LIMB_AT]
                    for k in range(1 + limbs[m, SUM_LIMBS] + limbs[m, SQUARE_LIMBS]):
                        sums_of[totals[s] + k, j] += prefix[at + k, hi] - prefix[at + k, lo]


@kernel
def to_stage(
    first: int, step: int, measures: Ints, sums: Ints, limbs: Ints, totals: Ints, sums_of: Ints, stage: Ints
) -> None:
    """The totals of limbs as words: count, sum and sum of squares, where the calls look for them."""
    for j in range(first, stage.shape[1], step):
        for s in range(len(sums)):
            m, to, at = sums[s, SUM_MEASURE], sums[s, SUM_STAGE], totals[s]
            stage[to, j] = sums_of[at, j]
            if limbs[m, SUM_LIMBS] > 0:
                _join(sums_of, at + 1, limbs[m, SUM_LIMBS], stage, to + 1, measures[m, SUM_WORDS], j)
                to += measures[m, SUM_WORDS]
            if limbs[m, SQUARE_LIMBS] > 0:
                _join(sums_of, at + 1 + limbs[m, SUM_LIMBS], 4, stage, to + 1, 2, j)


@inlined
def _join(sums_of: Ints, at: int, limbs: int, stage: Ints, to: int, words: int, j: int) -> None:
    """Sums of limbs as a two's complement number of so many words."""
    carry, low = 0, 0
    for k in range(2 * words):
        if k < limbs:
            carry += sums_of[at + k, j]
        digit = carry & _LIMB
        carry >>= 32
        if k & 1 == 0:
            low = digit
        else:
            stage[to + (k >> 1), j] = low | digit << 32


@kernel
def finish(first: int, step: int, calls: Ints, stage: Ints, cells: Ints, valid: Bytes) -> None:
    """The calls' values: cells[2 c : 2 c + 2] and valid[c] of each call c and event."""
    doubles = cells.view(np.float64)
    for j in range(first, stage.shape[1], step):
        for c in range(len(calls)):
            function, n = calls[c, CALL_FUNCTION], stage[calls[c, CALL_COUNT], j]
            valid[c, j], cells[2 * c, j], cells[2 * c + 1, j] = NULL, 0, 0
            if function in (COUNT_STAR, COUNT):
                valid[c, j], cells[2 * c, j] = VALID, n
                continue
            lo, hi = stage[calls[c, CALL_SUM], j], stage[calls[c, CALL_SUM] + 1, j]
            if function in (SUM, AVG):
                if n == 0:
                    continue
                valid[c, j] = VALID
                if calls[c, CALL_WORDS] == 3 and stage[calls[c, CALL_SUM] + 2, j] != hi >> 63:
                    valid[c, j] = ERROR
                elif function == SUM:
                    cells[2 * c, j], cells[2 * c + 1, j] = lo, hi
                else:
                    doubles[2 * c, j] = mean(lo, hi, n, calls[c, CALL_SCALE])
                continue
            sample = 1 if function in (VAR_SAMP, STDDEV_SAMP) else 0
            if n > sample:
                square = calls[c, CALL_SQUARE]
                spread = variance(n, lo, hi, stage[square, j], stage[square + 1, j], calls[c, CALL_SCALE], sample)
                doubles[2 * c, j] = math.sqrt(spread) if function in (STDDEV_SAMP, STDDEV_POP) else spread
                valid[c, j] = VALID
