"""Times and intervals: constants, arithmetic, zones, parts and differences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from sqlglot import exp

from features.expr import Expr, Literal
from features.sql.coerce import cast
from features.sql.facts import Facts
from features.sql.source import Source
from features.sql.typer import Handler, Typer
from features.types import BIGINT, DOUBLE, INTERVAL, LOCAL, TIME

_MICROSECONDS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
_SHORT = {
    "us": "microsecond", "usec": "microsecond", "microsec": "microsecond",
    "ms": "millisecond", "msec": "millisecond", "millisec": "millisecond",
    "s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour",
    "d": "day", "dayofmonth": "day", "w": "week", "dayofweek": "dow", "weekday": "dow", "dayofyear": "doy",
}  # fmt: skip
_CALENDAR = ("month", "year", "quarter", "decade", "century", "millennium", "mon", "yr", "y")
_PARTS = ("year", "month", "day", "hour", "minute", "second", "dow", "isodow", "doy", "week")
_DIFFERENCES = ("day", "hour", "minute", "second")
_PIECE = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*")


def _unit(name: str) -> str:
    """A unit's long name, singular and lower case."""
    name = name.lower()
    name = _SHORT.get(name, name)
    single = name.removesuffix("s") if len(name) > 3 else name
    return _SHORT.get(single, single)


def interval_us(source: Source, node: exp.Interval) -> int:
    """The microseconds of an INTERVAL constant. Raises Refusal for months, years and what is not constant."""
    value = node.this.unnest() if node.this is not None else None
    negative = isinstance(value, exp.Neg)
    if isinstance(value, exp.Neg):
        value = value.this
    if not isinstance(value, exp.Literal):
        raise source.refuse(node, "this interval is not a constant", "write it as in INTERVAL 1 HOUR")
    unit = node.args.get("unit")
    text = f"{value.this} {unit.name}" if unit is not None else value.this
    total, at = 0, 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise source.refuse(node, f"the interval {text!r} cannot be read", "write it as in INTERVAL 1 HOUR")
        total += _piece_us(source, node, piece[1], _unit(piece[2]))
        at = piece.end()
    return -total if negative else total


def _piece_us(source: Source, node: exp.Interval, amount: str, unit: str) -> int:
    if unit in _CALENDAR:
        raise source.refuse(node, f"a {unit} has no fixed length", "write days, as in INTERVAL 30 DAYS")
    if unit not in _MICROSECONDS or "." in amount:
        fix = "write a whole number of microseconds, milliseconds, seconds, minutes, hours, days or weeks"
        raise source.refuse(node, f"the interval of {amount} {unit} is not supported", fix)
    return int(amount) * _MICROSECONDS[unit]


def _interval(typer: Typer, node: exp.Interval, facts: Facts) -> Expr:
    return typer.literal(node, INTERVAL, interval_us(typer.source, node))


def shifted(typer: Typer, node: exp.Binary, left: Expr, right: Expr) -> Expr:
    """time - time, time + interval, interval + time, time - interval."""
    clocks = (TIME, LOCAL)
    minus = isinstance(node, exp.Sub)
    if minus and left.type in clocks and right.type == left.type:
        return typer.call(node, INTERVAL, "time_sub", left, right)
    if not minus and left.type == INTERVAL:
        left, right = right, left
    if left.type in clocks and right.type == INTERVAL:
        return typer.call(node, left.type, "time_add", left, _opposite(typer, node, right) if minus else right)
    sign = "-" if minus else "+"
    fix = "subtract two times, or add an INTERVAL to a time"
    raise typer.refuse(node, f"{left.type} {sign} {right.type} is not supported", fix)


def _opposite(typer: Typer, node: exp.Expr, interval: Expr) -> Expr:
    if isinstance(interval, Literal) and isinstance(interval.value, int):
        return Literal(INTERVAL, -interval.value, place=interval.place)
    return typer.call(node, INTERVAL, "neg", interval)


def _at_zone(typer: Typer, node: exp.AtTimeZone, facts: Facts) -> Expr:
    moment, zone = typer.expr(node.this, facts), node.args["zone"]
    if moment.type != TIME:
        raise typer.refuse(node, f"AT TIME ZONE takes TIMESTAMPTZ, and this is {moment.type}", "use a time field")
    if not (isinstance(zone, exp.Literal) and zone.is_string and _is_zone(zone.this)):
        fix = "write an IANA zone, as in AT TIME ZONE 'Asia/Tokyo'"
        raise typer.refuse(zone, f"{zone.sql('duckdb')} is not a time zone", fix)
    return typer.call(node, LOCAL, "at_zone", moment, param=zone.this)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _extract(typer: Typer, node: exp.Extract, facts: Facts) -> Expr:
    return part_of(typer, node, node.this, node.expression, facts)


def part_of(typer: Typer, node: exp.Expr, part: exp.Expr, of: exp.Expr, facts: Facts) -> Expr:
    """extract(part FROM of), and date_part('part', of)."""
    name, moment = _unit(part.name), typer.expr(of, facts)
    if name == "epoch":
        return seconds(typer, node, moment)
    if moment.type == TIME:
        fix = f"write extract({name} FROM {of.sql('duckdb')} AT TIME ZONE 'UTC'), or another zone"
        raise typer.refuse(of, f"extract({name}) of a TIMESTAMPTZ depends on the session's zone", fix)
    if moment.type != LOCAL:
        raise typer.refuse(of, f"extract takes a time, and this is {moment.type}", "use a time AT TIME ZONE '...'")
    if name not in _PARTS:
        raise typer.refuse(node, f"extract({name}) is not supported", "the parts are: " + ", ".join(_PARTS))
    return typer.call(node, BIGINT, "extract", moment, param=name)


def seconds(typer: Typer, node: exp.Expr, of: Expr) -> Expr:
    """The epoch of an interval, or of a moment, in seconds."""
    if of.type == INTERVAL:
        return typer.call(node, DOUBLE, "epoch", of)
    micros = microseconds(typer, node, of)
    return typer.call(node, DOUBLE, "div", cast(micros, DOUBLE), typer.literal(node, DOUBLE, 1e6))


def microseconds(typer: Typer, node: exp.Expr, of: Expr) -> Expr:
    """epoch_us(of)."""
    if of.type not in (TIME, LOCAL, INTERVAL):
        raise typer.refuse(node, f"the epoch of {of.type} is not defined", "use a time or an interval")
    return typer.call(node, BIGINT, "epoch_us", of)


def _epoch(typer: Typer, node: exp.TimeToUnix, facts: Facts) -> Expr:
    return seconds(typer, node, typer.expr(node.this, facts))


def _difference(typer: Typer, node: exp.DateDiff, facts: Facts) -> Expr:
    unit = node.args.get("unit")
    name = _unit(unit.name) if unit is not None else "day"
    if name not in _DIFFERENCES:
        raise typer.refuse(node, f"date_diff({name!r}) is not supported", "the parts are: " + ", ".join(_DIFFERENCES))
    first, second = typer.unify(node, [typer.expr(node.expression, facts), typer.expr(node.this, facts)])
    if first.type not in (TIME, LOCAL):
        raise typer.refuse(node, f"date_diff takes two times, not {first.type}", "use times")
    return typer.call(node, BIGINT, "date_diff", first, second, param=name)


TIMES: Mapping[type[exp.Expr], Handler] = {
    exp.Interval: _interval,
    exp.AtTimeZone: _at_zone,
    exp.Extract: _extract,
    exp.TimeToUnix: _epoch,
    exp.DateDiff: _difference,
}
