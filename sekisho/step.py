"""step(): one batch of events through a pack. No clock, no randomness, no I/O.

    intake -> legs -> (keys and arguments -> windows -> outputs) a stage -> scores -> rules -> decisions, alerts

Equal inputs give equal outputs, however the log is cut into batches (laws L6, L12). fold() does the same for a part of
the log that holds control events, each of which counts from its very place on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.lists import ListTables
from features.sheet import DEGRADED, ENTERS, NULL, SKIPPED, VALID, Bytes, Ints, Sheet, take, widen
from models.scorer import score, score_shadow
from rules.alert_records import Notification
from rules.alerts import group_alerts, mark_alert
from rules.controls import AlertMark, Control, ListChange, RuleMute
from rules.evaluate import RuleResults, evaluate
from sekisho.alerts import alerts_of
from sekisho.batch import Batch
from sekisho.compile import Engine, StageEngine
from sekisho.intake import Admission, admit
from sekisho.ledger import NEVER
from sekisho.reasons import Given, reasons_of
from sekisho.state import State, changed_lists
from sekisho.wire.ids import record_ids


@dataclass(frozen=True)
class Decided:
    """A batch after step(): the sheet with every feature and score, and what was decided.

    rows: int64[k], the events of the sheet that get a record (decisions and duplicates), in arrival order.
    batch: the events with their places in the log; derived legs stand behind their source.
    ids: int64[k, 2], their record ids.   results: the rules' answers, for every event of the sheet.
    derived: uint8[n], 1 for derived legs.   reasons: by event of the sheet, what has raised a high score.
    """

    sheet: Sheet
    batch: Batch
    admission: Admission
    derived: Bytes
    ids: Ints
    results: RuleResults
    rows: Ints
    notifications: tuple[Notification, ...]
    reasons: Given

    @property
    def events(self) -> int:
        """How many there are, derived legs aside."""
        return self.sheet.n - int(np.count_nonzero(self.derived))


def fold(
    engine: Engine, state: State, batch: Batch, threads: int = 1
) -> Iterator[tuple[tuple[Notification, ...], Decided | None]]:
    """A part of the log in pieces: all that goes out, in order, and what was decided behind control events.

    The state is changed in place; a piece is folded when it is asked for.
    """
    for controls, part in batch.pieces():
        told = apply_controls(engine, state, controls)
        decided = step(engine, state, part, threads)[1] if part.n else None
        yield (*told, *(decided.notifications if decided else ())), decided


def apply_controls(engine: Engine, state: State, controls: Sequence[Control]) -> tuple[Notification, ...]:
    """Change the state as people asked; what goes out because of it. Lists and rules of other packs are kept, too."""
    told: list[Notification] = []
    changed: dict[tuple[str, str], None] = {}
    for control in controls:
        match control:
            case AlertMark():
                told += mark_alert(state.alerts, control)
            case ListChange() | RuleMute():
                state.control.take_in(control)
        if isinstance(control, ListChange):
            changed[control.list, control.value] = None
    if changed:
        state.lists = changed_lists(engine, state, changed)
    return tuple(told)


def step(engine: Engine, state: State, batch: Batch, threads: int = 1) -> tuple[State, Decided]:
    """Decide a batch. The state is consumed: use the one that is returned."""
    sheet, lists = widen(batch.sheet, engine.layout), state.lists or engine.lists
    admission = admit(engine.intake, state.intake, sheet, batch, threads)
    derived, decided = np.zeros(sheet.n, np.uint8), engine.intake.decided[admission.kind]
    if engine.legs:
        sheet, batch, admission, derived = _with_legs(engine, lists, sheet, batch, admission)
        decided = engine.intake.decided[admission.kind] & (derived == 0)
    wanted = decided & (admission.fate != SKIPPED)

    event_time = engine.layout["event_time"]
    for k, stage in enumerate(engine.stages):
        last = k == len(engine.stages) - 1
        stage.before.run(sheet, lists, threads)
        engine.backend.advance(
            stage.windows, state.windows[k], sheet, admission.fate, admission.watermark, event_time, threads,
            wanted if last else None,
        )  # fmt: skip
        if state.cold_us is not None:
            _chill(stage, sheet, state.cold_us)
        stage.after.run(sheet, lists, threads)
    if engine.segments:
        engine.segments.run(sheet, lists, threads)
    for scorer in engine.scorers:
        score(scorer, sheet, wanted, engine.predict, threads)
    for shadow in engine.shadows:
        score_shadow(shadow, sheet, wanted, engine.predict, threads)
    reasons = reasons_of(engine.reasons, engine.scorers, sheet, lists, wanted) if engine.reasons else {}
    degraded, muted = (admission.fate == DEGRADED).view(np.uint8), _muted(engine, state, sheet, admission)
    results = evaluate(engine.rules, sheet, lists, degraded, wanted, muted, threads)

    rows = decided.nonzero()[0]
    ids = record_ids(batch.topics, batch.topic[rows], batch.partition[rows], batch.offset[rows])
    notifications: tuple[Notification, ...] = ()
    if policy := engine.pack.alert:
        alerts = alerts_of(engine, policy, sheet, admission, rows, ids, results, reasons)
        notifications = tuple(group_alerts(policy, state.alerts, alerts))
    return state, Decided(sheet, batch, admission, derived, ids, results, rows, notifications, reasons)


def _chill(stage: StageEngine, sheet: Sheet, cold_us: int) -> None:
    """NULL for windows that reach back to what is not known."""
    times = sheet.ints("event_time")
    for slot, reach in stage.reaches:
        sheet.valid[slot.row, slice(None) if reach is None else times - reach <= cold_us] = NULL


def _muted(engine: Engine, state: State, sheet: Sheet, admission: Admission) -> Bytes | None:
    """uint8[m, n]: where a rule is muted. A mute lasts until W, once the event is taken in, reaches its end."""
    mutes = state.control.mutes
    if not mutes:
        return None
    ends = [mutes[rule.id].until_us if rule.id in mutes else None for rule in engine.rules.live.rules]
    until = np.array([NEVER if end is None else end for end in ends], np.int64)
    clock = np.where(
        admission.fate == ENTERS, np.maximum(admission.watermark, sheet.ints("event_time")), admission.watermark
    )
    return (clock < until[:, None]).astype(np.uint8)


def _with_legs(
    engine: Engine, lists: ListTables, sheet: Sheet, batch: Batch, admission: Admission
) -> tuple[Sheet, Batch, Admission, Bytes]:
    """Put each derived event right after its source. It shares the source's clocks and its place in the log."""
    engine.leg_program.run(sheet, lists)
    n, entered = sheet.n, admission.fate == ENTERS
    hits = [
        np.flatnonzero(entered & (sheet.validity(leg.when) == VALID) & (sheet.ints(leg.when) == 1))
        for leg in engine.legs
    ]
    if not any(len(hit) for hit in hits):
        return sheet, batch, admission, np.zeros(n, np.uint8)
    source = np.concatenate([np.arange(n), *hits])
    which = np.concatenate([np.full(n, -1), *(np.full(len(hit), k) for k, hit in enumerate(hits))])
    order = np.lexsort((which, source))
    source, which = source[order], which[order]
    original = sheet
    sheet = take(sheet, source)
    kinds = engine.pack.schema.kinds
    kind = admission.kind[source]
    shared = {"event_id", "event_time", "record_time", "arrival_lag"}
    for k, leg in enumerate(engine.legs):
        at = np.flatnonzero(which == k)
        kind[at] = kinds.index(leg.leg.kind)
        for name in engine.inputs.slots.keys() - shared:
            sheet.validity(name)[at] = NULL
        sheet.ints("kind")[at], sheet.validity("kind")[at] = engine.layout.literal(leg.leg.kind), VALID
        for target, origin in leg.leg.fields.items():
            sheet.ints(target)[at] = original.ints(origin)[source[at]]
            sheet.validity(target)[at] = original.validity(origin)[source[at]]
    moved = Admission(
        admission.fate[source], admission.flags[source], kind, admission.watermark[source], admission.first[source],
        admission.topics,
    )  # fmt: skip
    return sheet, batch.take(source), moved, (which >= 0).astype(np.uint8)
