"""What a run of random cases has met: every function x frame x situation, counted in events."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product

from features.query import FUNCTIONS, Frame, WindowCall
from sekisho.pack import Pack
from sekisho.testing.judges import View
from sekisho.testing.reference.expressions import Row, evaluate, is_null

SITUATIONS = ("tie", "late", "null", "filter")
FRAMES = tuple(f"{mode} {ends}" for mode in ("range", "rows") for ends in ("now", "past", "unbounded", "exclude"))
PICKS = ("first_value", "last_value", "lag")
Cell = tuple[str, str, str]


def frame_class(frame: Frame) -> str:
    """A frame's kind: it excludes the current row, or is unbounded, or ends in the past, or is plain."""
    ends = (
        "exclude" if frame.exclude_current else "unbounded" if frame.start is None else "past" if frame.end else "now"
    )
    return f"{frame.mode} {ends}"


def possible_cells() -> set[Cell]:
    """The cells that can be hit: lag knows no frame, count(*) no NULL, FILTER is of aggregates, and so on."""
    return {
        (function, frame, situation)
        for function, frame, situation in product(FUNCTIONS, FRAMES, SITUATIONS)
        if not (function == "lag" and frame != "rows unbounded")
        and not (function == "count_star" and situation == "null")
        and not (function in PICKS and situation == "filter")
        and not (function == "count_distinct" and frame.endswith("unbounded"))
    }


def count_cells(pack: Pack, view: View) -> Counter[Cell]:
    """How many of the accepted events meet each situation in each window call.

    tie, late: the row's time is equal to or before that of an earlier arrival of its key.
    null, filter: the row has no argument, or does not pass.
    """
    cells = Counter[Cell]()
    rows = [row for row, enters in zip(view.rows, view.enters, strict=True) if enters]
    for call in (call for stage in pack.query.stages for call in stage.windows):
        times: dict[tuple[object, ...], list[int]] = {}
        for row in rows:
            key = tuple(evaluate(part, row, pack.rules.lists) for part in call.partition)
            if not any(is_null(part) for part in key):
                cells.update(
                    (call.function, frame_class(call.frame), each) for each in _met(pack, call, row, times, key)
                )
    return cells


def _met(
    pack: Pack, call: WindowCall, row: Row, times: dict[tuple[object, ...], list[int]], key: tuple[object, ...]
) -> Iterator[str]:
    at_us, earlier = int(row["event_time"]), times.setdefault(key, [])  # type: ignore[arg-type]
    if at_us in earlier:
        yield "tie"
    if earlier and at_us < earlier[-1]:
        yield "late"
    insort(earlier, at_us)
    if call.argument is not None and is_null(evaluate(call.argument, row, pack.rules.lists)):
        yield "null"
    if call.filter is not None and evaluate(call.filter, row, pack.rules.lists) is not True:
        yield "filter"


def matrix(cells: Mapping[Cell, int]) -> str:
    """The matrix as text: a line a function, a column a frame, the four situations' counts in each field."""
    width = 24
    lines = [f"{'tie/late/null/filter':14}" + "".join(f"{frame:>{width}}" for frame in FRAMES)]
    possible = possible_cells()
    for function in FUNCTIONS:
        fields = []
        for frame in FRAMES:
            counts = [
                cells.get((function, frame, s), 0) if (function, frame, s) in possible else "-" for s in SITUATIONS
            ]
            fields.append("/".join(str(count) for count in counts))
        lines.append(f"{function:14}" + "".join(f"{text:>{width}}" for text in fields))
    return "\n".join(lines)
