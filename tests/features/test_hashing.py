"""Hash tables under keys: a known key can be flooded, an unknown one cannot, whatever pattern the ids follow."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from features.hashing import KNOWN_KEY, hash_bytes, secret_of
from features.intern import hash_words
from features.kernel import kernel
from features.sheet import Ints

N, SLOTS = 2000, 1 << 13
MASK = 2**64 - 1
KEYS = [Random(f"key {k}").randbytes(16) for k in range(3)]
Hashed = Callable[[bytes, list[tuple[int, ...]]], list[int]]


@kernel
def _words(secret: Ints, words: Ints) -> int:
    return hash_words(secret, words, 0, len(words))


def folded(key: bytes, words: list[int], length: int) -> int:
    """The hash in Python's integers."""
    start, factor = (int(word) & MASK for word in secret_of(key))
    h = start ^ length
    for word in words:
        h = (h ^ word) * factor & MASK ^ (h ^ word) * factor >> 64
    return h * (start | 1) & MASK ^ h * (start | 1) >> 64


def absorbed(key: bytes, h: int, word: int) -> int:
    product = (h ^ word) * (int(secret_of(key)[1]) & MASK)
    return product & MASK ^ product >> 64


def colliding(key: bytes, length: int) -> list[tuple[int, ...]]:
    """N keys of two words that leave one and the same hash under a key that is known."""
    start = int(secret_of(key)[0]) & MASK ^ length
    return [(k, absorbed(key, start, k) ^ 99) for k in range(N)]


def of_words(key: bytes, keys: list[tuple[int, ...]]) -> list[int]:
    secret = secret_of(key)
    return [int(_words(secret, np.array(each, np.uint64).view(np.int64))) & MASK for each in keys]


def of_bytes(key: bytes, keys: list[tuple[int, ...]]) -> list[int]:
    secret = secret_of(key)
    texts = [b"".join(word.to_bytes(8, "little") for word in each) for each in keys]
    return [int(hash_bytes(secret, np.frombuffer(text, np.uint8), 0, len(text), 0)) for text in texts]


def probes(hashes: list[int]) -> float:
    """How many slots a look-up reads, on average, in a table of linear probing a quarter full."""
    taken, read = bytearray(SLOTS), 0
    for h in hashes:
        at = h % SLOTS
        while taken[at]:
            at, read = (at + 1) % SLOTS, read + 1
        taken[at] = 1
    return 1 + read / len(hashes)


@pytest.mark.parametrize("seed", range(20))
def test_hashes_are_those_of_python_integers(seed: int) -> None:
    """Both functions compute what stands in `folded`, for keys of any length."""
    rng = Random(seed)
    key, text = rng.randbytes(16), rng.randbytes(rng.randrange(40))
    words = [int.from_bytes(text[k : k + 8], "little") for k in range(0, len(text), 8)]
    space = rng.randrange(4)
    found = hash_bytes(secret_of(key), np.frombuffer(text, np.uint8), 0, len(text), space)
    assert int(found) == folded(key, words, space << 32 | len(text))
    assert of_words(key, [tuple(words)]) == [folded(key, words, len(words))]


@pytest.mark.parametrize(("hashed", "length"), [(of_words, 2), (of_bytes, 16)])
def test_keys_made_to_collide_collide_under_their_own_key_only(hashed: Hashed, length: int) -> None:
    """Whoever knows the key floods the table; under any other, the same ids are like any."""
    keys = colliding(KNOWN_KEY, length)
    assert len(set(hashed(KNOWN_KEY, keys))) == 1
    assert probes(hashed(KNOWN_KEY, keys)) > N / 3
    for key in KEYS:
        assert probes(hashed(key, keys)) < 1.5


@pytest.mark.parametrize("hashed", [of_words, of_bytes])
@pytest.mark.parametrize("shift", [0, 1, 7, 16, 32, 40, 48, 52])
def test_patterns_do_not_crowd_a_table(hashed: Hashed, shift: int) -> None:
    """Ids in steps, in either word, in both or in the top bits, which a factor that is known would leave together."""
    steps = [k << shift & MASK for k in range(N)]
    for key in KEYS:
        for keys in ([(k, 5) for k in steps], [(5, k) for k in steps], [(k, k) for k in steps], [(k,) for k in steps]):
            assert probes(hashed(key, keys)) < 1.5


def test_a_top_bit_is_not_undone_without_the_key() -> None:
    """Two words that differ in their top bits alone collide under no key: the difference they leave is secret."""
    for key in KEYS:
        pairs = [(word ^ one << 63, word ^ other << 63) for word in range(500) for one in (0, 1) for other in (0, 1)]
        assert len(set(of_words(key, pairs))) == len(pairs)
