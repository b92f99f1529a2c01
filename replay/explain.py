"""`sekisho explain`: one decision recomputed from its record and the log, with the events that its windows saw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from features.expr import Column, Expr, walk
from features.query import WindowCall
from features.sheet import ENTERS, VALID, Bytes, Slot
from features.types import Kind
from replay.report import inputs_of
from replay.run import run
from replay.sources import Input, read_log
from rules.evaluate import STATUS_NAMES
from sekisho.compile import Engine, compile_pack
from sekisho.decision import encode_decisions
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.state import new_state
from sekisho.step import Decided

_SHOWN = 8


@dataclass(frozen=True)
class Seen:
    """An event of a window's key, as the window engine was given it."""

    event_id: str
    event_time: int
    position: int  # arrival order
    passes: bool
    argument: object


@dataclass
class Explanation:
    """A decision, recomputed. record, again: the bytes on file and ours.   windows: by call name, the events seen."""

    record: bytes
    again: bytes
    decided: Decided
    row: int
    engine: Engine
    windows: dict[str, list[Seen]] = field(default_factory=dict)

    @property
    def matches(self) -> bool:
        return self.record == self.again


def explain_decision(
    pack: Path, sources: Sequence[Path], decisions: Path, wanted: str, labels: Path | None = None,
    label_column: str | None = None, label_delay_us: int = 0, label_class: str = "fraud", arrived_at: str = "",
) -> None:  # fmt: skip
    """Find the record, replay the log up to its event, and print what was seen. Raises SekishoError if it differs."""
    console = Console(highlight=False)
    engine = compile_pack(load_pack(pack))
    record = find_record(decisions, wanted)
    inputs = inputs_of(sources, labels, label_column, label_delay_us, label_class, arrived_at)
    explanation = explain(engine, inputs, record)
    show(explanation, console)
    if not explanation.matches:
        raise SekishoError("the recomputed decision differs from the record", "see the differences above")


def find_record(decisions: Path, wanted: str) -> bytes:
    """The line of a decision file whose id or event_id is `wanted`."""
    needle = json.dumps(wanted, ensure_ascii=False).encode()
    with decisions.open("rb") as lines:
        for line in lines:
            if needle in line:
                record = json.loads(line)
                if wanted in (record["id"], record["event_id"]):
                    return line
    raise SekishoError(f"{decisions}: no decision has the id or event_id {wanted!r}", "look it up in the file")


def explain(engine: Engine, inputs: Sequence[Input], record: bytes) -> Explanation:
    """Replay the log to the record's event, twice: to decide it, and to collect what its windows saw."""
    source = json.loads(record)["source"]
    for _, decided, row in _until(engine, inputs, source):
        if row >= 0:
            blob, _ = encode_decisions(engine, decided, np.array([row]))
            explanation = Explanation(record, blob.tobytes(), decided, row, engine)
            break
    else:
        raise SekishoError(
            f"the log holds no event at {source['topic']} offset {source['offset']}",
            "give the same file or topic that the decision was made from",
        )
    keys = {call.name: _key(engine, call, explanation.decided, explanation.row) for call in _calls(engine)}
    entered = explanation.decided.admission.fate[explanation.row] == ENTERS
    for start, decided, row in _until(engine, inputs, source):
        for call in _calls(engine):
            if entered and keys[call.name] is not None:
                _collect(engine, call, keys[call.name], decided, row, start, explanation.windows)
    target = int(explanation.decided.sheet.ints("event_time")[explanation.row])
    for call in _calls(engine):
        explanation.windows[call.name] = _framed(call, explanation.windows.get(call.name, []), target)
    return explanation


def _until(engine: Engine, inputs: Sequence[Input], source: dict[str, Any]) -> Iterator[tuple[int, Decided, int]]:
    """Batches up to the event's: (events before the batch, the batch, the event's row or -1)."""
    start = 0
    for part in run(engine, new_state(engine), read_log(engine, inputs)):
        if part.decided is None:
            continue
        batch, row = part.decided.batch, -1
        if source["topic"] in batch.topics:
            topic = batch.topics.index(source["topic"])
            here = (
                (batch.topic == topic) & (batch.partition == source["partition"]) & (batch.offset == source["offset"])
            )
            found = np.flatnonzero(here & (part.decided.derived == 0))
            row = int(found[0]) if len(found) else -1
        yield start, part.decided, row
        if row >= 0:
            return
        start += part.decided.sheet.n


def _calls(engine: Engine) -> list[WindowCall]:
    return [call for stage in engine.pack.query.stages for call in stage.windows]


def _slot(engine: Engine, expr: Expr) -> Slot:
    """Where the engine computed an expression that a window reads."""
    if isinstance(expr, Column):
        return engine.layout[expr.name]
    for stage in engine.stages:
        for known, slot in stage.windows.inputs:
            if known == expr:
                return slot
    raise KeyError(expr)


def _key(engine: Engine, call: WindowCall, decided: Decided, row: int) -> tuple[object, ...] | None:
    key = tuple(decided.sheet.value(_slot(engine, part), row) for part in call.partition)
    return None if None in key else key


