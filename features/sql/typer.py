"""Row expressions: from sqlglot's tree to typed, checked nodes, with every cast made explicit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlglot import exp

from features.expr import Call, Case, Expr, Literal
from features.refusal import Refusal
from features.sql.coerce import cast, common, common_of
from features.sql.facts import Facts
from features.sql.source import Source, did_you_mean
from features.types import BOOL, LOCAL, NULL, TEXT, TIME, Type

Window = Callable[[exp.Window, Facts], Expr]
Handler = Callable[["Typer", Any, Facts], Expr]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Scope:
    """What an expression may refer to.

    nullable: columns that can be NULL.   counts: columns that are never negative.
    where: what the columns belong to, for messages.   window: types a window call; None where none is allowed.
    elsewhere: names that exist but not here, with the fix.
    """

    columns: Mapping[str, Type]
    nullable: AbstractSet[str] = frozenset()
    counts: AbstractSet[str] = frozenset()
    where: str = "events"
    lists: Collection[str] = ()
    window: Window | None = None
    no_window: str = "window functions stand in features.sql only: make it a feature and use its name"
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Grammar:
    """How each kind of node is typed, and the names of the functions, for messages."""

    handlers: Mapping[type[exp.Expr], Handler]
    functions: tuple[str, ...]


@dataclass(frozen=True)
class Typer:
    """Types the expressions of one source in one scope."""

    source: Source
    scope: Scope
    grammar: Grammar

    def expr(self, node: exp.Expr | None, facts: Facts = Facts()) -> Expr:
        """The typed expression. Raises Refusal at the part that is not supported or not safe."""
        if node is None:  # sqlglot lets some gaps pass, as in coalesce(, 1)
            raise Refusal("an expression is missing", "look for a stray comma or keyword", self.source.origin)
        if isinstance(node, exp.Paren):
            return self.expr(node.this, facts)
        for kind, handler in self.grammar.handlers.items():
            if isinstance(node, kind):
                return handler(self, node, facts)
        raise self.unknown(node)

    def condition(self, node: exp.Expr, facts: Facts = Facts()) -> Expr:
        """A boolean expression."""
        found = self.expr(node, facts)
        if found.type not in (BOOL, NULL):
            fix = "compare it with something, as in x > 0"
            raise self.source.refuse(node, f"a condition is BOOLEAN, and this is {found.type}", fix)
        return cast(found, BOOL)

    def call(self, node: exp.Expr, type: Type, op: str, *args: Expr, param: str | int | None = None) -> Call:
        return Call(type, op, args, param, place=self.source.place(node))

    def literal(self, node: exp.Expr, type: Type, value: int | float | bool | str | None) -> Literal:
        return Literal(type, value, place=self.source.place(node))

    def refuse(self, node: exp.Expr, what: str, fix: str) -> Refusal:
        return self.source.refuse(node, what, fix)

    def unify(self, node: exp.Expr, exprs: Sequence[Expr]) -> list[Expr]:
        """The expressions cast to the type that they have in common."""
        exprs = self.read_times(exprs)
        type = common_of([expr.type for expr in exprs])
        if type is None:
            names = " and ".join(dict.fromkeys(str(expr.type) for expr in exprs if expr.type != NULL))
            raise self.refuse(node, f"{names} have no type in common", "cast them to one type, text with TRY_CAST")
        return [cast(expr, type) for expr in exprs]

    def read_times(self, exprs: Sequence[Expr]) -> list[Expr]:
        """Text constants beside times are times, as DuckDB reads them."""
        clocks = [expr.type for expr in exprs if expr.type in (TIME, LOCAL)]
        if not clocks:
            return list(exprs)
        return [
            time_literal(expr, clocks[0]) if isinstance(expr, Literal) and expr.type == TEXT else expr for expr in exprs
        ]

    def unknown(self, node: exp.Expr) -> Refusal:
        if isinstance(node, exp.AggFunc):
            return self.refuse(node, f"{self.source.name_of(node)} stands without a window", "add OVER (...) to it")
        if isinstance(node, (exp.Subquery, exp.Select, exp.Exists)):
            fix = "use a column, or a list as in x IN (SELECT value FROM list_name)"
            return self.refuse(node, "a subquery is not supported here", fix)
        if isinstance(node, exp.Func) and self.source.is_call(node):
            name = self.source.name_of(node)
            fix = did_you_mean(name, self.grammar.functions, "the functions are: " + ", ".join(self.grammar.functions))
            return self.refuse(node, f"the function {name} is not supported", fix)
        return self.refuse(node, f"{node.sql('duckdb')} is not supported", "docs/sql.md lists what is")


def compare(typer: Typer, node: exp.Expr, op: str, left: Expr, right: Expr) -> Expr:
    """`left op right` over the type that they have in common."""
    left, right = typer.read_times([left, right])
    both = common(left.type, right.type)
    if both is None:
        fix = "compare values of one type; read text with TRY_CAST(... AS DECIMAL(18, 2))"
        raise typer.refuse(node, f"{left.type} and {right.type} cannot be compared", fix)
    left, right = _narrow(left, right.type, both), _narrow(right, left.type, both)
    if left.type != right.type:
        left, right = cast(left, both), cast(right, both)
    return typer.call(node, BOOL, op, left, right)


def _narrow(side: Expr, other: Type, both: Type) -> Expr:
    """A constant in the other side's own type where that loses nothing, so that nothing needs widening."""
    if isinstance(side, Literal) and side.type.exact and other.exact and other.scale == both.scale:
        narrowed = cast(side, other)
        return narrowed if isinstance(narrowed, Literal) else side
    return side


def choose(typer: Typer, node: exp.Expr, whens: list[tuple[Expr, Expr]], default: Expr | None) -> Case:
    """CASE over values of one common type; without a default NULL."""
    default = default or typer.literal(node, NULL, None)
    *values, last = typer.unify(node, [*(value for _, value in whens), default])
    pairs = tuple((when, value) for (when, _), value in zip(whens, values, strict=True))
    return Case(last.type, pairs, last, place=typer.source.place(node))


def time_literal(literal: Literal, type: Type) -> Literal:
    """A text constant as the moment that it names; without an offset it is UTC, the session's zone."""
    try:
        moment = datetime.fromisoformat(str(literal.value).strip())
    except ValueError:
        fix = "write it as in TIMESTAMPTZ '2026-01-31 09:30:00+09:00'"
        raise Refusal(f"{literal.value!r} is not a time", fix, literal.place) from None
    if type == LOCAL:
        moment = moment.replace(tzinfo=UTC)  # DuckDB ignores the offset of a TIMESTAMP
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return replace(literal, type=type, value=(moment - _EPOCH) // timedelta(microseconds=1))
