"""What stands between OVER and its end: named windows, partitions and frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from features.query import Frame
from features.refusal import Refusal
from features.sql.source import Source, did_you_mean
from features.sql.times import interval_us

_ORDER_FIX = "write ORDER BY event_time"


@dataclass(frozen=True)
class Over:
    """A window with the one that it refines filled in: keys, ORDER BY and frame; `node` is where the frame stands."""

    partition: tuple[exp.Expr, ...]
    order: exp.Order | None
    spec: exp.WindowSpec | None
    node: exp.Window


def named_windows(source: Source, select: exp.Select) -> dict[str, Over]:
    """The WINDOW clause: each name (lower case) with its window."""
    found: dict[str, Over] = {}
    for window in select.args.get("windows") or []:
        name = window.this.name.lower()
        if name in found:
            raise source.refuse(window.this, f"there are two windows {window.this.name}", "give one another name")
        found[name] = resolve(source, window, found)
    return found


def resolve(source: Source, window: exp.Window, named: Mapping[str, Over]) -> Over:
    """The window with the one that it refines filled in, by DuckDB's rules."""
    partition = tuple(window.args.get("partition_by") or ())
    over = Over(partition, window.args.get("order"), window.args.get("spec"), window)
    base_name = window.args.get("alias")
    if base_name is None:
        return over
    base = named.get(base_name.name.lower())
    if base is None:
        otherwise = "add it to the WINDOW clause, before the windows that refine it"
        fix = did_you_mean(base_name.name, named, otherwise)
        raise source.refuse(base_name, f"there is no window {base_name.name}", fix)
    if not over.partition and over.order is None and over.spec is None:
        return base
    if over.partition:
        what = f"a window that refines {base_name.name} cannot have a PARTITION BY of its own"
        raise source.refuse(over.partition[0], what, "write the window out in full")
    if over.order is not None and base.order is not None:
        raise source.refuse(over.order, f"{base_name.name} has an ORDER BY already", "leave this one out")
    if base.spec is not None:
        what = f"{base_name.name} has a frame, so that it cannot be refined"
        raise source.refuse(base_name, what, "write the window out in full, or name one without a frame")
    return Over(base.partition, over.order or base.order, over.spec, window)


def check_order(source: Source, node: exp.Window, over: Over) -> None:
    """Refuses any order but event_time, ascending."""
    if over.order is None:
        what = "a window without ORDER BY sees the future"
        raise source.refuse(node, what, _ORDER_FIX + " and a frame that ends at or before the current row")
    first, *rest = over.order.expressions
    if rest:
        raise source.refuse(rest[0], "a window is ordered by event_time alone", _ORDER_FIX)
    if not isinstance(first.this, exp.Column) or first.this.name.lower() != "event_time":
        raise source.refuse(first, f"a window is ordered by event_time, not by {first.this.sql('duckdb')}", _ORDER_FIX)
    if first.args.get("desc"):
        raise source.refuse(first, "a window is ordered by event_time ascending", _ORDER_FIX)


def frame_of(source: Source, over: Over) -> Frame:
    """The frame; absent, it is SQL's: RANGE from UNBOUNDED PRECEDING to CURRENT ROW."""
    spec = over.spec
    if spec is None:
        return Frame("range", None)
    mode = (spec.args.get("kind") or "").lower()
    if mode not in ("range", "rows"):
        raise _refuse_word(source, over, "GROUPS frames are not supported", "use RANGE or ROWS", "GROUPS")
    start = _bound(source, over, mode, "start")
    end = _bound(source, over, mode, "end") if spec.args.get("end") else 0
    if end is None or (start is not None and start < end):
        fix = "put the earlier bound first: BETWEEN the farther PRECEDING AND the nearer one"
        raise _refuse_word(source, over, "the frame ends before it starts", fix, mode.upper())
    return Frame(mode, start, end, _excludes_current(source, over))


def _bound(source: Source, over: Over, mode: str, which: str) -> int | None:
    """How far before the current row a bound lies: microseconds or rows, 0 the current row, None unbounded."""
    assert over.spec is not None
    bound, side = over.spec.args[which], over.spec.args.get(f"{which}_side")
    if (side or "").upper() == "FOLLOWING":
        fix = "end it at CURRENT ROW"
        raise _refuse_word(source, over, "a frame with FOLLOWING sees the future", fix, "FOLLOWING")
    if bound == "CURRENT ROW":
        return 0
    if side is None:
        raise _refuse_word(
            source, over, "a bound of the frame has no direction", "write PRECEDING behind it", mode.upper()
        )
    if bound == "UNBOUNDED":
        return None
    if mode == "range":
        return _width(source, bound)
    if isinstance(bound, exp.Literal) and not bound.is_string and bound.this.isdigit():
        return int(bound.this)
    raise source.refuse(bound, "the rows of a frame are not a whole number", "write it as in ROWS 3 PRECEDING")


def _width(source: Source, bound: exp.Expr) -> int:
    bound = bound.unnest()
    if not isinstance(bound, exp.Interval):
        fix = "write it as in RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW"
        raise source.refuse(bound, "the bound of a RANGE frame is not an INTERVAL", fix)
    width = interval_us(source, bound)
    if width < 0:
        raise source.refuse(bound, "the bound of a frame is negative", "write a positive interval")
    return width


def _excludes_current(source: Source, over: Over) -> bool:
    assert over.spec is not None
    excluded = over.spec.args.get("exclude")
    name = "" if excluded is None else excluded.name.upper()
    if name in ("GROUP", "TIES"):
        raise _refuse_word(source, over, f"EXCLUDE {name} is not supported", "use EXCLUDE CURRENT ROW", "EXCLUDE")
    return name == "CURRENT ROW"


def _refuse_word(source: Source, over: Over, what: str, fix: str, word: str) -> Refusal:
    return Refusal(what, fix, source.place_in_window(over.node, word))
