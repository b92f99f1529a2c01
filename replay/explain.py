"""`sekisho explain`: one decision recomputed from its record and the log, with the events that its windows saw."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from features.expr import Column, Expr
from features.query import WindowCall
from features.sheet import ENTERS, HANDLE_BITS, VALID, Ints, Sheet, Slot
from features.types import Kind
from replay.merge import Chunk
from replay.report import inputs_of
from replay.sources import read_log
from replay.topic_input import TopicInput, on_cluster
from sekisho.compile import Engine, compile_pack
from sekisho.decision import encode_decisions
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.state import new_state
from sekisho.step import Decided, fold

_BATCH = 4096
_COUNTS_NULLS = ("count_star", "first_value", "last_value", "lag")
Value = int | float | bool | str | None
Key = tuple[Expr, ...]
Mask = npt.NDArray[np.bool_]
Log = Callable[[], Iterator[Chunk]]


@dataclass(frozen=True)
class Seen:
    """An event of a window call's key, as the window engine was given it.

    event_time: microseconds.   arrival: its number in the log, legs counted.   counts: the call's FILTER is true, and
    its argument is none that the function passes over.
    """

    event_id: str
    event_time: int
    arrival: int
    counts: bool
    argument: Value


@dataclass(frozen=True)
class Explanation:
    """A decision, recomputed.

    record, again: the line on file and ours.   decided, row: the batch in which it was decided again, and its row.
    windows: by window call, the events that count in its frame, oldest first; no calls where the event saw no window.
    """

    engine: Engine
    record: bytes
    again: bytes
    decided: Decided
    row: int
    windows: Mapping[str, Sequence[Seen]]

    @property
    def matches(self) -> bool:
        return self.record.rstrip(b"\n") == self.again.rstrip(b"\n")

    @property
    def differences(self) -> list[tuple[str, Any, Any]]:
        """(field, on file, recomputed) of each value that differs, or of the byte where only the writing does."""
        if self.matches:
            return []
        found = list(_differences("", json.loads(self.record), json.loads(self.again)))
        at = next((k for k, (a, b) in enumerate(zip(self.record, self.again, strict=False)) if a != b), len(self.again))
        return found or [(f"byte {at}", self.record[at : at + 20], self.again[at : at + 20])]


@dataclass(frozen=True)
class Page:
    """A page to write. lang: en or ja.   unmask: show account numbers and names as they are."""

    file: Path
    lang: str = "en"
    unmask: bool = False


def _differences(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in {**ours, **theirs}:
            yield from _differences(f"{path}.{name}" if path else name, ours.get(name), theirs.get(name))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for k, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(f"{path}[{k}]", *pair)
    elif ours != theirs or type(ours) is not type(theirs):
        yield path, ours, theirs


def explain_decision(
    pack: Path, sources: Sequence[Path | TopicInput], decisions: Path | TopicInput, wanted: str,
    labels: Path | None = None, label_column: str | None = None, label_delay_us: int = 0, label_class: str = "fraud",
    arrived_at: str = "", events: Path | None = None, file: Path | None = None, bundled: Path | None = None,
    page: Page | None = None,
) -> None:  # fmt: skip
    """Find the record, replay the log up to its event, and print what was seen. Raises SekishoError if it differs.

    bundled: a zip to write, see bundle.py.   page: an HTML page to write.
    """
    from replay.bundle import bundle

    record = find_record(decisions if isinstance(decisions, Path) else on_cluster([decisions], file)[0], wanted)
    engine = compile_pack(load_pack(pack), hash_key=os.urandom(16))
    inputs = inputs_of(sources, labels, label_column, label_delay_us, label_class, arrived_at, events, file)
    explanation = explain(engine, lambda: read_log(engine, inputs), record)
    if bundled:
        bundle(explanation, lambda: read_log(engine, inputs), bundled)
    _tell(explanation, page, "the log")


def explain_bundle(file: Path, page: Page | None = None) -> None:
    """Explain what a bundle holds, without the log. Raises SekishoError if it differs, or is not as it was written."""
    from replay.bundle import opened

    with opened(file) as explanation:
        _tell(explanation, page, "the bundle")


def _tell(explanation: Explanation, page: Page | None, given: str) -> None:
    from replay.explain_view import show
    from replay.pages.decision_page import decision_page

    if page:
        page.file.write_text(decision_page(explanation, page.lang, page.unmask), "utf-8")
    show(explanation, Console(highlight=False))
    if not explanation.matches:
        raise SekishoError(
            f"{given} does not give this record: see what differs above",
            "give the pack and the log that it was made from; if these are they, the record was changed",
        )


def find_record(decisions: Path | TopicInput, wanted: str) -> bytes:
    """The record, in a file or a topic, whose id or event_id is `wanted`; of an event's several, the first."""
    needle = json.dumps(wanted, ensure_ascii=False).encode()
    for where, line in _file_lines(decisions) if isinstance(decisions, Path) else _topic_lines(decisions):
        if needle in line and wanted in _names_of(line, where):
            return line
    raise SekishoError(f"{decisions}: no decision has the id or event_id {wanted!r}", "look it up there")


