"""`sekisho worker` as a process: a pack on a real broker, its web side, a standby, kills, snapshots."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from replay.verify_command import verify_command
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.settings import Settings, TopicSettings, load_settings
from sekisho.testing.kafka import KafkaBroker, free_ports
from sekisho.testing.world import world_of
from streams.scoring import PackScorer
from streams.topics import create_topics
from tests.streams.standins import TOPICS_TOML

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 240.0  # kernels may have to be compiled on a busy machine
CONFIG = (
    """\
pack = "{pack}"
state = "{name}-state"

[kafka]
bootstrap = "{bootstrap}"

"""
    + TOPICS_TOML
    + """\
replication = 1

[lane]
name = "{prefix}lane"
session_timeout_ms = 1500
snapshot_every_s = 1

[web]
port = {port}
"""
)


class Worker:
    """One worker's process. client: the lines of [kafka.client]."""

    def __init__(self, folder: Path, name: str, bootstrap: str, prefix: str, client: str = "") -> None:
        self.port, self.config, self.log = free_ports(1)[0], folder / f"{name}.toml", folder / f"{name}.log"
        pack = shipped_pack("card_payments")
        text = CONFIG.format(pack=pack, name=name, bootstrap=bootstrap, prefix=prefix, port=self.port) + client
        self.config.write_text(text, "utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return load_settings(self.config, {})

    def start(self, **environment: str) -> None:
        command = [sys.executable, "-c", "from streams.commands import worker; worker()", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | environment)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict[str, object]:
        code, body = self.get("/status")
        return json.loads(body) if code else {}

    def wait(self, good: Callable[[dict[str, object]], bool], seconds: float = _PATIENCE_S) -> dict[str, object]:
        deadline = time.monotonic() + seconds
        while not good(status := self.status()):
            assert time.monotonic() < deadline, (status, self.log.read_text()[-2000:])
            time.sleep(0.1)
        return status

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


def _send(settings: Settings, lines: Sequence[bytes], first: int) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "acks": "all"})
    for k, line in enumerate(lines, first):
        producer.produce(settings.topics.input[0], line, b"card%d" % (k % 11), partition=k % 4)
    assert producer.flush(30) == 0


def _decided(count: int) -> Callable[[dict[str, object]], bool]:
    def reached(status: dict[str, object]) -> bool:
        positions = status.get("positions")
        return isinstance(positions, dict) and sum(positions.values()) >= count

    return reached


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Kernels are compiled here, so that no worker takes long to start."""
    PackScorer(compile_pack(load_pack(shipped_pack("card_payments"))), TopicSettings(("payments",))).warm()


def test_a_worker_a_standby_and_what_may_befall_them(tmp_path: Path, broker: KafkaBroker, prefix: str) -> None:
    """L10, L12: decisions flow; the active worker is killed, and the standby goes on warm; a restarted one comes back
    from a snapshot; SIGTERM ends with 0; all that was written is what a replay of the journal writes."""
    one, two = (Worker(tmp_path, name, broker.bootstrap, prefix) for name in ("one", "two"))
    create_topics(one.settings, log_append=False)
    world_of(3_000).write_jsonl(tmp_path / "world.jsonl", 3_000)
    lines = (tmp_path / "world.jsonl").read_bytes().splitlines()
    lines[500] = lines[500][:40]
    try:
        one.start()
        one.wait(lambda status: status.get("phase") == "active")
        two.start()
        _send(one.settings, lines[:1000], 0)
        one.wait(_decided(1000))
        assert one.get("/healthz")[0] == one.get("/readyz")[0] == 200
        assert "sekisho_events_total 1000" in one.get("/metrics")[1] and "sekisho_active 1" in one.get("/metrics")[1]
        following = two.wait(_decided(1000))
        assert following["phase"] == "following" and following["folded"] and not following["differences"]

        one.end(signal.SIGKILL)
        started = time.monotonic()
        _send(one.settings, lines[1000:2000], 1000)
        active = two.wait(_decided(2000))
        print(f"killed, and deciding again within {time.monotonic() - started:.2f} s")
        assert active["phase"] == "active" and active["rebuilds"] == 1

        two.wait(lambda status: any((tmp_path / "two-state").glob("journal-*")))
        assert two.end(signal.SIGTERM) == 0
        two.start()
        _send(one.settings, lines[2000:], 2000)
        two.wait(_decided(3000))
        assert "is restored" in two.log.read_text()
        assert two.end(signal.SIGTERM) == 0
    finally:
        for worker in (one, two):
            if worker.process is not None:
                worker.process.kill()
    topics = one.settings.topics
    words = [str(one.settings.pack), "--bootstrap", broker.bootstrap, "--journal", topics.journal]
    words += ["--decisions", topics.decisions, "--alerts", topics.alerts, "--dead-letters", topics.dead_letters]
    proof = CliRunner().invoke(verify_command, words)
    assert proof.exit_code == 0 and "MATCH" in proof.output and "3,000 events" in proof.output, proof.output

    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(topics.alerts, b'{"kind":"forged"}', partition=0)
    assert producer.flush(30) == 0
    proof = CliRunner().invoke(verify_command, words)
    assert proof.exit_code == 1 and f"{topics.alerts}[0]" in proof.output, proof.output
    assert "the journal does not name" in proof.output and "forged" in proof.output


def test_a_worker_waits_for_a_broker_that_is_away(tmp_path: Path, broker: KafkaBroker, prefix: str) -> None:
    """A broker that is down at the start: /readyz says why, and the worker goes on by itself when it comes."""
    worker = Worker(tmp_path, "one", broker.bootstrap, prefix)
    create_topics(worker.settings, log_append=False)
    broker.kill()
    try:
        worker.start()
        deadline = time.monotonic() + _PATIENCE_S
        while "waiting" not in worker.get("/readyz")[1]:
            assert time.monotonic() < deadline, worker.log.read_text()[-2000:]
            time.sleep(0.2)
        assert worker.get("/readyz")[0] == 503
        broker.run()
        worker.wait(lambda status: status.get("phase") == "active")
        assert worker.end(signal.SIGTERM) == 0
    finally:
        if broker.process is None:
            broker.run()
        if worker.process is not None:
            worker.process.kill()


def test_a_worker_that_cannot_go_on_ends(tmp_path: Path, broker: KafkaBroker, prefix: str) -> None:
    """A journal that is not ours: the worker says so and ends with a failure, so that nobody takes it for alive."""
    worker = Worker(tmp_path, "one", broker.bootstrap, prefix)
    create_topics(worker.settings, log_append=False)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(worker.settings.topics.journal, b"not a record", partition=0)
    assert producer.flush(30) == 0
    try:
        worker.start()
        assert worker.process is not None and worker.process.wait(_PATIENCE_S) != 0
        assert "the journal: a record is not JSON" in worker.log.read_text()
    finally:
        if worker.process is not None:
            worker.process.kill()
