"""Exact sliding windows in plain Python: per key a list of rows, per window a running count, sum and sum of squares."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

UNIT_US = {"MINUTE": 60_000_000, "HOUR": 3_600_000_000, "DAY": 86_400_000_000}
Values = list[int | float | None]


def widths_us(frames: Mapping[str, str]) -> tuple[int, ...]:
    """The widths of frames as SQL says them, "10 MINUTE"."""
    return tuple(int(number) * UNIT_US[unit] for number, unit in (text.split() for text in frames.values()))


def describe(count: int, total: int, squares: int) -> tuple[int, int, float | None]:
    """count, sum and sample standard deviation; the deviation is rounded from exact integers."""
    if count < 2:
        return count, total, None
    return count, total, math.sqrt((count * squares - total * total) / (count * (count - 1)))


class KeyWindows:
    """One key's windows. Rows that no window reaches are dropped when they are many."""

    __slots__ = ("heads", "rows", "sums")

    def __init__(self, windows: int) -> None:
        self.rows: list[tuple[int, int]] = []
        self.heads = [0] * windows
        self.sums = [[0, 0] for _ in range(windows)]

    def add(self, time_us: int, amount: int, widths: Sequence[int], out: Values) -> None:
        """Take in a row and append what each window says."""
        rows = self.rows
        rows.append((time_us, amount))
        end = len(rows)
        for k, width in enumerate(widths):
            head, sums = self.heads[k], self.sums[k]
            sums[0] += amount
            sums[1] += amount * amount
            while rows[head][0] < time_us - width:
                gone = rows[head][1]
                sums[0] -= gone
                sums[1] -= gone * gone
                head += 1
            self.heads[k] = head
            out += describe(end - head, sums[0], sums[1])
        if self.heads[-1] > 64 and self.heads[-1] * 2 > end:
            self.forget(self.heads[-1])

    def forget(self, count: int) -> None:
        """Drop the first rows."""
        del self.rows[:count]
        self.heads = [head - count for head in self.heads]


class PlainWindows:
    """Windows of several entities. widths: microseconds, the longest last."""

    def __init__(self, entities: Sequence[str], widths: Sequence[int]) -> None:
        self.entities, self.widths = entities, widths
        self.keys: list[defaultdict[str, KeyWindows]] = [defaultdict(lambda: KeyWindows(len(widths))) for _ in entities]

    def add(self, keys: Sequence[str], time_us: int, amount: int) -> Values:
        """The values of an event, entity by entity and window by window."""
        out: Values = []
        for entity, key in zip(self.keys, keys, strict=True):
            entity[key].add(time_us, amount, self.widths, out)
        return out
