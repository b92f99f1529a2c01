"""`sekisho worker --only webhooks` as a process on a real broker: committed alerts, kills, catch-up, redelivery."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from click.testing import CliRunner
from confluent_kafka import Producer

from replay.topic import TopicReader
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.settings import Settings, load_settings
from sekisho.testing.kafka import KafkaBroker, free_ports
from sekisho.testing.world import world_of
from streams.scoring import PackScorer
from streams.topics import create_topics
from streams.webhooks.commands import webhook_redeliver
from streams.webhooks.receiver import verify
from tests.streams.standins import TOPICS_TOML
from tests.streams.webhooks.hooks_world import SECRET, Call, Receiver, answer, make_alert, raw_alert, until

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("SEKISHO_WEBHOOK_KILLS", "4"))
TOKEN = "catch-up-token-of-the-case-tool"
CONFIG = (
    """\
pack = "{pack}"
state = "state-{name}"
[kafka]
bootstrap = "{bootstrap}"
"""
    + TOPICS_TOML
    + """\
output_partitions = 4
replication = 1
[lane]
name = "{prefix}lane"
session_timeout_ms = 1500
[web]
port = {port}
"""
)
HOOK = """\
[[webhooks]]
id = "{id}"
url = "{url}"
secrets = [{{ env = "HOOK_SECRET" }}]
allow = ["127.0.0.1"]
catch_up_token = {{ env = "HOOK_TOKEN" }}
{more}
"""
ENVIRONMENT = {**os.environ, "HOOK_SECRET": SECRET, "HOOK_TOKEN": TOKEN}


class HookWorker:
    """A worker's process that delivers webhooks."""

    def __init__(self, folder: Path, broker: KafkaBroker, prefix: str, hooks: list[str], name: str = "one") -> None:
        self.port, self.config, self.log = free_ports(1)[0], folder / f"{name}.toml", folder / f"{name}.log"
        values = {"pack": shipped_pack("card_payments"), "bootstrap": broker.bootstrap, "prefix": prefix}
        text = CONFIG.format(**values, name=name, port=self.port) + "".join(hooks)
        self.config.write_text(text, "utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return load_settings(self.config, ENVIRONMENT)

    def start(self, *only: str) -> None:
        code = "from streams.commands import worker; worker()"
        command = [sys.executable, "-c", code, "--config", str(self.config), *(only or ("--only", "webhooks"))]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=ENVIRONMENT)

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if token:
            request.add_header("authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def routes(self) -> bool:
        code, body = self.get("/status")
        return bool(code) and json.loads(body)["webhooks"]["phase"] == "routing"

    def words(self) -> str:
        return self.log.read_text()[-3000:]


class Bank:
    """Writes alerts as the lane does: in transactions, some of which are aborted."""

    def __init__(self, settings: Settings) -> None:
        self.topic, self.partitions, self.count = settings.topics.alerts, settings.topics.output_partitions, 0
        client = {"bootstrap.servers": settings.kafka.bootstrap, "transactional.id": self.topic}
        self.producer = Producer({**client, "retry.backoff.ms": 1, "retry.backoff.max.ms": 5, "linger.ms": 0})
        self.producer.init_transactions(30)

    def write(self, count: int, commit: bool = True) -> float:
        """The next alerts in one transaction; when it was committed."""
        self.producer.begin_transaction()
        for k in range(self.count, self.count + count):
            value = raw_alert(k) if commit else b'{"aborted":true}'
            self.producer.produce(self.topic, value, str(k).encode(), partition=k % self.partitions)
        if not commit:
            self.producer.flush(10)
            self.producer.abort_transaction(10)
            return time.time()
        self.producer.commit_transaction(10)
        self.count += count
        return time.time()


def hook(id: str, receiver: Receiver, more: str = "") -> str:
    return HOOK.format(id=id, url=receiver.url, more=more)


def records_of(settings: Settings, topic: str) -> list[dict[str, object]]:
    reader = TopicReader(settings.kafka.bootstrap, topic, {})
    found = []
    for partition in reader.places:
        while (record := reader.peek(partition)) is not None:
            found.append(json.loads(record.value or b"{}"))
            reader.pop(partition)
    reader.close()
    return found


def undelivered(settings: Settings) -> list[dict[str, object]]:
    return records_of(settings, settings.topics.undelivered)


def covered(receiver: Receiver) -> int:
    """How many alerts have come, in batches that may overtake each other."""
    firsts = {call.sequence: json.loads(call.body)["first_sequence"] for call in receiver.calls}
    return sum(last - first + 1 for last, first in firsts.items())


def test_alerts_arrive_signed_in_sequence_and_only_committed_ones(
    tmp_path: Path, broker: KafkaBroker, prefix: str
) -> None:
    """Filters, batches, rate, catch-up by token, redelivery by sequence; a receiver that is dead delays nobody."""
    all_of_it, batches, dead = Receiver(), Receiver(), Receiver(answer(500))
    hooks = [
        hook("all", all_of_it),
        hook("batches", batches, "batch = 10\nfilter = \"amount >= 12000 AND typologies LIKE '%,mule,%'\""),
        hook("none", batches, "filter = \"outcome = 'approve'\""),
        hook("dead", dead),
    ]
    worker = HookWorker(tmp_path, broker, prefix, hooks)
    create_topics(worker.settings, log_append=False)
    bank = Bank(worker.settings)
    try:
        worker.start()
        until(worker.routes, 60, worker.words)
        for _ in range(10):
            bank.write(7)
            bank.write(3, commit=False)
        bank.write(30)
        until(lambda: len(all_of_it.calls) == 100, 30, lambda: (len(all_of_it.calls), worker.words()))
        until(lambda: covered(batches) == 100, 30, worker.words)
        for call in (*all_of_it.calls, *batches.calls):
            verify(call.headers, call.body, [SECRET])
        assert sorted(all_of_it.sequences()) == list(range(1, 101))
        assert {json.loads(call.body)["data"]["payment_id"] for call in all_of_it.calls} == {
            f"p{k}" for k in range(100)
        }
        spans = sorted((json.loads(c.body)["first_sequence"], c.sequence) for c in batches.calls)
        assert [a for a, _ in spans] == [1, *(b + 1 for _, b in spans[:-1])] and any(b > a for a, b in spans)
        assert dead.calls and len(dead.calls) < 20
        assert 'sekisho_webhook_breaker{subscriber="dead"} 1' in worker.get("/metrics")[1]

        code, body = worker.get("/v1/alerts?subscriber=all&after=40&limit=10", TOKEN)
        items = json.loads(body)["data"]
        assert code == 200 and [item["sequence"] for item in items] == list(range(41, 51))
        assert items[0]["data"] == json.loads(next(c for c in all_of_it.calls if c.sequence == 41).body)["data"]
        for path, token in (("all", ""), ("all", "wrong"), ("nobody", TOKEN), ("all", f"{TOKEN}x")):
            assert worker.get(f"/v1/alerts?subscriber={path}&after=0", token)[0] == 401
        assert worker.get("/v1/alerts?subscriber=all&after=-1", TOKEN)[0] == 400

        words = ["all", "--config", str(worker.config), "--from-sequence", "5", "--to-sequence", "7"]
        done = CliRunner().invoke(webhook_redeliver, words, env=ENVIRONMENT)
        assert done.exit_code == 0 and "3 alerts" in done.output, done.output
        until(lambda: len(all_of_it.calls) == 103, 30, worker.words)
        assert sorted(all_of_it.sequences()[100:]) == [5, 6, 7]
        assert len({call.id for call in all_of_it.calls}) == 100
        seen = [worker.get(page)[1] for page in ("/metrics", "/status", "/readyz")]
        assert worker.end(signal.SIGTERM) == 0
        topics = worker.settings.topics
        kept = json.dumps([records_of(worker.settings, topic) for topic in (topics.deliveries, topics.webhooks)])
        shown = worker.log.read_text() + kept + "".join(seen)
        assert SECRET not in shown and TOKEN not in shown and all_of_it.url not in shown
    finally:
        if worker.process is not None:
            worker.process.kill()
        for receiver in (all_of_it, batches, dead):
            receiver.close()


def test_from_a_payment_to_the_receiver(tmp_path: Path, broker: KafkaBroker, prefix: str) -> None:
    """One worker scores and delivers: every alert that its lane commits arrives, and nothing else."""
    receiver = Receiver()
    worker = HookWorker(tmp_path, broker, prefix, [hook("all", receiver)])
    settings = worker.settings
    create_topics(settings, log_append=False)
    PackScorer(compile_pack(load_pack(settings.pack)), settings.topics).warm()  # so that no worker compiles for long
    world_of(2_000).write_jsonl(tmp_path / "world.jsonl", 2_000)
    lines = (tmp_path / "world.jsonl").read_bytes().splitlines()
    try:
        worker.start("--config", str(worker.config))
        until(lambda: '"phase": "active"' in worker.get("/status")[1], 240, worker.words)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for k, line in enumerate(lines):
            producer.produce(settings.topics.input[0], line, partition=k % 4)
        assert producer.flush(30) == 0
        until(lambda: f"sekisho_events_total {len(lines)}" in worker.get("/metrics")[1], 60, worker.words)
        alerts = {each["id"] for each in records_of(settings, settings.topics.alerts)}
        until(lambda: len(receiver.calls) >= len(alerts), 30, worker.words)
        assert len(alerts) > 5 and {call.id for call in receiver.calls} == alerts
        assert sorted(receiver.sequences()) == list(range(1, len(alerts) + 1))
        assert worker.get("/readyz")[0] == worker.get("/healthz")[0] == 200
        assert worker.end(signal.SIGTERM) == 0
    finally:
        if worker.process is not None:
            worker.process.kill()
        receiver.close()


def test_a_killed_worker_loses_nothing(tmp_path: Path, broker: KafkaBroker, prefix: str) -> None:
    """SIGKILL at random points while alerts come and a receiver fails half of the time: no alert is lost, ids and
    sequences are the same in every try, sequences have no gaps, and 410 dead-letters with its reason."""
    seed = random.randrange(2**32)
    draw = random.Random(seed)

    def sometimes(handler: BaseHTTPRequestHandler, call: Call) -> None:
        answer(200 if random.random() < 0.7 else 503)(handler, call)

    flaky = Receiver(sometimes)
    steady, gone = Receiver(), Receiver(answer(410))
    worker = HookWorker(tmp_path, broker, prefix, [hook("flaky", flaky), hook("steady", steady), hook("gone", gone)])
    create_topics(worker.settings, log_append=False)
    bank = Bank(worker.settings)
    try:
        for kill in range(KILLS):
            worker.start()
            if kill % 3 != 1:  # every third time it is killed while it takes over
                until(worker.routes, 60, worker.words)
            end = time.monotonic() + draw.uniform(0.05, 2.5)
            while time.monotonic() < end:
                bank.write(draw.randrange(1, 6), commit=draw.random() < 0.8)
                time.sleep(draw.uniform(0, 0.1))
            worker.end(signal.SIGKILL)
        worker.start()
        until(worker.routes, 60, worker.words)
        total = bank.count
        for receiver in (steady, flaky):
            until(
                lambda receiver=receiver: len(set(receiver.sequences())) >= total, 600,  # a breaker may open
                lambda: (seed, total, len(set(steady.sequences())), len(set(flaky.sequences())), worker.words()),
            )  # fmt: skip
        until(lambda: len(undelivered(worker.settings)) >= total, 60, lambda: (seed, worker.words()))
        assert worker.end(signal.SIGTERM) == 0
    finally:
        if worker.process is not None:
            worker.process.kill()
        for receiver in (flaky, steady, gone):
            receiver.close()
    for receiver in (flaky, steady):
        by_id, by_sequence = defaultdict(set), defaultdict(set)
        for call in receiver.calls:
            by_id[call.id].add((call.sequence, call.body))
            by_sequence[call.sequence].add(call.id)
        assert all(len(found) == 1 for found in (*by_id.values(), *by_sequence.values())), seed
        assert sorted(by_sequence) == list(range(1, total + 1)), seed
        assert set(by_id) == {make_alert(k)["id"] for k in range(total)}, seed
    lost = undelivered(worker.settings)
    assert {each["sequence"] for each in lost} == set(range(1, total + 1)) and len(lost) == total
    assert all("410" in str(each["reason"]) and each["subscriber"] == "gone" for each in lost)
    again = len(steady.calls) - total
    print(f"{KILLS} kills, {total} alerts, 0 lost, {again} delivered twice to the steady receiver, seed {seed}")
