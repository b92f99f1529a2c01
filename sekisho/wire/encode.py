"""Rows to JSON text by a template: one kernel for every record that Sekisho writes, equal bytes for equal values.

    templates = compile_templates([(b'{"id":', Piece("id", HEX), b',"amount":', Piece(layout["amount"], INT), b"}")])
    columns = Columns(sheet, rows)
    columns.hexes("id", ids)
    blob, offsets = encode_rows(templates, columns)

A piece writes one whole JSON value: `null` where its column is not VALID. Its column is a slot of the sheet, or given
for each row by name. Text is UTF-8 as it is; only quotes, backslashes and control characters are escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from features.kernel import bare, inlined, inner
from features.sheet import HANDLE_BITS, VALID, Bytes, Ints, Sheet, Slot
from features.shims import Int
from features.threads import in_parts
from features.unaligned import SLACK, copy_bytes
from sekisho.wire.digits import digits_of, write_digits
from sekisho.wire.doubles import WIDEST, write_double

# Forms of a piece.
INT = 1
BOOL = 2  # 0 is false
TEXT = 3  # quoted and escaped
DOUBLE = 4  # finite; the shortest text that reads back as the same double
TIME = 5  # microseconds UTC as RFC 3339 with six decimals and Z; years 0 to 9999
HEX = 6  # 128 bits as 32 hexadecimal digits; a given column
CHOICE = 7  # an index into fragments
MASK = 8  # the fragments whose bit is set, in [ ] and joined by commas
_LITERAL, _COMMA, _WHEN = 0, 9, 10

Words = npt.NDArray[np.uint64]
_ZERO, _ONE, _EIGHT, _LOW_BYTE = (np.uint64(k) for k in (0, 1, 8, 255))
_LENGTH = (1 << HANDLE_BITS) - 1
_DAY_US = 86_400_000_000
_MOST = (0, 20, 5, 4, WIDEST, 29, 34, 4, 2, 1, 0)  # the most bytes by form, fragments and texts aside
_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_NULL, _TRUE, _FALSE = (np.frombuffer(word.ljust(SLACK), np.uint8) for word in (b"null", b"true", b"false"))
_SHORT = np.zeros(32, np.uint8)  # the letter of a control character's short escape
for _byte, _letter in zip(b"\b\f\n\r\t", b"bfnrt", strict=True):
    _SHORT[_byte] = _letter


@dataclass(frozen=True)
class Piece:
    """Where a column's value stands in a template, and in which form.

    fragments: what a CHOICE or MASK chooses from, each a JSON value. A CHOICE without any gets them with its column.
    """

    column: Slot | str
    form: int
    fragments: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class When:
    """A part of a template that is written only where a column of the sheet is VALID."""

    column: Slot
    part: tuple[bytes | Piece, ...]


Template = Sequence[bytes | Piece | When]
COMMA = Piece("", _COMMA)  # between the entries of a list, whichever are written: none behind its bracket


@dataclass(frozen=True, eq=False)
class Templates:
    """Templates, of which each row follows one, made ready.

    pieces: int64[p, 4]: form, place, first constant, how many. A place is a row of the sheet, a word of the masks, or
    ~k for the k-th given row.   starts: int64[t + 1], where each template begins.
    constants: all literals and fragments; ends: int64[constants + 1].   given: the given columns' first rows.
    masks: the first word of each mask.   usual: bytes of a row without texts and fragments.   most: bytes with all.
    """

    pieces: Ints
    starts: Ints
    constants: Bytes
    ends: Ints
    given: dict[str, int]
    masks: dict[str, int]
    usual: int
    most: int


def mask_words(fragments: int) -> int:
    """How many words of an event's masks belong to a MASK of so many fragments."""
    return (fragments + 63) // 64


def compile_templates(templates: Sequence[Template]) -> Templates:
    """Make templates ready. Masks stand in the order in which they are first named."""
    pieces: list[tuple[int, int, int, int]] = []
    starts, constants, given, masks = [0], list[bytes](), dict[str, int](), dict[str, int]()
    given_rows = mask_width = usual = 0
    for template in templates:
        for piece in _flat(template):
            first = len(constants)
            if isinstance(piece, bytes):
                constants.append(piece)
                pieces.append((_LITERAL, 0, first, 1))
                usual += len(piece)
                continue
            if isinstance(piece, When):
                pieces.append((_WHEN, piece.column.row, first, len(piece.part)))
                continue
            match piece.column:
                case Slot() as slot:
                    place = slot.row
                case _ if piece.form == _COMMA:
                    place = 0
                case str() as name if piece.form == MASK:
                    place = masks.setdefault(name, mask_width)
                    mask_width = max(mask_width, place + mask_words(len(piece.fragments)))
                case str() as name:
                    place = ~given.setdefault(name, given_rows)
                    given_rows = max(given_rows, ~place + (2 if piece.form == HEX else 1))
            constants += piece.fragments
            usual += _MOST[piece.form]
            pieces.append((piece.form, place, first, len(piece.fragments)))
        starts.append(len(pieces))
    table = np.array(pieces, np.int64).reshape(-1, 4)
    table[(table[:, 0] == CHOICE) & (table[:, 3] == 0), 2] = len(
        constants
    )  # behind them come the fragments given later
    ends = np.cumsum([0, *map(len, constants)], dtype=np.int64)
    most = usual + int(ends[-1]) + len(constants) + SLACK
    constant_bytes = np.frombuffer(b"".join(constants) + bytes(SLACK), np.uint8)
    return Templates(table, np.array(starts, np.int64), constant_bytes, ends, given, masks, usual, most)


