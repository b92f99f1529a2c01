"""Rows to JSON text by a template: one kernel for every record that Sekisho writes, equal bytes for equal values.

    template = (b'{"id":', Piece("id", HEX), b',"amount":', Piece("amount", INT), b"}")
    columns = Columns(n, sheet.text)
    columns.hexes("id", ids)
    columns.ints("amount", sheet.ints("amount"), sheet.validity("amount"))
    blob, offsets = encode_rows(template, columns)

A piece writes one whole JSON value: `null` where its column is not VALID. Text is UTF-8 as it is; only quotes,
backslashes and control characters are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.kernel import inlined, inner, kernel
from features.sheet import HANDLE_BITS, VALID, Bytes, Doubles, Ints
from features.shims import Int
from sekisho.wire import arrow

# Forms of a piece.
INT = 1
BOOL = 2  # 0 is false
TEXT = 3  # quoted and escaped
RAW = 4  # text that is JSON already
TIME = 5  # microseconds UTC as RFC 3339 with six decimals and Z; years 0 to 9999
HEX = 6  # 128 bits as 32 hexadecimal digits
CHOICE = 7  # an index into fragments; negative is null
MASK = 8  # the fragments whose flag is set, in [ ] and joined by commas
_LITERAL = 0

_LENGTH = (1 << HANDLE_BITS) - 1
_DAY_US = 86_400_000_000
_FIXED = np.array([0, 20, 5, 2, 0, 29, 34, 0, 2], np.int64)  # the most bytes by form, fragments and texts aside
_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_NULL, _TRUE, _FALSE = (np.frombuffer(word, np.uint8) for word in (b"null", b"true", b"false"))
_SHORT = np.zeros(32, np.uint8)  # the letter of a control character's short escape
for _byte, _letter in zip(b"\b\f\n\r\t", b"bfnrt", strict=True):
    _SHORT[_byte] = _letter


@dataclass(frozen=True)
class Piece:
    """Where a column's value stands in a template, and in which form."""

    column: str
    form: int


class Columns:
    """The columns of n rows, by name. Later calls for the same name replace earlier ones."""

    def __init__(self, n: int, text: Bytes | None = None) -> None:
        self.n = n
        self.rows: dict[str, int] = {}
        self.fragments: dict[str, list[bytes]] = {}
        self.masks: dict[str, Bytes] = {}
        self._cells: list[Ints] = []
        self._valid: list[Bytes] = []
        self._texts = [np.empty(0, np.uint8) if text is None else text]
        self._used = len(self._texts[0])

    def ints(self, name: str, values: Ints, valid: Bytes | None = None) -> None:
        """int64[n]: integers, booleans, times, or handles into the text that the columns began with."""
        self.rows[name] = len(self._cells)
        self._cells.append(values)
        self._valid.append(np.full(self.n, VALID, np.uint8) if valid is None else valid)

    def hexes(self, name: str, values: Ints) -> None:
        """int64[n, 2]: the high and the low half of 128 bits."""
        self.ints(name, values[:, 0])
        self._cells.append(values[:, 1])
        self._valid.append(self._valid[-1])

    def strings(self, name: str, values: pa.Array | Sequence[str | None]) -> None:
        """Texts from outside of the sheet: an Arrow string array or Python strings."""
        column = pa.array(values, pa.large_string()) if isinstance(values, Sequence) else values
        column = pc.cast(column, pa.large_string())
        _, offset_buffer, data_buffer = column.buffers()
        offsets = np.frombuffer(offset_buffer, np.int64)[column.offset :][: self.n + 1]
        handles = (self._used + offsets[:-1]) << HANDLE_BITS | np.diff(offsets)
        data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
        self._texts.append(data)
        self._used += len(data)
        self.ints(name, handles, arrow.numbers(pc.is_valid(column)))

    def choices(self, name: str, index: Ints, fragments: Sequence[bytes]) -> None:
        """int64[n]: which of the fragments, each a JSON value."""
        self.ints(name, index)
        self.fragments[name] = list(fragments)

    def flags(self, name: str, matrix: Bytes, fragments: Sequence[bytes]) -> None:
        """uint8[m, n]: which of the m fragments, each a JSON value, stand in a row's list."""
        self.masks[name] = np.packbits(matrix, axis=0, bitorder="little")
        self.fragments[name] = list(fragments)

    def arrays(self) -> tuple[Ints, Bytes, Bytes]:
        """cells, valid and text as the kernel takes them."""
        cells = np.array(self._cells, np.int64).reshape(len(self._cells), self.n)
        valid = np.array(self._valid, np.uint8).reshape(len(self._cells), self.n)
        return cells, valid, np.concatenate(self._texts)


