"""Whole back-tests of small worlds: figures recomputed in plain Python, no look-ahead."""

import json

import pytest

from replay.backtest.records import Asked
from replay.backtest.run import run_backtest
from replay.backtest.tables import TABLES
from replay.sources import Input
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from tests.replay.backtest.conftest import CANDIDATE, CURRENT, random_world, write_log, write_pack

ASKED = Asked(accept_cold=True, replicates=20, maturity_us=3_600_000_000)


@pytest.fixture(scope="module")
def world(engines, tmp_path_factory):
    """A back-test of one world, and its events."""
    events = random_world(4, payments=120)
    file = write_log(tmp_path_factory.mktemp("log") / "world.jsonl", events)
    return run_backtest(*engines, [Input(file)], ASKED), events


def test_the_tables_are_as_documented(world):
    """Every table has the columns and types of its spec, and JSON holds them all."""
    result, _ = world
    assert {name: table.schema for name, table in result.tables.items()} == {n: s.schema for n, s in TABLES.items()}
    assert set(json.loads(result.to_json())["tables"]) == set(TABLES)


def test_frauds_and_unknowns_are_counted_as_by_hand(world):
    """Known frauds, and payments refused in history that the candidate lets through, from the events themselves."""
    result, events = world
    verdict, settled, last = {}, set(), {}
    for event in events:
        if event.get("kind") == "label":
            verdict[event["payment_id"]] = event["label_class"] == "fraud" and not event.get("label_reversal")
        if event.get("kind") == "outcome":
            last[event["payment_id"]] = event["outcome"] if event["outcome"] != "refunded" else "settled"
            settled |= {event["payment_id"]} if event["outcome"] == "settled" else set()
    amounts = {event["payment_id"]: event["amount"] for event in events if "kind" not in event}
    row = result.frame("summary").set_index("strategy").loc["candidate"]
    frauds = [name for name, fraud in verdict.items() if fraud]
    assert (row["frauds"], row["fraud_minor"]) == (len(frauds), sum(amounts[name] for name in frauds))
    refused = sum(last.get(name) == "decline" and name not in settled for name in amounts)
    transitions = result.frame("transitions")
    stopped = transitions[(transitions.recorded == "decline") & transitions.candidate.isin(["hold", "decline"])]
    assert row["unknown"] == refused - stopped.payments.sum()
    assert row["caught"] + row["missed"] == row["frauds"]


def test_what_comes_later_changes_nothing_before(engines, tmp_path):
    """Events appended at the end leave every earlier decision, cause and verdict as it was."""
    events = random_world(5, payments=60)
    later = [event | {"event_id": f"late{event['event_id']}"} for event in random_world(6, payments=20)]
    shift = events[-1]["recorded_at"] - later[0]["event_time"] + 10**6
    for event in later:
        event.update({name: event[name] + shift for name in ("event_time", "recorded_at")}, payment_id=None)
    end = events[-1]["event_time"]
    cut = Asked(accept_cold=True, replicates=0, to_us=end + 1, as_known_us=end)
    found = []
    for name, log in (("short", events), ("long", events + later)):
        file = write_log(tmp_path / f"{name}.jsonl", log)
        frame = run_backtest(*engines, [Input(file)], cut).frame("flips").drop(columns="decision_id")
        found.append(frame.to_dict("records"))
    assert str(found[0]) == str(found[1])


@pytest.mark.parametrize(
    ("asked", "said"), [(Asked(), "cold"), (Asked(accept_cold=True, from_us=2**61), "before the range")]
)
def test_an_empty_range_says_why(engines, make_log, asked, said):
    """Nothing counts: the message names the reason and what to do."""
    with pytest.raises(SekishoError, match=said):
        run_backtest(*engines, [Input(make_log(1, 10))], asked)


def test_labels_a_day_later_change_nothing_before_them(engines, tmp_path):
    """Every label moved by a day: what was decided before the first of them, and why, stays as it was."""
    events, day_us = random_world(7, payments=120), 86_400_000_000
    first = sorted(event["recorded_at"] for event in events if event.get("kind") == "label")[10]
    late = dict.fromkeys(("event_time", "recorded_at"), day_us)
    moved = [
        event | {name: event[name] + by for name, by in late.items()}
        if event.get("kind") == "label" and event["recorded_at"] >= first
        else event
        for event in events
    ]
    found = []
    for name, log in (("as_it_was", events), ("moved", sorted(moved, key=lambda event: event["recorded_at"]))):
        frame = run_backtest(*engines, [Input(write_log(tmp_path / f"{name}.jsonl", log))], ASKED).frame("flips")
        frame = frame[frame.at_us < first - 10_000_000].sort_values("event_id")
        found.append(frame[["event_id", "current", "candidate", "restoring"]].to_dict("records"))
    assert found[0] == found[1] and len(found[0]) > 3


def test_record_time_is_read_as_the_pack_spells_it(engines, tmp_path):
    """The same log with its arrival in milliseconds: the same flips."""
    events = random_world(9, payments=60)
    plain = write_log(tmp_path / "plain.jsonl", events)
    (tmp_path / "spelled.jsonl").write_text("".join(
        json.dumps(json.loads(line) | {"took": event["recorded_at"] // 1000}) + "\n"
        for line, event in zip(plain.read_text().splitlines(), events, strict=True)
    ))  # fmt: skip
    spelled = []
    for name, rules in (("current", CURRENT), ("candidate", CANDIDATE)):
        pack = write_pack(tmp_path / name, name, rules, record_time="took")
        text = (pack / "pack.toml").read_text()
        as_ms = 'record_time = "took"\nrecord_time_encoding = "epoch_ms"'
        (pack / "pack.toml").write_text(text.replace('record_time = "took"', as_ms))
        spelled.append(compile_pack(load_pack(pack)))
    found = []
    for pair, log in ((engines, "plain"), (spelled, "spelled")):
        frame = run_backtest(*pair, [Input(tmp_path / f"{log}.jsonl")], ASKED).frame("flips")
        found.append(frame[["event_id", "current", "candidate", "restoring"]].to_dict("records"))
    assert found[0] == found[1] and len(found[0]) > 3
