"""L8: every decision is accountable: its record and the log alone give it again, with the events that it saw."""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from features.query import WindowCall
from replay.explain import Explanation, Log, explain, find_record
from replay.explain_view import calls_behind, show
from replay.merge import Chunk
from replay.run import Recorder, run
from replay.sources import Input, read_log
from sekisho.compile import Engine, compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import new_state
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference import State, fold
from sekisho.testing.reference.expressions import Lists, Row, Value, evaluate, is_null
from sekisho.testing.reference.intake import Event
from sekisho.testing.reference.windows import Windows, _framed
from sekisho.testing.runs import batch_of, run_engine
from sekisho.testing.world import world_of

EVENTS = 2500
MARKS = (b'"duplicate_of"', b'"id_conflict"', b'"too_late"')


class World:
    """A seeded world's log with a payment sent twice, one id with two contents, and one from another week; decided."""

    def __init__(self, folder: Path) -> None:
        self.engine = compile_pack(load_pack(shipped_pack("card_payments")))
        self.file, self.decisions = folder / "log.jsonl", folder / "decisions.jsonl"
        world_of(EVENTS, seed=8).write_jsonl(self.file, EVENTS)
        lines = self.file.read_text("utf-8").splitlines()
        at = [k for k, line in enumerate(lines) if '"type":"payment"' in line][200]
        payment = json.loads(lines[at])
        other = payment | {"payment": payment["payment"] | {"amount": {"value": "1", "currency": "JPY"}}}
        late = payment | {"id": "late", "time": "2025-12-01T00:00:00+09:00"}
        lines[at + 1 : at + 1] = [lines[at], *(json.dumps(each) for each in (other, late))]
        self.file.write_text("\n".join(lines) + "\n", "utf-8")
        with Recorder(self.engine, self.decisions) as recorder:
            for part in run(self.engine, new_state(self.engine), self.log()):
                recorder.record(part)
        self.records = self.decisions.read_bytes().splitlines(keepends=True)

    def log(self) -> Iterator[Chunk]:
        return read_log(self.engine, [Input(self.file)])

    def special(self) -> list[bytes]:
        """The duplicate, the conflict, the degraded one."""
        return [next(record for record in self.records if mark in record) for mark in MARKS]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def shown(explanation: Explanation, width: int = 80) -> str:
    file = io.StringIO()
    show(explanation, Console(file=file, width=width, highlight=False))
    return file.getvalue().replace("\u00a0", " ")


def test_twenty_decisions_match(world: World) -> None:
    """A sample of the demo pack's decisions, a duplicate, an id_conflict and a degraded one among them."""
    for record in [*world.special(), *Random(8).sample(world.records, 17)]:
        explanation = explain(world.engine, world.log, record)
        assert explanation.matches and explanation.differences == []
        text = shown(explanation)
        assert "MATCH" in text and max(map(len, text.splitlines())) <= 80
    duplicate, conflict, late = (shown(explain(world.engine, world.log, record)) for record in world.special())
    assert "A duplicate of decision" in duplicate and "Rules" not in duplicate
    assert "flags id_conflict" in conflict
    assert "it saw no window" in late and " of " not in late.partition("Features")[2]


@pytest.mark.parametrize("width", [80, 120])
def test_each_feature_is_shown(world: World, width: int) -> None:
    """By name, with its value or among the NULLs; a rule that hit, and the event itself in its windows."""
    record = json.loads(max(world.records, key=lambda line: json.loads(line).get("score", 0)))
    line = find_record(world.decisions, record["id"])
    text = shown(explain(world.engine, world.log, line), width)
    words = {word.strip(",") for word in text.split()}
    assert {name for name, _ in world.engine.pack.query.features} <= words
    assert {rule["id"] for rule in record["rules"]} <= words
    assert f"{record['event_id']} 0s" in text


