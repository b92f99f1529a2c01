"""Reading lists/*.csv: a value a row, active from `starts` until `expires`."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from features.refusal import Place, Refusal
from rules.records import ListEntry
from rules.times import TIME_FIX, parse_time

FOREVER = (-(2**63), 2**63 - 1)
HEADER = ("value", "starts", "expires")
_HEADER_FIX = "begin the file with the line: value,starts,expires,note (note may be left out)"


def read_list(text: str) -> tuple[tuple[ListEntry, ...], list[Refusal]]:
    """The entries of one CSV file, and what is wrong with it, row by row.

    An empty `starts` or `expires` leaves that end open. A fourth column, `note`, is for people.
    """
    rows = _rows(text)
    entries: list[ListEntry] = []
    refusals: list[Refusal] = []
    try:
        line, header = next(rows, (1, []))
        if tuple(header) not in (HEADER, (*HEADER, "note")):
            return (), [Refusal("this list has no proper header", _HEADER_FIX, Place(line, 1))]
        for line, row in rows:
            try:
                entries.append(_entry(row, len(header), line))
            except Refusal as refusal:
                refusals.append(refusal)
    except csv.Error as error:
        refusals.append(Refusal(f"this is not CSV: {error}", "quote values that hold commas or quotes", Place(line)))
    return tuple(entries), refusals


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the line on which it begins."""
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    while True:
        line = reader.line_num + 1
        row = next(reader, None)
        if row is None:
            return
        if row:
            yield line, row


def _entry(row: list[str], width: int, line: int) -> ListEntry:
    if len(row) != width:
        fix = "quote a value that holds a comma; leave an open start or expiry empty"
        raise Refusal(f"this row has {len(row)} columns, the header has {width}", fix, Place(line, 1))
    value = row[0]
    if not value or value != value.strip():
        raise Refusal(f"{value!r} is no value", "write it without spaces around it", Place(line, 1))
    starts_us, expires_us = (_bound(row, k, line) for k in (1, 2))
    if starts_us >= expires_us:
        raise Refusal(f"{value!r} expires before it starts", "swap the two times", Place(line, _column(row, 1)))
    return ListEntry(value, starts_us, expires_us)


def _bound(row: list[str], k: int, line: int) -> int:
    if not row[k].strip():
        return FOREVER[k - 1]
    at = parse_time(row[k].strip())
    if at is None:
        raise Refusal(f"{HEADER[k]} is {row[k]!r}, which is no time", TIME_FIX, Place(line, _column(row, k)))
    return at


def _column(row: list[str], k: int) -> int:
    """Where cell k begins in an unquoted row."""
    return sum(len(cell) + 1 for cell in row[:k]) + 1
