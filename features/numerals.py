"""Reading numbers and times out of text, exactly, as TRY_CAST does. What cannot be read is not ok."""

from __future__ import annotations

import numpy as np

from features.civil import DAY_US, SECOND_US, days_from_civil
from features.kernel import bare, inner
from features.sheet import NULL, VALID, Bytes, Doubles, Ints
from features.shims import (
    POW10_HI,
    POW10_LO,
    Int,
    Word,
    bit_length,
    rn_ratio,
    round_to_double,
    signed,
    uadd,
    umul,
    within_digits,
)
from features.strings import span

_ZERO, _NINE, _POINT, _UNDERSCORE, _PLUS, _MINUS = ord("0"), ord("9"), ord("."), ord("_"), ord("+"), ord("-")
_FAR = 100_000  # exponents beyond it are as good as infinite
_U0, _U1 = np.uint64(0), np.uint64(1)
_TENTH = np.uint64(2**63 // 10)  # a high word up to here can take another digit


@inner
def _is_digit(byte: int) -> bool:
    return _ZERO <= byte <= _NINE


@inner
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@inner
def _digits_end(text: Bytes, at: int, end: int) -> int:
    """Behind a run of digits with single underscores between them; -1 when an underscore stands elsewhere."""
    while at < end and _is_digit(text[at]):
        at += 1
        if at < end and text[at] == _UNDERSCORE:
            at += 1
            if at >= end or not _is_digit(text[at]):
                return -1
    return at


@inner
def _read_exponent(text: Bytes, at: int, end: int) -> tuple[bool, int]:
    """(ok, exponent) of what follows the e; it must reach to the end."""
    negative = at < end and text[at] == _MINUS
    if at < end and (text[at] == _PLUS or negative):
        at += 1
    if at >= end or not _is_digit(text[at]) or _digits_end(text, at, end) != end:
        return False, 0
    exponent = 0
    while at < end:
        if text[at] != _UNDERSCORE:
            exponent = min(exponent * 10 + (text[at] - _ZERO), _FAR)
        at += 1
    return True, -exponent if negative else exponent


@inner
def scan_number(text: Bytes, handle: int) -> tuple[bool, bool, int, int, int]:
    """(ok, negative, first, last, point): digits stand in text[first:last] among points and underscores, and `point`
    of them (it may be negative, or more than there are) stand before the decimal point. Leading zeros are skipped."""
    at, end = span(handle)
    while at < end and _is_space(text[at]):
        at += 1
    while at < end and _is_space(text[end - 1]):
        end -= 1
    negative = at < end and text[at] == _MINUS
    if at < end and (text[at] == _PLUS or negative):
        at += 1
    whole_end = _digits_end(text, at, end)
    last = whole_end
    if whole_end >= 0 and whole_end < end and text[whole_end] == _POINT:
        last = whole_end + 1
        if last < end and _is_digit(text[last]):
            last = _digits_end(text, last, end)
    if last < 0 or at >= end or not (_is_digit(text[at]) or (last - at > 1 and _is_digit(text[last - 1]))):
        return False, False, 0, 0, 0
    exponent, ok = 0, last == end
    if last < end and (text[last] | 32) == 101:
        ok, exponent = _read_exponent(text, last + 1, end)
    point = exponent
    for k in range(at, whole_end):
        point += text[k] != _UNDERSCORE
    while at < last and not (_ZERO < text[at] <= _NINE):
        point -= text[at] == _ZERO
        at += 1
    return ok, negative, at, last, point


@inner
def _append(m0: Word, m1: Word, digit: int) -> tuple[Word, Word]:
    """10 m + digit of a two-word magnitude, wrapping."""
    lo, carry = umul(m0, np.uint64(10))
    lo, more = uadd(lo, np.uint64(digit), _U0)
    return lo, m1 * np.uint64(10) + carry + more


@inner
def read_exact(text: Bytes, handle: int, scale: int, digits: int) -> tuple[bool, Int, Int]:
    """(ok, lo, hi): a number in units of 10^-scale, halves away from zero; digits is its precision, 0 for HUGEINT."""
    ok, negative, at, last, point = scan_number(text, handle)
    m0, m1 = _U0, _U0
    if not ok or at >= last or point + scale < 0:
        return ok, np.int64(0), np.int64(0)
    for _ in range(point + scale):
        while at < last and not _is_digit(text[at]):
            at += 1
        if m1 > _TENTH:
            return False, np.int64(0), np.int64(0)
        m0, m1 = _append(m0, m1, text[at] - _ZERO if at < last else 0)
        at += 1
    while at < last and not _is_digit(text[at]):
        at += 1
    if at < last and text[at] - _ZERO >= 5:
        m0, carry = uadd(m0, _U1, _U0)
        m1 += carry
    lo, hi, beyond = signed(negative, m0, m1)
    return not beyond and (digits == 0 or within_digits(lo, hi, digits)), lo, hi


@inner
def read_double(text: Bytes, handle: int, work: Ints) -> tuple[bool, float]:
    """(ok, rn(number)); numbers that round to infinity, inf and nan are not ok. work: int64[2, LIMBS]."""
    ok, negative, at, last, point = scan_number(text, handle)
    if not ok or at >= last or point < -400:
        return ok, 0.0
    if point > 400:
        return False, 0.0
    m0, m1, count = _U0, _U0, 0
    for k in range(at, last):
        if _is_digit(text[k]):
            count += 1
            if count <= 38:
                m0, m1 = _append(m0, m1, text[k] - _ZERO)
    exponent = point - count
    if count <= 38 and -38 <= exponent <= 0:
        ten0, ten1 = POW10_LO[-exponent], POW10_HI[-exponent]
        return True, rn_ratio(negative, m0, m1, _U0, _U0, ten0, ten1, _U0, _U0)
    value = _read_far_double(text, at, last, exponent, work[0], work[1])
    return value <= 1.7976931348623157e308, -value if negative else value


LIMBS = 160  # of 32 bits: 800 digits and 10^400 fit


@inner
def _times(a: Ints, factor: int, add: int) -> None:
    carry = np.int64(add)
    for k in range(LIMBS):
        carry += a[k] * factor
        a[k] = carry & 0xFFFFFFFF
        carry >>= 32


@inner
def _bits(a: Ints) -> int:
    k = LIMBS - 1
    while k > 0 and a[k] == 0:
        k -= 1
    return 32 * k + bit_length(np.uint64(a[k]))


@inner
def _shift_left(a: Ints, bits: int) -> None:
    limbs, rest = bits // 32, bits % 32
    for k in range(LIMBS - 1, -1, -1):
        high = a[k - limbs] if k >= limbs else 0
        low = a[k - limbs - 1] if k > limbs else 0
        a[k] = ((high << rest) | (low >> (32 - rest))) & 0xFFFFFFFF


@inner
def _take(a: Ints, b: Ints) -> bool:
    """a -= b if that is not negative; True when it was done."""
    k = LIMBS - 1
    while k > 0 and a[k] == b[k]:
        k -= 1
    if a[k] < b[k]:
        return False
    borrow = np.int64(0)
    for j in range(LIMBS):
        borrow += a[j] - b[j]
        a[j] = borrow & 0xFFFFFFFF
        borrow >>= 32
    return True


@inner
def _read_far_double(text: Bytes, at: int, last: int, exponent: int, n: Ints, d: Ints) -> float:
    """rn(digits x 10^exponent) by long division of big integers, for what 128 bits do not hold."""
    for k in range(LIMBS):
        n[k], d[k] = 0, 0
    d[0] = 1
    count = 0
    for k in range(at, last):
        if _is_digit(text[k]):
            count += 1
            if count <= 800:
                _times(n, 10, text[k] - _ZERO)
            elif text[k] != _ZERO:
                n[0] |= 1  # no tie has so many digits: all that matters is that something follows
    exponent += max(count - 800, 0)
    for _ in range(abs(exponent)):
        _times(n if exponent > 0 else d, 10, 0)
    n_bits, d_bits = _bits(n), _bits(d)
    _shift_left(d if n_bits > d_bits else n, abs(n_bits - d_bits))
    q = _U0
    for _ in range(64):
        q = (q << _U1) | (_U1 if _take(n, d) else _U0)
        _shift_left(n, 1)
    return round_to_double(q, _bits(n) > 0, n_bits - d_bits - 63)


@inner
def read_bool(text: Bytes, handle: int) -> int:
    """1 or 0 for true, t, yes, y, 1 and false, f, no, n, 0 in any case; -1 for anything else."""
    at, end = span(handle)
    key = np.int64(0)
    if end - at > 5:
        return -1
    for k in range(at, end):
        byte = np.int64(text[k])
        key = (key << 8) | (byte + 32 if 65 <= byte <= 90 else byte)
    if key in (0x74727565, 0x74, 0x796573, 0x79, 0x31):
        return 1
    return 0 if key in (0x66616C7365, 0x66, 0x6E6F, 0x6E, 0x30) else -1


@inner
def _fixed(text: Bytes, at: int, end: int, count: int) -> int:
    """The number that exactly `count` digits at `at` spell; -1 when they are not digits."""
    if at + count > end:
        return -1
    value = 0
    for k in range(at, at + count):
        if not _is_digit(text[k]):
            return -1
        value = value * 10 + (text[k] - _ZERO)
    return value


@inner
def _days_in_month(year: int, month: int) -> int:
    if month == 12:
        return 31
    return days_from_civil(year, month + 1, 1) - days_from_civil(year, month, 1)


@inner
def _read_clock(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """(microseconds of the day, where it ends) of HH:MM[:SS[.digits]]; -1 when it is none. Digits after six are cut."""
    hour, minute, second, micros = _fixed(text, at, end, 2), _fixed(text, at + 3, end, 2), 0, 0
    if not (0 <= hour <= 23 and 0 <= minute <= 59) or text[at + 2] != 58:
        return -1, at
    at += 5
    if at < end and text[at] == 58:
        second = _fixed(text, at + 1, end, 2)
        at += 3
        if not 0 <= second <= 59:
            return -1, at
        if at < end and text[at] == _POINT:
            at += 1
            unit = SECOND_US
            while at < end and _is_digit(text[at]):
                unit //= 10
                micros += (text[at] - _ZERO) * unit
                at += 1
    return ((hour * 60 + minute) * 60 + second) * SECOND_US + micros, at


@inner
def _read_offset(text: Bytes, at: int, end: int) -> tuple[bool, int]:
    """(ok, microseconds east) of Z or +HH, +HHMM, +HH:MM."""
    if end - at == 1 and text[at] == 90:
        return True, 0
    hours, minutes = _fixed(text, at + 1, end, 2), 0
    if end - at == 5:
        minutes = _fixed(text, at + 3, end, 2)
    elif end - at == 6 and text[at + 3] == 58:
        minutes = _fixed(text, at + 4, end, 2)
    elif end - at != 3:
        return False, 0
    ok = text[at] in (_PLUS, _MINUS) and 0 <= hours <= 15 and 0 <= minutes <= 59
    east = (hours * 60 + minutes) * 60 * SECOND_US
    return ok, -east if text[at] == _MINUS else east


@inner
def read_time(text: Bytes, handle: int, local: int) -> tuple[bool, int]:
    """(ok, microseconds since 1970) of YYYY-MM-DD[T or space HH:MM[:SS[.digits]][offset]], UTC without an offset.

    local 1 reads a TIMESTAMP: the offset is allowed and does not count.
    """
    at, end = span(handle)
    year, month, day = _fixed(text, at, end, 4), _fixed(text, at + 5, end, 2), _fixed(text, at + 8, end, 2)
    if year < 1 or not 1 <= month <= 12 or not 1 <= day <= _days_in_month(year, month):
        return False, 0
    if text[at + 4] != _MINUS or text[at + 7] != _MINUS:
        return False, 0
    micros = days_from_civil(year, month, day) * DAY_US
    at += 10
    if at == end:
        return True, micros
    if text[at] != 32 and text[at] != 84:
        return False, 0
    clock, at = _read_clock(text, at + 1, end)
    if clock < 0:
        return False, 0
    micros += clock
    if at == end:
        return True, micros
    ok, east = _read_offset(text, at, end)
    return ok, micros if local == 1 else micros - east


READ_EXACT, READ_DOUBLE, READ_BOOL, READ_TIME = range(4)


@bare
def read_texts(jobs: Ints, cells: Ints, floats: Doubles, valid: Bytes, text: Bytes, work: Ints) -> None:
    """Read columns of texts into columns of values; what cannot be read is NULL.

    jobs: int64[n, 5]: what to read, row of the texts, row of the values, then the scale and the precision of an exact
    number (see `read_exact`; it takes two rows), or whether a time is local.   work: int64[2, LIMBS].
    """
    for k in range(jobs.shape[0]):
        what, a, d, scale, detail = jobs[k, 0], jobs[k, 1], jobs[k, 2], jobs[k, 3], jobs[k, 4]
        for i in range(cells.shape[1]):
            valid[d, i] = valid[a, i]
            if valid[a, i] != VALID:
                continue
            ok = True
            if what == READ_EXACT:
                ok, cells[d, i], cells[d + 1, i] = read_exact(text, cells[a, i], scale, detail)
            elif what == READ_DOUBLE:
                ok, floats[d, i] = read_double(text, cells[a, i], work)
            elif what == READ_BOOL:
                cells[d, i] = read_bool(text, cells[a, i])
                ok = cells[d, i] >= 0
            else:
                ok, cells[d, i] = read_time(text, cells[a, i], detail)
            if not ok:
                valid[d, i] = NULL
