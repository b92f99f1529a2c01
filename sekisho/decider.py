"""Records in, records out: a batch's bytes become a sheet, go through step(), and come out as bytes.

The lane and the verification of what a lane wrote are two drivers of this one class.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from features.schema import Schema
from features.sheet import Ints
from features.warm import warm as warm_windows
from sekisho.batch import Batch
from sekisho.compile import Engine, wire_plan
from sekisho.decision import encode_decisions
from sekisho.ledger import NEVER
from sekisho.log import Message
from sekisho.notification import amount_scale, encode_notification
from sekisho.state import load_state, new_state, save_state
from sekisho.step import Decided, step
from sekisho.wire.json_decode import decode_json
from sekisho.wire.plan import json_path


class Placed(NamedTuple):
    """A record to write; the partition is meant modulo those of its topic."""

    partition: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True)
class Verdicts:
    """What a batch becomes. watermark_us: W behind it.

    A decision and a dead letter have the key and the partition of their event, so that their order is kept. All about
    one alert group goes to one partition, with the group's id as key.
    """

    decisions: Sequence[Placed]
    alerts: Sequence[Placed]
    dead_letters: Sequence[Placed]
    watermark_us: int | None


class Decider:
    """A compiled pack and its state. Records are JSON; one without a value is a dead letter like any unreadable one."""

    def __init__(self, engine: Engine, threads: int = 1) -> None:
        self.engine, self.threads = engine, threads
        self.log_clock = engine.pack.policy.record_time == "log"
        self.plan, self.amount_scale = wire_plan(engine), amount_scale(engine.pack)
        self.state = new_state(engine)

    def reset(self, cold_us: int | None = None) -> None:
        """Back to the state before the first event that it is to know; W up to there, or None where that is all."""
        self.state = new_state(self.engine, cold_us)

    def warm(self) -> None:
        """Compile every kernel, so that the first batch is not the one that waits."""
        values = [*(_specimen(self.engine.pack.schema, kind) for kind in self.engine.pack.schema.kinds), b"not JSON"]
        self.decide([Message("warm", 0, k, 0, None, value) for k, value in enumerate(values)])
        self.reset()
        warm_windows()

    def save(self, folder: Path, note: dict[str, object]) -> None:
        """Write the state as a snapshot."""
        save_state(self.state, self.engine, folder, note)

    def load(self, folder: Path) -> dict[str, object]:
        """Take the state of a snapshot; its note. Raises SnapshotError."""
        self.state, note = load_state(self.engine, folder)
        return note

    def decide(self, records: Sequence[Message]) -> Verdicts:
        """Fold a batch, in its order."""
        values = [record.value or b"" for record in records]
        ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
        clock = np.array([record.time_us for record in records], np.int64) if self.log_clock else None
        sheet, good, dead = decode_json(np.frombuffer(b"".join(values), np.uint8), ends, self.plan, clock)
        decisions: list[Placed] = []
        alerts: list[Placed] = []
        if sheet.n:
            batch = Batch(sheet, *_places([records[i] for i in good.tolist()]))
            self.state, decided = step(self.engine, self.state, batch, self.threads)
            decisions = self._decisions(decided, good, records)
            alerts = [
                Placed(int(each.group_id[:7], 16), each.group_id.encode(), encode_notification(each, self.amount_scale))
                for each in decided.notifications
            ]
        letters = []
        for k, i in enumerate(dead.index.tolist()):
            record = records[i]
            raw = dead.record(k, record.topic, record.partition, record.offset, values[i])
            letters.append(Placed(record.partition, record.key, raw))
        watermark = int(self.state.intake.watermark[0])
        return Verdicts(decisions, alerts, letters, None if watermark == NEVER else watermark)

    def _decisions(self, decided: Decided, good: Ints, records: Sequence[Message]) -> list[Placed]:
        blob, ends = encode_decisions(self.engine, decided)
        raw, cuts = blob.tobytes(), ends.tolist()
        source = good[np.cumsum(decided.derived == 0) - 1]  # a derived event stands right behind its source
        placed = []
        for k, i in enumerate(source[decided.rows].tolist()):
            event = records[i]
            placed.append(Placed(event.partition, event.key, raw[cuts[k] : cuts[k + 1] - 1]))
        return placed


def _places(records: Sequence[Message]) -> tuple[tuple[str, ...], Ints, Ints, Ints]:
    topics = tuple(dict.fromkeys(record.topic for record in records))
    index = {topic: k for k, topic in enumerate(topics)}
    return (
        topics,
        np.array([index[record.topic] for record in records], np.int64),
        np.array([record.partition for record in records], np.int64),
        np.array([record.offset for record in records], np.int64),
    )


def _specimen(schema: Schema, kind: str) -> bytes:
    """A record with every field."""
    values = {"money": "1", "number": "1", "double": 1.0, "bool": True, "time": "2026-01-01T00:00:00Z"}
    record: dict[str, Any] = {}
    for field in schema.fields:
        at = record
        *path, last = json_path(field)
        for key in path:
            at = at.setdefault(key, {})
        at[last] = kind if field.name == "kind" else 1 if field.encoding else values.get(field.type, "a")
    return json.dumps(record).encode()
