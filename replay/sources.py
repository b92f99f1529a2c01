"""Where a replay reads: Parquet, CSV and JSON lines, files and folders, merged in arrival order.

A source yields chunks of decoded events in arrival order, and the dead letters found on the way. Adding a kind of
source is one function in `_READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from features.sheet import Ints, Sheet
from replay.merge import Chunk, merge
from sekisho.batch import Batch
from sekisho.compile import Engine
from sekisho.errors import SourceError
from sekisho.wire.decoder import Decoder

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
    which is then taken for the arrival order.   kind: of all its events, where they do not say.
    labels: makes this the labels of a file of payments instead of the payments.
    """

    path: Path
    arrived_at: str = ""
    kind: str = ""
    labels: LabelColumn | None = None

    def files(self) -> list[Path]:
        """The files to read, in order of name. Raises SourceError when there are none."""
        if self.path.is_dir():
            files = sorted(file for file in self.path.rglob("*") if _format(file))
        else:
            files = [self.path]
        for file in files:
            if not file.is_file():
                raise SourceError(f"{file}: there is no such file", "name a .parquet, .csv or .jsonl file, or a folder")
            if not _format(file):
                raise SourceError(f"{file}: unknown kind of file", f"use one of {', '.join(sorted(_READERS))}")
        if not files:
            raise SourceError(f"{self.path}: no event files in this folder", "put .parquet, .csv or .jsonl files there")
        return files


def read_log(engine: Engine, inputs: Sequence[Input]) -> Iterator[Chunk]:
    """All inputs as one log, in arrival order; at equal arrival in the order of the inputs."""
    streams = [_checked(source, read_input(engine, source)) for source in inputs]
    return streams[0] if len(streams) == 1 else merge(streams)


def read_input(engine: Engine, source: Input) -> Iterator[Chunk]:
    """One input in its own order."""
    decoder = Decoder(engine.pack, engine.inputs, source.arrived_at)
    files = source.files()
    sizes = [file.stat().st_size for file in files]
    for k, file in enumerate(files):
        before, share = sum(sizes[:k]) / max(1, sum(sizes)), sizes[k] / max(1, sum(sizes))
        for chunk in _READERS[_format(file)](decoder, file, source):
            yield replace(chunk, read=before + share * chunk.read)


def file_topic(file: Path) -> str:
    """A file's name in decisions: its content hash, so that the same log gives the same ids wherever it lies."""
    digest = sha256()
    with file.open("rb") as handle:
        while block := handle.read(1 << 22):
            digest.update(block)
    return f"file:{digest.hexdigest()[:32]}"


def _format(file: Path) -> str:
    return next((suffix for suffix in _READERS if file.name.endswith(suffix)), "")


def _read_parquet(decoder: Decoder, file: Path, source: Input) -> Iterator[Chunk]:
    try:
        reader = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file}: not readable as Parquet: {error}", "write the file anew") from error
    names = set(reader.schema_arrow.names)
    wanted = [name for name in decoder.columns if name in names]
    if source.labels:
        wanted += [source.labels.column] if source.labels.column in names else []
    topic, rows = file_topic(file), 0
    for part in reader.iter_batches(batch_size=CHUNK_ROWS, columns=wanted):
        table = pa.Table.from_batches([part])
        start, rows = rows, rows + table.num_rows
        yield _decode_table(decoder, table, file, topic, start, source, rows / reader.metadata.num_rows)


def _read_csv(decoder: Decoder, file: Path, source: Input) -> Iterator[Chunk]:
    skipped: list[tuple[int, str]] = []

    def keep(row: pyarrow.csv.InvalidRow) -> str:
        skipped.append((row.number or 0, f"{row.actual_columns} columns where {row.expected_columns} are named"))
        return "skip"

    header = file.open("rb").readline().decode("utf-8-sig").strip().split(",")
    convert = pyarrow.csv.ConvertOptions(
        column_types={name.strip('"'): pa.string() for name in header}, strings_can_be_null=True, null_values=[""]
    )
    reader = pyarrow.csv.open_csv(
        file,
        read_options=pyarrow.csv.ReadOptions(block_size=CHUNK_BYTES, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=keep),
        convert_options=convert,
    )
    topic, rows, size = file_topic(file), 0, file.stat().st_size
    for part in reader:
        table = pa.Table.from_batches([part])
        start, rows = rows, rows + table.num_rows
        chunk = _decode_table(decoder, table, file, topic, start, source, min(1.0, start * 100 / size))
        torn = tuple(decoder.torn_row(str(file), number, why) for number, why in skipped)
        skipped.clear()
        yield replace(chunk, dead=chunk.dead + torn)


