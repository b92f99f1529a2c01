"""Casts and named functions of one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from features.expr import Case, Expr, Literal
from features.sql import times
from features.sql.coerce import cast
from features.sql.facts import Facts
from features.sql.typer import Handler, Typer, choose, compare, time_literal
from features.types import BIGINT, BOOL, DOUBLE, HUGEINT, LOCAL, NULL, TEXT, TIME, Kind, Type, decimal

NAMES = (
    "abs", "ceil", "coalesce", "date_diff", "epoch", "epoch_us", "extract", "floor", "greatest", "if", "least",
    "length", "nullif", "round",
)  # fmt: skip
_CAST_TYPES = {
    exp.DType.BIGINT: BIGINT,
    exp.DType.INT128: HUGEINT,
    exp.DType.DOUBLE: DOUBLE,
    exp.DType.BOOLEAN: BOOL,
    exp.DType.TEXT: TEXT,
    exp.DType.VARCHAR: TEXT,
    exp.DType.TIMESTAMPTZ: TIME,
    exp.DType.TIMESTAMPNTZ: LOCAL,
}
_DEFAULT_DECIMAL = (18, 3)


# --- casts ---


def cast_type(typer: Typer, node: exp.Expr, to: exp.DataType) -> Type:
    """The type that a CAST names."""
    if to.this is exp.DType.DECIMAL:
        digits = [int(text) if (text := part.name).isdigit() else -1 for part in to.expressions]
        width, scale = [*digits, 0][:2] if digits else _DEFAULT_DECIMAL
        if not 0 <= scale <= width <= 38 or width == 0:
            raise typer.refuse(node, f"{to.sql('duckdb')} does not exist", "write DECIMAL(18, 2), of 38 digits at most")
        return decimal(width, scale)
    found = _CAST_TYPES.get(to.this)
    if found is None:
        fix = "use BIGINT, HUGEINT, DECIMAL(w, s), DOUBLE or BOOLEAN"
        raise typer.refuse(node, f"a cast to {to.sql('duckdb')} is not supported", fix)
    return found


def _cast(typer: Typer, node: exp.Cast, facts: Facts) -> Expr:
    value, type = typer.expr(node.this, facts), cast_type(typer, node, node.args["to"])
    if isinstance(value, Literal) and value.type == TEXT and type in (TIME, LOCAL):
        return time_literal(value, type)
    if value.type in (type, NULL):
        return cast(value, type)
    if value.type == TEXT and type.numeric:
        if isinstance(node, exp.TryCast) and type != HUGEINT:
            return typer.call(node, type, "try_cast", value)
        text = f"TRY_CAST({node.this.sql('duckdb')} AS {BIGINT if type == HUGEINT else type})"
        raise typer.refuse(node, "a CAST of text to a number can fail", f"write {text}")
    if value.type.numeric and type.numeric:
        if isinstance(node, exp.TryCast):
            return typer.call(node, type, "try_cast", value)
        return cast(value, type)
    if value.type == BOOL and type.numeric:
        return _from_bool(typer, node, value, type)
    if value.type.numeric and type == BOOL:
        return compare(typer, node, "ne", value, typer.literal(node, BIGINT, 0))
    raise typer.refuse(node, f"a cast from {value.type} to {type} is not supported", _cast_fix(value.type, type))


def _cast_fix(source: Type, target: Type) -> str:
    if {source, target} == {TIME, LOCAL}:
        return "name the zone: event_time AT TIME ZONE 'UTC'"
    if source == TEXT and target in (TIME, LOCAL):
        return "declare the field as a time in pack.toml"
    return "compare or compute with the value as it is"


def _from_bool(typer: Typer, node: exp.Expr, value: Expr, type: Type) -> Case:
    one, zero = (cast(typer.literal(node, BIGINT, digit), type) for digit in (1, 0))
    return choose(typer, node, [(value, one), (typer.call(node, BOOL, "not", value), zero)], None)


# --- numbers ---


def _number(typer: Typer, node: exp.Expr, facts: Facts) -> Expr:
    """The function's argument, a number."""
    value = typer.expr(node.this, facts)
    if not value.type.numeric:
        raise typer.refuse(node, f"{node.key} takes a number, and this is {value.type}", "use a number here")
    return value


