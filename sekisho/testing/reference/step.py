"""step(), one event at a time: intake, legs, features, scores, rules, decision (laws L1, L6, L8, L12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

from features.query import Stage
from features.types import Type
from rules.alert_records import Notification, build_alert
from rules.controls import AlertMark, Control, ListChange, RuleMute
from rules.reasons import GivenReason
from rules.records import ListEntry
from sekisho.pack import Pack
from sekisho.testing.reference.alerts import AlertState, group, mark
from sekisho.testing.reference.expressions import EPOCH, ERROR, Lists, Row, evaluate
from sekisho.testing.reference.intake import NEVER, Admission, Event, IntakeState, Place, admit, derive, place
from sekisho.testing.reference.reasons import reasons_of
from sekisho.testing.reference.rules import Answers, judge
from sekisho.testing.reference.scores import Score, score, scores_of, speaks
from sekisho.testing.reference.windows import Windows

Decision = dict[str, Any]
NO_CLOCK = -(2**62)  # an alert's clock before any event was accepted


@dataclass
class State:
    """Everything that the past has left. It is a fold of the log (L12): nothing else can be in it."""

    intake: IntakeState = field(default_factory=IntakeState)
    windows: Windows = field(default_factory=Windows)
    alerts: AlertState = field(default_factory=AlertState)
    said: list[ListChange] = field(default_factory=list)
    mutes: dict[str, RuleMute] = field(default_factory=dict)


@dataclass(frozen=True)
class Folded:
    """What became of one event.

    rows: its own, with every window call and output as of its arrival, then those of its legs.
    record: its decision or duplicate record; None for a kind that is not decided.   notifications: what it sets off.
    """

    admission: Admission
    rows: list[Row]
    record: Decision | None
    notifications: Sequence[Notification] = ()


def reference_step(pack: Pack, state: State, events: Sequence[Event]) -> list[Decision]:
    """The records of the events: a decision for each of a decided kind, or a duplicate record.

    An event is its fields by name (see `Value` for units), "record_time" if known, and its place in the log: "topic",
    "partition" and "offset". Events are folded one by one, so how a log is cut cannot matter (L6).
    """
    records = (fold(pack, state, event).record for event in events)
    return [record for record in records if record is not None]


def fold(pack: Pack, state: State, event: Event) -> Folded:
    """Fold one event into the state, and decide it."""
    before, lists = state.intake.watermark, lists_of(pack, state)
    admission = admit(pack, state.intake, event)
    enters = not (admission.degraded or admission.duplicate_of)
    rows = [admission.row, *(derive(pack, admission.row, lists) if enters else [])]
    if not admission.duplicate_of:
        rows = [features(pack, state, row, lists, enters=enters) for row in rows]
    if admission.row["kind"] not in pack.policy.decide:
        return Folded(admission, rows, None)
    head = _head(pack, event, admission)
    if admission.duplicate_of:
        return Folded(admission, rows, head | {"duplicate_of": record_id(admission.duplicate_of), "pack": pack.hash})
    scored, scores = _score(pack, rows[0], lists)
    shadows = [score(each, rows[0], _scales(pack)) for each in pack.shadow_models if speaks(each, rows[0], lists)]
    given = reasons_of(pack, rows[0], scores, lists, _types(pack))
    silent = muted(state, admission, before)
    answers = judge(pack.rules, scored, lists, admission.degraded, pack.policy.on_degraded, silent)
    record = head | _decision(pack, admission, scored, scores, answers, shadows, given)
    return Folded(admission, rows, record, _notify(pack, state, scored, record, answers, given))


def control(state: State, event: Control) -> Sequence[Notification]:
    """Take in a control event: from here on it counts. What goes out because of it."""
    match event:
        case AlertMark():
            return mark(state.alerts, event)
        case ListChange():
            state.said.append(event)
        case RuleMute():
            state.mutes[event.rule] = event
    return ()


def lists_of(pack: Pack, state: State) -> Lists:
    """The pack's lists, and what was said of them since: a value is added, or all its entries are removed."""
    lists = {name: list(entries) for name, entries in pack.rules.lists.items()}
    for said in state.said:
        if said.list in lists and said.remove:
            lists[said.list] = [entry for entry in lists[said.list] if entry.value != said.value]
        elif said.list in lists:
            lists[said.list].append(ListEntry(said.value, said.starts_us, said.expires_us))
    return lists


def muted(state: State, admission: Admission, before: float) -> set[str]:
    """The rules whose mute lasts until W, once the event is taken in, reaches its end. before: W before the event."""
    at_us = before if admission.degraded else max(before, int(admission.row["event_time"]))  # type: ignore[arg-type]
    return {rule for rule, mute in state.mutes.items() if mute.until_us is not None and at_us < mute.until_us}


def features(pack: Pack, state: State, row: Row, lists: Lists, *, enters: bool) -> Row:
    """The row with the values of all stages; a later stage sees the earlier ones' as they were here and now (L2).

    A row that does not enter sees no window: each of its calls is NULL, and expressions over fields still hold (L4).
    """
    for stage in pack.query.stages:
        row = _stage(state, stage, row, lists, enters)
    return row


