"""Where a replay reads: Parquet, CSV and JSON lines, files and folders, merged in arrival order.

A source yields chunks of decoded events in arrival order, and the dead letters found on the way. Adding a kind of
source is one function in `_READERS`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.sheet import VALID, Ints
from replay.csv_rows import csv_rows, csv_table
from replay.decoder import Decoder, make_decoder
from replay.files import LogFile, json_lines, opened
from replay.merge import Chunk, merge
from replay.topic_input import TopicInput
from sekisho.compile import Engine
from sekisho.errors import SourceError
from sekisho.wire.arrow import numbers
from sekisho.wire.plan import json_path
from sekisho.wire.table_decode import decode_table

CHUNK_ROWS = 65_536
CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class LabelColumn:
    """Labels made from a column of the payments: where it is true, a label event follows `delay_us` later."""

    column: str
    delay_us: int
    label_class: str


@dataclass(frozen=True)
class Input:
    """One file or folder to read.

    arrived_at: the column or JSON path that says when the log took the event; "" reads the file in its own order,
    which is then taken for the arrival order.   kind: of the events that do not say theirs.
    labels: makes this the labels of a file of payments instead of the payments.
    controls: JSON lines may be control events, each arriving at its own `time`.
    """

    path: Path
    arrived_at: str = ""
    kind: str = ""
    labels: LabelColumn | None = None
    controls: bool = False

    def files(self) -> list[Path]:
        """The files to read, in order of name. Raises SourceError when there are none."""
        if self.path.is_dir():
            files = sorted(file for file in self.path.rglob("*") if format_of(file))
            if not files:
                raise SourceError(f"{self.path}: no event files in here", f"put {', '.join(_READERS)} files there")
            return files
        if not self.path.is_file():
            raise SourceError(f"{self.path}: there is no such file", f"name a {', '.join(_READERS)} file, or a folder")
        if not format_of(self.path):
            raise SourceError(f"{self.path}: unknown kind of file", f"use one of {', '.join(_READERS)}")
        return [self.path]


def read_log(engine: Engine, inputs: Sequence[Input | TopicInput]) -> Iterator[Chunk]:
    """All inputs as one log, in arrival order; at equal arrival in the order of the inputs."""
    return read_decoded(lambda arrived_at: make_decoder(engine, arrived_at), inputs)


def read_decoded(decoder: Callable[[str], Decoder], inputs: Sequence[Input | TopicInput]) -> Iterator[Chunk]:
    """The same with a decoder that is made for each input's `arrived_at`; a topic says itself when records arrived."""
    streams = [_read_any(decoder, source) for source in inputs]
    return streams[0] if len(streams) == 1 else merge(streams)


def _read_any(decoder: Callable[[str], Decoder], source: Input | TopicInput) -> Iterator[Chunk]:
    if isinstance(source, Input):
        return _checked(source, read_input(decoder(source.arrived_at), source))
    from replay.topic_log import read_topics

    return read_topics(decoder(""), source)


def read_input(decoder: Decoder, source: Input) -> Iterator[Chunk]:
    """One input in its own order."""
    files = source.files()
    sizes = [file.stat().st_size for file in files]
    whole, before = max(1, sum(sizes)), 0
    for file, size in zip(files, sizes, strict=True):
        for chunk in _READERS[format_of(file)](decoder, file, source):
            yield replace(chunk, read=(before + size * chunk.read) / whole)
        before += size


def file_topic(file: Path) -> str:
    """A file's name in decisions: its content hash, so that the same log gives the same ids wherever it lies, packed
    or not."""
    digest = sha256()
    with opened(file) as log:
        while block := log.handle.read(1 << 22):
            digest.update(block)
    return f"file:{digest.hexdigest()[:32]}"


def format_of(file: Path) -> str:
    """The ending that says how a file is read, or ""."""
    return next((suffix for suffix in _READERS if file.name.endswith(suffix)), "")


def _read_parquet(decoder: Decoder, file: Path, source: Input) -> Iterator[Chunk]:
    reader = parquet(file)
    wanted = decoder.columns | ({source.labels.column} if source.labels else set())
    _refuse_twins(file, reader.schema_arrow.names, wanted)
    columns = [name for name in reader.schema_arrow.names if name in wanted]
    topic, rows = file_topic(file), 0
    for part in _intact(file, reader.iter_batches(batch_size=CHUNK_ROWS, columns=columns)):
        offset = np.arange(rows, rows + part.num_rows, dtype=np.int64)
        rows += part.num_rows
        table = pa.Table.from_batches([part])
        yield _table_chunk(decoder, table, file, topic, offset, source, rows / reader.metadata.num_rows)


def parquet(file: Path) -> pq.ParquetFile:
    """An open file. Raises SourceError where it is none."""
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file}: not readable as Parquet: {error}", "write the file anew") from error


def _read_csv(decoder: Decoder, file: Path, source: Input) -> Iterator[Chunk]:
    """Every cell is read as text: the wire's scalars decide what it means. A row that is none is a dead letter."""
    topic, row = file_topic(file), 0
    with opened(file) as log:
        names = csv_header(file, log)
        _refuse_twins(file, names, decoder.columns)
        for rows in csv_rows(log, len(names), decoder.plan.max_record_bytes, CHUNK_BYTES):
            index = np.arange(row, row + rows.total, dtype=np.int64)
            row += rows.total
            dead = tuple(decoder.torn(topic, int(index[k]), raw, size) for k, raw, size in rows.torn)
            offset = np.delete(index, [k for k, _, _ in rows.torn])
            chunk = _table_chunk(decoder, csv_table(rows.text, names), file, topic, offset, source, log.read())
            yield replace(chunk, dead=(*chunk.dead, *dead))


