"""Records in, records out: a batch's bytes become a sheet, go through step(), and come out as bytes.

The lane and the verification of what a lane wrote are two drivers of this one class.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from features.schema import Schema
from features.sheet import Ints
from features.warm import warm as warm_windows
from rules.alert_records import Notification
from rules.controls import ListChange, RuleMute
from rules.lists import OPEN_ENDS
from rules.times import format_time
from sekisho.compile import Engine, wire_plan
from sekisho.decision import encode_decisions
from sekisho.drift import DAY_US, DriftCounts
from sekisho.intake import ORPHAN
from sekisho.ledger import NEVER
from sekisho.log import Message
from sekisho.notification import amount_scale, encode_notification
from sekisho.reasons import warm_reasons
from sekisho.records import read_records
from sekisho.state import load_state, new_state, save_state
from sekisho.step import Decided, apply_controls, fold
from sekisho.wire.controls import decode_control, encode_control, is_control
from sekisho.wire.plan import json_path


class Placed(NamedTuple):
    """A record to write; the partition is meant modulo those of its topic."""

    partition: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True)
class Outgoing:
    """Records to write, in order, by columns: an object for each would keep the garbage collector busy."""

    partitions: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)

    def add(self, placed: Placed) -> None:
        """Put a record behind the others."""
        self.partitions.append(placed.partition)
        self.keys.append(placed.key)
        self.values.append(placed.value)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Placed]:
        return map(Placed, self.partitions, self.keys, self.values)


@dataclass(frozen=True)
class Verdicts:
    """What a batch becomes. watermark_us: W behind it.

    A decision and a dead letter have the key and the partition of their event, so that their order is kept. All about
    one alert group goes to one partition, with the group's id as key.
    """

    decisions: Outgoing
    alerts: Outgoing
    dead_letters: Outgoing
    watermark_us: int | None


class Decider:
    """A compiled pack and its state. Records are JSON; one without a value is a dead letter like any unreadable one.

    events: the topic whose records may be control events; elsewhere they are dead letters.   unknown: labels so far
    that name a payment which nobody remembers.
    """

    def __init__(self, engine: Engine, threads: int = 1, events: str = "") -> None:
        self.engine, self.threads, self.events = engine, threads, events
        self.log_clock = engine.pack.policy.record_time == "log"
        self.plan, self.amount_scale = wire_plan(engine), amount_scale(engine.pack)
        self.reset()

    def reset(self, cold_us: int | None = None) -> None:
        """Back to the state before the first event that it is to know; W up to there, or None where that is all."""
        self.state, self.unknown, self.drift = new_state(self.engine, cold_us), 0, DriftCounts(self.engine)

    def warm(self) -> None:
        """Compile every kernel, so that the first batch is not the one that waits."""
        values = [*(_specimen(self.engine.pack.schema, kind) for kind in self.engine.pack.schema.kinds), b"not JSON"]
        said = [ListChange("warm", 0, "warm", "", name, "a", *OPEN_ENDS) for name in self.engine.lists.index]
        records = [(self.events, encode_control(each)) for each in said] + [("warm", value) for value in values]
        self.decide([Message(topic, 0, k, 0, None, value) for k, (topic, value) in enumerate(records)])
        self.reset()
        warm_windows()
        self.drift.warm()
        if self.engine.reasons:
            warm_reasons(self.engine.reasons)

    def save(self, folder: Path, note: dict[str, object]) -> None:
        """Write the state as a snapshot."""
        save_state(self.state, self.engine, folder, note)

    def load(self, folder: Path) -> dict[str, object]:
        """Take the state of a snapshot; its note. Raises SnapshotError."""
        self.state, note = load_state(self.engine, folder)
        return note

    def recall(self, said: Iterable[Message]) -> None:
        """Take in what people had said of lists and rules before the first event that the state knows."""
        controls = [decode_control(raw) for message in said if is_control(raw := message.value or b"")]
        apply_controls(self.engine, self.state, [each for each in controls if isinstance(each, ListChange | RuleMute)])

    def told(self) -> dict[str, object]:
        """What people should know: rules that are muted now, changed values a list, what found nothing it is about,
        and how much is remembered."""
        control, watermark = self.state.control, int(self.state.intake.watermark[0])
        mutes = [mute for mute in dict(control.mutes).values() if (mute.until_us or 0) > watermark]
        return {
            "mutes": [
                {"rule": mute.rule, "until": format_time(mute.until_us or 0), "by": mute.by, "why": mute.why}
                for mute in mutes
            ],
            "list_changes": {name: len(values) for name, values in dict(control.lists).items()},
            "alert_marks_unmatched": self.state.alerts.unmatched,
            "labels_unknown_payment": self.unknown,
            "state": self.state.report(),
            "drift": self._drift(),
            "models_expire": {card.name: str(card.expires) for card in self.engine.pack.cards if card.expires},
        }

    def _drift(self) -> dict[str, object]:
        """The newest seven whole days of event time against the models' cards, as far as this worker has seen them."""
        days = self.drift.newest()
        dates = [format_time(day * DAY_US)[:10] for day in (*days[:1], *days[-1:])]
        return {"days": dates, "columns": [vars(each) for each in self.drift.shifts(days)]}

    def decide(self, records: Sequence[Message]) -> Verdicts:
        """Fold a batch, in its order."""
        batch, good, letters = read_records(records, self.plan, self.log_clock, self.events, self.threads)
        decisions, alerts, dead = Outgoing(), Outgoing(), Outgoing()
        for notifications, decided in fold(self.engine, self.state, batch, self.threads):
            for each in notifications:
                alerts.add(self._alert(each))
            if decided is not None:
                self._write(decided, good, records, decisions)
                good = good[decided.events :]
                self.unknown += self._unknown(decided)
                self.drift.note(decided)
        for k in sorted(letters):
            dead.add(Placed(records[k].partition, records[k].key, letters[k]))
        watermark = int(self.state.intake.watermark[0])
        return Verdicts(decisions, alerts, dead, None if watermark == NEVER else watermark)

    def _alert(self, told: Notification) -> Placed:
        return Placed(int(told.group_id[:7], 16), told.group_id.encode(), encode_notification(told, self.amount_scale))

    def _unknown(self, decided: Decided) -> int:
        """Labels of a payment that is not remembered: they are kept, and counted."""
        flags, kind = decided.admission.flags, decided.admission.kind
        orphans = kind[(flags & ORPHAN).nonzero()[0]]
        return int(np.count_nonzero(orphans == self.engine.intake.label_kind))

    def _write(self, decided: Decided, good: Ints, records: Sequence[Message], out: Outgoing) -> None:
        """Put a piece's decisions behind those before."""
        blob, ends = encode_decisions(self.engine, decided, threads=self.threads)
        raw, rows = blob.tobytes(), decided.rows
        # a derived event stands right behind its source
        source = good[(decided.derived == 0).cumsum() - 1] if self.engine.legs else good
        out.partitions.extend(decided.batch.partition[rows].tolist())
        out.keys.extend([records[i].key for i in source[rows].tolist()])
        out.values.extend([raw[start : end - 1] for start, end in pairwise(ends.tolist())])


def _specimen(schema: Schema, kind: str) -> bytes:
    """A record with every field."""
    values = {"money": "1", "number": "1", "double": 1.0, "bool": True, "time": "2026-01-01T00:00:00Z"}
    record: dict[str, Any] = {}
    for each in schema.fields:
        at = record
        *path, last = json_path(each)
        for key in path:
            at = at.setdefault(key, {})
        at[last] = kind if each.name == "kind" else 1 if each.encoding else values.get(each.type, "a")
    return json.dumps(record).encode()
