"""What of a store's plan runs on a device: counts and sums over RANGE frames, that is all but picks and DISTINCT.

A row's addends are split into limbs of 32 bits, an int64 each, so that any 2^31 rows add up without a carry; running
totals may wrap, as their differences do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.gpu.device import Array, Device
from features.intern import WIDE
from features.sheet import Ints
from features.window_plan import ARGUMENT, FILTER, KIND, LATE_ROWS, SQUARE_AT, SUM_AT, SUM_MEASURE, Program

# limbs: the first row of a measure's addends, which counts; how many are its sum's, how many its squares'.
LIMB_AT, SUM_LIMBS, SQUARE_LIMBS = 0, 1, 2


class Tables(NamedTuple):
    """What the kernels read of a plan, each int64[items, columns].

    measures, frames, sums, calls: the program's, with arguments and filters numbered as in DevicePlan.inputs.
    bounds: int64[b].   limbs: [measures, 3].   totals: int64[sums], where the limbs of each sum begin.
    """

    measures: Array
    bounds: Array
    frames: Array
    sums: Array
    calls: Array
    limbs: Array
    totals: Array


@dataclass(frozen=True)
class DevicePlan:
    """A store's program as the device runs it.

    inputs: int64[k], rows of the sheet that it reads.   rows: limbs of a row.   width: limbs of an event's totals.
    """

    program: Program
    tables: Tables
    inputs: Ints
    rows: int
    width: int


def fits(program: Program) -> bool:
    """True when a frame's values are sums over rows, in whatever order these stand."""
    return bool(program.shape[LATE_ROWS] > 0)


def plan_device(program: Program, device: Device) -> DevicePlan:
    """Lay out the limbs, and put the tables on the device."""
    inputs, measures = _inputs(program.measures)
    limbs, rows = [], 0
    for measure in measures:
        sums = 0 if measure[SUM_AT] < 0 else 4 if measure[KIND] == WIDE else 2
        squares = 0 if measure[SQUARE_AT] < 0 else 4
        limbs.append((rows, sums, squares))
        rows += 1 + sums + squares
    sizes = [1 + limbs[m][SUM_LIMBS] + limbs[m][SQUARE_LIMBS] for m in program.sums[:, SUM_MEASURE]]
    ends = np.cumsum([0, *sizes])
    tables = (measures, program.bounds, program.frames, program.sums, program.calls, _table(limbs), ends[:-1])
    return DevicePlan(program, Tables(*map(device.up, tables)), inputs, rows, int(ends[-1]))


def _inputs(measures: Ints) -> tuple[Ints, Ints]:
    """The sheet's rows that measures read, and the measures with these rows' places instead."""
    inputs: list[int] = []
    moved = measures.copy()
    for measure in moved:
        wide = measure[KIND] == WIDE
        for column, size in ((ARGUMENT, 2 if wide else 1), (FILTER, 1)):
            if measure[column] >= 0:
                inputs += range(measure[column], measure[column] + size)
                measure[column] = len(inputs) - size
    return np.array(inputs, np.int64), moved


def _table(rows: list[tuple[int, int, int]]) -> Ints:
    return np.array(rows, np.int64).reshape(-1, 3)
