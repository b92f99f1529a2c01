"""What people say and learn while the log runs changes exactly what it should; a replay from files says the same."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from replay.commands import explain, run
from replay.verify import Topics, verify
from rules.controls import AlertMark, ListChange, RuleMute
from rules.lists import OPEN_ENDS
from rules.times import format_time
from sekisho.compile import Engine, compile_pack
from sekisho.decider import Decider
from sekisho.journal import START, JournalRecord, Range, chain_of
from sekisho.load import load_pack
from sekisho.log import Message, merge_order
from sekisho.wire.controls import encode_control
from tests.replay.conftest import FEATURES, PACK, RULES
from tests.replay.test_verify import ListReader

T = 1_767_225_600_000_000
MINUTE = 60_000_000
BLOCKED = """
  - id: blocked
    when: card_id IN (SELECT value FROM blocked)
    then: hold
    owner: tests
    typology: stolen_card
    reasons: {en: A blocked card., ja: 停止されたカードです。}
"""
ALERT = '\n[alert]\noutcomes = ["hold", "decline"]\ngroup_by = ["card_id"]\namount = "amount"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs") / "small"
    (folder / "lists").mkdir(parents=True)
    (folder / "lists/blocked.csv").write_text("value,starts,expires\nc9,,\n")
    for name, text in (("pack.toml", PACK + ALERT), ("features.sql", FEATURES), ("rules.yaml", RULES + BLOCKED)):
        (folder / name).write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return compile_pack(load_pack(folder))


def payment(minute: int, card: str) -> bytes:
    at = format_time(T + minute * MINUTE)
    event = {"event_id": f"e{minute}{card}", "event_time": at, "payment_id": f"p{minute}{card}", "card_id": card}
    return json.dumps(event | {"amount": "100"}).encode()


def label(minute: int, payment_id: str, label_class: str = "fraud") -> bytes:
    at = format_time(T + minute * MINUTE)
    names = {"event_id": f"l{minute}", "event_time": at, "kind": "label", "payment_id": payment_id}
    return json.dumps(names | {"label_class": label_class}).encode()


def said(minute: int) -> tuple[str, int, str, str]:
    return f"c{minute}", T + minute * MINUTE, "sato", "why"


# (minute, on the events topic, record): one payment a minute of each of three cards, and what is said between them.
TALE = sorted(
    [(k, False, payment(k, card)) for k in range(2, 60, 2) for card in ("c1", "c2", "c9")]
    + [
        (11, True, label(11, "p4c1")),
        (13, True, label(13, "nobody's")),
        (21, True, encode_control(ListChange(*said(21), "blocked", "c2", OPEN_ENDS[0], T + 25 * MINUTE))),
        (31, True, encode_control(ListChange(*said(31), "blocked", "c9", *OPEN_ENDS, remove=True))),
        (33, True, encode_control(RuleMute(*said(33), "known_fraud", T + 41 * MINUTE))),
        (35, True, encode_control(RuleMute(*said(35), "third_payment", T + 900 * MINUTE))),
        (37, True, b'{"sekisho":1,"kind":"rule_mute","rule":"known_fraud"}'),
        (45, True, label(45, "p4c1", "genuine")),
        (47, True, encode_control(RuleMute(*said(47), "third_payment", None))),
        (49, True, encode_control(AlertMark(*said(49), "close", "0" * 32))),
    ],
    key=lambda each: each[0],
)  # fmt: skip


def messages() -> list[Message]:
    ends: dict[str, int] = {}
    found = []
    for minute, events, raw in TALE:
        topic = "events" if events else "payments"
        found.append(Message(topic, 0, ends.get(topic, 0), T + minute * MINUTE, None, raw))
        ends[topic] = ends.get(topic, 0) + 1
    return found


def outcome(record: dict[str, object]) -> tuple[object, list[object], object]:
    rules = record["rules"]
    assert isinstance(rules, list)
    return record["outcome"], [rule["id"] for rule in rules], record["muted"]


def test_what_is_said_counts_from_its_place_on_and_whatever_the_cut(engine: Engine) -> None:
    """A label declines its own card until it is taken back; a list holds a card while its entry lasts; a mute shows
    what it silences; a bad control event is a dead letter; a label of nobody is kept and counted."""
    log, runs = messages(), []
    for cut in (1, 5, len(log)):
        decider = Decider(engine, events="events")
        parts = [decider.decide(log[k : k + cut]) for k in range(0, len(log), cut)]
        runs.append([[placed.value for part in parts for placed in getattr(part, name)]
                     for name in ("decisions", "alerts", "dead_letters")])  # fmt: skip
    assert runs[0] == runs[1] == runs[2]
    decisions, _, letters = runs[0]
    by = {record["payment_id"]: outcome(record) for record in map(json.loads, decisions)}
    third = ["third_payment"]
    assert by["p10c1"] == by["p10c2"] == ("review", third, [])
    assert by["p12c1"] == ("decline", [*third, "known_fraud"], []) and by["p12c2"] == by["p10c2"]
    assert by["p20c2"] == by["p26c2"] == by["p10c2"] and by["p22c2"] == ("hold", [*third, "blocked"], [])
    assert by["p30c9"] == ("hold", [*third, "blocked"], []) and by["p32c9"] == ("review", third, [])
    assert by["p34c1"] == ("review", third, ["known_fraud"])
    assert by["p36c1"] == ("approve", [], ["third_payment", "known_fraud"]) and by["p36c2"][2] == third
    assert by["p42c1"] == ("decline", ["known_fraud"], third), "the first mute is over"
    assert by["p46c1"] == ("approve", [], third) and by["p48c1"] == ("review", third, [])
    assert [json.loads(letter)["code"] for letter in letters] == ["missing"]
    told = decider.told()
    assert told["labels_unknown_payment"] == 1 and told["alert_marks_unmatched"] == 1
    assert told["list_changes"] == {"blocked": 2} and told["mutes"] == []


def test_on_another_topic_it_is_no_control_event(engine: Engine) -> None:
    """Whoever may write payments may not mute a rule: there it is a dead letter as any stranger's record."""
    decider = Decider(engine, events="events")
    control = encode_control(RuleMute(*said(1), "known_fraud", T + 10**12))
    verdicts = decider.decide([Message("payments", 0, 0, T, None, control)])
    assert len(verdicts.dead_letters) == 1 and not decider.told()["mutes"]


