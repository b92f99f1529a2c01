"""Row expressions: SQL's three-valued logic, with integers that cannot wrap (laws L5 and L7)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from zoneinfo import ZoneInfo

from features.expr import Call, Case, Column, Expr, Literal
from features.types import Kind, Type
from rules.records import ListEntry


class Error:
    """The mark of a NULL that a failed computation left."""

    def __repr__(self) -> str:
        return "ERROR"


ERROR = Error()
Value = int | float | bool | str | Error | None
Row = Mapping[str, Value]
Lists = Mapping[str, Sequence[ListEntry]]

EPOCH = datetime(1970, 1, 1)
PART_US = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000}


def is_null(value: Value) -> bool:
    """True for NULL and for ERROR: to SQL both are NULL."""
    return value is None or value is ERROR


def evaluate(expr: Expr, row: Row, lists: Lists) -> Value:
    """The value of an expression on one row. A column that the row lacks is NULL."""
    match expr:
        case Literal():
            return expr.value
        case Column():
            return row.get(expr.name)
        case Case():
            for condition, value in expr.whens:
                if evaluate(condition, row, lists) is True:
                    return evaluate(value, row, lists)
            return evaluate(expr.default, row, lists)
        case Call():
            return _call(expr, [evaluate(arg, row, lists) for arg in expr.args], row, lists)
    raise TypeError(expr)


def _call(call: Call, values: list[Value], row: Row, lists: Lists) -> Value:
    """The operators that look at NULLs come first; to all others a NULL in is a NULL out."""
    known = [value for value in values if not is_null(value)]
    match call.op:
        case "and":
            return _unless(False, values)
        case "or":
            return _unless(True, values)
        case "is_null":
            return not known
        case "distinct":
            return values[0] != values[1] if len(known) == 2 else len(known) == 1
        case "coalesce":
            return known[0] if known else _null(values)
        case "greatest":
            return max(known) if known else _null(values)  # type: ignore[type-var]
        case "least":
            return min(known) if known else _null(values)  # type: ignore[type-var]
        case "nullif":
            return None if len(known) == 2 and values[0] == values[1] else values[0]
    if len(known) < len(values):
        return _null(values)
    if call.op == "in_list":
        return _in_list(lists[str(call.param)], values[0], row["event_time"])
    return _checked(_STRICT[call.op](call, *values), call.type)


def _unless(decides: bool, values: list[Value]) -> Value:
    """AND and OR: one deciding value decides; else an unknown one makes the whole unknown."""
    if decides in values:
        return decides
    return _null(values) if any(is_null(value) for value in values) else not decides


def _null(values: list[Value]) -> Value:
    """NULL, marked when one of the values is."""
    return ERROR if ERROR in values else None


def _checked(value: Value, type: Type) -> Value:
    """The value, or ERROR where its type cannot hold it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else ERROR
    if isinstance(value, int) and not isinstance(value, bool):
        if type.kind is Kind.DECIMAL:
            return value if abs(value) < 10**type.width else ERROR
        bits = 127 if type.wide else 63
        return value if -(2**bits) <= value < 2**bits else ERROR
    return value


def _in_list(entries: Sequence[ListEntry], value: Value, at_us: Value) -> bool:
    """True when an entry of that value is active at the row's own event time (L1: no other clock)."""
    return any(entry.value == value and entry.starts_us <= at_us < entry.expires_us for entry in entries)  # type: ignore[operator]


def half_away(x: Fraction) -> int:
    """The nearest integer; halves go away from zero."""
    whole = math.floor(abs(x) + Fraction(1, 2))
    return whole if x >= 0 else -whole


def _divide(call: Call, a: float, b: float) -> Value:
    return None if b == 0 else a / b


def _truncate(call: Call, a: int, b: int) -> Value:
    if b == 0:
        return None
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _remainder(call: Call, a: float, b: float) -> Value:
    if b == 0:
        return None
    if call.type.kind is Kind.DOUBLE:
        return math.fmod(a, b)
    return abs(int(a)) % abs(int(b)) * (1 if a >= 0 else -1)


def _rounded(call: Call, x: float, to: Callable[[Fraction], int]) -> Value:
    """round, floor, ceil: doubles stay doubles; exact types move to the scale of the result."""
    digits = int(call.param or 0)
    if call.type.kind is Kind.DOUBLE:
        power = 10.0 ** abs(digits)
        if digits < 0:
            return to(Fraction(x / power)) * power
        scaled = x * power
        return float(to(Fraction(scaled))) / power if math.isfinite(scaled) else x
    step = 10 ** max(0, -digits)
    units = to(Fraction(int(x), 10 ** call.args[0].type.scale) * 10**call.type.scale / step)
    return units * step


