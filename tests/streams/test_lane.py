"""The lane on a real broker: each payment decided once, whatever happens to lanes and broker."""

import time
from collections import Counter
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

SESSION_MS = 1500


def settings_for(bootstrap: str, prefix: str, delivery: str = "exactly-once") -> Settings:
    names = {key: prefix + key for key in ("decisions", "alerts", "journal", "control", "packs", "events")}
    counts = {"input_partitions": 3, "output_partitions": 3, "replication": 1}
    topics = TopicSettings((prefix + "payments",), dead_letters=prefix + "dead", **names, **counts)
    lane = LaneSettings(prefix + "lane", delivery, session_timeout_ms=SESSION_MS)
    return Settings(Path(), Path(), KafkaSettings(bootstrap), topics, lane, WebSettings())


def produce(settings: Settings, count: int, rate: float = 0.0) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "linger.ms": 1, "acks": "all", "log_level": 0})
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


def test_a_backlog_is_decided_in_the_logs_order(broker: KafkaBroker, prefix: str) -> None:
    """L6: lanes that start behind a backlog decide it by record time, so that two of them say the same."""
    settings = settings_for(broker.bootstrap, prefix)
    create_topics(settings)
    produce(settings, 30_000)
    inputs = read_all(settings, settings.topics.input[0])
    order = merged([[m for m in inputs if m.partition == k] for k in range(3)])
    lane = lane_of(settings, prefix)
    run_until(lane, 30_000)
    lane.close()
    decided = list[Message]()
    for entry in read_all(settings, settings.topics.journal):
        ranges = {(r.partition, r.first, r.end) for r in decode(entry.value or b"").ranges}
        parts = [[m for m in inputs if m.partition == k and first <= m.offset < end] for k, first, end in ranges]
        decided += merged(sorted(parts, key=lambda part: part[0].partition))
    assert decided == order