def _stage(state: State, stage: Stage, row: Row, lists: Lists, enters: bool) -> Row:
    seen = {call.name: state.windows.enter(call, row, lists) if enters else None for call in stage.windows}
    inner = {**row, **seen}
    return {**inner, **{name: evaluate(expr, inner, lists) for name, expr in stage.outputs}}


def record_id(where: Place) -> str:
    """A record's id follows from its event's place in the log, so that it is the same in every run (L8)."""
    topic, partition, offset = where
    name = topic.encode()
    place_bytes = len(name).to_bytes(4, "big") + name + partition.to_bytes(4, "big") + offset.to_bytes(8, "big")
    return sha256(place_bytes).hexdigest()[:32]


def _head(pack: Pack, event: Event, admission: Admission) -> Decision:
    """How every record begins, in the order of the wire."""
    topic, partition, offset = place(event)
    return {
        "v": 1,
        "id": record_id(place(event)),
        "event_id": admission.row["event_id"],
        "payment_id": admission.row.get("payment_id"),
        "event_time": _clock_text(int(admission.row["event_time"])),  # type: ignore[arg-type]
        "source": {"topic": topic, "partition": partition, "offset": offset},
    }


def _clock_text(at_us: int) -> str:
    """A time as records write it: RFC 3339 in UTC, six decimals."""
    return (EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds") + "Z"


def _score(pack: Pack, row: Row, lists: Lists) -> tuple[Row, list[Score]]:
    """The row with the columns of every live model, NULL where it does not speak, and the scores of those that do."""
    found = {model.name: scores_of(model, row, lists, _scales(pack)) for model in pack.models}
    parts = ("score", "raw", "probability")
    columns = {f"{name}_{part}": getattr(each, part, None) for name, each in found.items() for part in parts}
    return {**row, **columns}, [each for each in found.values() if each]


def _decision(
    pack: Pack, admission: Admission, row: Row, scores: list[Score], answers: Answers, shadows: list[Score],
    given: tuple[GivenReason, ...],
) -> Decision:  # fmt: skip
    """The rest of a decision (L8). A feature that overflowed is NULL, and flagged (L7).

    What shadow models say is read by nobody else (L9).
    """
    overflow = any(row[name] is ERROR for name, _ in pack.query.features)
    return {
        "outcome": answers.outcome,
        "score": max((each.score for each in scores), default=None),
        "models": [each.entry() for each in scores],
        **(_said(given) if pack.reasons else {}),
        "rules": [
            {"id": rule.id, "outcome": rule.outcome, "reason": {"en": rule.reasons.en, "ja": rule.reasons.ja}}
            for rule in answers.hits
        ],
        "lifted": list(answers.lifted),
        "muted": list(answers.muted),
        "unknown": list(answers.unknown),
        "errors": list(answers.errors),
        "shadow": list(answers.shadow),
        **({"shadow_models": [each.entry() for each in shadows]} if pack.shadow_models else {}),
        "flags": [*admission.flags, *(["overflow"] if overflow else [])],
        "pack": pack.hash,
    }


def _said(given: tuple[GivenReason, ...]) -> Decision:
    """What has raised the score: for analysts, and apart for the customer."""
    return {
        "reasons": [
            {"id": each.id, "model": each.model, "points": each.points, "en": each.texts.en, "ja": each.texts.ja}
            for each in given
        ],
        "customer_reasons": [
            {"en": each.texts.customer_en, "ja": each.texts.customer_ja} for each in given if each.texts.customer_en
        ],
    }


def _notify(
    pack: Pack, state: State, row: Row, record: Decision, answers: Answers, given: tuple[GivenReason, ...]
) -> Sequence[Notification]:
    """Group the alert of a decision, if it is one that somebody should see. Only live rules can speak in it (L9)."""
    policy = pack.alert
    if policy is None or answers.outcome not in policy.outcomes:
        return ()
    alert = build_alert(
        policy,
        answers.hits,
        decision_id=record["id"],
        payment_id=record["payment_id"],
        event_time_us=int(row["event_time"]),  # type: ignore[arg-type]
        clock_us=NO_CLOCK if state.intake.watermark == NEVER else int(state.intake.watermark),
        outcome=answers.outcome,
        score=record["score"],
        amount=row.get(policy.amount_field),  # type: ignore[arg-type]
        keys={name: row.get(name) for name in policy.group_by},
        told=[each.texts for each in given],
    )
    return group(policy, state.alerts, alert)


def _scales(pack: Pack) -> dict[str, int]:
    """In which units of 10^-e each exact column is."""
    return {name: type.scale for name, type in _types(pack).items()}


def _types(pack: Pack) -> dict[str, Type]:
    """Of every field and feature."""
    columns: dict[str, Type] = pack.schema.columns()
    for stage in pack.query.stages:
        columns |= {name: expr.type for name, expr in stage.outputs}
    return columns