Template = Sequence[bytes | Piece]


def double_texts(values: Doubles, valid: Bytes) -> pa.Array:
    """The shortest decimal text that reads back as the same double, for `Columns.strings`."""
    return pc.cast(arrow.doubles(values, valid), pa.large_string())


def encode_rows(template: Template, columns: Columns) -> tuple[Bytes, Ints]:
    """Encode every row: (blob, offsets), row i being blob[offsets[i] : offsets[i + 1]].

    Raises KeyError for a column that was not given.
    """
    pieces, constants, ends, masks = _flatten(template, columns)
    cells, valid, text = columns.arrays()
    out = np.empty(_bound(pieces, ends, cells, valid, masks), np.uint8)
    offsets = np.zeros(columns.n + 1, np.int64)
    _encode(pieces, constants, ends, cells, valid, text, masks, out, offsets)
    return out[: offsets[-1]], offsets


def _flatten(template: Template, columns: Columns) -> tuple[Ints, Bytes, Ints, Bytes]:
    """pieces: int64[p, 4], form, row or flags' byte, first constant, count; constants; their ends; uint8[n, m]."""
    pieces: list[tuple[int, int, int, int]] = []
    constants: list[bytes] = []
    flags = [np.empty((0, columns.n), np.uint8)]
    for piece in template:
        if isinstance(piece, bytes):
            pieces.append((_LITERAL, 0, len(constants), 1))
            constants.append(piece)
            continue
        fragments = columns.fragments[piece.column] if piece.form in (CHOICE, MASK) else []
        place = sum(map(len, flags)) if piece.form == MASK else columns.rows[piece.column]
        pieces.append((piece.form, place, len(constants), len(fragments)))
        constants += fragments
        if piece.form == MASK:
            flags.append(columns.masks[piece.column])
    masks = np.ascontiguousarray(np.concatenate(flags).T)
    ends = np.cumsum([0, *map(len, constants)], dtype=np.int64)
    return np.array(pieces, np.int64), np.frombuffer(b"".join(constants), np.uint8), ends, masks


