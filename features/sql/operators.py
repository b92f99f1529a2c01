"""Columns, constants, arithmetic, comparison, logic and choice."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from sqlglot import exp

from features.expr import Column, Expr, Literal
from features.sql import facts as proof
from features.sql.coerce import cast, common, integer_literal, product_type, remainder_type, sum_type
from features.sql.facts import Facts
from features.sql.source import begin, did_you_mean
from features.sql.times import shifted
from features.sql.typer import Handler, Typer, choose, compare
from features.types import BIGINT, BOOL, DOUBLE, INTERVAL, LOCAL, NULL, TEXT, TIME, Kind, decimal

_COMPARISONS: Mapping[type[exp.Expr], str] = {
    exp.EQ: "eq", exp.NEQ: "ne", exp.LT: "lt", exp.LTE: "le", exp.GT: "gt", exp.GTE: "ge",
    exp.NullSafeNEQ: "distinct",
}  # fmt: skip


# --- names and constants ---


def _column(typer: Typer, node: exp.Column, facts: Facts) -> Expr:
    scope = typer.scope
    table, name = node.table, node.name
    if isinstance(node.this, exp.Star):
        raise typer.refuse(node, "* stands in an expression", "name the column")
    if table and table.lower() != scope.where.lower():
        raise typer.refuse(node, f"{table} is not the table of this SELECT", f"write {name} alone")
    by_lower = {column.lower(): column for column in scope.columns}
    found = by_lower.get(name.lower())
    if found is None:
        fix = scope.elsewhere.get(name.lower())
        otherwise = f"the columns are: {', '.join(sorted(scope.columns))}"
        fix = fix or did_you_mean(name, by_lower, otherwise)
        raise typer.refuse(node, f"{scope.where} has no column {name}", fix)
    return Column(scope.columns[found], found, place=typer.source.place(node))


def _literal(typer: Typer, node: exp.Literal, facts: Facts) -> Expr:
    if node.is_string:
        return typer.literal(node, TEXT, node.this)
    return number(typer, node, _as_written(typer, node))


def _as_written(typer: Typer, node: exp.Literal) -> str:
    """The digits of the text: sqlglot writes a zero before a leading point, and DuckDB counts digits as written."""
    text: str = node.this
    return text[1:] if text.startswith("0.") and typer.source.sql[begin(node)] == "." else text


def number(typer: Typer, node: exp.Expr, text: str) -> Literal:
    """A numeric constant, typed as DuckDB types it."""
    text = text.replace("_", "")
    whole, point, fraction = text.partition(".")
    if "e" in text.lower() or len(whole + fraction.lstrip("-")) > 38:
        return _double(typer, node, text)
    units = int(whole + fraction)
    if point:
        digits = len(whole.lstrip("-") + fraction)
        return typer.literal(node, decimal(digits, len(fraction)), units)
    type = integer_literal(units)
    return _double(typer, node, text) if type is None else typer.literal(node, type, units)


def _double(typer: Typer, node: exp.Expr, text: str) -> Literal:
    value = float(text)
    if not isfinite(value):
        raise typer.refuse(node, f"{text} is beyond a DOUBLE", "write a number below 1.8e308")
    return typer.literal(node, DOUBLE, value)


def _boolean(typer: Typer, node: exp.Boolean, facts: Facts) -> Expr:
    return typer.literal(node, BOOL, bool(node.this))


def _null(typer: Typer, node: exp.Null, facts: Facts) -> Expr:
    return typer.literal(node, NULL, None)


# --- arithmetic ---


def _pair(typer: Typer, node: exp.Binary, facts: Facts) -> tuple[Expr, Expr]:
    return typer.expr(node.left, facts), typer.expr(node.right, facts)


def _numbers(typer: Typer, node: exp.Binary, facts: Facts) -> tuple[Expr, Expr]:
    """Both operands, numeric; a bare NULL takes the other's type."""
    left, right = _pair(typer, node, facts)
    for side, operand in ((node.left, left), (node.right, right)):
        if not operand.type.numeric and operand.type != NULL:
            fix = "read it with TRY_CAST(... AS DECIMAL(18, 2))" if operand.type == TEXT else "use a number here"
            raise typer.refuse(side, f"arithmetic on {operand.type} is not supported", fix)
    if left.type == NULL:
        left = cast(left, right.type if right.type != NULL else BIGINT)
    return left, cast(right, left.type) if right.type == NULL else right


