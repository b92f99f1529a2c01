"""Reading lists/*.csv: a value a row, active from `starts` until `expires`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from features.refusal import Place, Refusal
from rules.records import ListEntry
from rules.times import TIME_FIX, parse_time

OPEN_ENDS = (-(2**63), 2**63 - 1)
HEADER = ("value", "starts", "expires")
_CELL = re.compile(r'(?:"(?:[^"]|"")*"|[^,\n"])*(?:,|$)')
_HEADER_FIX = "begin the file with the line: value,starts,expires,note (note may be left out)"


@dataclass(frozen=True)
class _Row:
    """A row of the file: where it begins, its cells, and its text."""

    line: int
    cells: list[str]
    source: str

    def refuse(self, what: str, fix: str, cell: int = 0) -> Refusal:
        """A refusal at the cell's column."""
        starts = [found.start() for found in _CELL.finditer(self.source)]
        return Refusal(what, fix, Place(self.line, starts[cell] + 1 if cell < len(starts) else 1))


def read_list(text: str) -> tuple[tuple[ListEntry, ...], list[Refusal]]:
    """The entries of one CSV file, and what is wrong with it, row by row.

    An empty `starts` or `expires` leaves that end open. A fourth column, `note`, is for people.
    """
    entries: list[ListEntry] = []
    refusals: list[Refusal] = []
    line = 1
    try:
        rows = _rows(text)
        header = next(rows, _Row(1, [], ""))
        if tuple(header.cells) not in (HEADER, (*HEADER, "note")):
            return (), [header.refuse("this list has no proper header", _HEADER_FIX)]
        for row in rows:
            line = row.line
            try:
                entries.append(_entry(row, len(header.cells)))
            except Refusal as refusal:
                refusals.append(refusal)
    except csv.Error as error:
        what, fix = f"this is not CSV, here or in the row below: {error}", "quote values that hold commas or quotes"
        refusals.append(Refusal(what, fix, Place(line, 1)))
    return tuple(entries), refusals


def _rows(text: str) -> Iterator[_Row]:
    """Each row that is not empty."""
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, strict=True)
    while True:
        line = reader.line_num
        cells = next(reader, None)
        if cells is None:
            return
        if cells:
            yield _Row(line + 1, cells, lines[line])


def _entry(row: _Row, width: int) -> ListEntry:
    if len(row.cells) != width:
        fix = "quote a value that holds a comma; leave an open start or expiry empty"
        raise row.refuse(f"this row has {len(row.cells)} columns, the header has {width}", fix)
    value = row.cells[0]
    if not value or value != value.strip():
        raise row.refuse(f"{value!r} is no value", "write it without spaces around it")
    starts_us, expires_us = _bound(row, 1), _bound(row, 2)
    if starts_us >= expires_us:
        raise row.refuse(f"{value!r} does not start before it expires", "swap or correct the two times", 1)
    return ListEntry(value, starts_us, expires_us)


def _bound(row: _Row, k: int) -> int:
    text = row.cells[k].strip()
    if not text:
        return OPEN_ENDS[k - 1]
    at = parse_time(text)
    if at is None:
        raise row.refuse(f"{HEADER[k]} is {text!r}, which is no time", TIME_FIX, k)
    return at
