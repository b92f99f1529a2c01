"""A sample of events as columns of text: what a cell of a CSV says, what a JSON value spells, what Parquet holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from replay.csv_rows import csv_rows, csv_table
from replay.files import json_lines, opened
from replay.sources import CHUNK_BYTES, csv_header, format_of
from sekisho.errors import SourceError
from sekisho.wire.arrow import numbers

ROWS = 100_000  # so many are looked at; more say nothing new of what a column means
_LONGEST = 1 << 20
_DIGITS, _NEAR = 6, 1e-6  # as sekisho.wire.table_decode takes a double for money
_WRITTEN: tuple[tuple[str, Callable[[pa.DataType], bool]], ...] = (
    ("bool", pt.is_boolean), ("whole", pt.is_integer), ("fraction", pt.is_floating),
    ("time", lambda type: pt.is_timestamp(type) or pt.is_date(type)), ("nested", pt.is_nested),
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column, or a path in JSON.

    source: how `from` in pack.toml names it.   texts: string[n], NULL where there is nothing.
    written: "text", "whole", "fraction", "bool", "time" or "nested": what its source takes it for.
    """

    source: str
    texts: pa.Array
    written: str = "text"


@dataclass(frozen=True)
class Sample:
    """The first rows of a file. whole: they are all that it has."""

    path: Path
    columns: tuple[Column, ...]
    rows: int
    whole: bool


def read_sample(path: Path) -> Sample:
    """The first ROWS events of a .parquet, .csv or .jsonl. Raises SourceError where there are none."""
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file", f"name a {', '.join(_READERS)} file with some events")
    suffix = format_of(path)
    if suffix not in _READERS:
        raise SourceError(f"{path}: unknown kind of file", f"use one of {', '.join(_READERS)}")
    columns = _READERS[suffix](path)
    names = [column.source for column in columns]
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f"{path}: these columns stand twice: {', '.join(twins)}", "rename one of each")
    rows = len(columns[0].texts) if columns else 0
    if rows == 0:
        raise SourceError(
            f"{path}: this sample has no events", "give a file with some days of them, a thousand or more"
        )
    kept = tuple(Column(each.source, _blank_to_null(each.texts[:ROWS]), each.written) for each in columns)
    return Sample(path, kept, min(rows, ROWS), rows <= ROWS)


def _blank_to_null(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _read_parquet(path: Path) -> list[Column]:
    try:
        file = pq.ParquetFile(path)
        table = pa.Table.from_batches(list(_until(file.iter_batches(ROWS + 1))), file.schema_arrow)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path}: not readable as Parquet: {error}", "write the file anew") from error
    return [_typed(name, table.column(k)) for k, name in enumerate(table.column_names)]


def _until(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = 0
    for part in parts:
        yield part
        rows += part.num_rows
        if rows > ROWS:
            return


def _typed(name: str, column: pa.ChunkedArray) -> Column:
    cells = column.combine_chunks()
    cells = cells.dictionary_decode() if pt.is_dictionary(cells.type) else cells
    written = next((name for name, check in _WRITTEN if check(cells.type)), "text")
    if written == "nested":
        return Column(name, pa.nulls(len(cells), pa.string()), written)
    if written == "fraction":
        cells = _rounded(cells)
    return Column(name, pc.cast(cells, pa.string()), written)


def _rounded(cells: pa.Array) -> pa.Array:
    """Doubles without the noise behind their digits: 57.160000000000004 is 57.16 to whoever reads the log."""
    values = np.nan_to_num(numbers(cells.cast(pa.float64()).drop_null()))
    for digits in range(_DIGITS + 1):
        units = values * 10.0**digits
        if np.all(np.abs(units - np.rint(units)) <= _NEAR):
            whole = np.rint(numbers(cells.cast(pa.float64()).fill_null(0.0)) * 10.0**digits)
            return pa.array(whole / 10.0**digits, mask=~numbers(pc.is_valid(cells)).astype(bool))
    return cells


def _read_csv(path: Path) -> list[Column]:
    with opened(path) as log:
        names = csv_header(path, log)
        if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in names[0]), "")):
            raise SourceError(
                f"{path}: its cells are divided by {other!r}", "divide them by commas, as a CSV is read here"
            )
        parts, rows = [], 0
        for piece in csv_rows(log, len(names), _LONGEST, CHUNK_BYTES):
            parts.append(_text_table(path, piece.text, names))
            rows += parts[-1].num_rows
            if rows > ROWS:
                break
    table = pa.concat_tables(parts) if parts else csv_table(b"", names)
    return [Column(name, table.column(k).combine_chunks()) for k, name in enumerate(names)]


def _text_table(path: Path, text: bytes, names: list[str]) -> pa.Table:
    table = csv_table(text, names)
    try:
        "".join(names).encode()
        table.validate(full=True)
    except (pa.ArrowException, UnicodeError) as error:
        fix = f"convert it, for example: iconv -f CP932 -t UTF-8 {path.name} > utf8.csv"
        raise SourceError(f"{path}: this file is not UTF-8", fix) from error
    return table


class _Whole(str):
    """A JSON number without a point, as it is written."""


class _Fraction(str):
    """Any other JSON number, as it is written."""


def _read_jsonl(path: Path) -> list[Column]:
    found: dict[str, dict[int, Any]] = {}
    rows = 0
    for line in _lines(path):
        try:
            event = json.loads(line, parse_int=_Whole, parse_float=_Fraction)
        except (ValueError, RecursionError):
            continue  # a dead letter of the log; here it says nothing
        if isinstance(event, dict):
            for source, value in _leaves(event, ()):
                found.setdefault(source, {})[rows] = value
            rows += 1
        if rows > ROWS:
            break
    return [_spelled(source, cells, rows) for source, cells in found.items()]


def _lines(path: Path) -> Iterator[bytes]:
    with opened(path) as log:
        for part in json_lines(log.handle, _LONGEST, CHUNK_BYTES):
            yield from part.blob.tobytes().splitlines()


def _leaves(value: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every value that is no object, under the path that pack.toml would write."""
    for key, below in value.items():
        here = (*path, key)
        if isinstance(below, dict):
            yield from _leaves(below, here)
        elif below is not None:
            yield "$." + ".".join(here) if path or "." not in key else key, below


def _spelled(source: str, cells: dict[int, Any], rows: int) -> Column:
    kinds = {type(value) for value in cells.values()}
    written = "text"
    if list in kinds:
        return Column(source, pa.nulls(rows, pa.string()), "nested")
    if kinds == {bool}:
        written = "bool"
    elif kinds <= {_Whole, _Fraction}:
        written = "whole" if kinds == {_Whole} else "fraction"
    texts: list[str | None] = [None] * rows
    for row, value in cells.items():
        texts[row] = str(value).lower() if isinstance(value, bool) else str(value)
    return Column(source, pa.array(texts, pa.string()), written)


_READERS: dict[str, Callable[[Path], list[Column]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
}
