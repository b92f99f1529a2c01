"""What features.sql says, once parsed: stages of window calls and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from features.expr import Expr
from features.refusal import Place
from features.types import Type

FUNCTIONS = (
    "count_star", "count", "count_distinct", "sum", "avg", "min", "max",
    "var_samp", "var_pop", "stddev_samp", "stddev_pop", "first_value", "last_value", "lag",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """The rows that a window call sees, as of the arrival of the current one (law L2).

    range: rows of event_time in [t - start, t - end], microseconds.
    rows:  from `start` rows before the current one to `end` rows before it, in (event_time, arrival) order.
    start None is UNBOUNDED PRECEDING; end 0 is CURRENT ROW (that is: rows arrived so far of an equal time, too).
    exclude_current takes the arriving row itself out of it.
    """

    mode: str  # "range" or "rows"
    start: int | None
    end: int = 0
    exclude_current: bool = False


@dataclass(frozen=True)
class WindowCall:
    """One window function over one partition and frame.

    name: unique in the query; an output refers to the value as Column(name).
    argument: NULL rows do not count for any function (so IGNORE NULLS for first, last and lag if `ignore_nulls`).
    filter: rows where it is not true do not count; the frame itself is of all rows of the partition.
    partition: key expressions; a row where one is NULL belongs to no window, and its value is NULL.
    offset: of lag.
    """

    name: str
    function: str
    argument: Expr | None
    filter: Expr | None
    partition: tuple[Expr, ...]
    frame: Frame
    type: Type
    ignore_nulls: bool = False
    offset: int = 1
    place: Place = Place()


@dataclass(frozen=True)
class Stage:
    """One SELECT of the chain: its window calls, then the named outputs computed from them."""

    name: str
    windows: tuple[WindowCall, ...]
    outputs: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True)
class Query:
    """The whole of features.sql. The last stage's outputs (without event_id) are the features."""

    stages: tuple[Stage, ...]
    sql: str

    @property
    def features(self) -> tuple[tuple[str, Type], ...]:
        return tuple((name, expr.type) for name, expr in self.stages[-1].outputs if name != "event_id")
