"""One scalar from UTF-8 text, exactly: kernels that JSON, CSV and Parquet share.

Every reader takes data[start : end], the whole text of the value, and gives (cell, code); the code is OK or a reason.
"""

from __future__ import annotations

import numpy as np

from features.kernel import inlined, inner
from features.sheet import Bytes, Ints
from features.shims import POW10_LO, Int, decimal_to_double, umul
from sekisho.wire.reasons import (
    ABSURD_TIME,
    BOOLEAN,
    DECIMALS,
    LEAP_SECOND,
    NUMBER,
    OK,
    PENDING,
    TIME,
    TIME_DIGITS,
    TOO_LARGE,
)
from sekisho.wire.zones import to_utc

# How a field is read (its `param` stands in brackets).
AS_TEXT, AS_CATEGORY, AS_ID = 0, 1, 2  # an integer is the text of a category or id, too; an empty id is NULL
AS_DECIMAL = 3  # int64 units of 10^-param
AS_DOUBLE, AS_BOOL, AS_TIME = 4, 5, 6
AS_EPOCH = 7  # a number of seconds, ms or us, of which param decimals make a microsecond

MAX_UNITS = np.int64(10**15)
MAX_TIME_US = np.int64(7_289_654_400_000_000)  # 2201-01-01T00:00:00Z
_DAY_US = 86_400_000_000
_POW10 = np.array([10**k for k in range(19)], np.int64)
_TRUE, _FALSE = int.from_bytes(b"true", "big"), int.from_bytes(b"false", "big")
_FAR = np.int64(10**12)  # exponents beyond it are all alike


@inlined
def _digit(data: Bytes, at: Int, end: Int) -> Int:
    """The digit at `at`, or -1."""
    if at < end and 48 <= data[at] <= 57:
        return np.int64(data[at]) - 48
    return np.int64(-1)


@inner
def read_number(data: Bytes, start: Int, end: Int) -> tuple[bool, Int, Int, Int, Int]:
    """(negative, m, digits, x, code): the number is m x 10^x, and m has so many digits and no trailing zero.

    Takes [+-] digits [. digits] [e [+-] digits]. Where digits > 18, m is cut off and useless.
    """
    at, negative = start, False
    if at < end and (data[at] == 45 or data[at] == 43):
        negative = data[at] == 45
        at += 1
    mantissa, x, digits, zeros = np.int64(0), np.int64(0), 0, 0
    after_point, places = False, 0
    while at < end:
        d = np.int64(data[at]) - 48
        if 0 <= d <= 9:
            places += 1
            if after_point:
                x -= 1
            if d == 0:
                zeros += 1
            else:
                if digits > 0:
                    digits += zeros
                digits += 1
                if digits <= 18:
                    mantissa = mantissa * _POW10[zeros + 1 if digits > 1 else 1] + d
                zeros = 0
        elif d == -2 and not after_point and places > 0:
            after_point, places = True, 0
        else:
            break
        at += 1
    if places == 0:
        return negative, np.int64(0), 0, 0, NUMBER
    if at < end:
        if data[at] != 101 and data[at] != 69:
            return negative, np.int64(0), 0, 0, NUMBER
        at += 1
        minus = at < end and data[at] == 45
        if at < end and (data[at] == 45 or data[at] == 43):
            at += 1
        if at == end:
            return negative, np.int64(0), 0, 0, NUMBER
        power = np.int64(0)
        while at < end:
            d = _digit(data, at, end)
            if d < 0:
                return negative, np.int64(0), 0, 0, NUMBER
            power = min(power * 10 + d, _FAR)
            at += 1
        x += -power if minus else power
    return negative, mantissa, digits, x + zeros, OK


@inner
def read_decimal(data: Bytes, start: Int, end: Int, exponent: Int, limit: Int) -> tuple[Int, Int]:
    """int64 units of 10^-exponent, at most `limit` of them either way. Trailing zeros are no decimals."""
    negative, mantissa, digits, x, code = read_number(data, start, end)
    x += exponent
    if code != OK or digits == 0:
        return np.int64(0), code
    if x < 0:
        return np.int64(0), DECIMALS
    if digits + x > 18:
        return np.int64(0), TOO_LARGE
    units = mantissa * _POW10[x]
    if units > limit:
        return np.int64(0), TOO_LARGE
    return -units if negative else units, OK


@inner
def read_double(data: Bytes, start: Int, end: Int) -> tuple[float, Int]:
    """The nearest double, halves to even. PENDING where the text is too long for these few words; -0 is 0."""
    negative, mantissa, digits, x, code = read_number(data, start, end)
    if code != OK or digits == 0:
        return 0.0, code
    if digits + x > 308:
        return 0.0, TOO_LARGE
    if digits > 18 or x < -38 or x > 19:
        return 0.0, PENDING
    up = max(x, 0)
    lo, hi = umul(np.uint64(mantissa), POW10_LO[up])
    value = decimal_to_double(np.int64(lo), np.int64(hi), up - x)
    return -value if negative else value, OK


