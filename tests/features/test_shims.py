"""The wide arithmetic, judged by Python's integers and fractions with ==."""

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from features import shims
from features.kernel import kernel

MASK = 2**64 - 1
EDGES = [0, 1, 2, 3, 5, 10, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
         2**64 + 1, 10**18, 10**19, 10**37, 10**38 - 1, 10**38, 2**126, 2**127 - 1]  # fmt: skip


def int64(x: int) -> np.int64:
    x &= MASK
    return np.int64(x - 2**64 if x >= 2**63 else x)


def halves(x: int) -> tuple[np.int64, np.int64]:
    return int64(x), int64(x >> 64)


def words(x: int, n: int = 4) -> list[np.uint64]:
    return [np.uint64((x >> (64 * k)) & MASK) for k in range(n)]


def whole(lo: int, hi: int) -> int:
    return (int(hi) << 64) | (int(lo) & MASK)


def wrap(x: int, bits: int = 128) -> int:
    x &= 2**bits - 1
    return x - 2**bits if x >= 2 ** (bits - 1) else x


def trunc_div(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def random_wide(rng: random.Random, bits: int = 127) -> int:
    if rng.random() < 0.3:
        value = rng.choice(EDGES)
    else:
        value = rng.getrandbits(rng.randint(1, bits))
    return value if rng.random() < 0.5 else -value


@pytest.fixture
def rng() -> random.Random:
    return random.Random(20240607)


def test_128_bit_arithmetic_equals_python(rng: random.Random) -> None:
    """add, sub, neg, compare, mul, division and remainder, on 4,000 random and edge pairs."""
    pairs = [(random_wide(rng), random_wide(rng)) for _ in range(4000)] + [(-(2**127), -1), (-(2**127), 1), (2**126, 2)]
    for a, b in pairs:
        x, y = halves(a), halves(b)
        assert whole(*shims.add128(*x, *y)) == wrap(a + b)
        assert whole(*shims.sub128(*x, *y)) == wrap(a - b)
        assert whole(*shims.neg128(*x)) == wrap(-a)
        assert shims.compare128(*x, *y) == (a > b) - (a < b)
        lo, hi, beyond = shims.mul128(*x, *y)
        assert bool(beyond) == (not -(2**127) <= a * b < 2**127)
        assert beyond or whole(lo, hi) == a * b
        p, q = wrap(a, 64), wrap(b, 64)
        assert whole(*shims.mul64(np.int64(p), np.int64(q))) == p * q
        if b:
            q_lo, q_hi, r_lo, r_hi, beyond = shims.divmod128(*x, *y)
            assert bool(beyond) == (a == -(2**127) and b == -1)
            assert beyond or whole(q_lo, q_hi) == trunc_div(a, b)
            assert whole(r_lo, r_hi) == a - b * trunc_div(a, b)


def test_powers_of_ten_round_halves_away_from_zero(rng: random.Random) -> None:
    """scale_up and scale_down on random values, and on values that end in an exact half."""
    for _ in range(2000):
        a, digits = random_wide(rng), rng.randint(0, 38)
        if rng.random() < 0.3 and digits:
            a = (rng.randint(-50, 50) * 2 + 1) * 10**digits // 2
            a = max(min(a, 2**127 - 1), -(2**127))
        lo, hi, beyond = shims.scale_up(*halves(a), digits)
        assert bool(beyond) == (not -(2**127) <= a * 10**digits < 2**127)
        assert beyond or whole(lo, hi) == a * 10**digits
        rounded = (2 * abs(a) + 10**digits) // (2 * 10**digits)
        assert whole(*shims.scale_down(*halves(a), digits)) == (rounded if a >= 0 else -rounded)
        assert bool(shims.within_digits(*halves(a), max(digits, 1))) == (abs(a) < 10 ** max(digits, 1))


def test_rn_ratio_is_correctly_rounded(rng: random.Random) -> None:
    """Every tier of rn_ratio equals float(Fraction), ties included."""
    for _ in range(4000):
        n_bits, d_bits = rng.choice([(53, 53), (64, 64), (128, 64), (200, 150), (256, 256)])
        num, den = rng.getrandbits(rng.randint(1, n_bits)), rng.getrandbits(rng.randint(1, d_bits)) or 1
        if rng.random() < 0.4:  # exactly, or almost exactly, half way between two doubles
            den = 1 << rng.randint(0, min(d_bits, 100) - 1)
            num = ((rng.getrandbits(53) | 2**52) * 2 + 1) << rng.randint(0, 60)
            num += rng.choice([-1, 0, 1])
        negative = rng.random() < 0.5
        want = float(Fraction(-num if negative else num, den))
        assert shims.rn_ratio(negative, *words(num), *words(den)) == want, (num, den)


def test_round_to_double_reaches_the_subnormals(rng: random.Random) -> None:
    """rn(q 2^e) for every exponent down to nothing."""
    for _ in range(2000):
        q, e = rng.getrandbits(63) | 2**62, rng.randint(-1145, 900)
        exact = Fraction(q) * (Fraction(2) ** e)
        assert shims.round_to_double(np.uint64(q), False, e) == float(exact), (q, e)


def test_decimal_to_double(rng: random.Random) -> None:
    """x / 10^e to the nearest double for all of DECIMAL(38)."""
    for _ in range(3000):
        a, e = random_wide(rng), rng.randint(0, 38)
        assert shims.decimal_to_double(*halves(a), e) == float(Fraction(a, 10**e))


def test_mean_and_variance(rng: random.Random) -> None:
    """Of real samples, small and huge, and of the largest sums that a window may hold."""
    for _ in range(1500):
        e, size = rng.randint(0, 9), 10 ** rng.randint(0, 18)
        xs = [rng.randint(-size, size) for _ in range(rng.randint(1, 30))]
        if rng.random() < 0.2:
            xs = [xs[0]] * len(xs)
        check_moments(len(xs), sum(xs), sum(x * x for x in xs), e)
    for d in range(-40, 40):  # where doubles just do, and just do not, hold the sums
        check_moments(1, 2**53 + d, (2**53 + d) ** 2, 0)
        check_moments(2, 2**26 + 2 * d, (2**26 + d) ** 2 + d * d, rng.randint(0, 9))
        check_moments(9007199 + d, 9007199 + d, 9007199 + d, 9)
    n, x = 2**40, 2**43
    check_moments(n, n * x - 12345, n * x * x + 678, 9)


def check_moments(n: int, total: int, squares: int, e: int) -> None:
    assert shims.mean(*halves(total), np.int64(n), np.int64(e)) == float(Fraction(total, n * 10**e))
    for sample in (0, 1):
        if n > sample:
            want = float(Fraction(n * squares - total**2, n * (n - sample) * 10 ** (2 * e)))
            got = shims.variance(np.int64(n), *halves(total), *halves(squares), np.int64(e), np.int64(sample))
            assert got == want, (n, total, squares, e, sample)


@kernel
def _called_from_a_kernel(lo: Any, hi: Any, n: Any, e: Any) -> float:
    total = 0.0
    for _ in range(2):
        lo, hi = shims.add128(lo, hi, np.int64(1), np.int64(0))
        total += shims.mean(lo, hi, n, e)
    return total


def test_a_kernel_can_carry_the_halves_in_a_loop() -> None:
    """The halves keep their int64 type, so a window kernel may accumulate with them."""
    assert _called_from_a_kernel(np.int64(-1), np.int64(0), np.int64(2), np.int64(1)) == 2**64 / 20 + (2**64 + 1) / 20