def _decode_table(
    decoder: Decoder, table: pa.Table, file: Path, topic: str, start: int, source: Input, read: float
) -> Chunk:
    offset = np.arange(start, start + table.num_rows, dtype=np.int64)
    if source.labels:
        table, offset = _labels_of(decoder, table, offset, source.labels, file)
        topic += ":labels"
    sheet, good, dead = decoder.table(table, str(file), offset, source.kind)
    return Chunk(_batch(sheet, topic, offset[good]), dead, read)


def _labels_of(
    decoder: Decoder, table: pa.Table, offset: Ints, labels: LabelColumn, file: Path
) -> tuple[pa.Table, Ints]:
    """The label events that a column of the payments stands for, under the names that the schema reads."""
    pack = decoder.pack
    if pack.labels is None:
        raise SourceError(f"pack {pack.name}: it has no [labels] table", "add one, or leave the label column out")
    if labels.column not in table.column_names:
        raise SourceError(f"{file}: there is no column {labels.column!r}", f"columns: {', '.join(table.column_names)}")
    column = {field.name: field.source for field in pack.schema.fields}
    when = table[column["event_time"]]
    if not pa.types.is_timestamp(when.type):
        raise SourceError(f"{file}: event_time is no timestamp column", "give labels in a file of their own")
    hit = pc.cast(table[labels.column], pa.bool_())
    index = np.flatnonzero(pc.fill_null(hit, False).to_numpy(zero_copy_only=False))
    table, when = table.take(index), when.take(index)
    identity = pc.cast(table[column["event_id"]], pa.string())
    later = pc.add(pc.cast(when, pa.timestamp("us", when.type.tz)), pa.scalar(labels.delay_us, pa.duration("us")))
    fields = {
        "event_id": pc.binary_join_element_wise("label", identity, ":"),
        "event_time": later,
        "kind": pa.array([pack.labels.kind] * len(index), pa.string()),
        "payment_id": pc.cast(table[column["payment_id"]], pa.string()),
        pack.labels.class_field: pa.array([labels.label_class] * len(index), pa.string()),
    }
    if decoder.arrived_at:
        fields[decoder.arrived_at] = later
    made = pa.table({column.get(name, name): values for name, values in fields.items()})
    return made, offset[index]


def _read_jsonl(decoder: Decoder, file: Path, source: Input) -> Iterator[Chunk]:
    topic, line, at, size = file_topic(file), 0, 0, max(1, file.stat().st_size)
    rest = b""
    with file.open("rb") as handle:
        while True:
            block = handle.read(CHUNK_BYTES)
            data = rest + block
            cut = data.rfind(b"\n") + 1 if block else len(data)
            if not data:
                return
            blob, rest = np.frombuffer(data[:cut], np.uint8), data[cut:]
            ends = np.flatnonzero(blob == ord("\n")) + 1
            if cut and (not len(ends) or ends[-1] != cut):
                ends = np.append(ends, cut)
            bounds = np.concatenate([[0], ends]).astype(np.int64)
            number = np.arange(line, line + len(ends), dtype=np.int64)
            line, at = line + len(ends), at + cut
            if len(ends):
                sheet, good, dead = decoder.json(blob, bounds, str(file), number, source.kind)
                yield Chunk(_batch(sheet, topic, number[good]), dead, at / size)
            if not block:
                return


def _batch(sheet: Sheet, topic: str, offset: Ints) -> Batch:
    n = len(offset)
    return Batch(sheet, (topic,), np.zeros(n, np.int64), np.zeros(n, np.int64), offset)


_READERS: dict[str, Callable[[Decoder, Path, Input], Iterator[Chunk]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}


def _checked(source: Input, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Refuse an input whose rows are not in the order that it claims."""
    last = np.int64(-(2**63))
    for chunk in chunks:
        arrival = chunk.arrival
        if source.arrived_at and len(arrival):
            steps = np.diff(arrival, prepend=last)
            if (steps < 0).any():
                row = int(chunk.batch.offset[np.argmax(steps < 0)])
                raise SourceError(
                    f"{source.path}: row {row} arrived before the row above it", f"sort the file by {source.arrived_at}"
                )
            last = arrival[-1]
        yield chunk
