"""The shortest decimal text that reads back as the same double: Schubfach (R. Giulietti, 2020), no table of cases.

A double is c x 2^q. Of the decimals with the fewest digits between its two neighbours' middles the nearest is taken.
"""

from __future__ import annotations

import numpy as np

from features.kernel import inlined, inner
from features.sheet import Bytes
from features.shims import Int, Word, umul
from sekisho.wire.digits import POW10, digits_of, write_digits

WIDEST = 25  # bytes: sign, 17 digits, point, e, sign, three digits; or 0.0000 before 17 digits
_LEAST, _GREATEST = -292, 324  # powers of ten that doubles need
_HIDDEN, _FRACTION = np.uint64(2**52), np.uint64(2**52 - 1)
_SIGNLESS = np.int64(2**63 - 1)
_U1, _U2, _U4, _U10, _U40 = (np.uint64(k) for k in (1, 2, 4, 10, 40))


def _power(k: int) -> int:
    """10^k as 128 bits, the first of them 1, rounded up."""
    if k >= 0:
        shift = 128 - (10**k).bit_length()
        return -(-(10**k << max(shift, 0)) >> max(-shift, 0))
    return -(-(1 << 127 + (10**-k).bit_length()) // 10**-k)


_POWERS = [_power(k) for k in range(_LEAST, _GREATEST + 1)]
_HIGH = np.array([power >> 64 for power in _POWERS], np.uint64)
_LOW = np.array([power & (2**64 - 1) for power in _POWERS], np.uint64)


@inlined
def _log2_pow10(k: Int) -> Int:
    """The floor of log2(10^k)."""
    return (k * 1741647) >> 19


@inlined
def _scaled(high: Word, low: Word, c: Word) -> Word:
    """c times a power of ten, its lowest bit set where something was cut off."""
    _, carry = umul(low, c)
    y0, y1 = umul(high, c)
    y0 += carry
    return (y1 + (_U1 if y0 < carry else np.uint64(0))) | (_U1 if y0 > _U1 else np.uint64(0))


@inner
def shortest(bits: Int) -> tuple[Word, Int]:
    """(digits, exponent) of a finite double above 0 by its bits: digits x 10^exponent."""
    fraction, biased = np.uint64(bits) & _FRACTION, np.int64(bits >> 52)
    c, q = (fraction | _HIDDEN, biased - 1075) if biased > 0 else (fraction, np.int64(-1074))
    closer = fraction == np.uint64(0) and biased > 1  # the neighbour below is at half the distance
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    h = np.uint64(q + _log2_pow10(-k) + 1)
    high, low = _HIGH[-k - _LEAST], _LOW[-k - _LEAST]
    odd = c & _U1
    lower = _scaled(high, low, (_U4 * c - (_U1 if closer else _U2)) << h) + odd
    middle = _scaled(high, low, (_U4 * c) << h)
    upper = _scaled(high, low, (_U4 * c + _U2) << h) - odd
    s = middle >> _U2
    if s >= _U10:
        tens = s // _U10
        down, up = lower <= _U40 * tens, _U40 * tens + _U40 <= upper
        if down != up:
            return tens + (_U1 if up else np.uint64(0)), k + 1
    down, up = lower <= _U4 * s, _U4 * s + _U4 <= upper
    if down == up:
        half = _U4 * s + _U2
        up = middle > half or (middle == half and s & _U1 == _U1)
    return s + (_U1 if up else np.uint64(0)), k


@inner
def write_double(bits: Int, out: Bytes, at: Int) -> Int:
    """Write a finite double, given by its bits, as text; where it ends. 1e-6 to below 1e10 it has no exponent."""
    if bits < 0:
        out[at] = 45
        at += 1
        bits &= _SIGNLESS
    if bits == 0:
        out[at] = 48
        return at + 1
    digits, exponent = shortest(bits)
    while digits % _U10 == np.uint64(0):
        digits //= _U10
        exponent += 1
    width = digits_of(digits)
    point = width + exponent  # digits before the decimal point
    if point < -5 or point > 10:
        return _scientific(digits, width, point - 1, out, at)
    if point <= 0:
        at = write_digits(np.uint64(0), 2 - point, out, at)
        out[at + point - 1] = 46
        return write_digits(digits, width, out, at)
    if exponent >= 0:
        return write_digits(digits * POW10[exponent], point, out, at)
    whole = digits // POW10[-exponent]
    at = write_digits(whole, point, out, at)
    out[at] = 46
    return write_digits(digits - whole * POW10[-exponent], -exponent, out, at + 1)


@inner
def _scientific(digits: Word, width: Int, power: Int, out: Bytes, at: Int) -> Int:
    """d.ddde+x, without leading zeros in x."""
    write_digits(digits, width, out, at + 1)
    out[at] = out[at + 1]
    at += 1
    if width > 1:
        out[at] = 46
        at += width
    out[at], out[at + 1] = 101, 45 if power < 0 else 43
    power = abs(power)
    return write_digits(np.uint64(power), 1 + (power >= 10) + (power >= 100), out, at + 2)
