"""step(), one event at a time: intake, legs, features, scores, rules, decision (laws L1, L6, L8, L12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

from features.query import Stage
from features.types import Type
from sekisho.pack import Pack
from sekisho.testing.reference.expressions import EPOCH, ERROR, Row, evaluate
from sekisho.testing.reference.intake import Admission, Event, IntakeState, Place, admit, derive, place
from sekisho.testing.reference.rules import judge
from sekisho.testing.reference.scores import score
from sekisho.testing.reference.windows import Windows

Decision = dict[str, Any]


@dataclass
class State:
    """Everything that the past has left. It is a fold of the log (L12): nothing else can be in it."""

    intake: IntakeState = field(default_factory=IntakeState)
    windows: Windows = field(default_factory=Windows)


@dataclass(frozen=True)
class Folded:
    """What became of one event.

    rows: its own, with every window call and output as of its arrival, then those of its legs.
    record: its decision or duplicate record; None for a kind that is not decided.
    """

    admission: Admission
    rows: list[Row]
    record: Decision | None


def reference_step(pack: Pack, state: State, events: Sequence[Event]) -> list[Decision]:
    """The records of the events: a decision for each of a decided kind, or a duplicate record.

    An event is its fields by name (see `Value` for units), "record_time" if known, and its place in the log: "topic",
    "partition" and "offset". Events are folded one by one, so how a log is cut cannot matter (L6).
    """
    records = (fold(pack, state, event).record for event in events)
    return [record for record in records if record is not None]


def fold(pack: Pack, state: State, event: Event) -> Folded:
    """Fold one event into the state, and decide it."""
    admission = admit(pack, state.intake, event)
    enters = not (admission.degraded or admission.duplicate_of)
    rows = [admission.row, *(derive(pack, admission.row, pack.rules.lists) if enters else [])]
    if not admission.duplicate_of:
        rows = [features(pack, state, row, enters=enters) for row in rows]
    decided = admission.row["kind"] in pack.policy.decide
    return Folded(admission, rows, _record(pack, event, admission, rows[0]) if decided else None)


def features(pack: Pack, state: State, row: Row, *, enters: bool) -> Row:
    """The row with the values of all stages; a later stage sees the earlier ones' as they were here and now (L2).

    A row that does not enter sees no window: each of its calls is NULL, and expressions over fields still hold (L4).
    """
    for stage in pack.query.stages:
        row = _stage(pack, state, stage, row, enters)
    return row


def _stage(pack: Pack, state: State, stage: Stage, row: Row, enters: bool) -> Row:
    lists = pack.rules.lists
    seen = {call.name: state.windows.enter(call, row, lists) if enters else None for call in stage.windows}
    inner = {**row, **seen}
    return {**inner, **{name: evaluate(expr, inner, lists) for name, expr in stage.outputs}}


def record_id(where: Place) -> str:
    """A record's id follows from its event's place in the log, so that it is the same in every run (L8)."""
    topic, partition, offset = where
    name = topic.encode()
    place_bytes = len(name).to_bytes(4, "big") + name + partition.to_bytes(4, "big") + offset.to_bytes(8, "big")
    return sha256(place_bytes).hexdigest()[:32]


def _record(pack: Pack, event: Event, admission: Admission, row: Row) -> Decision:
    """The decision, or the record that names the first decision of the same event, in the order of the wire (L8)."""
    topic, partition, offset = place(event)
    head = {
        "v": 1,
        "id": record_id(place(event)),
        "event_id": row["event_id"],
        "payment_id": row.get("payment_id"),
        "event_time": _clock_text(int(row["event_time"])),  # type: ignore[arg-type]
        "source": {"topic": topic, "partition": partition, "offset": offset},
    }
    if admission.duplicate_of:
        return head | {"duplicate_of": record_id(admission.duplicate_of), "pack": pack.hash}
    return head | _decide(pack, admission, row)


def _clock_text(at_us: int) -> str:
    """A time as records write it: RFC 3339 in UTC, six decimals."""
    return (EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds") + "Z"


def _decide(pack: Pack, admission: Admission, row: Row) -> Decision:
    scores = [score(scorer, row, _scales(pack)) for scorer in pack.models]
    row = {**row, **{f"{s.name}_{part}": getattr(s, part) for s in scores for part in ("score", "raw", "probability")}}
    answers = judge(pack.rules, row, pack.rules.lists, admission.degraded, pack.policy.on_degraded)
    overflow = any(row[name] is ERROR for name, _ in pack.query.features)
    return {
        "outcome": answers.outcome,
        "score": max((s.score for s in scores), default=None),
        "models": [{"name": s.name, "score": s.score, "raw": s.raw, "probability": s.probability} for s in scores],
        "rules": [
            {"id": rule.id, "outcome": rule.outcome, "reason": {"en": rule.reasons.en, "ja": rule.reasons.ja}}
            for rule in answers.hits
        ],
        "lifted": list(answers.lifted),
        "unknown": list(answers.unknown),
        "errors": list(answers.errors),
        "shadow": list(answers.shadow),
        "flags": [*admission.flags, *(["overflow"] if overflow else [])],
        "pack": pack.hash,
    }


def _scales(pack: Pack) -> dict[str, int]:
    """In which units of 10^-e each exact column is."""
    columns: dict[str, Type] = pack.schema.columns()
    for stage in pack.query.stages:
        columns |= {name: expr.type for name, expr in stage.outputs}
    return {name: type.scale for name, type in columns.items()}