def _sum(typer: Typer, node: exp.Binary, facts: Facts) -> Expr:
    left, right = _pair(typer, node, facts)
    if {left.type, right.type} & {TIME, LOCAL, INTERVAL}:
        return shifted(typer, node, left, right)
    left, right = _numbers(typer, node, facts)
    type = sum_type(left.type, right.type)
    op = "add" if isinstance(node, exp.Add) else "sub"
    return typer.call(node, type, op, cast(left, type), cast(right, type))


def _product(typer: Typer, node: exp.Mul, facts: Facts) -> Expr:
    left, right = _numbers(typer, node, facts)
    type = product_type(left.type, right.type)
    if type is None:
        fix = "cast one side to fewer digits after the point"
        raise typer.refuse(node, "the product has more than 38 digits after the point", fix)
    if type.kind in (Kind.DOUBLE, Kind.INT):
        left, right = cast(left, type), cast(right, type)
    return typer.call(node, type, "mul", left, right)


def _divisor(typer: Typer, node: exp.Binary, divisor: Expr, facts: Facts) -> None:
    """Refuses a divisor that can be 0 (law L7)."""
    if not proof.never_zero(divisor, facts, typer.scope.counts):
        text = node.right.sql("duckdb")
        raise typer.refuse(node.right, f"the divisor {text} can be 0", f"write NULLIF({text}, 0)")


def _quotient(typer: Typer, node: exp.Div, facts: Facts) -> Expr:
    left, right = _numbers(typer, node, facts)
    _divisor(typer, node, right, facts)
    return typer.call(node, DOUBLE, "div", cast(left, DOUBLE), cast(right, DOUBLE))


def _whole_quotient(typer: Typer, node: exp.IntDiv, facts: Facts) -> Expr:
    left, right = _numbers(typer, node, facts)
    _divisor(typer, node, right, facts)
    type = common(left.type, right.type)
    if type is None or type.kind is not Kind.INT:
        raise typer.refuse(node, f"// on {type} is not whole in DuckDB", "write floor(a / b), or cast both to BIGINT")
    return typer.call(node, type, "intdiv", cast(left, type), cast(right, type))


def _remainder(typer: Typer, node: exp.Mod, facts: Facts) -> Expr:
    left, right = _numbers(typer, node, facts)
    _divisor(typer, node, right, facts)
    type = remainder_type(left.type, right.type)
    return typer.call(node, type, "mod", cast(left, type), cast(right, type))


def _negated(typer: Typer, node: exp.Neg, facts: Facts) -> Expr:
    if isinstance(node.this, exp.Literal) and not node.this.is_string:
        return number(typer, node, "-" + _as_written(typer, node.this))
    inner = typer.expr(node.this, facts)
    if not inner.type.numeric and inner.type != INTERVAL:
        raise typer.refuse(node, f"{inner.type} has no negative", "use a number here")
    return typer.call(node, inner.type, "neg", inner)


# --- comparison and logic ---


def _comparison(typer: Typer, node: exp.Binary, facts: Facts) -> Expr:
    left, right = _pair(typer, node, facts)
    return compare(typer, node, _COMPARISONS[type(node)], left, right)


def _null_safe_equal(typer: Typer, node: exp.NullSafeEQ, facts: Facts) -> Expr:
    left, right = _pair(typer, node, facts)
    return typer.call(node, BOOL, "not", compare(typer, node, "distinct", left, right))


def _logic(typer: Typer, node: exp.Binary, facts: Facts) -> Expr:
    op = "and" if isinstance(node, exp.And) else "or"
    return typer.call(node, BOOL, op, typer.condition(node.left, facts), typer.condition(node.right, facts))


def _not(typer: Typer, node: exp.Not, facts: Facts) -> Expr:
    return typer.call(node, BOOL, "not", typer.condition(node.this, facts))


def _is(typer: Typer, node: exp.Is, facts: Facts) -> Expr:
    if isinstance(node.expression, exp.Null):
        return typer.call(node, BOOL, "is_null", typer.expr(node.this, facts))
    if not isinstance(node.expression, exp.Boolean):
        raise typer.refuse(node, f"{node.sql('duckdb')} is not supported", "write IS NULL, IS TRUE or IS FALSE")
    inner = typer.condition(node.this, facts)
    if not node.expression.this:
        inner = typer.call(node, BOOL, "not", inner)
    return typer.call(node, BOOL, "coalesce", inner, typer.literal(node, BOOL, False))


def _between(typer: Typer, node: exp.Between, facts: Facts) -> Expr:
    if node.args.get("symmetric"):
        raise typer.refuse(node, "BETWEEN SYMMETRIC is not supported", "write the smaller bound first, and BETWEEN")
    value = typer.expr(node.this, facts)
    low = compare(typer, node, "ge", value, typer.expr(node.args["low"], facts))
    high = compare(typer, node, "le", value, typer.expr(node.args["high"], facts))
    return typer.call(node, BOOL, "and", low, high)