def _collect(
    engine: Engine, call: WindowCall, key: tuple[object, ...] | None, decided: Decided, row: int, start: int,
    windows: dict[str, list[Seen]],
) -> None:  # fmt: skip
    """Keep the batch's events of the key, up to and with the explained one."""
    sheet = decided.sheet
    stop = row + 1 if row >= 0 else sheet.n
    hit = decided.admission.fate[:stop] == ENTERS
    for part, value in zip(call.partition, key or (), strict=True):
        hit &= _equals(decided, _slot(engine, part), value)[:stop]
    for i in np.flatnonzero(hit).tolist():
        passes = call.filter is None or sheet.value(_slot(engine, call.filter), i) is True
        argument = None if call.argument is None else sheet.value(_slot(engine, call.argument), i)
        seen = Seen(str(sheet.value("event_id", i)), int(sheet.ints("event_time")[i]), start + i, passes, argument)
        windows.setdefault(call.name, []).append(seen)


def _equals(decided: Decided, slot: Slot, value: object) -> Bytes:
    """Where a column has a value."""
    sheet = decided.sheet
    known = sheet.validity(slot) == VALID
    if slot.type.kind is not Kind.TEXT:
        return known & ((sheet.doubles(slot) if slot.type.kind is Kind.DOUBLE else sheet.ints(slot)) == value)
    length = len(str(value).encode())
    near = np.flatnonzero(known & ((sheet.ints(slot) & 0xFFFFFF) == length))
    equal = np.zeros(sheet.n, bool)
    equal[near] = [sheet.value(slot, int(i)) == value for i in near]
    return equal


def _framed(call: WindowCall, rows: list[Seen], at_us: int) -> list[Seen]:
    """The rows of the call's frame, oldest first, by law L2."""
    ordered = sorted(
        (seen for seen in rows if seen.event_time <= at_us), key=lambda seen: (seen.event_time, seen.position)
    )
    frame, framed = call.frame, []
    for k, seen in enumerate(ordered):
        before = len(ordered) - 1 - k if frame.mode == "rows" else at_us - seen.event_time
        if before >= frame.end and (frame.start is None or before <= frame.start):
            framed.append(seen)
    return framed[:-1] if frame.exclude_current else framed


def show(explanation: Explanation, console: Console) -> None:
    """Print the verdict, scores, rules, features, and what each window saw."""
    record = json.loads(explanation.record)
    console.print(f"decision {record['id']}  event {record['event_id']}  {record['event_time']}", style="bold")
    if explanation.matches:
        console.print("MATCH  the log gives this record, byte for byte", style="bold green")
    else:
        console.print("DIFFERS", style="bold red")
        again = json.loads(explanation.again)
        for key in record:
            if record[key] != again.get(key):
                console.print(f"  {key}: record {record[key]!r}, recomputed {again.get(key)!r}", markup=False)
    console.print(
        f"outcome {record.get('outcome', 'duplicate')}   flags {', '.join(record.get('flags', [])) or 'none'}"
    )
    for model in record.get("models", []):
        console.print(f"model {model['name']}: score {model['score']}, probability {model['probability']:.6f}")
    _show_rules(explanation, console)
    _show_features(explanation, console)


def _show_rules(explanation: Explanation, console: Console) -> None:
    results, row = explanation.decided.results, explanation.row
    table = Table("rule", "answer", "then", "when", title="Rules", title_justify="left")
    for k, rule in enumerate(results.rules):
        answer = STATUS_NAMES[results.status[k, row]] + (", lifted" if results.lifted[k, row] else "")
        table.add_row(rule.id, answer, rule.outcome, rule.when_sql.strip())
    for k, shadow in enumerate(results.shadows):
        table.add_row(shadow.id, STATUS_NAMES[results.shadow_status[k, row]], "(shadow)", shadow.when_sql.strip())
    console.print(table)


def _show_features(explanation: Explanation, console: Console) -> None:
    engine, sheet, row = explanation.engine, explanation.decided.sheet, explanation.row
    table = Table("feature", "value", "events in its windows", title="Features", title_justify="left")
    for name, _ in engine.pack.query.features:
        table.add_row(name, _plain(sheet.value(name, row), engine.layout[name]), _windows_of(explanation, name))
    console.print(table)


def _windows_of(explanation: Explanation, feature: str) -> str:
    """The events behind a feature: through its own window calls and, by name, those of the outputs that it reads."""
    outputs = {name: expr for stage in explanation.engine.pack.query.stages for name, expr in stage.outputs}
    names, todo = [], [feature]
    while todo:
        expr = outputs.get(todo.pop())
        for node in walk(expr) if expr is not None else ():
            if isinstance(node, Column):
                if node.name in explanation.windows:
                    names.append(node.name)
                elif node.name in outputs and outputs[node.name] is not node and outputs[node.name] != expr:
                    todo.append(node.name)
    lines = []
    for name in dict.fromkeys(names):
        counted = [seen for seen in explanation.windows[name] if seen.passes]
        last = ", ".join(f"{seen.event_id} {_time(seen.event_time)}" for seen in counted[-_SHOWN:])
        more = f"... {len(counted) - _SHOWN} more, then " if len(counted) > _SHOWN else ""
        lines.append(f"{len(counted)}: {more}{last}" if counted else "none")
    return "\n".join(lines)


def _plain(value: object, slot: Slot) -> str:
    if value is None:
        return "NULL"
    if slot.type.kind in (Kind.TIME, Kind.LOCAL):
        return _time(int(value))  # type: ignore[call-overload]
    if slot.type.exact and slot.type.scale:
        return str(Decimal(int(value)).scaleb(-slot.type.scale))  # type: ignore[call-overload]
    return str(value)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