def _abs(typer: Typer, node: exp.Abs, facts: Facts) -> Expr:
    value = _number(typer, node, facts)
    return typer.call(node, value.type, "abs", value)


def _round(typer: Typer, node: exp.Round, facts: Facts) -> Expr:
    value, digits = _number(typer, node, facts), _digits(typer, node, facts)
    type = value.type
    if type.kind is Kind.DECIMAL:
        carry = int(digits < 0 and type.scale == 0)  # round(99, -1) has one digit more
        type = decimal(type.width + carry, min(max(digits, 0), type.scale))
    if type == value.type and type.exact and digits >= type.scale:
        return value
    return typer.call(node, type, "round", value, param=digits)


def _digits(typer: Typer, node: exp.Round, facts: Facts) -> int:
    given = node.args.get("decimals")
    if given is None:
        return 0
    digits = typer.expr(given, facts)
    if not (isinstance(digits, Literal) and digits.type.kind is Kind.INT and isinstance(digits.value, int)):
        raise typer.refuse(given, "the digits of round are not a constant", "write a whole number, as in round(x, 2)")
    return digits.value


def _whole(typer: Typer, node: exp.Floor | exp.Ceil, facts: Facts) -> Expr:
    value = _number(typer, node, facts)
    if node.args.get("decimals") is not None:
        raise typer.refuse(node, f"{node.key} takes one argument", "use round(x, n)")
    if value.type.kind is Kind.INT:
        return cast(value, DOUBLE)
    type = decimal(value.type.width, 0) if value.type.exact else DOUBLE
    return typer.call(node, type, "floor" if isinstance(node, exp.Floor) else "ceil", value)


# --- choice and text ---


def _pick(op: str) -> Handler:
    def handler(typer: Typer, node: exp.Expr, facts: Facts) -> Expr:
        args = typer.unify(node, [typer.expr(arg, facts) for arg in (node.this, *node.expressions)])
        return typer.call(node, args[0].type, op, *args)

    return handler


def _nullif(typer: Typer, node: exp.Nullif, facts: Facts) -> Expr:
    value, other = typer.expr(node.this, facts), typer.expr(node.expression, facts)
    same = compare(typer, node, "eq", value, other)
    if same.args[0].type == value.type:  # type: ignore[attr-defined]
        return typer.call(node, value.type, "nullif", value, same.args[1])  # type: ignore[attr-defined]
    return choose(typer, node, [(same, typer.literal(node, NULL, None))], value)


def _length(typer: Typer, node: exp.Length, facts: Facts) -> Expr:
    value = typer.expr(node.this, facts)
    if value.type != TEXT:
        raise typer.refuse(node, f"length takes text, and this is {value.type}", "use a text column")
    return typer.call(node, BIGINT, "length", value)


# --- functions that sqlglot does not know by name ---


def _epoch_us(typer: Typer, node: exp.Anonymous, facts: Facts) -> Expr:
    return times.microseconds(typer, node, typer.expr(node.expressions[0], facts))


def _date_part(typer: Typer, node: exp.Anonymous, facts: Facts) -> Expr:
    part, of = node.expressions
    return times.part_of(typer, node, part, of, facts)


_ANONYMOUS: Mapping[str, tuple[int, Callable[[Typer, exp.Anonymous, Facts], Expr]]] = {
    "epoch_us": (1, _epoch_us),
    "date_part": (2, _date_part),
}


def _anonymous(typer: Typer, node: exp.Anonymous, facts: Facts) -> Expr:
    found = _ANONYMOUS.get(str(node.this).lower())
    if found is None:
        raise typer.unknown(node)
    count, handler = found
    if len(node.expressions) != count:
        what = f"{node.this} takes {count} argument{'s' if count > 1 else ''}, not {len(node.expressions)}"
        raise typer.refuse(node, what, "give it just those")
    return handler(typer, node, facts)


FUNCTIONS: Mapping[type[exp.Expr], Handler] = {
    exp.TryCast: _cast,
    exp.Cast: _cast,
    exp.Abs: _abs,
    exp.Round: _round,
    exp.Floor: _whole,
    exp.Ceil: _whole,
    exp.Coalesce: _pick("coalesce"),
    exp.Greatest: _pick("greatest"),
    exp.Least: _pick("least"),
    exp.Nullif: _nullif,
    exp.Length: _length,
    exp.Anonymous: _anonymous,
}