def _file_lines(file: Path) -> Iterator[tuple[str, bytes]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            yield f"{file}, line {number}", line


def _topic_lines(source: TopicInput) -> Iterator[tuple[str, bytes]]:
    from replay.topic_log import read_messages

    for message in read_messages(source):
        yield f"{message.topic}[{message.partition}], offset {message.offset}", message.value or b""


def _names_of(line: bytes, where: str) -> tuple[str, str]:
    """A record's id and event_id. Raises SekishoError where the line is none."""
    try:
        record = json.loads(line)
        return (record["id"], record["event_id"]) if record["source"]["topic"] else ("", "")
    except (ValueError, TypeError, KeyError):
        fix = "name the file that `sekisho replay run` wrote with --out"
        raise SekishoError(f"{where}: this is no decision", fix) from None


def explain(engine: Engine, log: Log, record: bytes) -> Explanation:
    """Replay the log to the record's event, twice: to decide it, and to collect what its windows saw.

    log: reads it from its beginning each time that it is called.
    Raises SekishoError where the log does not hold the event.
    """
    source = json.loads(record)["source"]
    decided, row = next(((decided, row) for _, decided, row in batches(engine, log, source) if row >= 0), (None, -1))
    if decided is None or row not in decided.rows:
        place = f"{source['topic']}, partition {source['partition']}, offset {source['offset']}"
        raise SekishoError(
            f"the log decides no event at {place}", "give the file or topic that the decision was made from"
        )
    again = encode_decisions(engine, decided, np.array([row]))[0].tobytes()
    windows: dict[str, Sequence[Seen]] = {}
    if decided.admission.fate[row] == ENTERS:
        windows = _windows(engine, log, source, decided, row)
    return Explanation(engine, record, again, decided, row, windows)


def batches(engine: Engine, log: Log, source: Mapping[str, Any]) -> Iterator[tuple[int, Decided, int]]:
    """Batches up to the event's: (rows before the batch, the batch, the event's row or -1)."""
    state, before = new_state(engine), 0
    for chunk in log():
        for start in range(0, chunk.batch.n, _BATCH):
            for _, decided in fold(engine, state, chunk.batch.cut(start, min(start + _BATCH, chunk.batch.n))):
                if decided is None:
                    continue
                row = _find(decided, source)
                yield before, decided, row
                if row >= 0:
                    return
                before += decided.sheet.n


def _find(decided: Decided, source: Mapping[str, Any]) -> int:
    batch = decided.batch
    if source["topic"] not in batch.topics:
        return -1
    here = (batch.topic == batch.topics.index(source["topic"])) & (decided.derived == 0)
    found = np.flatnonzero(here & (batch.partition == source["partition"]) & (batch.offset == source["offset"]))
    return int(found[0]) if len(found) else -1


def _windows(
    engine: Engine, log: Log, source: Mapping[str, Any], decided: Decided, row: int
) -> dict[str, Sequence[Seen]]:
    """By window call, the events that count in its frame."""
    slots = {expr: slot for stage in engine.stages for expr, slot in stage.windows.inputs}

    def slot(expr: Expr) -> Slot:
        return engine.layout[expr.name] if isinstance(expr, Column) and expr.name in engine.layout else slots[expr]

    calls: dict[Key, list[WindowCall]] = defaultdict(list)
    for call in (call for stage in engine.pack.query.stages for call in stage.windows):
        calls[call.partition].append(call)
    keys = {parts: [decided.sheet.value(slot(part), row) for part in parts] for parts in calls}
    keys = {parts: key for parts, key in keys.items() if None not in key}  # a NULL key is in no window
    seen: dict[str, list[Seen]] = {call.name: [] for parts in keys for call in calls[parts]}
    at_us = int(decided.sheet.ints("event_time")[row])
    for before, part, at in batches(engine, log, source):
        arrived = np.arange(part.sheet.n) <= (at if at >= 0 else part.sheet.n)
        for parts, key in keys.items():
            mine = arrived & (part.admission.fate == ENTERS)
            for expr, value in zip(parts, key, strict=True):
                mine &= _equals(part.sheet, slot(expr), value)
            for call in calls[parts]:
                near = mine & _near(call, part.sheet.ints("event_time"), at_us)
                seen[call.name] += [_seen(part.sheet, call, slot, i, before) for i in np.flatnonzero(near).tolist()]
    return {call.name: _framed(call, seen[call.name], at_us, before + row) for parts in keys for call in calls[parts]}


def _near(call: WindowCall, times: Ints, at_us: int) -> Mask:
    """Where an event may stand in the call's frame. Rows are counted later, over all that are no later than this."""
    frame = call.frame
    if call.function == "lag" or frame.mode == "rows":
        return times <= at_us
    return (times <= at_us - frame.end) & (times >= (at_us - frame.start if frame.start is not None else times))


def _seen(sheet: Sheet, call: WindowCall, slot: Callable[[Expr], Slot], i: int, before: int) -> Seen:
    passes = call.filter is None or sheet.value(slot(call.filter), i) is True
    argument = None if call.argument is None else sheet.value(slot(call.argument), i)
    known = argument is not None or (call.function in _COUNTS_NULLS and not call.ignore_nulls)
    time = int(sheet.ints("event_time")[i])
    return Seen(str(sheet.value("event_id", i)), time, before + i, passes and known, argument)


def _equals(sheet: Sheet, slot: Slot, value: Value) -> Mask:
    """Where a column has a value."""
    known = sheet.validity(slot) == VALID
    if slot.type.kind is Kind.TEXT:
        raw = np.frombuffer(str(value).encode(), np.uint8)
        handles = sheet.ints(slot)
        rows = np.flatnonzero(known & ((handles & ((1 << HANDLE_BITS) - 1)) == len(raw)))
        known[:] = False
        known[rows] = (sheet.text[(handles[rows] >> HANDLE_BITS)[:, None] + np.arange(len(raw))] == raw).all(axis=1)
        return known
    if slot.type.kind is Kind.DOUBLE:
        return known & (sheet.doubles(slot) == value)
    if slot.type.wide:
        rows = np.flatnonzero(known)
        known[rows] = [sheet.value(slot, i) == value for i in rows.tolist()]
        return known
    return known & (sheet.ints(slot) == value)


def _framed(call: WindowCall, seen: Sequence[Seen], at_us: int, arrival: int) -> list[Seen]:
    """What counts of the call's frame, oldest first (law L2); the explained event is the `arrival`-th."""
    rows = sorted(seen, key=lambda each: (each.event_time, each.arrival))
    if call.function == "lag":
        counted = [each for each in rows[:-1] if each.counts]
        return [counted[-call.offset]] if len(counted) >= call.offset else []
    frame, framed = call.frame, []
    for k, each in enumerate(rows):
        before = len(rows) - 1 - k if frame.mode == "rows" else at_us - each.event_time
        inside = before >= frame.end and (frame.start is None or before <= frame.start)
        if inside and each.counts and not (frame.exclude_current and each.arrival == arrival):
            framed.append(each)
    return framed
