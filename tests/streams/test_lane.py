"""The lane on a real broker: each payment decided once, whatever happens to lanes and broker."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer

from sekisho.journal import START, decode
from sekisho.log import Message
from sekisho.settings import KafkaSettings, LaneSettings, Settings, TopicSettings, WebSettings
from sekisho.testing.kafka import KafkaBroker
from streams.client import KafkaBroker as Clients
from streams.lane import ACTIVE, Lane
from streams.topics import create_topics
from tests.streams.standins import Folding, Kept, Offered, merged

ROOT = Path(__file__).parents[2]
SESSION_MS = 1500


def settings_for(bootstrap: str, prefix: str, delivery: str = "exactly-once") -> Settings:
    names = {key: prefix + key for key in ("decisions", "alerts", "journal", "control", "packs")}
    topics = TopicSettings((prefix + "payments",), dead_letters=prefix + "dead", **names, partitions=3, replication=1)
    lane = LaneSettings(prefix + "lane", delivery, session_timeout_ms=SESSION_MS)
    return Settings(Path(), Path(), KafkaSettings(bootstrap), topics, lane, WebSettings())


def produce(settings: Settings, count: int, rate: float = 0.0) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "linger.ms": 1, "acks": "all"})
    for k in range(count):
        value = b"malformed" if k % 50 == 7 else b"payment"
        producer.produce(settings.topics.input[0], value, partition=k * k % 3)
        if rate:
            producer.poll(1 / rate)
    assert producer.flush(30) == 0


def read_all(settings: Settings, topic: str) -> list[Message]:
    """All committed records of a topic, in order within a partition."""
    clients = Clients(settings)
    wanted = clients.partitions([topic])
    reader, found, ended = clients.reader(dict.fromkeys(wanted)), [], set()
    while len(ended) < len(wanted):
        polled = reader.poll(10_000, 1.0)
        ended -= {(m.topic, m.partition) for m in polled.messages}
        found += polled.messages
        ended |= set(polled.ended)
    reader.close()
    clients.close()
    return found


def check(settings: Settings, prefix: str, exactly: bool = True) -> None:
    """The journal holds every payment once, and the topics hold what it says, byte for byte."""
    topics, scorer, chain = settings.topics, Folding(prefix), START
    inputs = {(m.topic, m.partition, m.offset): m for m in read_all(settings, topics.input[0])}
    records = []
    for message in read_all(settings, topics.journal):
        record = decode(message.value or b"")
        sequence, epoch = (records[-1].sequence, records[-1].epoch) if records else (-1, 0)
        if record.epoch >= epoch and record.sequence == sequence + 1:
            records.append(record)
    wanted: Counter[tuple[str, bytes]] = Counter()
    decided = 0
    for record in records:
        places = [[(r.topic, r.partition, k) for k in range(r.first, r.end)] for r in record.ranges]
        parts = [[inputs[place] for place in part if place in inputs] for part in places]
        decided += sum(map(len, parts))
        outputs = scorer.decide(merged(parts))
        chain = outputs.chain(chain)
        assert chain == record.chain
        wanted.update((send.topic, send.value) for send in outputs.sends())
    assert decided == len(inputs)
    names = (topics.decisions, topics.alerts, topics.dead_letters)
    found = Counter((name, m.value) for name in names for m in read_all(settings, name))
    assert found == wanted if exactly else set(found) == set(wanted)


def lane_of(settings: Settings, prefix: str) -> Lane:
    kept = Kept(prefix=prefix)
    return Lane(Clients(settings), Offered(kept), kept, settings.topics, settings.lane)


def run_until(lane: Lane, count: int, seconds: float = 60.0) -> None:
    """Turn the lane until it has decided so much."""
    deadline = time.monotonic() + seconds
    while sum(lane.status.positions.values()) < count:
        assert time.monotonic() < deadline, lane.status
        lane.turn()


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_each_payment_is_decided_once(broker: KafkaBroker, prefix: str, delivery: str) -> None:
    """In peace both deliveries write each output once."""
    settings = settings_for(broker.bootstrap, prefix, delivery)
    create_topics(settings)
    produce(settings, 20_000)
    lane = lane_of(settings, prefix)
    started = time.monotonic()
    run_until(lane, 20_000)
    print(f"{delivery}: {20_000 / (time.monotonic() - started):,.0f} payments/s, {lane.status}")
    lane.close()
    check(settings, prefix)


def test_a_standby_takes_over_warm(broker: KafkaBroker, prefix: str) -> None:
    """A clean stop hands over; the standby has folded every batch, found no difference, and rebuilds nothing."""
    settings = settings_for(broker.bootstrap, prefix)
    create_topics(settings)
    produce(settings, 2_000)
    first = lane_of(settings, prefix)
    run_until(first, 2_000)
    second = lane_of(settings, prefix)
    run_until(second, 2_000)
    assert second.status.phase != ACTIVE and second.fold.status.folded == first.status.batches
    produce(settings, 1_000)
    started = time.monotonic()
    first.close()
    run_until(second, 3_000)
    print(f"handed over within {time.monotonic() - started:.2f} s")
    second.close()
    assert second.fold.status.differences == 0 and second.fold.status.rebuilds == 1
    check(settings, prefix)


class Workers:
    """Lanes in processes of their own, by name, each with a log of its phases."""

    def __init__(self, settings: Settings, prefix: str, folder: Path) -> None:
        self.command = [sys.executable, "-m", "tests.streams.standin_worker", settings.kafka.bootstrap, prefix]
        self.command += [settings.lane.delivery, str(folder / "armed")]
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log)

    def arm(self, point: str) -> None:
        """The next worker that comes to this point kills itself: "commit before", "send within", "commit after"."""
        (self.folder / "armed.new").write_text(point)
        (self.folder / "armed.new").rename(self.folder / "armed")

    def phase(self, name: str) -> str:
        """What the worker said last of itself, or "dead"."""
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        phases = [line.removeprefix("phase ") for line in lines if line.startswith("phase ")]
        return "dead" if self.running[name].poll() is not None else phases[-1] if phases else ""

    def wait(self, phase: str, names: str = "ab", seconds: float = 40.0) -> str:
        """The name of a worker that is in this phase."""
        deadline = time.monotonic() + seconds
        while True:
            for name in names:
                if self.phase(name) == phase:
                    return name
            assert time.monotonic() < deadline, {name: self.phase(name) for name in self.running}
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()

    def pause(self, name: str, seconds: float) -> None:
        self.running[name].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.running[name].send_signal(signal.SIGCONT)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.running:
            self.kill(name)


ONCE = ("begin before", "send within", "commit before", "commit after", "kill", "zombie", "broker", "standby")
LEAST = ("append before", "append after", "send within", "flush before", "kill", "zombie", "broker", "standby")


@pytest.mark.parametrize(("delivery", "acts"), [("exactly-once", ONCE), ("at-least-once", LEAST)])
def test_kills_zombies_and_a_broker_crash(
    tmp_path: Path, broker: KafkaBroker, prefix: str, delivery: str, acts: Sequence[str]
) -> None:
    """L10: kills at armed points and at random, a process stopped past its session, and a SIGKILL of the broker, while
    payments come: nothing is lost, doubled (exactly once) or changed."""
    settings = settings_for(broker.bootstrap, prefix, delivery)
    create_topics(settings)
    with Workers(settings, prefix, tmp_path) as workers:
        workers.start("a")
        workers.start("b")
        for act in acts:
            name = workers.wait("active")
            produce(settings, 300, rate=2000)
            started = time.monotonic()
            _act(act, workers, name, broker, settings)
            workers.wait("active")
            print(f"{delivery}: {act}: active again within {time.monotonic() - started:.2f} s")
            produce(settings, 300, rate=2000)
        _drain(settings)
    check(settings, prefix, exactly=delivery == "exactly-once")


def _act(act: str, workers: Workers, active: str, broker: KafkaBroker, settings: Settings) -> None:
    other = "b" if active == "a" else "a"
    match act:
        case "kill" | "standby":
            victim = active if act == "kill" else other
            workers.kill(victim)
            workers.start(victim)
        case "zombie":
            workers.pause(active, SESSION_MS / 1000 + 1.5)
        case "broker":
            broker.restart()
        case _:
            workers.arm(act)
            produce(settings, 300)
            workers.start(workers.wait("dead"))


def _drain(settings: Settings, seconds: float = 60.0) -> None:
    """Wait until the journal reaches the inputs' ends."""
    topics, deadline = settings.topics, time.monotonic() + seconds
    ends = {(m.topic, m.partition): m.offset + 1 for m in read_all(settings, topics.input[0])}
    done: dict[tuple[str, int], int] = {}
    while done != ends:
        assert time.monotonic() < deadline, (done, ends)
        time.sleep(0.5)
        records = [decode(m.value or b"") for m in read_all(settings, topics.journal)]
        done = {(r.topic, r.partition): r.end for record in records for r in record.ranges}
