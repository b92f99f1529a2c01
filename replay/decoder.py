"""Files' bytes to events: the wire's decoders, with what a file adds: a name, row numbers, an arrival column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from features.refusal import Refusal
from features.sheet import Bytes, Ints, Sheet, new_sheet
from rules.controls import Control
from sekisho.batch import Batch, control_batch, join
from sekisho.compile import Engine, wire_plan
from sekisho.errors import SourceError
from sekisho.log import Message
from sekisho.pack import Pack
from sekisho.records import read_records
from sekisho.wire.controls import Fault, decode_control, is_control
from sekisho.wire.dead_letters import DeadLetters
from sekisho.wire.json_decode import decode_json
from sekisho.wire.plan import WirePlan, column_names
from sekisho.wire.reasons import TOO_BIG, TORN
from sekisho.wire.table_decode import decode_table, missing, row_bytes


@dataclass(frozen=True)
class Decoder:
    """A pack's schema, ready to read files. arrived_at: the column or JSON path of record_time, or ""."""

    pack: Pack
    plan: WirePlan
    arrived_at: str

    @property
    def columns(self) -> set[str]:
        """Every column of a table that a field may be read from."""
        return {name for field in self.plan.sources for name in column_names(field)}

    def table(self, table: pa.Table, topic: str, offset: Ints, file: str) -> tuple[Batch, tuple[bytes, ...]]:
        """Events and dead letters (JSON lines) of a table whose rows stand at `offset` (int64[n]) of the file."""
        lacking = [name for name in missing(table, self.plan) if self._needed(name)]
        if lacking:
            raise SourceError(
                f"{file}: there is no column for {', '.join(lacking)}",
                f"its columns are {', '.join(table.schema.names)}; name them in pack.toml with `from`",
            )
        try:
            sheet, good, dead = decode_table(table, self.plan)
        except Refusal as error:
            raise SourceError(f"{file}: {error.what}", error.fix) from error
        letters = _letters(dead, topic, offset, [row_bytes(table, int(i)) for i in dead.index])
        return _batch(sheet, topic, offset[good]), letters

    def torn(self, topic: str, offset: int, raw: bytes, size: int) -> bytes:
        """The dead letter of a CSV row that is too short, too long, or never ends; raw: its beginning."""
        return self._letter(TORN, -1, topic, offset, raw, size)

    def too_big(self, topic: str, offset: int, raw: bytes, size: int) -> bytes:
        """The dead letter of a line that was not read whole; raw: its beginning."""
        return self._letter(TOO_BIG, self.plan.max_record_bytes, topic, offset, raw, size)

    def nothing(self, topic: str) -> Batch:
        """No event."""
        return _batch(new_sheet(self.plan.layout, 0), topic, np.empty(0, np.int64))

    def _letter(self, code: int, position: int, topic: str, offset: int, raw: bytes, size: int) -> bytes:
        one = np.full(1, -1, np.int64)
        letter = DeadLetters(one, np.full(1, code, np.int64), np.full(1, position, np.int64), one, self.plan.names)
        return letter.record(0, topic, 0, offset, raw, size)

    def json(self, blob: Bytes, bounds: Ints, topic: str, offset: Ints) -> tuple[Batch, tuple[bytes, ...]]:
        """Events and dead letters of JSON records blob[bounds[i] : bounds[i + 1]]."""
        sheet, good, dead = decode_json(blob, bounds, self.plan)
        raws = [blob[bounds[i] : bounds[i + 1]].tobytes() for i in dead.index]
        return _batch(sheet, topic, offset[good]), _letters(dead, topic, offset, raws)

    def json_with_controls(
        self, blob: Bytes, bounds: Ints, topic: str, offset: Ints
    ) -> tuple[Batch, tuple[bytes, ...]]:
        """The same, where some records may be control events; each has arrived at its own time."""
        lines = [blob[start:stop].tobytes() for start, stop in pairwise(bounds)]
        asked = {k: decode_control(line) for k, line in enumerate(lines) if is_control(line)}
        plain = np.array([k for k in range(len(lines)) if k not in asked], np.int64)
        ends = np.cumsum([0, *(len(lines[k]) for k in plain)], dtype=np.int64)
        events = np.frombuffer(b"".join(lines[k] for k in plain), np.uint8)
        batch, letters = self.json(events, ends, topic, offset[plain])
        faults = {k: fault for k, fault in asked.items() if isinstance(fault, Fault)}
        letters += tuple(fault.letter(topic, 0, int(offset[k]), lines[k].rstrip()) for k, fault in faults.items())
        if controls := {k: control for k, control in asked.items() if isinstance(control, Control)}:
            places, arrived = offset[list(controls)], np.array([each.time_us for each in controls.values()], np.int64)
            nought = np.zeros(len(places), np.int64)
            rows = control_batch(batch.sheet.layout, tuple(controls.values()), topic, nought, places, arrived)
            batch = join([batch, rows])
            batch = batch.take(np.argsort(batch.offset, kind="stable"))
        return batch, letters

    def records(self, records: Sequence[Message], events: str) -> tuple[Batch, tuple[bytes, ...]]:
        """Events and dead letters of topics' records, as the lane decodes them; `events` may hold control events."""
        batch, _, letters = read_records(records, self.plan, self.pack.policy.record_time == "log", events)
        return batch, tuple(letters[k] for k in sorted(letters))

    def _needed(self, name: str) -> bool:
        field = next(field for field in self.plan.sources if field.name == name)
        return field.required and not field.default


def make_decoder(engine: Engine, arrived_at: str = "") -> Decoder:
    """The decoder of a pack; the pack's own `record_time` counts where `arrived_at` is not given."""
    return Decoder(engine.pack, wire_plan(engine, arrived_at), arrived_at or engine.pack.policy.ingest)


def _batch(sheet: Sheet, topic: str, offset: Ints) -> Batch:
    n = len(offset)
    return Batch(sheet, (topic,), np.zeros(n, np.int64), np.zeros(n, np.int64), offset)


def _letters(dead: DeadLetters, topic: str, offset: Ints, raws: list[bytes]) -> tuple[bytes, ...]:
    return tuple(dead.record(k, topic, 0, int(offset[dead.index[k]]), raws[k]) for k in range(dead.n))
