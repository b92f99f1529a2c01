"""CSV cut into rows by our own eyes: Arrow gives up a whole file for one row, and then quotes it.

A cell begins with a quote or has none; within quotes, commas and line ends are text and two quotes are one. Behind the
closing quote the cell ends. Where it does not, or no quote closes within the record limit, the row is torn, and the
next one begins behind its first line end.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv

from features.kernel import inner, kernel
from features.sheet import Bytes, Ints
from features.shims import Int
from replay.files import LogFile, skip_line

_QUOTE, _COMMA, _LF, _CR = 34, 44, 10, 13
_HEAD = 1 << 18  # of a torn row so much is kept


class Rows(NamedTuple):
    """A piece of the file: `total` rows, of which those that are whole stand in `text`.

    torn: the number within the piece, the beginning and the size of each other.
    """

    total: int
    text: bytes
    torn: Sequence[tuple[int, bytes, int]]


def csv_rows(log: LogFile, width: int, limit: int, block_bytes: int) -> Iterator[Rows]:
    """The rows behind the header. width: cells of each; limit: bytes of one."""
    rest = b""
    while data := rest + (block := log.handle.read(block_bytes)):
        text = np.frombuffer(data, np.uint8)
        most = 1 + np.count_nonzero((text == _LF) | (text == _CR))
        ends, good = np.empty(most, np.int64), np.empty(most, np.uint8)
        count, cut = _split(text, width, limit, not block, ends, good)
        rest = data[cut:]
        starts = np.concatenate([[0], ends[:count]])
        torn = [_torn(data, k, starts) for k in np.flatnonzero(good[:count] == 0).tolist()]
        whole = (
            [data[starts[k] : starts[k + 1]] for k in np.flatnonzero(good[:count]).tolist()] if torn else [data[:cut]]
        )
        if len(rest) > limit:  # a row without an end
            head, size = rest[:_HEAD], len(rest)
            skipped, rest = skip_line(log.handle, block_bytes)
            torn.append((count, head, size + skipped))
            count += 1
        if count:
            yield Rows(count, b"".join(whole), torn)


def csv_table(text: bytes, names: Sequence[str]) -> pa.Table:
    """Rows as a table of text; an empty cell is NULL."""
    if not text:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return pa.csv.read_csv(
        io.BytesIO(text),
        pa.csv.ReadOptions(column_names=list(names), block_size=len(text) + 1, use_threads=False),
        pa.csv.ParseOptions(ignore_empty_lines=False, newlines_in_values=True),
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True, check_utf8=False
        ),
    )


def _torn(data: bytes, k: int, starts: Ints) -> tuple[int, bytes, int]:
    start, end = int(starts[k]), int(starts[k + 1])
    return k, data[start : min(end, start + _HEAD)], end - start


@kernel
def _split(data: Bytes, width: Int, limit: Int, final: bool, ends: Ints, good: Bytes) -> tuple[Int, Int]:
    """Rows of data: (how many, where the first incomplete one begins). ends: behind each; good: 1 if it is whole.

    final: nothing follows the data.
    """
    count, start = np.int64(0), np.int64(0)
    while start < len(data):
        end, cells = _row(data, start, final)
        if end < 0:
            if cells < 0 and not final and len(data) - start <= limit:
                break
            cells, end = np.int64(0), _line_end(data, start, final)
            if end < 0:
                break
        ends[count], good[count] = end, cells == width
        count += 1
        start = end
    return count, start


@inner
def _row(data: Bytes, start: Int, final: bool) -> tuple[Int, Int]:
    """(behind the row that begins at `start`, its cells); (-1, -1) for one that more data may end, (-1, 0) for none.

    A line end that is the last byte of data that go on counts as open: a carriage return may bring its line feed.
    """
    at, cells, begins = np.int64(start), np.int64(1), True
    while at < len(data):
        c = data[at]
        at += 1
        if begins and c == _QUOTE:
            while at < len(data):
                if data[at] != _QUOTE:
                    at += 1
                elif at + 1 < len(data) and data[at + 1] == _QUOTE:
                    at += 2
                else:
                    break
            at += 1  # behind the closing quote
            if at > len(data) or (at == len(data) and not final):
                return np.int64(-1), np.int64(-1)
            if at < len(data) and data[at] not in (_COMMA, _LF, _CR):
                return np.int64(-1), np.int64(0)
            begins = False
        elif c == _COMMA:
            cells += 1
            begins = True
        elif c == _LF:
            return at, cells
        elif c == _CR:
            if at == len(data) and not final:
                return np.int64(-1), np.int64(-1)
            return at + (at < len(data) and data[at] == _LF), cells
        else:
            begins = False
    if final:
        return at, cells
    return np.int64(-1), np.int64(-1)


@inner
def _line_end(data: Bytes, at: Int, final: bool) -> Int:
    """Behind the next line feed; the end of data that end here; -1."""
    while at < len(data):
        at += 1
        if data[at - 1] == _LF:
            return at
    return np.int64(len(data)) if final else np.int64(-1)
