"""Exact wide integers and correctly rounded ratios, as kernels over scalars.

Numba has no integer above 64 bits, and its two compilers must agree to the last bit, so all that is wider than a
machine word lives here. A 128-bit value is (lo, hi): the low half is unsigned bits in an int64, the high half carries
the sign. Magnitudes inside this module are uint64 words, least first. rn is "round to nearest, half to even".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from features.kernel import inner, kernel

Word = Any  # a uint64 scalar inside kernels
Int = Any  # an int64 scalar inside kernels; as `lo`, the unsigned bits of a low half

MAX_I64, MIN_I64 = 2**63 - 1, -(2**63)
_U0, _U1, _U32, _U64 = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(64)
_LOW32, _TOP = np.uint64(2**32 - 1), np.uint64(2**63)
_EXACT = np.uint64(2**53)  # integers up to here are doubles
_DOUBLES = 2**53
_LEAST_EXPONENT = -1074  # of the smallest double

_MASK64 = 2**64 - 1
POW10_LO = np.array([10**k & _MASK64 for k in range(39)], np.uint64)
_POW10 = np.array([float(10**k) for k in range(23)])  # all exact
POW10_HI = np.array([10**k >> 64 for k in range(39)], np.uint64)


# --- unsigned words ---


@inner
def bit_length(x: Word) -> int:
    """Bits of a uint64, 0 for 0."""
    bits = 0
    for step in (32, 16, 8, 4, 2, 1):
        if x >> np.uint64(step) != _U0:
            x >>= np.uint64(step)
            bits += step
    return bits + (1 if x != _U0 else 0)


@inner
def umul(a: Word, b: Word) -> tuple[Word, Word]:
    """uint64 x uint64 -> (lo, hi)."""
    a0, a1, b0, b1 = a & _LOW32, a >> _U32, b & _LOW32, b >> _U32
    low, cross = a0 * b0, a1 * b0
    middle = (low >> _U32) + (cross & _LOW32) + a0 * b1
    return a * b, a1 * b1 + (cross >> _U32) + (middle >> _U32)


@inner
def uadd(a: Word, b: Word, carry: Word) -> tuple[Word, Word]:
    """(a + b + carry, carry out), all uint64."""
    total = a + b
    first = _U1 if total < a else _U0
    result = total + carry
    return result, first + (_U1 if result < total else _U0)


@inner
def usub(a: Word, b: Word, borrow: Word) -> tuple[Word, Word]:
    """(a - b - borrow, borrow out), all uint64."""
    total = a - b
    first = _U1 if a < b else _U0
    return total - borrow, first + (_U1 if total < borrow else _U0)


@inner
def udiv128(hi: Word, lo: Word, d: Word) -> tuple[Word, Word]:
    """(hi, lo) / d -> (quotient, remainder), for hi < d and the top bit of d set (Knuth D in 32-bit digits)."""
    d1, d0 = d >> _U32, d & _LOW32
    rest = hi
    quotient = _U0
    for digit in (lo >> _U32, lo & _LOW32):
        q = rest // d1
        r = rest - q * d1
        while q > _LOW32 or q * d0 > ((r << _U32) | digit):
            q -= _U1
            r += d1
            if r > _LOW32:
                break
        rest = ((rest << _U32) | digit) - q * d
        quotient = (quotient << _U32) | q
    return quotient, rest


@inner
def udivmod(n0: Word, n1: Word, d0: Word, d1: Word) -> tuple[Word, Word, Word, Word]:
    """128-bit magnitudes: (q0, q1, r0, r1) of n / d, d not zero."""
    if n1 == _U0 and d1 == _U0:
        return n0 // d0, _U0, n0 % d0, _U0
    if d1 == _U0:
        shift = np.uint64(64 - bit_length(d0))
        d = d0 << shift
        q1 = n1 // d0
        rest = n1 - q1 * d0
        if shift != _U0:
            rest = (rest << shift) | (n0 >> (_U64 - shift))
        q0, r = udiv128(rest, n0 << shift, d)
        return q0, q1, r >> shift, _U0
    steps = bit_length(n1) - bit_length(d1)
    q = _U0
    for step in range(steps, -1, -1):
        s = np.uint64(step)
        s1 = d1 << s
        if step > 0:
            s1 |= d0 >> (_U64 - s)
        s0 = d0 << s
        if n1 > s1 or (n1 == s1 and n0 >= s0):
            n0, borrow = usub(n0, s0, _U0)
            n1 = n1 - s1 - borrow
            q |= _U1 << s
    return q, _U0, n0, n1


# --- signed 128 bits ---


@kernel
def add128(a_lo: Int, a_hi: Int, b_lo: Int, b_hi: Int) -> tuple[Int, Int]:
    """a + b, wrapping at 128 bits."""
    lo, carry = uadd(np.uint64(a_lo), np.uint64(b_lo), _U0)
    return np.int64(lo), np.int64(np.uint64(a_hi) + np.uint64(b_hi) + carry)


@kernel
def sub128(a_lo: Int, a_hi: Int, b_lo: Int, b_hi: Int) -> tuple[Int, Int]:
    """a - b, wrapping at 128 bits."""
    lo, borrow = usub(np.uint64(a_lo), np.uint64(b_lo), _U0)
    return np.int64(lo), np.int64(np.uint64(a_hi) - np.uint64(b_hi) - borrow)


@kernel
def neg128(lo: Int, hi: Int) -> tuple[Int, Int]:
    """-a, wrapping: the most negative value is its own negation."""
    return sub128(np.int64(0), np.int64(0), lo, hi)


@kernel
def compare128(a_lo: Int, a_hi: Int, b_lo: Int, b_hi: Int) -> int:
    """-1, 0 or 1 as a is less than, equal to or greater than b."""
    if a_hi != b_hi:
        return -1 if a_hi < b_hi else 1
    if a_lo == b_lo:
        return 0
    return -1 if np.uint64(a_lo) < np.uint64(b_lo) else 1


@kernel
def mul64(a: Int, b: Int) -> tuple[Int, Int]:
    """int64 x int64 -> (lo, hi), exact."""
    lo, hi = umul(np.uint64(a), np.uint64(b))
    if a < 0:
        hi -= np.uint64(b)
    if b < 0:
        hi -= np.uint64(a)
    return np.int64(lo), np.int64(hi)


@inner
def magnitude(lo: Int, hi: Int) -> tuple[Word, Word]:
    """|a| as two uint64 words."""
    if hi < 0:
        lo, hi = neg128(lo, hi)
    return np.uint64(lo), np.uint64(hi)


@inner
def signed(negative: bool, m0: Word, m1: Word) -> tuple[Int, Int, bool]:
    """A magnitude with its sign -> (lo, hi, overflow)."""
    lo, hi = np.int64(m0), np.int64(m1)
    if negative:
        lo, hi = neg128(lo, hi)
        return lo, hi, bool(hi > 0 or (hi == 0 and lo != 0))
    return lo, hi, bool(hi < 0)


@kernel
def mul128(a_lo: Int, a_hi: Int, b_lo: Int, b_hi: Int) -> tuple[Int, Int, bool]:
    """int128 x int128 -> (lo, hi, overflow)."""
    a0, a1 = magnitude(a_lo, a_hi)
    b0, b1 = magnitude(b_lo, b_hi)
    lo, hi = umul(a0, b0)
    c0, c1 = umul(a1, b0) if a1 != _U0 else umul(a0, b1)
    hi, carry = uadd(hi, c0, _U0)
    lo_i, hi_i, beyond = signed((a_hi < 0) != (b_hi < 0), lo, hi)
    return lo_i, hi_i, beyond or min(a1, b1) != _U0 or (c1 | carry) != _U0


@kernel
def divmod128(a_lo: Int, a_hi: Int, b_lo: Int, b_hi: Int) -> tuple[Int, Int, Int, Int, bool]:
    """a / b toward zero, and the remainder with the sign of a: (q_lo, q_hi, r_lo, r_hi, overflow); b not zero."""
    a0, a1 = magnitude(a_lo, a_hi)
    b0, b1 = magnitude(b_lo, b_hi)
    q0, q1, r0, r1 = udivmod(a0, a1, b0, b1)
    q_lo, q_hi, beyond = signed((a_hi < 0) != (b_hi < 0), q0, q1)
    r_lo, r_hi, _ = signed(a_hi < 0, r0, r1)
    return q_lo, q_hi, r_lo, r_hi, beyond


@kernel
def scale_up(lo: Int, hi: Int, digits: int) -> tuple[Int, Int, bool]:
    """a x 10^digits -> (lo, hi, overflow), digits from 0 to 38."""
    return mul128(lo, hi, np.int64(POW10_LO[digits]), np.int64(POW10_HI[digits]))


@kernel
def scale_down(lo: Int, hi: Int, digits: int) -> tuple[Int, Int]:
    """a / 10^digits to the nearest integer, halves away from zero -> (lo, hi), digits from 0 to 38."""
    d0, d1 = POW10_LO[digits], POW10_HI[digits]
    m0, m1 = magnitude(lo, hi)
    q0, q1, r0, r1 = udivmod(m0, m1, d0, d1)
    r1 = (r1 << _U1) | (r0 >> np.uint64(63))
    r0 = r0 << _U1
    if digits > 0 and (r1 > d1 or (r1 == d1 and r0 >= d0)):
        q0, carry = uadd(q0, _U1, _U0)
        q1 += carry
    out_lo, out_hi, _ = signed(hi < 0, q0, q1)
    return out_lo, out_hi


@kernel
def within_digits(lo: Int, hi: Int, digits: int) -> bool:
    """True when |a| < 10^digits, digits from 1 to 38."""
    m0, m1 = magnitude(lo, hi)
    return m1 < POW10_HI[digits] or (m1 == POW10_HI[digits] and m0 < POW10_LO[digits])


# --- correctly rounded doubles ---


@kernel
def round_to_double(q: Word, sticky: bool, exponent: int) -> float:
    """rn(q x 2^exponent) of a uint64 q with its top or second bit set; sticky says that a little more was cut off."""
    shift = max(bit_length(q) - 53, _LEAST_EXPONENT - exponent)
    if shift > 64:
        return 0.0
    kept = q >> np.uint64(shift) if shift < 64 else _U0
    rest = q - (kept << np.uint64(shift)) if shift < 64 else q
    half = _U1 << np.uint64(shift - 1)
    if rest > half or (rest == half and (sticky or kept & _U1 == _U1)):
        kept += _U1
    return math.ldexp(float(np.int64(kept)), exponent + shift)


@inner
def _ratio_128_64(n0: Word, n1: Word, d: Word) -> float:
    """rn(n / d) of a two-word n and a one-word d, neither zero."""
    n_bits = 64 + bit_length(n1) if n1 != _U0 else bit_length(n0)
    d_bits = bit_length(d)
    if n_bits <= 64:
        hi, lo = n0 << np.uint64(64 - n_bits), _U0
    elif n_bits == 128:
        hi, lo = n1, n0
    else:
        up = np.uint64(128 - n_bits)
        hi, lo = (n1 << up) | (n0 >> (_U64 - up)), n0 << up
    d = d << np.uint64(64 - d_bits)
    exponent, sticky = n_bits - d_bits - 64, False
    if hi >= d:
        sticky = lo & _U1 == _U1
        lo = (lo >> _U1) | (hi << np.uint64(63))
        hi = hi >> _U1
        exponent += 1
    q, rest = udiv128(hi, lo, d)
    return round_to_double(q, sticky or rest != _U0, exponent)


@inner
def _left_justified(w0: Word, w1: Word, w2: Word, w3: Word) -> tuple[Word, Word, Word, Word, int]:
    """Four words shifted so that the top bit is set, and how many bits they had; not zero."""
    bits = 256
    while w3 == _U0:
        w3, w2, w1, w0 = w2, w1, w0, _U0
        bits -= 64
    missing = 64 - bit_length(w3)
    if missing > 0:
        up, down = np.uint64(missing), np.uint64(64 - missing)
        w3 = (w3 << up) | (w2 >> down)
        w2 = (w2 << up) | (w1 >> down)
        w1 = (w1 << up) | (w0 >> down)
        w0 = w0 << up
    return w0, w1, w2, w3, bits - missing


@inner
def _ratio_256(n0: Word, n1: Word, n2: Word, n3: Word, d0: Word, d1: Word, d2: Word, d3: Word) -> float:
    """rn(n / d) of four-word magnitudes, neither zero: one quotient bit at a time."""
    n0, n1, n2, n3, n_bits = _left_justified(n0, n1, n2, n3)
    d0, d1, d2, d3, d_bits = _left_justified(d0, d1, d2, d3)
    q, carry = _U0, _U0
    for _ in range(64):
        s0, borrow = usub(n0, d0, _U0)
        s1, borrow = usub(n1, d1, borrow)
        s2, borrow = usub(n2, d2, borrow)
        s3, borrow = usub(n3, d3, borrow)
        q = q << _U1
        if carry != _U0 or borrow == _U0:
            n0, n1, n2, n3 = s0, s1, s2, s3
            q |= _U1
        carry = n3 >> np.uint64(63)
        n3 = (n3 << _U1) | (n2 >> np.uint64(63))
        n2 = (n2 << _U1) | (n1 >> np.uint64(63))
        n1 = (n1 << _U1) | (n0 >> np.uint64(63))
        n0 = n0 << _U1
    return round_to_double(q, (carry | n0 | n1 | n2 | n3) != _U0, n_bits - d_bits - 63)


@kernel
def rn_ratio(negative: bool, n0: Word, n1: Word, n2: Word, n3: Word, d0: Word, d1: Word, d2: Word, d3: Word) -> float:
    """rn(n / d): a sign and a 256-bit magnitude over a 256-bit magnitude that is not zero, in uint64 words."""
    if (n0 | n1 | n2 | n3) == _U0:
        return 0.0
    if (n1 | n2 | n3 | d1 | d2 | d3) == _U0 and n0 <= _EXACT and d0 <= _EXACT:
        result = float(np.int64(n0)) / float(np.int64(d0))
    elif (n2 | n3 | d1 | d2 | d3) == _U0:
        result = _ratio_128_64(n0, n1, d0)
    else:
        result = _ratio_256(n0, n1, n2, n3, d0, d1, d2, d3)
    return -result if negative else result


@kernel
def decimal_to_double(lo: Int, hi: Int, exponent10: int) -> float:
    """rn(a / 10^exponent10), exponent10 from 0 to 38."""
    m0, m1 = magnitude(lo, hi)
    return rn_ratio(hi < 0, m0, m1, _U0, _U0, POW10_LO[exponent10], POW10_HI[exponent10], _U0, _U0)


@kernel
def mean(sum_lo: Int, sum_hi: Int, n: Int, e: Int) -> float:
    """rn(sum / (n 10^e)): the average of n values that are counts of 10^-e; n from 1 to 2^40, e from 0 to 9."""
    divisor = float(n) * _POW10[e]
    if divisor < _DOUBLES and -_DOUBLES <= sum_lo <= _DOUBLES and sum_hi == sum_lo >> 63:
        return float(float(sum_lo) / divisor)
    m0, m1 = magnitude(sum_lo, sum_hi)
    d0, d1 = umul(np.uint64(n), POW10_LO[e])
    return rn_ratio(sum_hi < 0, m0, m1, _U0, _U0, d0, d1, _U0, _U0)


@kernel
def variance(n: Int, sum_lo: Int, sum_hi: Int, sq_lo: Int, sq_hi: Int, e: Int, sample: Int) -> float:
    """rn(D / (n (n - sample) 10^2e)) with D = n sum(x^2) - sum(x)^2 in 256 bits; sample is 1 or 0, n more than sample.

    The sum of squares is an unsigned 128-bit value; n up to 2^40, e up to 9. stddev is the square root of this.
    """
    least, whole = float(n - sample) * _POW10[2 * e], float(n)
    if sq_hi == 0 and 0 <= sq_lo <= _DOUBLES and whole * float(sq_lo) < _DOUBLES and whole * least < _DOUBLES:
        # so small that every step is exact, the division apart; the sum is, too, its square being at most n sum(x^2)
        return float((whole * float(sq_lo) - float(sum_lo) * float(sum_lo)) / (whole * least))
    count = np.uint64(n)
    a0, carry = umul(count, np.uint64(sq_lo))
    a1, a2 = umul(count, np.uint64(sq_hi))
    a1, carry = uadd(a1, carry, _U0)
    a2 += carry
    s0, s1 = magnitude(sum_lo, sum_hi)
    b0, b1 = umul(s0, s0)
    b2, b3 = _U0, _U0
    if s1 != _U0:
        b2, b3 = umul(s1, s1)
        c0, c1 = umul(s0, s1)
        for _ in range(2):
            b1, carry = uadd(b1, c0, _U0)
            b2, carry = uadd(b2, c1, carry)
            b3 += carry
    d0, borrow = usub(a0, b0, _U0)
    d1, borrow = usub(a1, b1, borrow)
    d2, borrow = usub(a2, b2, borrow)
    d3, borrow = usub(_U0, b3, borrow)
    p0, p1 = umul(count, np.uint64(n - sample))
    ten = POW10_LO[2 * e]
    q0, carry = umul(p0, ten)
    q1, q2 = umul(p1, ten)
    q1, carry = uadd(q1, carry, _U0)
    return rn_ratio(False, d0, d1, d2, d3, q0, q1, q2 + carry, _U0)