def _flat(template: Template) -> Iterator[bytes | Piece | When]:
    """The pieces one after the other, those of a part behind what it hangs on."""
    for piece in template:
        yield piece
        if isinstance(piece, When):
            yield from piece.part


class Columns:
    """What k rows are made of: events of a sheet, and columns that are given for each row."""

    def __init__(self, sheet: Sheet, rows: Ints) -> None:
        self.sheet, self.rows = sheet, rows
        self.fragments: list[bytes] = []
        self.given: dict[str, tuple[npt.NDArray[np.integer[Any]], ...]] = {}
        self.valid: dict[str, Bytes] = {}

    def ints(self, name: str, values: npt.NDArray[np.integer[Any]], valid: Bytes | None = None) -> None:
        """k whole numbers: integers, booleans, times, the bits of doubles, or handles into the sheet's text."""
        self.given[name] = (values,)
        if valid is not None:
            self.valid[name] = valid

    def hexes(self, name: str, values: Ints) -> None:
        """int64[k, 2]: the high and the low half of 128 bits."""
        self.given[name] = (values[:, 0], values[:, 1])

    def choices(self, name: str, index: Ints, fragments: Sequence[bytes] = ()) -> None:
        """int64[k]: which of the fragments, each a JSON value: those of the template, or these."""
        self.ints(name, index + len(self.fragments))
        self.fragments += fragments

    def arrays(self, places: dict[str, int]) -> tuple[Ints, Bytes]:
        """The given columns in their rows: int64[m, k] and its validity. KeyError for a column that was not given."""
        cells = [row for name in places for row in self.given[name]]
        valid = np.full((len(cells), len(self.rows)), VALID, np.uint8)
        for name, known in self.valid.items():
            valid[places[name]] = known
        return np.array(cells, np.int64).reshape(valid.shape), valid


def encode_rows(
    templates: Templates,
    columns: Columns,
    masks: Words | None = None,
    which: Ints | None = None,
    threads: int = 1,
) -> tuple[Bytes, Ints]:
    """Encode every row: (blob, offsets), row k being blob[offsets[k] : offsets[k + 1]].

    masks: uint64[n, words], for each event of the sheet the bits of all masks, least first.   which: int64[k], the
    template of each row (default: the first).   Raises KeyError for a column that was not given.
    """
    n = len(columns.rows)
    constants, ends = _constants(templates, tuple(columns.fragments))
    most = templates.most + len(constants) - len(templates.constants)
    given, given_valid = columns.arrays(templates.given)
    which = np.zeros(n, np.int64) if which is None else which
    masks = np.empty((0, 0), np.uint64) if masks is None else masks
    sheet, text = columns.sheet, _read_only(columns.sheet.text)

    def part(start: int, stop: int) -> tuple[Bytes, Ints]:
        out, offsets = (
            np.empty((stop - start) * (templates.usual + 64) + most, np.uint8),
            np.zeros(stop - start + 1, np.int64),
        )
        done = 0
        while True:
            done = _encode(
                start, done, stop, templates.pieces, templates.starts, constants, ends, most, which, columns.rows,
                sheet.cells, sheet.valid, text, given, given_valid, masks, out, offsets,
            )  # fmt: skip
            if start + done == stop:
                return out[: offsets[-1]], offsets
            room = np.empty(2 * len(out) + most, np.uint8)
            room[: offsets[done]] = out[: offsets[done]]
            out = room

    return _joined(in_parts(threads, n, part))


@lru_cache(8)  # most batches bring the same fragments: the names of their topics
def _constants(templates: Templates, fragments: tuple[bytes, ...]) -> tuple[Bytes, Ints]:
    """The literals and fragments of the templates, and behind them those that came with the columns; their ends."""
    own = templates.constants[: templates.ends[-1]].tobytes()
    ends = accumulate(map(len, fragments), initial=len(own))
    constants = np.frombuffer(own + b"".join(fragments) + bytes(SLACK), np.uint8)
    return constants, np.array([*templates.ends[:-1].tolist(), *ends], np.int64)


