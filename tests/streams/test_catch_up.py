"""After an absence, payments are decided in the order of a quiet day, however uneven the partitions are."""

import time
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from confluent_kafka import Producer

from sekisho.journal import decode
from sekisho.log import Message
from sekisho.settings import Settings
from sekisho.testing.kafka import KafkaBroker
from streams.topics import create_topics
from tests.streams.standins import merged
from tests.streams.test_lane import lane_of, read_all, run_until, settings_for

SHARES = (8, 4, 2, 1)
AWAY_S, RATE, SLICE = 600, 10, 25
PADDING = b" " * 300  # so that a partition's records do not come in one fetch


class Payment(NamedTuple):
    """When it arrived and when it happened, in milliseconds, and its partition."""

    arrived: int
    happened: int
    partition: int


def payments(seed: int) -> list[Payment]:
    """Ten minutes of them; most arrive within a second, some a minute late."""
    draw, base = Random(seed), int(time.time() * 1000) - 2 * AWAY_S * 1000
    arrivals = sorted(base + draw.randrange(AWAY_S * 1000) for _ in range(AWAY_S * RATE))
    delays = [draw.expovariate(1 / 1000) if draw.random() < 0.95 else 60_000 * draw.random() for _ in arrivals]
    partitions = draw.choices(range(len(SHARES)), SHARES, k=len(arrivals))
    return [Payment(at, at - int(delay), p) for at, delay, p in zip(arrivals, delays, partitions, strict=True)]


def inversions(times: Sequence[int]) -> int:
    """The pairs of which the later happened before the earlier."""
    seen, count = list[int](), 0
    for at in times:
        count += len(seen) - bisect_right(seen, at)
        insort(seen, at)
    return count


def send(producer: Producer, settings: Settings, some: Sequence[Payment]) -> None:
    for each in some:
        value = b"%d" % each.happened + PADDING
        producer.produce(settings.topics.input[0], value, partition=each.partition, timestamp=each.arrived)
    assert producer.flush(30) == 0


def decided(settings: Settings) -> Iterator[Message]:
    """The payments in the order in which the journal says that they were decided."""
    inputs = {(m.topic, m.partition, m.offset): m for m in read_all(settings, settings.topics.input[0])}
    for message in read_all(settings, settings.topics.journal):
        ranges = decode(message.value or b"").ranges
        yield from merged([[inputs[r.topic, r.partition, k] for k in range(r.first, r.end)] for r in ranges])


def test_event_times_are_no_more_out_of_order_than_without_the_absence(broker: KafkaBroker, prefix: str) -> None:
    """L6: at most 1.1 times the inversions of a run that kept up. Partition by partition there would be many more."""
    sent = payments(1)
    counted = []
    for name, slices in (("kept-up-", range(0, len(sent), SLICE)), ("away-", range(0, 1))):
        settings = settings_for(broker.bootstrap, prefix + name)
        settings = replace(
            settings,
            topics=replace(settings.topics, input_partitions=len(SHARES)),
            lane=replace(settings.lane, batch_events=256, buffer_events=1_000),
        )
        create_topics(settings, log_append=False)  # timestamps of ten minutes, sent in one
        producer, lane = (
            Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"}),
            lane_of(settings, prefix + name),
        )
        if len(slices) == 1:
            send(producer, settings, sent)
        else:
            for at in slices:
                send(producer, settings, sent[at : at + SLICE])
                run_until(lane, min(at + SLICE, len(sent)), 120)
        run_until(lane, len(sent), 120)
        lane.close()
        times = [int(message.value or b"0") for message in decided(settings)]
        assert len(times) == len(sent)
        counted.append(inversions(times))
    undisturbed, after = counted
    in_turns = [each for at in range(0, len(sent), 64) for part in by_partition(sent) for each in part[at : at + 64]]
    naive = inversions([each.happened for each in in_turns])
    print(
        f"pairs out of order: kept up {undisturbed:,}; after 10 minutes away {after:,}, {after / undisturbed:.3f}x; "
        f"64 of each partition in turns {naive:,}"
    )
    assert after <= 1.1 * undisturbed < naive


def by_partition(sent: Sequence[Payment]) -> list[list[Payment]]:
    return [[each for each in sent if each.partition == k] for k in range(len(SHARES))]