def files(tmp_path: Path, without: bytes = b"") -> list[str]:
    for name, events in (("payments", False), ("events", True)):
        lines = [raw for _, here, raw in TALE if here is events and raw != without]
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return [str(tmp_path / "payments.jsonl"), "--events", str(tmp_path / "events.jsonl")]


def replayed(folder: Path, tmp_path: Path, name: str, without: bytes = b"") -> list[dict[str, object]]:
    outputs = ["--out", str(tmp_path / f"{name}.jsonl"), "--features", str(tmp_path / f"{name}.parquet")]
    outputs += ["--alerts", str(tmp_path / f"{name}.alerts.jsonl"), "--batch", "7"]
    done = CliRunner().invoke(run, [str(folder), *files(tmp_path, without), *outputs], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return pq.read_table(tmp_path / f"{name}.parquet").to_pylist()


def test_a_replay_from_files_says_the_same(engine: Engine, folder: Path, tmp_path: Path) -> None:
    """Records and notifications are live's but for the places' names; each can be explained with the same events."""
    replayed(folder, tmp_path, "all")
    verdicts = Decider(engine, events="events").decide(messages())

    def plain(raw: bytes) -> bytes:
        return re.sub(rb'"[0-9a-f]{32}"|"source":\{[^}]*\}', b"", raw)

    for placed, name in ((verdicts.decisions, "all.jsonl"), (verdicts.alerts, "all.alerts.jsonl")):
        lines = (tmp_path / name).read_bytes().splitlines()
        assert [plain(each.value) for each in placed] == [plain(line) for line in lines] and lines
    words = [str(folder), *files(tmp_path), "--decisions", str(tmp_path / "all.jsonl"), "--id", "e34c1"]
    shown = CliRunner().invoke(explain, words)
    assert shown.exit_code == 0 and "MATCH" in shown.output and "hit, muted" in shown.output, shown.output


def test_a_label_changes_exactly_the_windows_that_it_should(folder: Path, tmp_path: Path) -> None:
    """Without the label, the card's own fraud count differs from its arrival to the next verdict, and nothing else."""
    whole = replayed(folder, tmp_path, "whole")
    without = replayed(folder, tmp_path, "without", label(11, "p4c1"))
    differing = [(a["event_id"], a, b) for a, b in zip(whole, without, strict=True) if a != b]
    assert [id for id, *_ in differing] == [f"e{k}c1" for k in range(12, 46, 2)]
    for id, a, b in differing:
        assert {name for name in a if a[name] != b[name]} == {"frauds"}, id
        assert (a["frauds"], b["frauds"]) == (1, None), id


def test_verify_follows_the_events_topic(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's ranges cover it: decided again, all is there; with a mute left out, the first decision differs."""
    parts = {topic: [m for m in messages() if m.topic == topic] for topic in ("events", "payments")}
    topics = {topic: [part] for topic, part in parts.items()} | {name: [[]] for name in ("d", "a", "dead")}
    decider, chain, journal = Decider(engine, events="events"), START, list[Message]()
    order, merged = merge_order([parts["events"], parts["payments"]])
    for sequence, start in enumerate(range(0, len(merged), 20)):
        batch = [merged[k] for k in order[start : start + 20]]
        out = decider.decide(batch)
        outputs = (out.decisions, out.alerts, out.dead_letters)
        for name, placed in zip(("d", "a", "dead"), outputs, strict=True):
            topics[name][0] += [Message(name, 0, 0, 0, None, each.value) for each in placed]
        chain = chain_of(chain, *([each.value for each in part] for part in outputs))
        offsets = {topic: [m.offset for m in batch if m.topic == topic] for topic in parts}
        ranges = tuple(Range(topic, 0, min(each), max(each) + 1) for topic, each in offsets.items() if each)
        counts = (len(outputs[0]), len(outputs[1]), len(outputs[2]))
        record = JournalRecord(sequence, 1, sequence, engine.pack.hash, ranges, counts, out.watermark_us, chain)
        journal.append(Message("journal", 0, sequence, 0, None, record.encode()))
    where = Topics("nowhere", "journal", "d", "a", "dead", "packs", "events")

    def report(events: list[Message]) -> object:
        found = topics | {"journal": [journal], "events": [events]}
        monkeypatch.setattr("replay.verify.TopicReader", lambda bootstrap, topic, client: ListReader(found[topic]))
        return verify(lambda pack, seed: Decider(engine, events="events"), where).difference

    assert report(parts["events"]) is None
    heard = [m._replace(value=label(33, "x")) if b'"known_fraud","until"' in (m.value or b"") else m
             for m in parts["events"]]  # fmt: skip
    assert heard != parts["events"] and report(heard) is not None
