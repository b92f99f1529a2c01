"""Names for records and for contents: sha256 where people and other systems see it, SipHash inside.

A record's id is the first 16 bytes of sha256 over the topic (its UTF-8 length as uint32, then its bytes), the partition
(int32) and the offset (int64), all big-endian: anybody can recompute it.

A content hash is SipHash-2-4 with 128 bits (Aumasson and Bernstein 2012, key zero) over the fields' values, each
written so that no two contents give the same bytes: NULL as the word 0; a number as the words 1 and its bits; a text as
the word 2 + 8 x its length, then its bytes, padded with zeros to whole words. It never leaves the state.
"""

from __future__ import annotations

import math

import numpy as np

from features.kernel import kernel
from features.sheet import HANDLE_BITS, VALID, Bytes, Ints, Sheet
from features.shims import Int
from features.types import Kind
from sekisho.batch import Batch

_LENGTH = (1 << HANDLE_BITS) - 1
_MASK = 0xFFFFFFFF


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % p for p in found):
            found.append(candidate)
        candidate += 1
    return found


def _root(value: int, degree: int) -> int:
    """The integer part of value^(1/degree)."""
    root = int(value ** (1 / degree))
    while root**degree > value:
        root -= 1
    while (root + 1) ** degree <= value:
        root += 1
    return root


# FIPS 180-4: the first 32 bits of the fractions of the cube roots and square roots of the first primes.
_ROUND = np.array([_root(p << 96, 3) & _MASK for p in _primes(64)], np.int64)
_START = np.array([math.isqrt(p << 64) & _MASK for p in _primes(8)], np.int64)


def record_ids(batch: Batch) -> Ints:
    """int64[n, 2]: the ids of the batch's records, the first eight bytes and the next eight, big-endian."""
    topics = [len(raw).to_bytes(4, "big") + raw for raw in (name.encode() for name in batch.topics)]
    ends = np.cumsum([len(raw) for raw in topics], dtype=np.int64)
    ids = np.empty((batch.n, 2), np.int64)
    _record_ids(np.frombuffer(b"".join(topics), np.uint8), ends, batch.topic, batch.partition, batch.offset, ids)
    return ids