@kernel
def _bound(pieces: Ints, ends: Ints, cells: Ints, valid: Bytes, masks: Bytes) -> Int:
    """Bytes that are enough for all rows."""
    total = 0
    for p in range(len(pieces)):
        form, place, first, count = pieces[p, 0], pieces[p, 1], pieces[p, 2], pieces[p, 3]
        if form == _LITERAL:
            total += len(masks) * (ends[first + 1] - ends[first])
            continue
        total += len(masks) * max(_FIXED[form], 4)
        for i in range(len(masks)):
            if form in (TEXT, RAW):
                if valid[place, i] == VALID:
                    total += (cells[place, i] & _LENGTH) * (6 if form == TEXT else 1)
            elif form == CHOICE:
                if cells[place, i] >= 0:
                    total += ends[first + cells[place, i] + 1] - ends[first + cells[place, i]]
            elif form == MASK:
                for k in range(0, count, 8):
                    bits, constant = masks[i, place + k // 8], first + k
                    while bits:
                        total += (bits & 1) * (1 + ends[constant + 1] - ends[constant])
                        bits, constant = bits >> 1, constant + 1
    return total


@kernel
def _encode(
    pieces: Ints, constants: Bytes, ends: Ints, cells: Ints, valid: Bytes, text: Bytes, masks: Bytes, out: Bytes,
    offsets: Ints,
) -> None:  # fmt: skip
    at = np.int64(0)
    for i in range(len(masks)):
        for p in range(len(pieces)):
            form, place, first, count = pieces[p, 0], pieces[p, 1], pieces[p, 2], pieces[p, 3]
            if form == _LITERAL:
                at = _copy(constants, ends[first], ends[first + 1], out, at)
                continue
            if form == MASK:
                at = _mask(constants, ends, masks, i, place, first, count, out, at)
                continue
            cell = cells[place, i]
            if valid[place, i] != VALID or (form == CHOICE and cell < 0):
                at = _copy(_NULL, 0, 4, out, at)
            elif form == TEXT:
                at = _text(text, cell >> HANDLE_BITS, cell & _LENGTH, out, at)
            elif form == RAW:
                at = _copy(text, cell >> HANDLE_BITS, (cell >> HANDLE_BITS) + (cell & _LENGTH), out, at)
            elif form == CHOICE:
                at = _copy(constants, ends[first + cell], ends[first + cell + 1], out, at)
            elif form == INT:
                at = _int(cell, out, at)
            elif form == TIME:
                at = _time(cell, out, at)
            elif form == HEX:
                at = _hex(cell, cells[place + 1, i], out, at)
            elif cell:
                at = _copy(_TRUE, 0, 4, out, at)
            else:
                at = _copy(_FALSE, 0, 5, out, at)
        offsets[i + 1] = at


@inlined
def _copy(source: Bytes, start: Int, end: Int, out: Bytes, at: Int) -> Int:
    for k in range(end - start):
        out[at + k] = source[start + k]
    return at + end - start


@inner
def _mask(
    constants: Bytes, ends: Ints, masks: Bytes, i: Int, place: Int, first: Int, count: Int, out: Bytes, at: Int
) -> Int:
    out[at] = 91
    at += 1
    some = False
    for k in range(0, count, 8):
        bits, constant = masks[i, place + k // 8], first + k
        while bits:
            if bits & 1:
                if some:
                    out[at] = 44
                    at += 1
                at = _copy(constants, ends[constant], ends[constant + 1], out, at)
                some = True
            bits, constant = bits >> 1, constant + 1
    out[at] = 93
    return at + 1


@inner
def _text(text: Bytes, start: Int, length: Int, out: Bytes, at: Int) -> Int:
    out[at] = 34
    at += 1
    for k in range(start, start + length):
        c = text[k]
        if c >= 32 and c not in (34, 92):
            out[at] = c
            at += 1
            continue
        out[at] = 92
        if c >= 32:
            out[at + 1] = c
            at += 2
        elif _SHORT[c]:
            out[at + 1] = _SHORT[c]
            at += 2
        else:
            out[at + 1], out[at + 2], out[at + 3] = 117, 48, 48
            out[at + 4], out[at + 5] = _HEX_DIGITS[c >> 4], _HEX_DIGITS[c & 15]
            at += 6
    out[at] = 34
    return at + 1


@inner
def _int(value: Int, out: Bytes, at: Int) -> Int:
    rest = np.uint64(value)
    if value < 0:
        rest = ~rest + np.uint64(1)
        out[at] = 45
        at += 1
    width, probe = 1, rest
    while probe >= np.uint64(10):
        probe //= np.uint64(10)
        width += 1
    for k in range(width - 1, -1, -1):
        out[at + k] = np.uint8(rest % np.uint64(10)) + 48
        rest //= np.uint64(10)
    return at + width


@inner
def _digits(value: Int, width: Int, out: Bytes, at: Int, stop: Int) -> Int:
    """Exactly `width` digits, then the byte `stop`."""
    for k in range(width - 1, -1, -1):
        out[at + k] = 48 + value % 10
        value //= 10
    out[at + width] = stop
    return at + width + 1


@inner
def _time(time_us: Int, out: Bytes, at: Int) -> Int:
    """The calendar by H. Hinnant's chrono-compatible date algorithms."""
    days, us = time_us // _DAY_US, time_us % _DAY_US
    days += 719468
    era, of_era = days // 146097, days % 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    out[at] = 34
    at = _digits(year, 4, out, at + 1, 45)
    at = _digits(month, 2, out, at, 45)
    at = _digits(day, 2, out, at, 84)
    at = _digits(us // 3_600_000_000, 2, out, at, 58)
    at = _digits(us // 60_000_000 % 60, 2, out, at, 58)
    at = _digits(us // 1_000_000 % 60, 2, out, at, 46)
    at = _digits(us % 1_000_000, 6, out, at, 90)
    out[at] = 34
    return at + 1


@inner
def _hex(high: Int, low: Int, out: Bytes, at: Int) -> Int:
    out[at] = 34
    for k in range(16):
        out[at + 1 + k] = _HEX_DIGITS[high >> (60 - 4 * k) & 15]
        out[at + 17 + k] = _HEX_DIGITS[low >> (60 - 4 * k) & 15]
    out[at + 33] = 34
    return at + 34
