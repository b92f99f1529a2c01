"""A topic's records become a batch: events, and where a topic may hold them, control events in their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from features.sheet import Ints
from rules.controls import Control
from sekisho.batch import Batch, control_batch, join
from sekisho.log import Message, places_of
from sekisho.wire.controls import Fault, decode_control, is_control
from sekisho.wire.json_decode import decode_json
from sekisho.wire.plan import WirePlan


class Records(NamedTuple):
    """batch: events and control events, in order.   good: int64[k], the index of the record of each event.

    letters: dead letters by the index of their record.
    """

    batch: Batch
    good: Ints
    letters: Mapping[int, bytes]


def read_records(records: Sequence[Message], plan: WirePlan, log_clock: bool, events: str, threads: int = 1) -> Records:
    """Decode records. log_clock: the log's clock is their record time.

    events: the topic whose records may be control events; elsewhere they are dead letters.
    """
    asked = _asked(records, events)
    plain = np.delete(np.arange(len(records)), list(asked)) if asked else np.arange(len(records))
    chosen = [records[k] for k in plain.tolist()] if asked else records
    values = [record.value or b"" for record in chosen]
    ends = np.array([*accumulate(map(len, values), initial=0)], np.int64)
    clock = np.array([record.time_us for record in chosen], np.int64) if log_clock else None
    sheet, good, dead = decode_json(np.frombuffer(b"".join(values), np.uint8), ends, plan, clock, threads)
    letters = {}
    for k, i in enumerate(dead.index.tolist()):
        record = chosen[i]
        letters[int(plain[i])] = dead.record(k, record.topic, record.partition, record.offset, values[i])
    for k, fault in asked.items():
        if isinstance(fault, Fault):
            record = records[k]
            letters[k] = fault.letter(record.topic, record.partition, record.offset, record.value or b"")
    read = chosen if len(good) == len(chosen) else [chosen[i] for i in good.tolist()]
    batch, good = Batch(sheet, *places_of(read)), plain[good]
    if controls := {k: control for k, control in asked.items() if isinstance(control, Control)}:
        batch = _woven(batch, good, records, controls)
    return Records(batch, good, letters)


def _asked(records: Sequence[Message], events: str) -> dict[int, Control | Fault]:
    """The control events among the records, by index."""
    mine = [k for k, record in enumerate(records) if record.topic == events] if events else []
    return {k: decode_control(raw) for k in mine if is_control(raw := records[k].value or b"")}


def _woven(batch: Batch, good: Ints, records: Sequence[Message], controls: Mapping[int, Control]) -> Batch:
    """The events, which stand at `good` of the records, and the control events between them."""
    index = np.array(list(controls), np.int64)
    partition, offset, arrived = (
        np.array([getattr(records[k], name) for k in controls], np.int64) for name in ("partition", "offset", "time_us")
    )
    topic = records[int(index[0])].topic
    rows = control_batch(batch.sheet.layout, tuple(controls.values()), topic, partition, offset, arrived)
    return join([batch, rows]).take(np.argsort(np.concatenate([good, index]), kind="stable"))