@kernel
def _record_ids(topics: Bytes, ends: Ints, topic: Ints, partition: Ints, offset: Ints, ids: Ints) -> None:
    schedule, state = np.empty(64, np.int64), np.empty(8, np.int64)
    longest, start = 0, 0
    for end in ends:
        longest = max(longest, end - start)
        start = end
    message = np.zeros((longest + 12 + 9 + 63) // 64 * 64, np.uint8)
    written = -1
    for i in range(len(topic)):
        start = ends[topic[i] - 1] if topic[i] > 0 else 0
        size = ends[topic[i]] - start
        length = size + 12
        blocks = (length + 9 + 63) // 64
        if written != topic[i]:
            message[:size] = topics[start : start + size]
            message[length:] = 0
            message[length] = 0x80
            for k in range(8):
                message[64 * blocks - 1 - k] = (8 * length) >> (8 * k) & 0xFF
            written = topic[i]
        for k in range(4):
            message[size + 3 - k] = partition[i] >> (8 * k) & 0xFF
        for k in range(8):
            message[size + 11 - k] = offset[i] >> (8 * k) & 0xFF
        state[:] = _START
        for block in range(blocks):
            _sha256_block(message, 64 * block, schedule, state)
        ids[i, 0] = state[0] << 32 | state[1]
        ids[i, 1] = state[2] << 32 | state[3]


@kernel
def _right(x: Int, bits: Int) -> Int:
    return (x >> bits | x << (32 - bits)) & _MASK


@kernel
def _sha256_block(message: Bytes, at: Int, w: Ints, state: Ints) -> None:
    """One block of FIPS 180-4, 32-bit words in int64."""
    for t in range(16):
        w[t] = 0
        for k in range(4):
            w[t] = w[t] << 8 | np.int64(message[at + 4 * t + k])
    for t in range(16, 64):
        s0 = _right(w[t - 15], 7) ^ _right(w[t - 15], 18) ^ w[t - 15] >> 3
        s1 = _right(w[t - 2], 17) ^ _right(w[t - 2], 19) ^ w[t - 2] >> 10
        w[t] = (w[t - 16] + s0 + w[t - 7] + s1) & _MASK
    a, b, c, d, e, f, g, h = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    for t in range(64):
        s1 = _right(e, 6) ^ _right(e, 11) ^ _right(e, 25)
        first = h + s1 + (e & f ^ (e ^ _MASK) & g) + _ROUND[t] + w[t]
        s0 = _right(a, 2) ^ _right(a, 13) ^ _right(a, 22)
        h, g, f, e = g, f, e, (d + first) & _MASK
        d, c, b, a = c, b, a, (first + s0 + (a & b ^ a & c ^ b & c)) & _MASK
    for k, word in enumerate((a, b, c, d, e, f, g, h)):
        state[k] = (state[k] + word) & _MASK


def content_hash(sheet: Sheet, rows: Ints) -> Ints:
    """int64[n, 2]: the hash of each event's values in `rows` (rows of the sheet's cells), in that order."""
    texts = {slot.row for slot in sheet.layout.slots.values() if slot.type.kind is Kind.TEXT}
    is_text = np.array([row in texts for row in rows], np.uint8)
    hashes = np.empty((sheet.n, 2), np.int64)
    _content_hash(sheet.cells, sheet.valid, sheet.text, np.ascontiguousarray(rows, np.int64), is_text, hashes)
    return hashes


_INIT = np.array([0x736F6D6570736575, 0x646F72616E646F6D ^ 0xEE, 0x6C7967656E657261, 0x7465646279746573], np.uint64)


@kernel
def _content_hash(cells: Ints, valid: Bytes, text: Bytes, rows: Ints, is_text: Bytes, hashes: Ints) -> None:
    for i in range(cells.shape[1]):
        a, b, c, d = _INIT[0], _INIT[1], _INIT[2], _INIT[3]
        words = 0
        for r in range(len(rows)):
            cell = cells[rows[r], i]
            if valid[rows[r], i] != VALID:
                a, b, c, d = _absorb(a, b, c, d, np.uint64(0))
                words += 1
            elif is_text[r] == 0:
                a, b, c, d = _absorb(a, b, c, d, np.uint64(1))
                a, b, c, d = _absorb(a, b, c, d, np.uint64(cell))
                words += 2
            else:
                at, length = cell >> HANDLE_BITS, cell & _LENGTH
                a, b, c, d = _absorb(a, b, c, d, np.uint64(2 + 8 * length))
                for k in range(0, length, 8):
                    a, b, c, d = _absorb(a, b, c, d, _word(text, at + k, min(length - k, 8)))
                words += 1 + (length + 7) // 8
        a, b, c, d = _absorb(a, b, c, d, np.uint64(8 * words & 0xFF) << np.uint64(56))
        c ^= np.uint64(0xEE)
        for _ in range(4):
            a, b, c, d = _round(a, b, c, d)
        hashes[i, 0] = np.int64(a ^ b ^ c ^ d)
        b ^= np.uint64(0xDD)
        for _ in range(4):
            a, b, c, d = _round(a, b, c, d)
        hashes[i, 1] = np.int64(a ^ b ^ c ^ d)


@kernel
def _word(text: Bytes, at: Int, size: Int) -> np.uint64:
    """Up to eight bytes, least first."""
    word = np.uint64(0)
    for k in range(size):
        word |= np.uint64(text[at + k]) << np.uint64(8 * k)
    return word


@kernel
def _left(x: np.uint64, bits: Int) -> np.uint64:
    return np.uint64((x << np.uint64(bits)) | (x >> np.uint64(64 - bits)))


@kernel
def _round(a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """SipRound."""
    a += b
    c += d
    b, d = _left(b, 13) ^ a, _left(d, 16) ^ c
    a = _left(a, 32) + d
    c += b
    b, d = _left(b, 17) ^ c, _left(d, 21) ^ a
    return a, b, _left(c, 32), d


@kernel
def _absorb(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, word: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    d ^= word
    a, b, c, d = _round(a, b, c, d)
    a, b, c, d = _round(a, b, c, d)
    return a ^ word, b, c, d