def _in(typer: Typer, node: exp.In, facts: Facts) -> Expr:
    value = typer.expr(node.this, facts)
    if node.args.get("query") is not None:
        return _in_list(typer, node, value)
    choices = [typer.expr(choice, facts) for choice in node.expressions]
    if not choices or not all(isinstance(choice, Literal) for choice in choices):
        raise typer.refuse(node, "IN takes constants here", "compare with = and OR")
    unified = typer.unify(node, [value, *choices])
    return _any(typer, node, [compare(typer, node, "eq", value, choice) for choice in unified[1:]])


def _any(typer: Typer, node: exp.Expr, tests: list[Expr]) -> Expr:
    """OR over the tests, as a balanced tree."""
    if len(tests) == 1:
        return tests[0]
    half = len(tests) // 2
    return typer.call(node, BOOL, "or", _any(typer, node, tests[:half]), _any(typer, node, tests[half:]))


def _in_list(typer: Typer, node: exp.In, value: Expr) -> Expr:
    select = node.args["query"].unnest()
    table = select.args.get("from_")
    columns = [column.name.lower() for column in select.expressions]
    extra = {key for key, arg in select.args.items() if arg} - {"expressions", "from_"}
    if table is None or columns != ["value"] or extra:
        fix = "write x IN (SELECT value FROM list_name)"
        raise typer.refuse(node, "this subquery is not a list", fix)
    name = table.this.name
    if name not in typer.scope.lists:
        known = ", ".join(sorted(typer.scope.lists))
        otherwise = f"the lists are: {known}" if known else "add lists/" + name + ".csv, or use lists in rules only"
        raise typer.refuse(table.this, f"there is no list {name}", did_you_mean(name, typer.scope.lists, otherwise))
    if value.type != TEXT:
        raise typer.refuse(node, f"a list holds text, and this is {value.type}", "look up a text column")
    return typer.call(node, BOOL, "in_list", value, param=name)


def _like(typer: Typer, node: exp.Like, facts: Facts) -> Expr:
    value = typer.expr(node.this, facts)
    pattern = node.expression
    if value.type != TEXT:
        raise typer.refuse(node, f"LIKE takes text, and this is {value.type}", "compare it with = or <")
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise typer.refuse(pattern, "the pattern of LIKE is not a constant", "write it as text, as in 'JP%'")
    return typer.call(node, BOOL, "like", value, param=pattern.this)


# --- choice ---


def _case(typer: Typer, node: exp.Case, facts: Facts) -> Expr:
    subject = typer.expr(node.this, facts) if node.this is not None else None
    whens: list[tuple[Expr, Expr]] = []
    for branch in node.args["ifs"]:
        if subject is None:
            when = typer.condition(branch.this, facts)
        else:
            when = compare(typer, branch, "eq", subject, typer.expr(branch.this, facts))
        whens.append((when, typer.expr(branch.args["true"], facts | proof.implied(when))))
        facts |= proof.implied(when, truth=False)
    default = node.args.get("default")
    return choose(typer, node, whens, typer.expr(default, facts) if default is not None else None)


def _if(typer: Typer, node: exp.If, facts: Facts) -> Expr:
    when = typer.condition(node.this, facts)
    then = typer.expr(node.args["true"], facts | proof.implied(when))
    other = node.args.get("false")
    below = facts | proof.implied(when, truth=False)
    return choose(typer, node, [(when, then)], typer.expr(other, below) if other is not None else None)


def _window(typer: Typer, node: exp.Window, facts: Facts) -> Expr:
    if typer.scope.window is None:
        raise typer.refuse(node, "a window function is not allowed here", typer.scope.no_window)
    return typer.scope.window(node, facts)


OPERATORS: Mapping[type[exp.Expr], Handler] = {
    exp.Column: _column,
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.Add: _sum,
    exp.Sub: _sum,
    exp.Mul: _product,
    exp.Div: _quotient,
    exp.IntDiv: _whole_quotient,
    exp.Mod: _remainder,
    exp.Neg: _negated,
    **dict.fromkeys(_COMPARISONS, _comparison),
    exp.NullSafeEQ: _null_safe_equal,
    exp.And: _logic,
    exp.Or: _logic,
    exp.Not: _not,
    exp.Is: _is,
    exp.Between: _between,
    exp.In: _in,
    exp.Like: _like,
    exp.Case: _case,
    exp.If: _if,
    exp.Window: _window,
}
