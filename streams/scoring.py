"""A pack as the lane's scorer: a batch's bytes become a sheet, go through step(), and come out as bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.schema import Field, Schema
from features.sheet import Ints, Sheet
from sekisho.batch import Batch
from sekisho.compile import Engine
from sekisho.decision import encode_decisions
from sekisho.ledger import NEVER
from sekisho.notification import encode_notification
from sekisho.state import load_state, new_state, save_state
from sekisho.step import Decided, step
from sekisho.wire.dead_letters import DeadLetters
from sekisho.wire.json_decode import decode_json
from sekisho.wire.plan import json_path, plan_wire
from streams.broker import Message, Send
from streams.outputs import Outputs
from streams.settings import TopicSettings


class PackScorer:
    """Keeps streams.outputs.Scorer for a compiled pack. Records are JSON."""

    def __init__(self, engine: Engine, topics: TopicSettings, threads: int = 1) -> None:
        self.engine, self.topics, self.threads = engine, topics, threads
        policy = engine.pack.policy
        self.log_clock = policy.record_time == "log"
        named = policy.record_time not in ("log", "none")
        ingest = Field("record_time", "time", source=policy.record_time) if named else None
        self.plan = plan_wire(engine.pack.schema, engine.inputs, policy.default_zone, ingest)
        self.state = new_state(engine)

    @property
    def pack(self) -> str:
        return self.engine.pack.hash

    def reset(self) -> None:
        """Back to the state before the first event."""
        self.state = new_state(self.engine)

    def warm(self) -> None:
        """Compile every kernel before the lane may lead: the first batch must not be the one that waits."""
        records = [_specimen(self.engine.pack.schema, kind) for kind in self.engine.pack.schema.kinds]
        messages = [Message("warm", 0, k, 0, None, value) for k, value in enumerate([*records, b"not JSON"])]
        self.decide(messages)
        self.reset()

    def save(self, folder: Path, note: dict[str, object]) -> None:
        """Write the state as a snapshot."""
        save_state(self.state, self.engine, folder, note)

    def load(self, folder: Path) -> dict[str, object]:
        """Take the state of a snapshot; its note. Raises SnapshotError."""
        self.state, note = load_state(self.engine, folder)
        return note

    def decide(self, messages: Sequence[Message]) -> Outputs:
        """Fold a batch, in its order. A record without a value is a dead letter like any other that cannot be read."""
        values = [message.value or b"" for message in messages]
        ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
        clock = np.array([message.time_us for message in messages], np.int64) if self.log_clock else None
        sheet, good, dead = decode_json(np.frombuffer(b"".join(values), np.uint8), ends, self.plan, clock)
        decisions: list[Send] = []
        alerts: list[Send] = []
        if sheet.n:
            self.state, decided = step(self.engine, self.state, _batch(sheet, good, messages), self.threads)
            decisions, alerts = self._decisions(decided, good, messages), self._alerts(decided)
        watermark = int(self.state.intake.watermark[0])
        return Outputs(decisions, alerts, self._letters(dead, messages), None if watermark == NEVER else watermark)

    def _decisions(self, decided: Decided, good: Ints, messages: Sequence[Message]) -> list[Send]:
        """Each with the key and the partition of its event, so that their order is kept."""
        blob, ends = encode_decisions(self.engine, decided)
        raw, cuts = blob.tobytes(), ends.tolist()
        source = good[np.cumsum(decided.derived == 0) - 1]  # a derived event stands right behind its source
        topic = self.topics.decisions
        sends = []
        for k, i in enumerate(source[decided.rows].tolist()):
            message = messages[i]
            sends.append(Send(topic, message.partition, message.key, raw[cuts[k] : cuts[k + 1] - 1]))
        return sends

    def _alerts(self, decided: Decided) -> list[Send]:
        """All about one group go to one partition, so that their order is kept."""
        return [
            Send(self.topics.alerts, int(each.group_id[:7], 16), each.group_id.encode(), encode_notification(each))
            for each in decided.notifications
        ]

    def _letters(self, dead: DeadLetters, messages: Sequence[Message]) -> list[Send]:
        sends = []
        for k, i in enumerate(dead.index.tolist()):
            m = messages[i]
            letter = dead.record(k, m.topic, m.partition, m.offset, m.value or b"")
            sends.append(Send(self.topics.dead_letters, m.partition, m.key, letter))
        return sends


def _specimen(schema: Schema, kind: str) -> bytes:
    """A record with every field."""
    values = {"money": "1", "number": "1", "double": 1.0, "bool": True, "time": "2026-01-01T00:00:00Z"}
    record: dict[str, Any] = {}
    for field in schema.fields:
        at = record
        *path, last = json_path(field)
        for key in path:
            at = at.setdefault(key, {})
        encoded = (field.type == "time" and field.encoding) or field.encoding == "minor"
        at[last] = kind if field.name == "kind" else 1 if encoded else values.get(field.type, "a")
    return json.dumps(record).encode()


def _batch(sheet: Sheet, good: Ints, messages: Sequence[Message]) -> Batch:
    kept = [messages[i] for i in good.tolist()]
    topics = tuple(dict.fromkeys(message.topic for message in kept))
    index = {topic: k for k, topic in enumerate(topics)}
    return Batch(
        sheet,
        topics,
        np.array([index[message.topic] for message in kept], np.int64),
        np.array([message.partition for message in kept], np.int64),
        np.array([message.offset for message in kept], np.int64),
    )