@inner
def read_bool(data: Bytes, start: Int, end: Int) -> tuple[Int, Int]:
    """true, false (in any case), 1 or 0."""
    length = end - start
    if length == 1 and (data[start] == 48 or data[start] == 49):
        return np.int64(data[start]) - 48, OK
    word = np.int64(0)
    if 4 <= length <= 5:
        for k in range(length):
            word = word << 8 | data[start + k] | 32  # lower case
    if word in (_TRUE, _FALSE):
        return np.int64(word == _TRUE), OK
    return np.int64(0), BOOLEAN


@inner
def _digits(data: Bytes, at: Int, end: Int, count: Int) -> Int:
    """The number that `count` digits from `at` make, or -1."""
    value = np.int64(0)
    for k in range(count):
        d = _digit(data, at + k, end)
        if d < 0:
            return np.int64(-1)
        value = value * 10 + d
    return value


@inlined
def days_from_civil(year: Int, month: Int, day: Int) -> Int:
    """Days from 1970-01-01, proleptic Gregorian (H. Hinnant, chrono-compatible date algorithms)."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@inlined
def _month_days(year: Int, month: Int) -> Int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@inner
def _read_offset(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """+hh:mm, +hhmm or +hh to the end of the text, as microseconds."""
    width = end - at
    hours = _digits(data, at + 1, end, 2)
    minutes = np.int64(0)
    if width == 6 and data[at + 3] == 58:
        minutes = _digits(data, at + 4, end, 2)
    elif width == 5:
        minutes = _digits(data, at + 3, end, 2)
    elif width != 3:
        return np.int64(0), TIME
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return np.int64(0), TIME
    offset = (hours * 60 + minutes) * 60_000_000
    return -offset if data[at] == 45 else offset, OK


@inner
def read_time(data: Bytes, start: Int, end: Int, starts: Ints, offsets: Ints) -> tuple[Int, Int]:
    """RFC 3339, a space or t for T allowed, to UTC microseconds. Without an offset, or a date alone: in the zone."""
    year, month, day = _digits(data, start, end, 4), _digits(data, start + 5, end, 2), _digits(data, start + 8, end, 2)
    if year < 0 or month < 1 or month > 12 or day < 1 or data[start + 4] != 45 or data[start + 7] != 45:
        return np.int64(0), TIME
    if day > _month_days(year, month):
        return np.int64(0), TIME
    local = days_from_civil(year, month, day) * _DAY_US
    at = start + 10
    if at == end:
        return in_range(to_utc(local, starts, offsets))
    if data[at] != 84 and data[at] != 116 and data[at] != 32:
        return np.int64(0), TIME
    hour, minute, second = _digits(data, at + 1, end, 2), _digits(data, at + 4, end, 2), _digits(data, at + 7, end, 2)
    if hour < 0 or minute < 0 or second < 0 or data[at + 3] != 58 or data[at + 6] != 58:
        return np.int64(0), TIME
    if hour > 23 or minute > 59 or second > 60:
        return np.int64(0), TIME
    if second == 60:
        return np.int64(0), LEAP_SECOND
    local += ((hour * 60 + minute) * 60 + second) * 1_000_000
    at += 9
    if at < end and data[at] == 46:
        unit, places = np.int64(100_000), 0
        at += 1
        while _digit(data, at, end) >= 0:
            if unit == 0 and data[at] != 48:
                return np.int64(0), TIME_DIGITS
            local += unit * _digit(data, at, end)
            unit //= 10
            places += 1
            at += 1
        if places == 0 or places > 9:
            return np.int64(0), TIME
    if at == end:
        return in_range(to_utc(local, starts, offsets))
    if at + 1 == end and (data[at] == 90 or data[at] == 122):
        return in_range(local)
    if data[at] != 43 and data[at] != 45:
        return np.int64(0), TIME
    offset, code = _read_offset(data, at, end)
    if code != OK:
        return np.int64(0), code
    return in_range(local - offset)


@inlined
def in_range(time_us: Int) -> tuple[Int, Int]:
    """The time, refused before 1970 and after 2200."""
    if time_us < 0 or time_us >= MAX_TIME_US:
        return np.int64(0), ABSURD_TIME
    return np.int64(time_us), OK


@inner
def read_epoch(data: Bytes, start: Int, end: Int, decimals: Int) -> tuple[Int, Int]:
    """A number of 10^decimals microseconds, to UTC microseconds."""
    time_us, code = read_decimal(data, start, end, decimals, MAX_TIME_US)
    if code == OK:
        return in_range(time_us)
    if code == TOO_LARGE:
        return time_us, ABSURD_TIME
    return time_us, TIME_DIGITS if code == DECIMALS else TIME


@inner
def read_scalar(
    how: Int, param: Int, data: Bytes, start: Int, end: Int, starts: Ints, offsets: Ints
) -> tuple[Int, Int]:  # fmt: skip
    """A value that is not text, as its cell."""
    if how == AS_DECIMAL:
        return read_decimal(data, start, end, param, MAX_UNITS)
    if how == AS_TIME:
        return read_time(data, start, end, starts, offsets)
    if how == AS_EPOCH:
        return read_epoch(data, start, end, param)
    if how == AS_DOUBLE:
        value, code = read_double(data, start, end)
        return np.float64(value).view(np.int64), code
    return read_bool(data, start, end)