def csv_header(file: Path, log: LogFile) -> list[str]:
    """The names of a CSV file's columns. Raises SourceError where there are none."""
    line = log.handle.readline(CHUNK_BYTES).decode("utf-8-sig", "replace")
    try:
        names = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise SourceError(f"{file}: the header is not readable as CSV: {error}", "write the file anew") from error
    if not names:
        raise SourceError(f"{file}: this file has no header", "name the columns in the first line")
    return names


def _intact(file: Path, parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The parts of a table. Raises SourceError where the file breaks off or stops being what it is called."""
    try:
        yield from parts
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file}: not readable to its end: {error}", "write the file anew") from error


def _refuse_twins(file: Path, names: Sequence[str], wanted: set[str]) -> None:
    """A column that is read must be one."""
    twins = sorted({name for name in names if name in wanted and names.count(name) > 1})
    if twins:
        raise SourceError(f"{file}: these columns stand twice: {', '.join(twins)}", "rename one of each")


def _table_chunk(
    decoder: Decoder, table: pa.Table, file: Path, topic: str, offset: Ints, source: Input, read: float
) -> Chunk:
    if source.labels:
        table, offset = _labels_of(decoder, table, offset, source.labels, file)
        topic += ":labels"
    kind = decoder.pack.schema.by_name["kind"]
    if source.kind and kind.source not in table.schema.names and kind.name not in table.schema.names:
        table = table.append_column(kind.name, pa.array([source.kind] * table.num_rows, pa.string()))
    batch, dead = decoder.table(table, topic, offset, str(file))
    return Chunk(batch, dead, read)


def _labels_of(
    decoder: Decoder, table: pa.Table, offset: Ints, labels: LabelColumn, file: Path
) -> tuple[pa.Table, Ints]:
    """The label events that a column of the payments stands for, under the names that the schema reads."""
    pack = decoder.pack
    if pack.labels is None:
        raise SourceError(f"pack {pack.name}: it has no [labels] table", "add one, or leave the label column out")
    if labels.column not in table.column_names:
        raise SourceError(f"{file}: there is no column {labels.column!r}", f"columns: {', '.join(table.column_names)}")
    try:
        fraud = pc.fill_null(pc.cast(table[labels.column], pa.bool_()), False)
    except pa.ArrowException as error:
        what = f"{file}: the column {labels.column!r} is neither true nor false in every row"
        raise SourceError(what, "write true and false, or 1 and 0") from error
    index = np.flatnonzero(numbers(fraud))
    sheet, good, _ = decode_table(table.take(index), decoder.plan)  # a payment that cannot be read has no label
    table, index = table.take(index[good]), index[good]
    later = pa.array(sheet.ints("event_time") + labels.delay_us).cast(pa.timestamp("us", "UTC"))
    fields = {
        "event_id": pc.binary_join_element_wise(
            "label", pc.cast(_column_of(decoder, table, "event_id", file), pa.string()), ":"
        ),
        "event_time": later,
        "kind": pa.array([pack.labels.kind] * len(index), pa.string()),
        "payment_id": pc.cast(_column_of(decoder, table, "payment_id", file), pa.string()),
        pack.labels.class_field: pa.array([labels.label_class] * len(index), pa.string()),
    }
    if decoder.arrived_at:
        fields["record_time"] = later
    return pa.table(fields), offset[index]


def _column_of(decoder: Decoder, table: pa.Table, field: str, file: Path) -> pa.ChunkedArray:
    source = decoder.pack.schema.by_name[field]
    for name in (source.source, ".".join(json_path(source)), source.name):
        if name in table.schema.names:
            return table[name]
    raise SourceError(f"{file}: there is no column for {field}", "give the labels in a file of their own")


def _read_jsonl(decoder: Decoder, file: Path, source: Input) -> Iterator[Chunk]:
    if source.labels:
        raise SourceError(f"{file}: labels come from a column of a table", "give JSON labels in a file with --labels")
    topic, line = file_topic(file), 0
    with opened(file) as log:
        for blob, ends, long in json_lines(log.handle, decoder.plan.max_record_bytes, CHUNK_BYTES):
            number = np.arange(line, line + len(ends), dtype=np.int64)
            line += len(ends)
            if len(ends):
                bounds = np.concatenate([[0], ends]).astype(np.int64)
                read = decoder.json_with_controls if source.controls else decoder.json
                batch, dead = read(blob, bounds, topic, number)
                yield Chunk(batch, dead, log.read())
            if long is not None:
                yield Chunk(decoder.nothing(topic), (decoder.too_big(topic, line, *long),), log.read())
                line += 1


_READERS: dict[str, Callable[[Decoder, Path, Input], Iterator[Chunk]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
}


def _checked(source: Input, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Refuse an input whose rows are not in the order that it claims."""
    last = np.int64(-(2**63))
    for chunk in chunks:
        arrival = chunk.arrival
        if source.arrived_at and len(arrival):
            known = chunk.batch.sheet.validity("record_time") == VALID
            if not known.all():
                row = int(chunk.batch.offset[np.argmin(known)])
                raise SourceError(
                    f"{source.path}: row {row} has no {source.arrived_at}, so nothing says when it arrived",
                    "name a column or JSON path that every row has",
                )
            back = np.concatenate([[arrival[0] < last], arrival[1:] < arrival[:-1]])
            if back.any():
                row = int(chunk.batch.offset[np.argmax(back)])
                raise SourceError(
                    f"{source.path}: row {row} arrived before the row above it", f"sort the file by {source.arrived_at}"
                )
            last = arrival[-1]
        yield chunk
