"""Running the engine over a log of plain Python events, cut into batches: records and features as Python values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from features.sheet import Layout, sheet_of
from rules.alert_records import Notification
from rules.controls import Control
from sekisho.batch import Batch, control_batch, join
from sekisho.compile import Engine
from sekisho.decision import encode_decisions
from sekisho.state import State, new_state
from sekisho.step import Decided, fold
from sekisho.testing.reference.expressions import Value
from sekisho.testing.reference.intake import Event


@dataclass
class Run:
    """What came out: a record (a JSON line) and the features of each event of a decided kind, and all notifications."""

    records: list[bytes] = field(default_factory=list)
    features: list[dict[str, Value]] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)


def run_engine(
    engine: Engine, log: Sequence[Event | Control], cut: int, threads: int = 1, state: State | None = None,
    run: Run | None = None,
) -> tuple[State, Run]:  # fmt: skip
    """fold() over the log in batches of `cut` events, from `state` on; what comes out is added to `run`."""
    state, run = state or new_state(engine), run or Run()
    for start in range(0, len(log), cut):
        for told, decided in fold(engine, state, part_of(engine.inputs, log[start : start + cut]), threads):
            run.notifications += told
            if decided is not None:
                _note(engine, decided, run)
    return state, run


def part_of(layout: Layout, log: Sequence[Event | Control]) -> Batch:
    """Events, and control events at their places between them."""
    events = [k for k, each in enumerate(log) if not isinstance(each, Control)]
    controls = {k: each for k, each in enumerate(log) if isinstance(each, Control)}
    parts = [batch_of(layout, [log[k] for k in events])] if events else []  # type: ignore[misc]
    if controls:
        nowhere = np.zeros(len(controls), np.int64)
        parts.append(control_batch(layout, tuple(controls.values()), "events", nowhere, nowhere, nowhere))
    return join(parts).take(np.argsort([*events, *controls], kind="stable"))


def batch_of(layout: Layout, events: Sequence[Event]) -> Batch:
    """The events as a batch: fields and system columns in the units of `Value`, and their places in the log."""
    columns = {name: [event.get(name) for event in events] for name in layout.slots}
    columns["label_delta"] = [None] * len(events)
    columns["arrival_lag"] = [
        None if event.get("record_time") is None else event["record_time"] - event["event_time"] for event in events
    ]
    topics = tuple(dict.fromkeys(event["topic"] for event in events))
    places = ([topics.index(event["topic"]), event["partition"], event["offset"]] for event in events)
    return Batch(sheet_of(layout, columns), topics, *np.array(list(places), np.int64).T.copy())


def _note(engine: Engine, decided: Decided, run: Run) -> None:
    blob, offsets = encode_decisions(engine, decided)
    run.records += [blob[a:b].tobytes() for a, b in pairwise(offsets)]
    names = [name for name, _ in engine.pack.query.features]
    run.features += [{name: decided.sheet.value(name, int(i)) for name in names} for i in decided.rows]
