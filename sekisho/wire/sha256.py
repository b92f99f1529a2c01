"""SHA-256 (FIPS 180-4) of many short messages at once: a lane a message, so that vector instructions take all lanes.

hashlib judges it; it needs a Python object or two a message.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from features.kernel import inlined, inner
from features.shims import Int

Words = npt.NDArray[np.uint32]
LANES = 16
STATE, SCHEDULE = 8 * LANES, 64 * LANES  # words of a state and of a block with what grows out of it, all lanes


def _primes(count: int) -> list[int]:
    return [p for p in range(2, 400) if all(p % d for d in range(2, math.isqrt(p) + 1))][:count]


def _fraction(prime: int, root: int) -> int:
    """The first 32 bits of the fraction of a prime's square or cube root."""
    scaled, x = prime << 32 * root, 1 << 36
    while (better := ((root - 1) * x + scaled // x ** (root - 1)) // root) < x:
        x = better
    return x & 0xFFFFFFFF


START = np.array([_fraction(prime, 2) for prime in _primes(8)], np.uint32)
_ROUND = np.array([_fraction(prime, 3) for prime in _primes(64)], np.uint32)


def pad(message: bytes) -> Words:
    """A message with its padding, as whole blocks of 16 words."""
    end = message + b"\x80" + bytes(-(len(message) + 9) % 64) + (8 * len(message)).to_bytes(8, "big")
    return np.frombuffer(end, ">u4").astype(np.uint32)


@inlined
def _right(x: np.uint32, bits: Int) -> np.uint32:
    return np.uint32(np.uint32(x >> bits) | np.uint32(x << (32 - bits)))


@inlined
def _round(
    v: Words, w: Words, lanes: Int, t: Int, a: Int, b: Int, c: Int, d: Int, e: Int, f: Int, g: Int, h: Int
) -> None:
    """A round of all lanes; a to h say where the eight variables stand, which move on by one each round."""
    a, b, c, d, e, f, g, h = LANES * a, LANES * b, LANES * c, LANES * d, LANES * e, LANES * f, LANES * g, LANES * h
    constant = _ROUND[t]
    for lane in range(lanes):
        x, y, z = v[e + lane], v[f + lane], v[g + lane]
        one = v[h + lane] + (_right(x, 6) ^ _right(x, 11) ^ _right(x, 25)) + ((x & y) ^ (~x & z)) + constant
        one = np.uint32(one + w[LANES * t + lane])
        x, y, z = v[a + lane], v[b + lane], v[c + lane]
        two = (_right(x, 2) ^ _right(x, 13) ^ _right(x, 22)) + ((x & y) ^ (x & z) ^ (y & z))
        v[d + lane] = np.uint32(v[d + lane] + one)
        v[h + lane] = np.uint32(one + two)


@inner
def compress(state: Words, v: Words, w: Words, lanes: Int) -> None:
    """Take in a block: its 16 words stand at the beginning of w, a row of LANES each. v: room for STATE words."""
    for k in range(16 * LANES, 64 * LANES):
        x, y = w[k - 15 * LANES], w[k - 2 * LANES]
        small, large = _right(x, 7) ^ _right(x, 18) ^ (x >> 3), _right(y, 17) ^ _right(y, 19) ^ (y >> 10)
        w[k] = np.uint32(w[k - 16 * LANES] + small + w[k - 7 * LANES] + large)
    for k in range(8 * LANES):
        v[k] = state[k]
    for t in range(0, 64, 8):
        _round(v, w, lanes, t, 0, 1, 2, 3, 4, 5, 6, 7)
        _round(v, w, lanes, t + 1, 7, 0, 1, 2, 3, 4, 5, 6)
        _round(v, w, lanes, t + 2, 6, 7, 0, 1, 2, 3, 4, 5)
        _round(v, w, lanes, t + 3, 5, 6, 7, 0, 1, 2, 3, 4)
        _round(v, w, lanes, t + 4, 4, 5, 6, 7, 0, 1, 2, 3)
        _round(v, w, lanes, t + 5, 3, 4, 5, 6, 7, 0, 1, 2)
        _round(v, w, lanes, t + 6, 2, 3, 4, 5, 6, 7, 0, 1)
        _round(v, w, lanes, t + 7, 1, 2, 3, 4, 5, 6, 7, 0)
    for k in range(8 * LANES):
        state[k] = np.uint32(state[k] + v[k])
