"""The events that a bundle needs: those that one decision depends on, as JSON lines, and back as a log.

A line is an event's place in the log and its fields as they were decoded (money in units of the field, times in
microseconds, no key where a value is NULL), or a control event as it stands.

    {"topic":"file:...","partition":0,"offset":12,"fields":{"event_id":"e1","amount":1200,...}}
    {"topic":"events","partition":0,"offset":3,"arrived":1767571200000000,"control":"{...}"}
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.expr import Column, Expr
from features.sheet import ENTERS, Slot, sheet_of
from replay.explain import Log, batches
from replay.merge import Chunk
from rules.controls import Control
from sekisho.batch import Batch, control_batch, join
from sekisho.compile import Engine
from sekisho.errors import SekishoError
from sekisho.step import Decided
from sekisho.wire.arrow import to_arrow
from sekisho.wire.controls import decode_control, encode_control

Place = tuple[str, int, int]
_MOST_ROUNDS = 12


def needed(engine: Engine, log: Log, source: Mapping[str, Any]) -> set[Place] | None:
    """The places of the events that the decision at `source` depends on; None where only the whole log will do.

    Its own event, and what shares a key of a window with it (for a chain of SELECTs, with those again, once for each
    SELECT); events of the same ids, payments and names; and for each the event that set the watermark which it met.
    """
    values: dict[Slot, set[Any]] = defaultdict(set)
    found: set[Place] = {(source["topic"], source["partition"], source["offset"])}
    setters: set[Place] = set()
    links, keys = _link_slots(engine), _key_slots(engine)  # the last SELECT's windows ask first
    for round in range(_MOST_ROUNDS):
        before, size = {slot: len(known) for slot, known in values.items()}, len(found)
        for part in _marked(engine, log, source, values, found, setters):
            for slot in (*links, *(keys[round] if round < len(keys) else ())):
                values[slot] |= part[slot]
        if len(found) == size and {slot: len(known) for slot, known in values.items()} == before:
            return found | setters
    return None


def _key_slots(engine: Engine) -> list[list[Slot]]:
    """By SELECT, the last first: one column of each key of its windows; who shares the key shares the column."""
    slots = {expr: slot for stage in engine.stages for expr, slot in stage.windows.inputs}

    def slot(expr: Expr) -> Slot:
        return engine.layout[expr.name] if isinstance(expr, Column) and expr.name in engine.layout else slots[expr]

    return [
        list(dict.fromkeys(slot(call.partition[0]) for call in stage.windows if call.partition))
        for stage in reversed(engine.pack.query.stages)
    ]


def _link_slots(engine: Engine) -> list[Slot]:
    """What events are remembered by: ids, payments, and what labels name."""
    labels = engine.pack.labels
    names = ("event_id", "payment_id", *(labels.names if labels else ()))
    return [engine.layout[name] for name in dict.fromkeys(names) if name in engine.layout]


def _marked(
    engine: Engine, log: Log, source: Mapping[str, Any], values: Mapping[Slot, set[Any]], found: set[Place],
    setters: set[Place],
) -> Iterator[dict[Slot, set[Any]]]:  # fmt: skip
    """Adds to `found` the places of events with a known value; gives, by batch, the values that those events have.

    setters: gets the places of the events that set the watermarks which they met.
    """
    high, setter = -(2**63), None
    slots = list(dict.fromkeys([*_link_slots(engine), *(slot for part in _key_slots(engine) for slot in part)]))
    for _, part, row in batches(engine, log, source):
        n = part.sheet.n if row < 0 else row + 1
        table = to_arrow(part.sheet, [(str(k), slot) for k, slot in enumerate(slots)], np.arange(n))
        columns = {slot: table.column(k) for k, slot in enumerate(slots)}
        mine = np.array([place in found for place in _places(part.batch, n)], bool)
        for slot, known in values.items():
            if known:
                mine |= pc.is_in(columns[slot], pa.array(list(known), columns[slot].type)).to_numpy()
        places, times = list(_places(part.batch, n)), part.sheet.ints("event_time")
        for i in np.flatnonzero(mine | _rises(part, n, high)).tolist():
            if mine[i]:
                found.add(places[i])
                if setter is not None:
                    setters.add(setter)
            if part.admission.fate[i] == ENTERS and times[i] > high:
                high, setter = int(times[i]), places[i]
        yield {slot: set(column.filter(pa.array(mine)).drop_null().to_pylist()) for slot, column in columns.items()}


def _rises(part: Decided, n: int, high: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where W rises: by an accepted event that is newer than all before it."""
    times = np.where(part.admission.fate[:n] == ENTERS, part.sheet.ints("event_time")[:n], -(2**63))
    before = np.maximum.accumulate(np.concatenate([[high], times[:-1]]))
    return np.asarray(times > before)


