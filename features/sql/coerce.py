"""DuckDB's rules for the types of numbers: what two of them have in common, what an operator gives, and casts."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce

from features.expr import Call, Case, Expr, Literal
from features.types import BIGINT, DOUBLE, HUGEINT, NULL, Kind, Type, decimal

# The type of a small whole literal. It is BIGINT to everybody else, but DuckDB counts it as ten digits.
INTEGER = Type(Kind.INT, 10)
_NARROW, _WIDEST = 18, 38


def as_decimal(type: Type) -> Type:
    """An exact type as the decimal that holds it."""
    return type if type.kind is Kind.DECIMAL else decimal(type.width, 0)


def _digits(a: Type, b: Type) -> tuple[int, int]:
    """(digits before the point, digits after it) that hold both."""
    a, b = as_decimal(a), as_decimal(b)
    return max(a.width - a.scale, b.width - b.scale), max(a.scale, b.scale)


def common(a: Type, b: Type) -> Type | None:
    """The type that both are cast to when they are compared or chosen between; None if there is none."""
    if b in (a, NULL):
        return a
    if a == NULL:
        return b
    if not (a.numeric and b.numeric):
        return None
    if DOUBLE in (a, b):
        return DOUBLE
    if a.kind is b.kind is Kind.INT:
        return max(a, b, key=lambda t: t.width)
    whole, scale = _digits(a, b)
    if HUGEINT in (a, b):
        return decimal(_WIDEST, scale)
    return decimal(whole + scale, min(scale, _WIDEST - whole))


def sum_type(a: Type, b: Type) -> Type:
    """The type of a + b and a - b."""
    both = _sum_digits(a, b)
    return both if isinstance(both, Type) else decimal(both[0] + both[1] + 1, both[1])


def remainder_type(a: Type, b: Type) -> Type:
    """The type of a % b: DOUBLE where 38 digits do not hold both."""
    both = _sum_digits(a, b)
    if isinstance(both, Type):
        return both
    return decimal(both[0] + both[1], both[1]) if sum(both) <= _WIDEST else DOUBLE


def _sum_digits(a: Type, b: Type) -> Type | tuple[int, int]:
    """The common type of doubles or integers; else the digits before and after the point."""
    if DOUBLE in (a, b):
        return DOUBLE
    if a.kind is b.kind is Kind.INT:
        return max(a, b, key=lambda t: t.width)
    return _digits(a, b)


def product_type(a: Type, b: Type) -> Type | None:
    """The type of a * b; None if its scale is beyond 38 digits."""
    if DOUBLE in (a, b):
        return DOUBLE
    if a.kind is b.kind is Kind.INT:
        return max(a, b, key=lambda t: t.width)
    a, b = as_decimal(a), as_decimal(b)
    width, scale = a.width + b.width, a.scale + b.scale
    if scale > _WIDEST:
        return None
    if max(a.width, b.width) <= _NARROW < width and scale < _NARROW:
        width = _NARROW
    return decimal(width, scale)


def cast(expr: Expr, type: Type) -> Expr:
    """The expression as another type: constants at once, all else by a cast node."""
    if expr.type == type:
        return expr
    if isinstance(expr, Literal):
        folded = _cast_literal(expr, type)
        if folded is not None:
            return folded
    if expr.type.kind is type.kind is Kind.INT and expr.type.wide == type.wide:
        return _retyped(expr, type)
    return Call(type, "cast", (expr,), place=expr.place)


def _retyped(expr: Expr, type: Type) -> Expr:
    """An INTEGER seen as a BIGINT, or the other way: the cells are the same."""
    return replace(expr, type=type)


def _cast_literal(literal: Literal, type: Type) -> Literal | None:
    """The constant in the other type; None if it does not fit."""
    value = literal.value
    if value is None:
        return replace(literal, type=type)
    if not literal.type.exact or isinstance(value, str):
        return None
    exact = Decimal(int(value)).scaleb(-literal.type.scale)
    if type.kind is Kind.DOUBLE:
        return replace(literal, type=type, value=float(exact))
    if not type.exact:
        return None
    units = int(exact.scaleb(type.scale).to_integral_value(ROUND_HALF_UP))
    return replace(literal, type=type, value=units) if fits(units, type) else None


def fits(units: int, type: Type) -> bool:
    """True when an exact type can hold the value."""
    if type.kind is Kind.DECIMAL:
        return abs(units) < 10**type.width
    bits = 127 if type.wide else 63
    return -(2**bits) <= units < 2**bits


def settle(expr: Expr) -> Expr:
    """The tree as others read it: every INTEGER is a BIGINT."""
    type = BIGINT if expr.type.kind is Kind.INT and not expr.type.wide else expr.type
    if isinstance(expr, Call):
        return replace(expr, type=type, args=tuple(settle(arg) for arg in expr.args))
    if isinstance(expr, Case):
        whens = tuple((settle(when), settle(then)) for when, then in expr.whens)
        return replace(expr, type=type, whens=whens, default=settle(expr.default))
    return replace(expr, type=type) if type != expr.type else expr


def common_of(types: list[Type]) -> Type | None:
    """The common type of several."""
    return reduce(lambda a, b: None if a is None or b is None else common(a, b), types, NULL)  # type: ignore[arg-type, return-value]


def integer_literal(value: int) -> Type | None:
    """The type that DuckDB gives a whole number in the text; None if it is beyond HUGEINT."""
    for type, limit in ((INTEGER, 2**31), (BIGINT, 2**63), (HUGEINT, 2**127)):
        if value < limit:
            return type
    return None
