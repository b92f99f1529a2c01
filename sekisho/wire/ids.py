"""Names for records and for contents: sha256 where people and other systems see it, SipHash inside.

A record's id is the first 16 bytes of sha256 over the topic (its UTF-8 length as uint32, then its bytes), the partition
(int32) and the offset (int64), all big-endian: anybody can recompute it.

A content hash is SipHash-2-4 with 128 bits (Aumasson and Bernstein 2012, key zero) over the fields' values, each
written so that no two contents give the same bytes: NULL as the word 0; a number as the words 1 and its bits; a text as
the word 2 + 8 x its length, then its bytes, padded with zeros to whole words. It never leaves the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from features.kernel import bare, inlined, kernel
from features.sheet import HANDLE_BITS, VALID, Bytes, Ints, Sheet
from features.shims import Int
from features.threads import in_parts
from features.unaligned import read_word
from sekisho.wire.sha256 import LANES, SCHEDULE, START, STATE, Words, compress, pad

_LENGTH = (1 << HANDLE_BITS) - 1
_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)


def record_ids(topics: Sequence[str], topic: Ints, partition: Ints, offset: Ints) -> Ints:
    """int64[n, 2]: ids of the records at n places in the log, the first eight bytes and the next eight, big-endian.

    topic: int64[n], indices into `topics`.   partition, offset: int64[n].
    """
    ids = np.empty((len(topic), 2), np.int64)
    state, v, w = np.empty(STATE, np.uint32), np.empty(STATE, np.uint32), np.empty(SCHEDULE, np.uint32)
    for k, name in enumerate(topics):
        message, tail = _message(name)
        _identify((topic == k).nonzero()[0], message, tail, partition, offset, state, v, w, ids)
    return ids


@lru_cache
def _message(topic: str) -> tuple[Words, int]:
    """What is hashed for a record of the topic, padded, and the byte from which on its place stands."""
    head = len(raw := topic.encode()).to_bytes(4, "big") + raw
    return pad(head + bytes(12)), len(head)


@bare
def _identify(
    rows: Ints, message: Words, tail: Int, partition: Ints, offset: Ints, state: Words, v: Words, w: Words, ids: Ints
) -> None:
    """The ids of some rows. message: padded, with room for partition and offset from byte `tail` on."""
    for first in range(0, len(rows), LANES):
        lanes = min(LANES, len(rows) - first)
        for k in range(STATE):
            state[k] = START[k // LANES]
        for block in range(0, len(message), 16):
            for k in range(16 * LANES):
                w[k] = message[block + k // LANES]
            for lane in range(lanes):
                i = rows[first + lane]
                _put_place(partition[i], offset[i], (tail >> 2) - block, 8 * (tail & 3), w, lane)
            compress(state, v, w, lanes)
        for lane in range(lanes):
            for half in range(2):
                high, low = state[2 * half * LANES + lane], state[(2 * half + 1) * LANES + lane]
                ids[rows[first + lane], half] = np.int64(high) << 32 | np.int64(low)


@inlined
def _put_place(partition: Int, offset: Int, word: Int, bits: Int, w: Words, lane: Int) -> None:
    """Put partition and offset into those of a block's words that they fall into, `bits` behind the start of `word`."""
    before, shift = np.uint64(0), np.uint64(bits)
    for k in range(4):
        part = partition if k == 0 else offset >> 32 if k == 1 else offset if k == 2 else 0
        before = before << _HALF | np.uint64(part) & _LOW
        if 0 <= word + k < 16:
            w[(word + k) * LANES + lane] |= np.uint32(before >> shift & _LOW)


def content_hash(sheet: Sheet, rows: Ints, is_text: Bytes, threads: int = 1) -> Ints:
    """int64[n, 2]: the hash of each event's values in `rows` (rows of the sheet's cells), in that order.

    is_text: uint8[rows], 1 where a row holds texts.
    """
    hashes = np.empty((sheet.n, 2), np.int64)

    def part(start: int, stop: int) -> None:
        _content_hash(start, stop, sheet.cells, sheet.valid, sheet.text, rows, is_text, hashes)

    in_parts(threads, sheet.n, part)
    return hashes


_INIT = np.array([0x736F6D6570736575, 0x646F72616E646F6D ^ 0xEE, 0x6C7967656E657261, 0x7465646279746573], np.uint64)


@kernel
def _content_hash(
    start: Int, stop: Int, cells: Ints, valid: Bytes, text: Bytes, rows: Ints, is_text: Bytes, hashes: Ints
) -> None:
    for i in range(start, stop):
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
                    a, b, c, d = _absorb(a, b, c, d, read_word(text, at + k, length - k))
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


@inlined
def _left(x: np.uint64, bits: Int) -> np.uint64:
    return np.uint64((x << np.uint64(bits)) | (x >> np.uint64(64 - bits)))


@inlined
def _round(a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """SipRound."""
    a += b
    c += d
    b, d = _left(b, 13) ^ a, _left(d, 16) ^ c
    a = _left(a, 32) + d
    c += b
    b, d = _left(b, 17) ^ c, _left(d, 21) ^ a
    return a, b, _left(c, 32), d


@inlined
def _absorb(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, word: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    d ^= word
    a, b, c, d = _round(a, b, c, d)
    a, b, c, d = _round(a, b, c, d)
    return a ^ word, b, c, d