def _cast(call: Call, value: Value) -> Value:
    """Between numbers, and from text. What no number can be read from, or what does not fit, is NULL."""
    source, target = call.args[0].type, call.type
    if isinstance(value, str) and target.kind is not Kind.TEXT:
        return _parse(value, target)
    match target.kind:
        case Kind.DOUBLE:
            return float(value) if source.kind is Kind.DOUBLE else int(value) / 10**source.scale  # type: ignore[arg-type]
        case Kind.INT if source.kind is Kind.DOUBLE:
            return round(float(value)) if math.isfinite(float(value)) else ERROR  # type: ignore[arg-type]
        case Kind.DECIMAL if source.kind is Kind.DOUBLE:
            scaled = float(value) * float(10**target.scale)  # type: ignore[arg-type]
            return half_away(Fraction(scaled)) if math.isfinite(scaled) else ERROR
        case Kind.INT | Kind.DECIMAL:
            return half_away(Fraction(int(value)) * Fraction(10) ** (target.scale - source.scale))  # type: ignore[arg-type]
        case Kind.BOOL:
            return bool(value)
        case Kind.TEXT:
            return _written(value, source)
        case _:
            return value


def _try_cast(call: Call, value: Value) -> Value:
    cast = _checked(_cast(call, value), call.type)
    return None if cast is ERROR else cast


def _parse(text: str, target: Type) -> Value:
    if target.kind is Kind.BOOL:
        return {"true": True, "t": True, "yes": True, "y": True, "1": True,
                "false": False, "f": False, "no": False, "n": False, "0": False}.get(text.lower(), ERROR)  # fmt: skip
    try:
        number = Decimal(text.strip(" \t\n\v\f\r"))
        if target.kind is Kind.DOUBLE:
            return float(number) if number.is_finite() else ERROR
        return half_away(Fraction(number) * 10**target.scale)
    except (InvalidOperation, ValueError, OverflowError):
        return ERROR


def _written(value: Value, source: Type) -> str:
    """A value as text, as SQL writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if source.kind is Kind.DECIMAL and source.scale:
        digits = f"{abs(int(value)):0{source.scale + 1}d}"  # type: ignore[arg-type]
        return f"{'-' if int(value) < 0 else ''}{digits[: -source.scale]}.{digits[-source.scale :]}"  # type: ignore[arg-type]
    return str(value)


def _like(call: Call, text: str) -> bool:
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in str(call.param))
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _moment(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)


def _at_zone(call: Call, at_us: int) -> int:
    local = _moment(at_us).replace(tzinfo=UTC).astimezone(ZoneInfo(str(call.param))).replace(tzinfo=None)
    return (local - EPOCH) // timedelta(microseconds=1)


def _extract(call: Call, at_us: int) -> int:
    at = _moment(at_us)
    match call.param:
        case "dow":
            return at.isoweekday() % 7
        case "isodow":
            return at.isoweekday()
        case "doy":
            return at.timetuple().tm_yday
        case "week":
            return at.isocalendar().week
        case part:
            return int(getattr(at, str(part)))


def _boundaries(call: Call, first: int, second: int) -> int:
    unit = PART_US[str(call.param)]
    return second // unit - first // unit


_STRICT: dict[str, Callable[..., Value]] = {
    "add": lambda call, a, b: a + b,
    "sub": lambda call, a, b: a - b,
    "mul": lambda call, a, b: a * b,
    "div": _divide,
    "intdiv": _truncate,
    "mod": _remainder,
    "neg": lambda call, a: -a,
    "abs": lambda call, a: abs(a),
    "round": lambda call, x: _rounded(call, x, half_away),
    "floor": lambda call, x: _rounded(call, x, math.floor),
    "ceil": lambda call, x: _rounded(call, x, math.ceil),
    "eq": lambda call, a, b: a == b,
    "ne": lambda call, a, b: a != b,
    "lt": lambda call, a, b: a < b,
    "le": lambda call, a, b: a <= b,
    "gt": lambda call, a, b: a > b,
    "ge": lambda call, a, b: a >= b,
    "not": lambda call, a: not a,
    "cast": _cast,
    "try_cast": _try_cast,
    "like": _like,
    "length": lambda call, text: len(text),
    "epoch_us": lambda call, at_us: at_us,
    "at_zone": _at_zone,
    "extract": _extract,
    "epoch": lambda call, width_us: width_us / 1_000_000,
    "date_diff": _boundaries,
    "time_sub": lambda call, a, b: a - b,
    "time_add": lambda call, at_us, width_us: at_us + width_us,
}
