"""Typed row expressions: what SQL becomes once it is parsed and checked.

Both judges start here: the VM compiles these nodes, the executable specification walks them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from features.refusal import Place
from features.types import Type


@dataclass(frozen=True)
class Expr:
    """A typed expression. `place` is where its text begins."""

    type: Type
    place: Place = field(default=Place(), compare=False, kw_only=True)

    @property
    def children(self) -> tuple[Expr, ...]:
        return ()


@dataclass(frozen=True)
class Literal(Expr):
    """A constant: int (unscaled units of its type; microseconds for times), float, bool, str or None."""

    value: int | float | bool | str | None


@dataclass(frozen=True)
class Column(Expr):
    """A named column: a field, a system column, a window call's value, an earlier output or a score."""

    name: str


@dataclass(frozen=True)
class Call(Expr):
    """An operator or function applied to arguments already cast to the types that it needs.

    op is one of OPS. `param` is its constant: a LIKE pattern, a list's name, a zone's name, a digit count.
    """

    op: str
    args: tuple[Expr, ...]
    param: str | int | None = None

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.args


@dataclass(frozen=True)
class Case(Expr):
    """CASE WHEN condition THEN value ... ELSE default END, all values of one type."""

    whens: tuple[tuple[Expr, Expr], ...]
    default: Expr

    @property
    def children(self) -> tuple[Expr, ...]:
        return (*(part for when in self.whens for part in when), self.default)


# Every operator: what it takes and what it gives. T is one common type of all arguments, casts made explicit.
# NULL in gives NULL out unless said otherwise. "overflow" means: NULL, and the row is marked (valid = ERROR).
OPS: dict[str, str] = {
    # arithmetic; exact types keep DuckDB's width and scale rules, and both operands stand at the result's scale
    # (mul: scales add up, so operands keep their own)
    "add": "T, T -> T; overflow",
    "sub": "T, T -> T; overflow",
    "mul": "T, T -> T; exact: unscaled product; overflow",
    "div": "double, double -> double; a zero divisor is NULL",
    "intdiv": "int, int -> int; truncates toward zero; a zero divisor is NULL",
    "mod": "T, T -> T; sign of the dividend; a zero divisor is NULL",
    "neg": "T -> T",
    "abs": "T -> T",
    # rounding; exact types give an exact type of the scale in the result type, halves away from zero
    "round": "T -> T'; param digits; doubles round as DuckDB: round(x * 10^d) / 10^d, halves away from zero",
    "floor": "T -> T'",
    "ceil": "T -> T'",
    # comparison of one common type; NaN never occurs
    "eq": "T, T -> bool",
    "ne": "T, T -> bool",
    "lt": "T, T -> bool",
    "le": "T, T -> bool",
    "gt": "T, T -> bool",
    "ge": "T, T -> bool",
    "distinct": "T, T -> bool; IS DISTINCT FROM, never NULL",
    # logic, three-valued
    "and": "bool, bool -> bool",
    "or": "bool, bool -> bool",
    "not": "bool -> bool",
    "is_null": "T -> bool; never NULL",
    # choice
    "coalesce": "T, ... -> T; first not NULL",
    "nullif": "T, T -> T; NULL if equal",
    "greatest": "T, ... -> T; NULLs are skipped, as DuckDB does",
    "least": "T, ... -> T; NULLs are skipped, as DuckDB does",
    # casts
    "cast": "any -> node's type; exact -> double correctly rounded; narrowing rounds halves away from zero (a double's"
    " to an integer half to even, as DuckDB does); overflow",
    "try_cast": "text or any -> the node's type; what cannot be read is NULL, unmarked",
    # text
    "like": "text -> bool; param pattern (% and _, no escape)",
    "length": "text -> int; Unicode code points",
    "in_list": "text -> bool; param list name; true when an entry of that value is active at the row's event_time",
    # time
    "epoch_us": "time | interval -> int",
    "at_zone": "time -> local; param IANA zone",
    "extract": "local | time(UTC) -> int; param part: year month day hour minute second dow isodow doy week",
    "epoch": "interval -> double seconds",
    "date_diff": "T, T (local | time) -> int; param part (day hour minute second): boundaries crossed, first to second",
    "time_sub": "T, T (local | time) -> interval; first minus second",
    "time_add": "local | time, interval -> the same; overflow",
}


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything below it, parents first."""
    yield expr
    for child in expr.children:
        yield from walk(child)
