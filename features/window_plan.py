"""Window calls as arrays: what the generic kernels of the window engine run.

Calls of one partition share a *store*: its keys, their rows. Distinct pairs of argument and filter are its *measures*,
distinct times at which frames begin or end its *bounds*. Each array below is int64[items, columns]; the columns' names
stand here. "Stage" is where the kernel leaves, for a block of events, what the calls are then computed from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from features.expr import Column, Expr
from features.intern import DOUBLE, NARROW, TEXT, WIDE
from features.query import FUNCTIONS, Frame, WindowCall
from features.refusal import Refusal
from features.sheet import Ints, Layout, Slot
from features.types import Kind, Type

# shape: int64[SHAPE], the numbers of a store.
ROW_WORDS, KEY_AT, BOUNDS, TREE_NODES, KEEP_US, KEEP_ROWS, LATENESS_US, FREES, STAGE_ROWS = 0, 1, 2, 3, 4, 5, 6, 7, 8
LATE_ROWS = 9  # late rows of a key that stand apart until they are merged; 0 where rows must stand in one run
SERIAL_AT = 10  # where in a record its key's serial stands, which only count(DISTINCT) needs
NARROW_WORDS = 11  # of a narrow row; 0 where all rows are full
SHAPE = 12

# measures: where argument and filter come from, and which words of a row hold the number of rows that count, their sum,
# their sum of squares, the value itself and whether there is one; -1 for what no call needs.
ARGUMENT, FILTER, KIND, NULLS, COUNT_AT, SUM_AT, SUM_WORDS, SQUARE_AT, VALUE_AT, VALID_AT = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
SQUARE_WORDS = 10
MEASURE = 11

# fresh: int64[m, FRESH], what the arriving event brings to each measure.
PASSES, LO, HI, NOT_NULL = 0, 1, 2, 3
FRESH = 4

# frames: RANGE or ROWS; begin and end: a bound's number, or a distance in rows, or one of the codes below.
MODE, BEGIN, END, EXCLUDES = 0, 1, 2, 3
RANGE, ROWS = 0, 1
UNBOUNDED, CURRENT = -1, -1

# sums: the running totals of a measure over a frame, left at a row of the stage: count, sum, sum of squares.
SUM_FRAME, SUM_MEASURE, SUM_STAGE = 0, 1, 2

# trees: extremes over a measure; where in a node its word stands, and where in a record that of dropped rows.
TREE_MEASURE, TREE_FLIP, TREE_NODE, TREE_FOLD = 0, 1, 2, 3

# folds: what is kept of a measure's dropped rows: the first that counted, the last RING_SIZE that counted.
FOLD_MEASURE, FOLD_FIRST, FOLD_RING, RING_SIZE = 0, 1, 2, 3

# distincts: a count(DISTINCT) each.
DISTINCT_FRAME, DISTINCT_MEASURE, DISTINCT_STAGE = 0, 1, 2

# picks: calls that pick a value; USES: the tree of min and max, the fold of the others, -1 for none.
PICK_FUNCTION, PICK_FRAME, PICK_MEASURE, PICK_USES, PICK_OFFSET, PICK_STAGE = 0, 1, 2, 3, 4, 5

# calls: which function of which rows of the stage goes to which row of the sheet.
CALL_FUNCTION, CALL_OUT, CALL_COUNT, CALL_SUM, CALL_SQUARE, CALL_VALUE, CALL_WORDS, CALL_SCALE = 0, 1, 2, 3, 4, 5, 6, 7

(
    COUNT_STAR, COUNT, COUNT_DISTINCT, SUM, AVG, MIN, MAX,
    VAR_SAMP, VAR_POP, STDDEV_SAMP, STDDEV_POP, FIRST_VALUE, LAST_VALUE, LAG,
) = range(len(FUNCTIONS))  # fmt: skip

HEADER_HALVES = 7  # see record.py
_LONGEST_US = 2**60  # 36,000 years: bounds beyond it are the same bound, and sums with times cannot overflow
_MAX_SCALE = 9
_LATE_ROWS = 512
_SQUARES = ("var_samp", "var_pop", "stddev_samp", "stddev_pop")
_SUMS = ("sum", "avg", *_SQUARES)
_PICKS = ("min", "max", "first_value", "last_value", "lag")


class Program(NamedTuple):
    """The arrays of one store. parts: int64[p, 2], the sheet's row of each key expression and how it is read.

    narrow: the measures where a row is narrow: totals of one word, and no count where every row counts (see rows.py).
    """

    shape: Ints
    parts: Ints
    measures: Ints
    narrow: Ints
    bounds: Ints
    frames: Ints
    sums: Ints
    trees: Ints
    folds: Ints
    distincts: Ints
    picks: Ints
    calls: Ints


@dataclass(frozen=True)
class StorePlan:
    """The calls over one partition. texts: rows of the sheet that receive texts."""

    partition: tuple[Expr, ...]
    program: Program
    texts: tuple[int, ...]


@dataclass(frozen=True)
class WindowPlan:
    """All window calls of a stage. inputs: what must stand in which slot before `advance`."""

    stores: tuple[StorePlan, ...]
    inputs: list[tuple[Expr, Slot]]


def plan_windows(calls: Sequence[WindowCall], layout: Layout, lateness_us: int) -> WindowPlan:
    """Group calls into stores, and give every key, argument, filter and value a slot.

    A call's value gets the column `call.name`. Refusal for calls that cannot be computed exactly.
    """
    inputs: dict[Expr, Slot] = {}

    def slot(expr: Expr) -> Slot:
        if isinstance(expr, Column) and expr.name in layout:
            return layout[expr.name]
        if expr not in inputs:
            inputs[expr] = layout.temporary(expr.type)
        return inputs[expr]

    stores: dict[tuple[Expr, ...], _Builder] = {}
    for call in calls:
        _check(call)
        builder = stores.setdefault(call.partition, _Builder(call.partition, slot))
        builder.add(call, layout.add(call.name, call.type))
    return WindowPlan(tuple(builder.build(lateness_us) for builder in stores.values()), list(inputs.items()))


def _check(call: WindowCall) -> None:
    """Refuse what has no exact value here."""
    frame, function = call.frame, call.function
    kind = call.argument.type if call.argument is not None else None
    if frame.end < 0 or (frame.start is not None and frame.start < 0):
        raise Refusal("the frame reaches past the current row", "end it at CURRENT ROW or before", call.place)
    if function == "count_distinct" and frame.start is None:
        raise Refusal("count(DISTINCT) over an unbounded frame", "begin the frame at an interval", call.place)
    if function == "lag" and call.offset < 1:
        raise Refusal(f"lag by {call.offset} rows", "use an offset of 1 or more", call.place)
    if kind is None:
        if function != "count_star":
            raise Refusal(f"{function} without an argument", "name what it is of", call.place)
        return
    if function in _SUMS and not (kind.exact or kind.kind is Kind.NULL):
        raise Refusal(f"{function} of {kind}", "cast the argument to DECIMAL", call.place)
    if function in ("min", "max") and kind.kind is Kind.TEXT:
        raise Refusal(f"{function} of text", "take it of a number or a time", call.place)
    if function in _SQUARES and kind.wide:
        raise Refusal(f"{function} of {kind}: squares need 64 bits", "cast to DECIMAL(18, s)", call.place)
    if function in _SUMS and function != "sum" and kind.scale > _MAX_SCALE:
        raise Refusal(f"{function} of {kind}", f"cast to at most {_MAX_SCALE} digits after the point", call.place)


def how_read(type: Type) -> int:
    """How a cell of this type is read by the kernels."""
    if type.wide:
        return WIDE
    return {Kind.TEXT: TEXT, Kind.DOUBLE: DOUBLE}.get(type.kind, NARROW)


@dataclass
class _Measure:
    """An argument and a filter, and what the calls need of it."""

    argument: Slot | None
    filter: Slot | None
    nulls: bool  # rows whose argument is NULL count, too
    count: bool = False
    sum: bool = False
    square: bool = False
    value: bool = False
    unbounded: bool = False
    unbounded_first: bool = False
    ring: int = 0

    @property
    def kind(self) -> int:
        return how_read(self.argument.type) if self.argument else NARROW

    @property
    def width(self) -> int:
        return 2 if self.kind == WIDE else 1

    @property
    def count_always(self) -> bool:
        """True where the number of rows would not do even if every argument were there."""
        return self.filter is not None or self.unbounded

    @property
    def sum_words(self) -> int:
        return self.width + 1  # three words hold a sum of 128-bit values, so that an overflow is seen


@dataclass
class _Call:
    """A call with its measure and frame by number."""

    call: WindowCall
    out: Slot
    measure: int
    frame: int


@dataclass
class _Builder:
    """Collects the calls of one partition, then lays out rows, records and stage."""

    partition: tuple[Expr, ...]
    slot: Callable[[Expr], Slot]
    measures: dict[tuple[Expr | None, Expr | None, bool], _Measure] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)

    def add(self, call: WindowCall, out: Slot) -> None:
        """Note one more call."""
        keeps_nulls = call.function in ("first_value", "last_value", "lag") and not call.ignore_nulls
        key = (call.argument, call.filter, keeps_nulls)
        if key not in self.measures:
            argument, condition = (self.slot(part) if part is not None else None for part in key[:2])
            self.measures[key] = _Measure(argument, condition, keeps_nulls)
        frame = _canonical(call.frame)
        if frame not in self.frames:
            self.frames.append(frame)
        number = list(self.measures).index(key)
        self.calls.append(_Call(call, out, number, self.frames.index(frame)))
        self._note_needs(self.measures[key], call)

    def _note_needs(self, measure: _Measure, call: WindowCall) -> None:
        function, unbounded = call.function, call.frame.start is None
        counts_all = measure.argument is None and measure.filter is None
        measure.count |= not counts_all or unbounded
        measure.unbounded |= unbounded
        measure.sum |= function in _SUMS
        measure.square |= function in _SQUARES
        measure.value |= function in (*_PICKS, "count_distinct")
        measure.unbounded_first |= function == "first_value" and unbounded
        if function == "last_value" and unbounded:
            measure.ring = max(measure.ring, 1)
        if function == "lag":
            measure.ring = max(measure.ring, call.offset)

    def build(self, lateness_us: int) -> StorePlan:
        """The arrays."""
        bounds, frames = self._frames()
        measures, row_words = self._measures(False)
        narrow, narrow_words = self._measures(True)
        distinct_calls = [call for call in self.calls if call.call.function == "count_distinct"]
        header = (HEADER_HALVES + len(bounds) + 3 * len(distinct_calls) + 1) // 2
        folds, key_at = self._folds(header + bool(distinct_calls))
        trees, nodes, key_at = self._trees(key_at)
        sums, stage = self._sums()
        distincts, picks, calls, stage = self._results(sums, trees, folds, stage)
        ranges = [f.start if f.start is not None else f.end for f in self.frames if f.mode == "range"]
        rows = [f.start if f.start is not None else f.end for f in self.frames if f.mode == "rows"]
        apart = not rows and not any(m.value for m in self.measures.values())
        forgetful = not rows and not any(m.ring for m in self.measures.values())
        forgetful = forgetful and all(f.start is not None for f in self.frames)
        shape = np.zeros(SHAPE, np.int64)
        shape[[ROW_WORDS, KEY_AT, BOUNDS, TREE_NODES]] = row_words, key_at, len(bounds), nodes
        shape[[KEEP_US, KEEP_ROWS]] = max(ranges, default=0), max(rows, default=0)
        shape[[LATENESS_US, FREES, STAGE_ROWS, LATE_ROWS]] = lateness_us, forgetful, stage, _LATE_ROWS * apart
        shape[[SERIAL_AT, NARROW_WORDS]] = header, narrow_words * (apart and narrow_words < row_words)
        slots = [self.slot(part) for part in self.partition]
        parts = _table([(slot.row, how_read(slot.type)) for slot in slots], 2)
        texts = tuple(call.out.row for call in self.calls if call.out.type.kind is Kind.TEXT)
        edges = np.array(bounds, np.int64)
        program = Program(shape, parts, measures, narrow, edges, frames, sums, trees, folds, distincts, picks, calls)
        return StorePlan(self.partition, program, texts)

    def _frames(self) -> tuple[list[int], Ints]:
        """The bounds, each as "first row of event_time >= t - bound", and the frames over them."""
        bounds: list[int] = []

        def bound(us: int) -> int:
            if us not in bounds:
                bounds.append(us)
            return bounds.index(us)

        rows = []
        for frame in self.frames:
            begin, end = frame.start, frame.end
            if frame.mode == "range":
                first = UNBOUNDED if begin is None else bound(begin)
                rows.append((RANGE, first, CURRENT if end == 0 else bound(end - 1), frame.exclude_current))
            else:
                rows.append((ROWS, UNBOUNDED if begin is None else begin, end, frame.exclude_current))
        return bounds, _table(rows, 4)

    def _measures(self, narrow: bool) -> tuple[Ints, int]:
        """The measures, and the words of a row."""
        at, rows = 1, []
        for measure in self.measures.values():
            places = []
            sum_words, square_words = (1, 1) if narrow else (measure.sum_words, 2)
            for needed, size in (
                (measure.count_always if narrow else measure.count, 1),
                (measure.sum, sum_words),
                (measure.square, square_words),
                (measure.value, measure.width),
                (measure.value, 1),
            ):
                places.append(at if needed else -1)
                at += size if needed else 0
            count_at, sum_at, square_at, value_at, valid_at = places
            argument = measure.argument.row if measure.argument else -1
            condition = measure.filter.row if measure.filter else -1
            sources = (argument, condition, measure.kind, measure.nulls)
            rows.append((*sources, count_at, sum_at, sum_words, square_at, value_at, valid_at, square_words))
        return _table(rows, MEASURE), at

    def _folds(self, at: int) -> tuple[Ints, int]:
        rows = []
        for number, measure in enumerate(self.measures.values()):
            size, first, ring = measure.width + 1, -1, -1
            if measure.unbounded_first:
                first, at = at, at + size
            if measure.ring:
                ring, at = at, at + size * measure.ring
            if first >= 0 or ring >= 0:
                rows.append((number, first, ring, measure.ring))
        return _table(rows, 4), at

    def _trees(self, at: int) -> tuple[Ints, int, int]:
        """The trees, the words of one node of all of them, and the next free word of a record."""
        wanted: dict[tuple[int, int], bool] = {}
        for call in self.calls:
            if call.call.function in ("min", "max"):
                key = (call.measure, int(call.call.function == "max"))
                wanted[key] = wanted.get(key, False) or call.call.frame.start is None
        rows, node = [], 0
        measures = list(self.measures.values())
        for (number, flip), unbounded in wanted.items():
            rows.append((number, flip, node, at if unbounded else -1))
            node += measures[number].width
            at += measures[number].width if unbounded else 0
        return _table(rows, 4), node, at

    def _sums(self) -> tuple[Ints, int]:
        """The totals that calls need, and the rows of the stage that they take."""
        rows, at, measures = [], 0, list(self.measures.values())
        pairs = dict.fromkeys(
            (c.frame, c.measure) for c in self.calls if c.call.function not in (*_PICKS, "count_distinct")
        )
        for frame, number in pairs:
            measure = measures[number]
            rows.append((frame, number, at))
            at += 1 + measure.sum * measure.sum_words + 2 * measure.square
        return _table(rows, 3), at

    def _results(self, sums: Ints, trees: Ints, folds: Ints, stage: int) -> tuple[Ints, Ints, Ints, int]:
        """Count-distincts, picks and calls."""
        distincts, picks, calls = [], [], []
        pair_at = {(int(frame), int(number)): int(at) for frame, number, at in sums}
        tree_of = {(int(row[TREE_MEASURE]), int(row[TREE_FLIP])): t for t, row in enumerate(trees)}
        fold_of = {int(row[FOLD_MEASURE]): f for f, row in enumerate(folds)}
        for call in self.calls:
            function, measure = call.call.function, list(self.measures.values())[call.measure]
            code, count, total, square, value = FUNCTIONS.index(function), -1, -1, -1, -1
            if function == "count_distinct":
                distincts.append((call.frame, call.measure, stage))
                count, stage = stage, stage + 1
            elif function in _PICKS:
                uses = fold_of.get(call.measure, -1)
                if function in ("min", "max"):
                    uses = tree_of[call.measure, int(function == "max")]
                picks.append((code, call.frame, call.measure, uses, call.call.offset, stage))
                value, stage = stage, stage + 3
            else:
                count = pair_at[call.frame, call.measure]
                total = count + 1
                square = total + measure.sum_words
            width = measure.width if value >= 0 else measure.sum_words
            scale = measure.argument.type.scale if measure.argument else 0
            calls.append((code, call.out.row, count, total, square, value, width, scale))
        return _table(distincts, 3), _table(picks, 6), _table(calls, 8), stage


def _canonical(frame: Frame) -> Frame:
    """The same rows, said in one way."""
    longest = _LONGEST_US if frame.mode == "range" else 2**31
    start = None if frame.start is None else min(frame.start, longest)
    frame = replace(frame, start=start, end=min(frame.end, longest))
    return replace(frame, exclude_current=frame.exclude_current and frame.end == 0)


def _table(rows: Sequence[Sequence[int]], columns: int) -> Ints:
    return np.array(rows, np.int64).reshape(len(rows), columns)