CHANGES = {
    "outcome": b'"outcome":"', "score": b'"score":', "models[0].probability": b'"probability":0.',
    "event_id": b'"event_id":"', "event_time": b'"event_time":"202', "payment_id": b'"payment_id":"',
    "pack": b'"pack":"', "v": b'{"v":',
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
def test_one_changed_byte_is_named(world: World, field: str) -> None:
    """The record is found wanting, and the field with both values is named, on the terminal too."""
    record = bytearray(world.records[150])
    at = record.index(CHANGES[field]) + len(CHANGES[field])
    record[at] ^= 1
    explanation = explain(world.engine, world.log, bytes(record))
    assert not explanation.matches
    ((name, on_file, again),) = explanation.differences
    assert name == field and on_file != again
    text = shown(explanation)
    assert "DIFFERS" in text and "MATCH" not in text and field in text


def test_a_record_written_otherwise_differs(world: World) -> None:
    """Equal values in other bytes are no match; one more field is named; a torn line says which."""
    record = world.records[150]
    spaced = explain(world.engine, world.log, record.replace(b',"outcome"', b', "outcome"'))
    assert not spaced.matches and spaced.differences[0][0].startswith("byte ")
    more = explain(world.engine, world.log, record.replace(b'{"v":1', b'{"v":1,"w":2'))
    assert more.differences == [("w", 2, None)]
    with pytest.raises(SekishoError, match="decides no event"):
        explain(world.engine, world.log, record.replace(b'"topic":"file:', b'"topic":"life:'))
    torn = world.decisions.with_name("torn.jsonl")
    torn.write_bytes(world.records[0] + record[:200])
    with pytest.raises(SekishoError, match="line 2: this is no decision"):
        find_record(torn, json.loads(record)["event_id"])


class Watching(Windows):
    """The specification's windows, telling what counted in each call of the last event: (event_time, argument)."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: dict[str, list[tuple[int, Value]]] = {}

    def enter(self, call: WindowCall, row: Row, lists: Lists) -> Value:
        value = super().enter(call, row, lists)
        key = tuple(evaluate(part, row, lists) for part in call.partition)
        if any(map(is_null, key)):
            return value
        rows, lags = self.rows[call.name, key], call.function == "lag"
        at_us = int(row["event_time"])  # type: ignore[arg-type]
        current = bisect_right(rows, at_us, key=lambda seen: seen.event_time) - 1
        keeps = call.function in ("count_star", "first_value", "last_value", "lag") and not call.ignore_nulls
        seen = rows[:current] if lags else _framed(call.frame, rows, current)
        counted = [each for each in seen if each.passes and (keeps or each.argument is not None)]
        if lags:
            counted = [counted[-call.offset]] if len(counted) >= call.offset else []
        self.counted[call.name] = [(each.event_time, each.argument) for each in counted]
        return value


def as_log(engine: Engine, events: list[Event]) -> Log:
    return lambda: iter([Chunk(batch_of(engine.inputs, events), (), 1.0)])


@pytest.mark.parametrize("seed", range(9000, 9016))
def test_the_events_shown_are_the_specifications(seed: int) -> None:
    """Random packs of all functions and frames: each call's events are those that the specification counts there."""
    pack, log = random_case(seed)
    engine, state, judged = compile_pack(pack), State(), 0
    state.windows = windows = Watching()
    records, times = iter(run_engine(engine, log, 60)[1].records), dict[str, set[int]]()
    for number, event in enumerate(log):
        windows.counted = {}
        folded = fold(pack, state, event)
        times.setdefault(event["event_id"], set()).add(event["event_time"])
        record = next(records) if folded.record else b""
        if not record or number % 4 or len(folded.rows) > 1:  # `windows` heard a leg last
            continue
        explanation, judged = explain(engine, as_log(engine, log), record), judged + 1
        assert explanation.matches
        windows_shown = explanation.windows.items()
        assert {name: [(e.event_time, e.argument) for e in seen] for name, seen in windows_shown} == windows.counted
        assert all(each.event_time in times[each.event_id] for _, seen in windows_shown for each in seen)
    assert judged > 3


def test_a_feature_leads_to_its_windows_through_the_stages(world: World) -> None:
    """A column that a later SELECT hands on, or computes with, is explained by the calls behind it."""
    query = world.engine.pack.query
    behind: dict[str, Any] = {name: [call.function for call in calls_behind(query, name)] for name, _ in query.features}
    assert behind["card_count_1h"] == ["count_star"]
    assert behind["card_amount_share_24h"] == ["sum", "sum"]
    assert behind["amount_z"] == ["avg", "stddev_samp"]
    assert behind["amount"] == []
