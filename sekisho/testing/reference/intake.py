"""The first act: duplicates, clocks, inherited fields, verdicts, legs (laws L1, L4, L11).

W is the greatest event_time among the accepted events before this one, of any kind; it moves event by event (L4).
Whatever is remembered for a horizon is stamped with W as it stood once its event was through, and is forgotten when
the stamp is older than W - horizon. The first record of a key is the one remembered, until it is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sekisho.pack import EventPolicy, LabelPolicy, Leg, Pack
from sekisho.testing.reference.expressions import Lists, Row, Value, evaluate

NEVER = float("-inf")
Event = dict[str, Any]
Place = tuple[str, int, int]  # topic, partition, offset


@dataclass
class Memory:
    """What is remembered by key, each with the stamp of its writing."""

    records: dict[Any, tuple[float, Any]] = field(default_factory=dict)

    def find(self, key: Any, oldest: float) -> Any:
        """What was remembered of the key at or after `oldest`, else None."""
        stamp, record = self.records.get(key, (NEVER, None))
        return record if stamp >= oldest else None

    def remember(self, key: Any, record: Any, stamp: float) -> None:
        self.records[key] = (stamp, record)


@dataclass
class IntakeState:
    """W, the first event of each id, the payments that follow-ups name, and what is labelled fraud by now."""

    watermark: float = NEVER
    seen: Memory = field(default_factory=Memory)
    payments: Memory = field(default_factory=Memory)
    frauds: set[tuple[str, Value]] = field(default_factory=set)


@dataclass(frozen=True)
class Admission:
    """What the intake says of an event. degraded: it sees no window. duplicate_of: the place of the first."""

    row: Row
    flags: tuple[str, ...]
    degraded: bool = False
    duplicate_of: Place | None = None


def admit(pack: Pack, state: IntakeState, event: Event) -> Admission:
    """Let one event in, keep it out, or know it again. Moves W where it is accepted.

    1. Its clocks (L1, L4): from the future when event_time > record_time + max_clock_skew, where record_time is known;
       else too late when event_time < W - lateness. Such an event is degraded: it sees no window, enters none, inherits
       nothing, gives no verdict, derives no leg, and never moves W.
    2. Its id (L11): same event_id and same content as the first of that id: a duplicate, whatever its clocks say. Other
       content: flagged id_conflict, and decided on its own. The content is every field of the schema as it arrived. A
       degraded event is remembered, too, so that each id and content is decided once.
    3. What it inherits, if it is a follow-up; then its verdict, if it is a label.
    """
    policy, row = pack.policy, _row(pack, event)
    clock = _clock(policy, state.watermark, row)
    content = tuple(row[name.name] for name in pack.schema.fields)
    first = state.seen.find(row["event_id"], state.watermark - policy.dedup_horizon_us)
    if first is not None and first[0] == content:
        return Admission(row, (), duplicate_of=first[1])
    flags = tuple(flag for flag in (clock, "id_conflict" if first else "") if flag)
    before = state.watermark
    if not clock:
        state.watermark = max(before, row["event_time"])
        _follow_up(policy, state, row, before)
        if pack.labels and row["kind"] == pack.labels.kind:
            row["label_delta"] = _verdict(pack.labels, state, row)
    if first is None:
        state.seen.remember(row["event_id"], (content, place(event)), state.watermark)
    return Admission(row, flags, degraded=bool(clock))


def place(event: Event) -> Place:
    """Where the event stands in the log."""
    return event["topic"], event["partition"], event["offset"]


def _row(pack: Pack, event: Event) -> dict[str, Any]:
    """The columns of the `events` view; whatever the event does not bring is NULL."""
    row = {name: event.get(name) for name in pack.schema.columns()} | {"label_delta": None, "arrival_lag": None}
    if row["record_time"] is not None:
        row["arrival_lag"] = row["record_time"] - row["event_time"]
    return row


def _clock(policy: EventPolicy, watermark: float, row: dict[str, Any]) -> str:
    if row["record_time"] is not None and row["event_time"] > row["record_time"] + policy.max_clock_skew_us:
        return "future"
    return "too_late" if row["event_time"] < watermark - policy.lateness_us else ""


def _follow_up(policy: EventPolicy, state: IntakeState, row: dict[str, Any], before: float) -> None:
    """An event of a decided kind is remembered by its payment_id; one of another kind takes what it lacks from it."""
    payment_id, oldest = row.get("payment_id"), before - policy.inherit_horizon_us
    if payment_id is None:
        return
    payment = state.payments.find(payment_id, oldest)
    if row["kind"] in policy.decide:
        if payment is None:
            state.payments.remember(payment_id, {name: row[name] for name in policy.inherit}, state.watermark)
    elif payment is not None:
        row.update({name: payment[name] for name in policy.inherit if row[name] is None})


def _verdict(labels: LabelPolicy, state: IntakeState, row: dict[str, Any]) -> int:
    """label_delta: +1 a new fraud verdict, -1 the end of one, 0 a repetition, or a label that says nothing.

    A verdict is of what the first not NULL of `names` says, by that field; it stands until another takes its place.
    A label says nothing when it names nothing, or when its class is NULL and it is no reversal: no silent zero (L7).
    """
    named = next(((name, row[name]) for name in labels.names if row.get(name) is not None), None)
    says, reversal = row.get(labels.class_field), row.get(labels.reversal_field) is True
    if named is None or (says is None and not reversal):
        return 0
    was, now = named in state.frauds, says in labels.fraud and not reversal
    (state.frauds.add if now else state.frauds.discard)(named)
    return int(now) - int(was)


def derive(pack: Pack, row: Row, lists: Lists) -> list[Row]:
    """The legs of an accepted event: rows of their own right after it, undecided, at its place and time."""
    return [_leg(pack, leg, row) for leg in pack.legs if evaluate(leg.when, row, lists) is True]


def _leg(pack: Pack, leg: Leg, source: Row) -> Row:
    kept = {name: source[name] for name in ("event_id", "event_time", "record_time", "arrival_lag")}
    brought = {target: source[origin] for target, origin in leg.fields.items()}
    return dict.fromkeys(pack.schema.columns()) | kept | {"kind": leg.kind} | brought
