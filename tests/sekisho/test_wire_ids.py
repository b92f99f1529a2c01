"""Record ids and content hashes, against hashlib and a slow SipHash."""

import struct
from hashlib import sha256

import numpy as np
import pytest

from features.sheet import Ints, Layout, Sheet, sheet_of
from features.types import BIGINT, DOUBLE, TEXT
from sekisho.wire.ids import content_hash, record_ids

MASK = 2**64 - 1


def test_a_record_id_is_the_head_of_a_sha256() -> None:
    """Anybody with hashlib gets the same id, for topics of every length and any order of them."""
    rng = np.random.default_rng(5)
    places = [
        ("t" * int(rng.integers(1, 150)) + "関", int(rng.integers(0, 2**31)), int(rng.integers(0, 2**63 - 1)))
        for _ in range(300)
    ]
    places += [places[0], places[7], places[0]]
    topics = tuple(dict.fromkeys(topic for topic, _, _ in places))
    topic = np.array([topics.index(name) for name, _, _ in places])
    partition, offset = (np.array([place[k] for place in places]) for k in (1, 2))
    ids = record_ids(topics, topic, partition, offset)
    for (topic, partition, offset), (high, low) in zip(places, ids.tolist(), strict=True):
        raw = topic.encode()
        digest = sha256(len(raw).to_bytes(4, "big") + raw + struct.pack(">iq", partition, offset)).digest()
        assert struct.pack(">qq", high, low) == digest[:16]


def siphash128(message: bytes, key: bytes = bytes(16)) -> bytes:
    """SipHash-2-4 with 128 bits, as its authors' reference implementation has it."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def left(x: int, bits: int) -> int:
        return (x << bits | x >> (64 - bits)) & MASK

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = left(v[1], 13) ^ v[0]
            v[0] = left(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = left(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = left(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = left(v[1], 17) ^ v[2]
            v[2] = left(v[2], 32)

    whole = len(message) // 8 * 8
    tail = message[whole:].ljust(7, b"\0") + bytes([len(message) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", message[:whole] + tail):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return struct.pack("<QQ", first, v[0] ^ v[1] ^ v[2] ^ v[3])


def test_the_slow_siphash_is_siphash() -> None:
    """The judge of the next test gives the authors' published vectors (key 00..0f; messages of 0 and 63 bytes)."""
    key = bytes(range(16))
    assert siphash128(b"", key).hex() == "a3817f04ba25a8e66df67214c7550293"
    assert siphash128(bytes(range(63)), key).hex() == "5150d1772f50834a503e069a973fbd7c"


LAYOUT = Layout()
for name, type in {"n": BIGINT, "t": TEXT, "d": DOUBLE, "u": TEXT}.items():
    LAYOUT.add(name, type)


def hashed(sheet: Sheet) -> Ints:
    return content_hash(sheet, np.arange(4), np.array([0, 1, 0, 1], np.uint8))


def test_a_content_hash_is_siphash_of_the_documented_bytes() -> None:
    """The kernel hashes exactly the words that its docstring describes."""
    values = [
        (5, "", 0.5, None),
        (None, "関所", -0.0, "x" * 8),
        (-1, None, None, "abcdefghi"),
        (2**62, "a\0", 1e300, ""),
    ]
    columns = {name: [row[k] for row in values] for k, name in enumerate(LAYOUT.slots)}
    hashes = hashed(sheet_of(LAYOUT, columns))
    for row, got in zip(values, hashes, strict=True):
        message = b""
        for value in row:
            if value is None:
                message += struct.pack("<Q", 0)
            elif isinstance(value, str):
                raw = value.encode()
                message += struct.pack("<Q", 2 + 8 * len(raw)) + raw + bytes(-len(raw) % 8)
            else:
                message += struct.pack("<Qd" if isinstance(value, float) else "<Qq", 1, value)
        assert got.tobytes() == siphash128(message)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "", 0.0, ""), (None, "", 0.0, "")),
        ((0, "", 0.0, ""), (0, None, 0.0, "")),
        ((0, "ab", 0.0, "c"), (0, "a", 0.0, "bc")),
        ((0, None, 0.0, "x"), (0, "x", 0.0, None)),
        ((1, "a", 0.0, ""), (0, "a", 0.0, "")),
    ],
)
def test_contents_that_differ_have_different_hashes(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    """NULL is not 0 and not the empty text, and a text does not flow into the next."""
    columns = {name: [one[k], other[k]] for k, name in enumerate(LAYOUT.slots)}
    first, second = hashed(sheet_of(LAYOUT, columns))  # type: ignore[arg-type]
    assert first.tolist() != second.tolist()


def test_a_content_hash_ignores_where_texts_stand() -> None:
    """Equal values give equal hashes whatever stands around them in the sheet's text."""
    alone = sheet_of(LAYOUT, {"n": [1], "t": ["tea"], "d": [2.0], "u": ["house"]})
    among = sheet_of(LAYOUT, {"n": [9, 1], "t": ["coffee", "tea"], "d": [0.0, 2.0], "u": [None, "house"]})
    assert hashed(alone)[0].tolist() == hashed(among)[1].tolist()