def _places(batch: Batch, n: int) -> Iterator[Place]:
    topics = [batch.topics[k] for k in batch.topic[:n].tolist()]
    return zip(topics, batch.partition[:n].tolist(), batch.offset[:n].tolist(), strict=True)


def written(engine: Engine, log: Log, source: Mapping[str, Any], places: set[Place] | None) -> Iterator[bytes]:
    """The lines of the events at `places` (None: of all) and of all control events, up to the decision's own."""
    last = (source["topic"], source["partition"], source["offset"])
    names = [*engine.pack.schema.by_name, "record_time", "arrival_lag"]
    for chunk in log():
        batch = chunk.batch
        for i, place in enumerate(_places(batch, batch.n)):
            line: dict[str, Any] = dict(zip(("topic", "partition", "offset"), place, strict=True))
            if batch.control is not None and batch.control[i]:
                control = batch.controls[batch.control[i] - 1]
                line |= {"arrived": batch.sheet.value("record_time", i), "control": encode_control(control).decode()}
            elif places is None or place in places:
                cells = {name: batch.sheet.value(name, i) for name in names}
                line["fields"] = {name: value for name, value in cells.items() if value is not None}
            else:
                continue
            yield json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            if place == last:
                return


def read_back(engine: Engine, lines: Iterable[bytes], where: str) -> Chunk:
    """The log that the lines stand for. Raises SekishoError where a line is none of ours."""
    try:
        rows = [json.loads(line) for line in lines]
        parts = [_batch(engine, rows[start:stop]) for start, stop in _runs(rows)]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        what = f"{where}: not the events of a bundle: {error!r}"
        raise SekishoError(what, "make the bundle again with `sekisho explain --bundle`") from error
    if not parts:
        raise SekishoError(f"{where}: no event stands here", "make the bundle again with `sekisho explain --bundle`")
    return Chunk(join(parts), (), 1.0)


def _runs(rows: list[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Stretches of events, or of control events, of one topic."""
    start = 0
    for k in range(1, len(rows) + 1):
        if k == len(rows) or _sort(rows[k]) != _sort(rows[start]):
            yield start, k
            start = k


def _sort(row: dict[str, Any]) -> tuple[str, bool]:
    return row["topic"], "control" in row


def _batch(engine: Engine, rows: list[dict[str, Any]]) -> Batch:
    partition, offset = (np.array([row[name] for row in rows], np.int64) for name in ("partition", "offset"))
    topic = rows[0]["topic"]
    if "control" in rows[0]:
        controls = [decode_control(row["control"].encode()) for row in rows]
        asked = [control for control in controls if isinstance(control, Control)]
        arrived = np.array([row["arrived"] for row in rows], np.int64)
        if len(asked) < len(controls):
            raise ValueError("a control event cannot be read")
        return control_batch(engine.inputs, asked, topic, partition, offset, arrived)
    names = [*engine.pack.schema.by_name, "record_time", "arrival_lag"]
    sheet = sheet_of(engine.inputs, {name: [row["fields"].get(name) for row in rows] for name in names})
    return Batch(sheet, (topic,), np.zeros(len(rows), np.int64), partition, offset)
