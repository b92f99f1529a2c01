"""Civil time: calendar parts of microseconds by integer arithmetic, and zones as tables of offsets."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from features.kernel import inner
from features.sheet import Ints

SECOND_US = 1_000_000
UNITS_US = {"second": SECOND_US, "minute": 60 * SECOND_US, "hour": 3600 * SECOND_US, "day": 86_400 * SECOND_US}
DAY_US = UNITS_US["day"]

# Parts that go round: (unit, shift, modulus, first) gives (t // unit + shift) % modulus + first.
CYCLES = {
    "second": (UNITS_US["second"], 0, 60, 0),
    "minute": (UNITS_US["minute"], 0, 60, 0),
    "hour": (UNITS_US["hour"], 0, 24, 0),
    "dow": (DAY_US, 4, 7, 0),  # 1970-01-01 was a Thursday; Sunday is 0
    "isodow": (DAY_US, 3, 7, 1),  # Monday is 1
}
YEAR, MONTH, DAY, DAY_OF_YEAR, WEEK = range(5)
CIVIL_PARTS = {"year": YEAR, "month": MONTH, "day": DAY, "doy": DAY_OF_YEAR, "week": WEEK}


@inner
def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the proleptic Gregorian calendar (Hinnant, chrono-compatible date algorithms)."""
    if month <= 2:
        year -= 1
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@inner
def civil_from_days(days: int) -> tuple[int, int, int]:
    """(year, month, day): the inverse of days_from_civil."""
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted_month = (5 * of_year + 2) // 153
    month = shifted_month + (3 if shifted_month < 10 else -9)
    return year + era * 400 + (1 if month <= 2 else 0), month, of_year - (153 * shifted_month + 2) // 5 + 1


@inner
def civil_part(at_us: int, part: int) -> int:
    """Year, month, day, day of the year, or ISO week of microseconds since 1970."""
    days = at_us // DAY_US
    if part == WEEK:  # the week belongs to the year of its Thursday
        days += 3 - (days + 3) % 7
    year, month, day = civil_from_days(days)
    if part == YEAR:
        return year
    if part == MONTH:
        return month
    if part == DAY:
        return day
    of_year = days - days_from_civil(year, 1, 1)
    return of_year + 1 if part == DAY_OF_YEAR else of_year // 7 + 1


@inner
def zone_offset(at_us: int, starts_us: Ints, offsets_us: Ints, first: int, last: int) -> int:
    """The offset in force at a moment; rows first..last (exclusive) are one zone's, in order of time."""
    low, high = first, last
    while high - low > 1:
        middle = (low + high) // 2
        if starts_us[middle] <= at_us:
            low = middle
        else:
            high = middle
    return offsets_us[low]


_LAST = 7_289_654_400  # 2201-01-01
_STEP = 5 * 86_400  # since 1970 no zone has changed its offset and back in so few; in 2000 some took seven


@cache
def zone_table(name: str) -> tuple[tuple[int, int], ...]:
    """(starts_us, offset_us) of a zone from 1970 to 2200. Earlier times take the first offset, later ones the last.

    Raises zoneinfo.ZoneInfoNotFoundError for a name that the time-zone data does not hold.
    """
    zone = ZoneInfo(name)

    def offset(second: int) -> timedelta:
        return datetime.fromtimestamp(second, zone).utcoffset() or timedelta()

    table = [(0, offset(0))]
    for end in range(_STEP, _LAST + 1, _STEP):
        if offset(end) == table[-1][1]:
            continue
        before, after = end - _STEP, end
        while after - before > 1:
            middle = (before + after) // 2
            if offset(middle) == table[-1][1]:
                before = middle
            else:
                after = middle
        table.append((after * SECOND_US, offset(after)))
    return tuple((start, since // timedelta(microseconds=1)) for start, since in table)


def zone_arrays(names: list[str]) -> Ints:
    """int64[2, k]: the tables of several zones one after the other."""
    rows = [row for name in names for row in zone_table(name)]
    return np.ascontiguousarray(np.array(rows, np.int64).reshape(-1, 2).T)
