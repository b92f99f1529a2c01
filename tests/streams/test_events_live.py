"""Labels, lists, mutes and marks on a real broker: from command or request to decision, and all of it verified."""

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from replay.verify_command import verify_command
from rules.times import format_time
from sekisho.packs import shipped_pack
from sekisho.testing.kafka import KafkaBroker
from streams.control_commands import alert, lists, rule
from streams.label_commands import label
from streams.topics import create_topics
from tests.replay.conftest import FEATURES, PACK, RULES
from tests.replay.test_control_replay import ALERT, BLOCKED
from tests.streams.test_lane import read_all
from tests.streams.test_worker import Worker

TOKEN = "a token for labels in tests"
MEANS = 'dispositions = { fraud_confirmed = "fraud" }\n'
WHO = ("--by", "sato", "--why", "a test")


class Bank:
    """A worker with a small pack, its topics, and what a bank's people do."""

    def __init__(self, folder: Path, broker: KafkaBroker, prefix: str) -> None:
        pack = folder / "pack"
        (pack / "lists").mkdir(parents=True)
        (pack / "lists/blocked.csv").write_text("value,starts,expires\nc9,,\n")
        for name, text in (
            ("pack.toml", PACK + MEANS + ALERT),
            ("features.sql", FEATURES),
            ("rules.yaml", RULES + BLOCKED),
        ):
            (pack / name).write_text(text, "utf-8")
        self.worker, self.sent, self.told = Worker(folder, "one", broker.bootstrap, prefix), 0, 0
        config = self.worker.config
        config.write_text(config.read_text("utf-8").replace(str(shipped_pack("card_payments")), str(pack)), "utf-8")
        self.settings = self.worker.settings
        create_topics(self.settings)

    def produce(self, topic: str, raw: bytes) -> None:
        producer = Producer({"bootstrap.servers": self.settings.kafka.bootstrap, "acks": "all"})
        producer.produce(topic, raw, partition=0)
        assert producer.flush(30) == 0

    def pay(self, card: str) -> dict[str, Any]:
        """One payment, and the decision on it."""
        self.sent += 1
        event = {"event_id": f"e{self.sent}", "event_time": format_time(time.time_ns() // 1000), "card_id": card}
        raw = json.dumps(event | {"payment_id": f"p{self.sent}", "amount": "100"}).encode()
        self.produce(self.settings.topics.input[0], raw)
        self.wait(self.settings.topics.input[0], self.sent)
        found = [json.loads(m.value or b"") for m in read_all(self.settings, self.settings.topics.decisions)]
        return next(each for each in found if each["event_id"] == event["event_id"])

    def wait(self, topic: str, records: int) -> dict[str, Any]:
        """Until so many of a topic's records have been folded."""
        position = f"{topic}[0]"
        return self.worker.wait(lambda status: (status.get("positions") or {}).get(position, 0) >= records)

    def says(self, group: Any, *words: str) -> str:
        """A command that succeeds."""
        done = CliRunner().invoke(group, [*words, "--config", str(self.worker.config)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def tells(self, group: Any, *words: str) -> str:
        """A command that sends one event, which the worker has folded when this returns."""
        output = self.says(group, *words)
        self.told += 1
        self.wait(self.settings.topics.events, self.told)
        return output

    def post(self, body: object, token: str = TOKEN, key: str = "") -> tuple[int, dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token}", "idempotency-key": key}
        request = urllib.request.Request(f"http://127.0.0.1:{self.worker.port}/v1/labels", raw, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture
def bank(tmp_path: Path, broker: KafkaBroker, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    monkeypatch.setenv("SEKISHO_LABELS_TOKEN", TOKEN)
    bank = Bank(tmp_path, broker, prefix)
    yield bank
    if bank.worker.process is not None:
        bank.worker.process.kill()


def outcome(decision: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    return decision["outcome"], [rule["id"] for rule in decision["rules"]], decision["muted"]


def test_what_people_say_and_learn_reaches_the_next_decision_and_the_proof(bank: Bank, tmp_path: Path) -> None:
    """A posted label declines its card alone; a list holds a card until it is removed; a mute is seen wherever one
    looks and ends; marks are told; bad events are dead letters; a kill forgets nothing; verify says MATCH."""
    bank.worker.start()
    bank.worker.wait(lambda status: status.get("phase") == "active")
    first, other = bank.pay("c1"), bank.pay("c2")
    assert outcome(first) == outcome(other) == ("approve", [], [])

    verdict = {"payment_id": first["payment_id"], "label_class": "fraud"}
    assert bank.post(verdict, token="wrong")[0] == 401
    assert bank.post(b"x" * (1 << 21))[0] == 413
    status, answer = bank.post([verdict, {"label_class": "fraud"}])
    assert status == 400 and answer["refused"] == [{"label": 1, "why": "it names nothing; give one of payment_id"}]
    status, answer = bank.post(verdict, key="k1")
    assert status == 202 and answer["accepted"] == 1
    other = [verdict | {"label_class": "genuine"}]
    assert bank.post(verdict, key="k1") == (202, answer) and bank.post(other, key="k1")[0] == 422
    bank.told += 1
    bank.wait(bank.settings.topics.events, 1)
    assert outcome(bank.pay("c1")) == ("decline", ["known_fraud"], [])
    assert outcome(bank.pay("c2")) == ("approve", [], [])

    bank.tells(lists, "add", "blocked", "c2", "--expires", "1h", *WHO)
    assert outcome(bank.pay("c2")) == ("hold", ["third_payment", "blocked"], [])
    bank.tells(lists, "remove", "blocked", "c9", *WHO)
    assert outcome(bank.pay("c9"))[0] == "approve"
    assert "removed" in bank.says(lists, "show", "blocked") and "c2" in bank.says(lists, "show")

    bank.tells(rule, "mute", "known_fraud", "--until", "1h", *WHO)
    assert outcome(bank.pay("c1")) == ("review", ["third_payment"], ["known_fraud"])
    assert [mute["rule"] for mute in bank.worker.status()["mutes"]] == ["known_fraud"]  # type: ignore[union-attr]
    assert "sekisho_muted_rules 1" in bank.worker.get("/metrics")[1]
    assert "by sato: a test" in " ".join(bank.says(rule, "list").split())
    bank.produce(bank.settings.topics.events, b'{"sekisho":1,"kind":"rule_mute","rule":"blocked"}')
    bank.told += 1

    alerts = [json.loads(m.value or b"") for m in read_all(bank.settings, bank.settings.topics.alerts)]
    held = next(each for each in alerts if each["outcome"] == "hold")
    bank.tells(alert, "ack", held["group_id"], "--by", "suzuki")
    words = ("close", held["group_id"], "--disposition", "fraud_confirmed", "--by", "suzuki", "--note", "seen")
    assert "1 payments are labelled fraud" in bank.tells(alert, *words)
    bank.told += 1
    bank.wait(bank.settings.topics.events, bank.told)
    assert outcome(bank.pay("c2")) == ("hold", ["third_payment", "blocked"], ["known_fraud"])
    told = bank.tells(alert, "disposition", held["group_id"], "unable_to_contact", "--by", "suzuki")
    assert "unable_to_contact labels nothing; in pack small fraud_confirmed means fraud" in told
    alerts = [json.loads(m.value or b"") for m in read_all(bank.settings, bank.settings.topics.alerts)]
    closed = next(each for each in alerts if each["kind"] == "closed")
    assert [(mark["action"], mark["by"]) for mark in closed["marks"]] == [
        ("acknowledge", "suzuki"),
        ("close", "suzuki"),
    ]

    bank.worker.wait(lambda status: any((tmp_path / "one-state").glob("journal-*")))
    bank.worker.end(signal.SIGKILL)
    bank.worker.start()
    bank.worker.wait(lambda status: status.get("phase") == "active")
    assert outcome(bank.pay("c1")) == ("review", ["third_payment"], ["known_fraud"])
    assert bank.post(verdict, key="k1") == (202, answer), "the key is remembered by the log, not by the worker"
    assert len(read_all(bank.settings, bank.settings.topics.events)) == bank.told
    bank.tells(rule, "unmute", "known_fraud", *WHO)
    assert outcome(bank.pay("c1")) == ("decline", ["third_payment", "known_fraud"], [])

    file = tmp_path / "labels.csv"
    file.write_text(f"payment_id,label_class\n{first['payment_id']},genuine\nnobody,fraud\n")
    told = bank.says(label, "import", str(file))
    assert "sent 2 labels" in told and "these 1 payments: nobody" in told
    assert "sent 0 labels" in bank.says(label, "import", str(file))
    bank.wait(bank.settings.topics.events, bank.told + 2)
    assert outcome(bank.pay("c1")) == ("review", ["third_payment"], [])
    status = bank.worker.status()
    assert status["labels_unknown_payment"] == 1 and status["dead_letters"] == 0  # the bad one came before the kill

    letters = read_all(bank.settings, bank.settings.topics.dead_letters)
    assert [json.loads(m.value or b"")["code"] for m in letters] == ["missing"]
    proof = CliRunner().invoke(verify_command, ["--config", str(bank.worker.config)])
    assert proof.exit_code == 0 and "MATCH" in proof.output, proof.output


def test_what_cannot_be_is_refused_before_it_is_sent(bank: Bank) -> None:
    """Unknown names, shadow of a time, a group that is none: said at once, with what to do."""
    for group, words, why in (
        (lists, ("add", "blokced", "c1", *WHO), "did you mean blocked?"),
        (rule, ("mute", "known_frauds", "--until", "1h", *WHO), "did you mean known_fraud?"),
        (rule, ("mute", "known_fraud", "--until", "soon", *WHO), "'soon' is no time"),
        (lists, ("add", "blocked", " c1", *WHO), "value: the value is empty, too long"),
        (lists, ("add", "blocked", "c1", "--starts", "2h", "--expires", "1h", *WHO), "would never count"),
        (alert, ("ack", "g1", "--by", "sato"), "it is the group_id of an alert"),
    ):
        done = CliRunner().invoke(group, [*words, "--config", str(bank.worker.config)])
        assert done.exit_code != 0 and why in done.output + str(done.exception), (words, done.output)
    assert not read_all(bank.settings, bank.settings.topics.events)