def _joined(parts: list[tuple[Bytes, Ints]]) -> tuple[Bytes, Ints]:
    """Blobs and their offsets, one after the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(blob) for blob, _ in parts[:-1])])
    offsets = [ends[1:] + start for (_, ends), start in zip(parts, starts, strict=True)]
    return np.concatenate([blob for blob, _ in parts]), np.concatenate([np.zeros(1, np.int64), *offsets])


def _read_only(array: Bytes) -> Bytes:
    """One type of array for the kernel, whoever made it."""
    view = array.view()
    view.flags.writeable = False
    return view


@bare
def _encode(
    start: Int, done: Int, stop: Int, pieces: Ints, starts: Ints, constants: Bytes, ends: Ints, most: Int, which: Ints,
    rows: Ints, cells: Ints, valid: Bytes, text: Bytes, given: Ints, given_valid: Bytes, masks: Words, out: Bytes,
    offsets: Ints,
) -> Int:  # fmt: skip
    """Encode the rows from start + `done` up to `stop`; how many are done then: there was no room, or nothing left."""
    at = offsets[done]
    for k in range(start + done, stop):
        i = rows[k]
        if at + most > len(out):
            return k - start
        passed = starts[which[k]]  # pieces before it are not written
        for p in range(starts[which[k]], starts[which[k] + 1]):
            if p < passed:
                continue
            form, place, first = pieces[p, 0], pieces[p, 1], pieces[p, 2]
            if form == _LITERAL:
                at = copy_bytes(constants, ends[first], ends[first + 1], out, at)
                continue
            if form == _COMMA:
                if out[at - 1] != 91:
                    out[at] = 44
                    at += 1
                continue
            if form == MASK:
                at = _mask(constants, ends, masks, i, place, first, pieces[p, 3], out, at)
                continue
            if place >= 0:
                cell, known = cells[place, i], valid[place, i]
            else:
                cell, known = given[~place, k], given_valid[~place, k]
            if form == _WHEN:
                passed = p + 1 if known == VALID else p + 1 + pieces[p, 3]
            elif known != VALID:
                at = copy_bytes(_NULL, 0, 4, out, at)
            elif form == TEXT:
                if at + most + 6 * (cell & _LENGTH) > len(out):
                    return k - start
                at = _text(text, cell >> HANDLE_BITS, cell & _LENGTH, out, at)
            elif form == DOUBLE:
                at = write_double(cell, out, at)
            elif form == CHOICE:
                at = copy_bytes(constants, ends[first + cell], ends[first + cell + 1], out, at)
            elif form == INT:
                at = _int(cell, out, at)
            elif form == TIME:
                at = _time(cell, out, at)
            elif form == HEX:
                at = _hex(cell, given[~place + 1, k], out, at)
            elif cell:
                at = copy_bytes(_TRUE, 0, 4, out, at)
            else:
                at = copy_bytes(_FALSE, 0, 5, out, at)
        offsets[k - start + 1] = at
    return stop - start


@inner
def _mask(
    constants: Bytes, ends: Ints, masks: Words, i: Int, place: Int, first: Int, count: Int, out: Bytes, at: Int
) -> Int:
    out[at] = 91
    at += 1
    some = False
    for word in range((count + 63) >> 6):
        bits, constant = masks[i, place + word], first + 64 * word
        while bits:
            while bits & _LOW_BYTE == _ZERO:
                bits, constant = bits >> _EIGHT, constant + 8
            if bits & _ONE:
                if some:
                    out[at] = 44
                    at += 1
                at = copy_bytes(constants, ends[constant], ends[constant + 1], out, at)
                some = True
            bits, constant = bits >> _ONE, constant + 1
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
        rest = ~rest + _ONE
        out[at] = 45
        at += 1
    return write_digits(rest, digits_of(rest), out, at)


@inlined
def _part(value: Int, width: Int, out: Bytes, at: Int, stop: Int) -> Int:
    """A part of a time, then the byte behind it."""
    at = write_digits(np.uint64(value), width, out, at)
    out[at] = stop
    return at + 1


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
    minutes = us // 60_000_000
    out[at] = 34
    at = _part(year, 4, out, at + 1, 45)
    at = _part(month, 2, out, at, 45)
    at = _part(day, 2, out, at, 84)
    at = _part(minutes // 60, 2, out, at, 58)
    at = _part(minutes % 60, 2, out, at, 58)
    us -= minutes * 60_000_000
    at = _part(us // 1_000_000, 2, out, at, 46)
    at = _part(us % 1_000_000, 6, out, at, 90)
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
