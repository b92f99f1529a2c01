"""Which names a file's columns or keys have, known without reading it as events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from features.schema import Field
from replay.files import json_lines, opened
from replay.sources import csv_header, format_of, parquet
from sekisho.wire.plan import column_names, json_path

_LINES = 100  # of JSON, whose keys are told
_BLOCK_BYTES = 16 << 20


def columns_of(file: Path) -> list[str]:
    """The columns of a table; of JSON lines the keys of the first of them."""
    if file.suffix == ".parquet":
        with parquet(file) as table:
            return list(table.schema_arrow.names)
    with opened(file) as log:
        if ".jsonl" not in format_of(file):
            return csv_header(file, log)
        first = next(json_lines(log.handle, _BLOCK_BYTES, 1 << 20), None)
    lines = b"" if first is None else first.blob.tobytes()
    return list(dict.fromkeys(key for line in islice(lines.splitlines(), _LINES) for key in _keys(line)))


def _keys(line: bytes) -> Sequence[str]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return ()
    return tuple(record) if isinstance(record, dict) else ()


def has_column(file: Path, field: Field) -> bool:
    """Whether a file may hold values of a field: a table by its columns, JSON lines where the key stands in any."""
    if ".jsonl" not in format_of(file):
        return not set(column_names(field)).isdisjoint(columns_of(file))
    key = json.dumps(json_path(field)[-1])
    return "\\" in key or _holds(file, key.encode())  # what is escaped may be written in many ways


def _holds(file: Path, needle: bytes) -> bool:
    rest = b""
    with opened(file) as log:
        while block := log.handle.read(_BLOCK_BYTES):
            if needle in rest + block:
                return True
            rest = block[-len(needle) :]
    return False
