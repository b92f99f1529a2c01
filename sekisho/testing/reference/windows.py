"""Windows as of the arrival: which rows a call sees, and what it makes of them (laws L2, L3, L4, L5, L7).

Nothing is ever forgotten here, so eviction is by definition what nobody can observe (L4).
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from features.query import Frame, WindowCall
from features.types import Kind
from sekisho.testing.reference.expressions import Lists, Row, Value, evaluate, is_null

Key = tuple[Value, ...]


@dataclass(frozen=True)
class Seen:
    """What one accepted event left in one window call: its time, whether its FILTER is true, its argument."""

    event_time: int
    passes: bool
    argument: Value


@dataclass
class Windows:
    """Per window call and key, the accepted events so far in (event_time, arrival) order."""

    rows: dict[tuple[str, Key], list[Seen]] = field(default_factory=dict)

    def enter(self, call: WindowCall, row: Row, lists: Lists) -> Value:
        """Let an accepted event into the call's window, and say what it sees there.

        L7: a row whose key is NULL belongs to no window, and its value is NULL.
        """
        key = tuple(evaluate(part, row, lists) for part in call.partition)
        if any(is_null(part) for part in key):
            return None
        at_us = int(row["event_time"])  # type: ignore[arg-type]
        passes = call.filter is None or evaluate(call.filter, row, lists) is True
        argument = None if call.argument is None else evaluate(call.argument, row, lists)
        rows = self.rows.setdefault((call.name, key), [])
        # Among equal times the newest arrival stands last (L2); a late event stands in its place (L4).
        insort(rows, Seen(at_us, passes, None if is_null(argument) else argument), key=lambda seen: seen.event_time)
        current = bisect_right(rows, at_us, key=lambda seen: seen.event_time) - 1
        if call.function == "lag":
            return _lag(call, rows[:current])
        return aggregate(call, _framed(call.frame, rows, current))


def _framed(frame: Frame, rows: Sequence[Seen], current: int) -> list[Seen]:
    """The rows of the frame of rows[current]. Rows behind it are later than it, and not seen."""
    at_us = rows[current].event_time
    framed = []
    for position, seen in enumerate(rows[: current + 1]):
        before = current - position if frame.mode == "rows" else at_us - seen.event_time
        inside = before >= frame.end and (frame.start is None or before <= frame.start)
        if inside and not (frame.exclude_current and position == current):
            framed.append(seen)
    return framed


def _lag(call: WindowCall, earlier: Sequence[Seen]) -> Value:
    """The argument `offset` rows back. lag knows no frame; IGNORE NULLS counts only rows that have one."""
    rows = [seen for seen in earlier if seen.passes and not (call.ignore_nulls and seen.argument is None)]
    return rows[-call.offset].argument if len(rows) >= call.offset else None


def aggregate(call: WindowCall, framed: Sequence[Seen]) -> Value:
    """The function over the frame. NULL arguments do not count, except to first_value and last_value."""
    counted = [seen for seen in framed if seen.passes]
    values = [seen.argument for seen in counted if seen.argument is not None]
    match call.function:
        case "count_star":
            return len(counted)
        case "count":
            return len(values)
        case "count_distinct":
            return len(set(values))
        case "first_value" | "last_value":
            chosen = values if call.ignore_nulls else [seen.argument for seen in counted]
            return chosen[0 if call.function == "first_value" else -1] if chosen else None
    if not values:
        return None
    match call.function:
        case "min":
            return min(values)  # type: ignore[type-var]
        case "max":
            return max(values)  # type: ignore[type-var]
        case "sum":
            return sum(int(value) for value in values)  # type: ignore[misc, arg-type]
    assert call.argument is not None
    assert call.argument.type.kind in (Kind.INT, Kind.DECIMAL)
    return _moment(call.function, [int(value) for value in values], call.argument.type.scale)  # type: ignore[arg-type]


def _moment(function: str, x: Sequence[int], scale: int) -> float | None:
    """L5: avg, variance and deviation of integers x in units of 10^-e, rounded once, half to even.

    avg = rn(sum x / (n 10^e)); with D = n sum x^2 - (sum x)^2, var_samp = rn(D / (n (n-1) 10^2e)), var_pop with n^2;
    stddev is the root of var. Python divides integers by integers with just this one rounding.
    """
    n, total = len(x), sum(x)
    if function == "avg":
        return total / (n * 10**scale)
    spread = n * sum(value * value for value in x) - total * total
    pairs = n * (n - 1) if function.endswith("_samp") else n * n
    if pairs == 0:
        return None
    variance = spread / (pairs * 10 ** (2 * scale))
    return math.sqrt(variance) if function.startswith("stddev") else variance
