"""Conditions of rules and legs, and the constants of rule examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlglot import exp

from features.expr import Expr, Literal
from features.refusal import Place, Refusal
from features.sql.coerce import cast, settle
from features.sql.grammar import typer_of
from features.sql.source import Source, parse
from features.sql.typer import Scope, time_literal
from features.types import LOCAL, NULL, TEXT, TIME, Type

Value = int | float | bool | str | None


def parse_condition(
    sql: str,
    columns: Mapping[str, Type],
    lists: Collection[str] = (),
    origin: Place = Place(1, 1),
    indent: int = 0,
) -> Expr:
    """A boolean expression over columns, typed and checked.

    origin: where the text begins in its file.   indent: how far its further lines are indented there.
    Raises Refusal with line, column and the fix.
    """
    source, node = _read(sql, origin, indent)
    scope = Scope(columns, nullable=frozenset(columns), lists=lists, where="the event")
    return settle(typer_of(source, scope).condition(node))


def _read(sql: str, origin: Place, indent: int) -> tuple[Source, exp.Expr]:
    """The one expression of a text."""
    source, trees = parse(sql, origin, indent)
    if len(trees) != 1:
        what = "there is no condition" if not trees else "there is more than one condition"
        raise Refusal(what, "write one expression, as in amount > 100", origin)
    return source, trees[0]


def parse_literal(sql: str, type: Type, origin: Place = Place(1, 1)) -> Value:
    """A SQL constant as the value of a column of this type: int units, microseconds, float, bool, str or None.

    Raises Refusal if it is not a constant, or not one that the column can hold exactly.
    """
    source, node = _read(sql, origin, 0)
    found = typer_of(source, Scope({})).expr(node)
    if not isinstance(found, Literal):
        raise Refusal(f"{sql} is not a constant", "write a constant, as in 'JP', 120.50, TRUE or NULL", origin)
    if found.type == TEXT and type in (TIME, LOCAL):
        found = time_literal(found, type)
    held = cast(found, type) if found.type == NULL or (found.type.numeric and type.numeric) else found
    if not isinstance(held, Literal) or settle(held).type != settle(Literal(type, None)).type:
        raise Refusal(f"{sql} is {found.type}, and the column is {type}", f"write a {type}", origin)
    if found.type.exact and type.exact and cast(held, found.type) != found:
        raise Refusal(f"{sql} has more digits than {type} holds", f"write it as a {type}", origin)
    return held.value
