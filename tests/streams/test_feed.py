"""The order in which a lane decides what has come together while it was away, and whom it waits for."""

import random
from collections.abc import Collection

import pytest

from sekisho.log import Message
from streams.broker import Partition, Polled
from streams.feed import Feed
from tests.streams.standins import merged

PARTITIONS = [("events", 0), ("payments", 0), ("payments", 1), ("payments", 2)]


class Client:
    """Brings what it holds in pieces, some partitions before others, as fetches come back; now and then nothing."""

    def __init__(self, draw: random.Random, parts: dict[Partition, list[Message]]) -> None:
        self.draw, self.parts, self.held = draw, parts, set[Partition]()

    def poll(self, limit: int, timeout_s: float) -> Polled:
        messages, ended = list[Message](), set[Partition]()
        for partition in self.draw.sample(PARTITIONS, self.draw.randrange(len(PARTITIONS) + 1)):
            part = self.parts[partition]
            count = 0 if partition in self.held else self.draw.randrange(limit - len(messages) + 1)
            messages += part[:count]
            del part[:count]
            if not part:
                ended.add(partition)
        return Polled(messages, ended)

    def pause(self, partitions: Collection[Partition]) -> None:
        self.held |= set(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self.held -= set(partitions)

    def close(self) -> None:
        pass


def backlog(draw: random.Random, sizes: list[int]) -> dict[Partition, list[Message]]:
    parts = {}
    for partition, size in zip(PARTITIONS, sizes, strict=True):
        times = sorted(draw.randrange(1000) for _ in range(size))
        parts[partition] = [Message(*partition, k, at, None, b"") for k, at in enumerate(times)]
    return parts


@pytest.mark.parametrize("seed", range(200))
def test_a_backlog_is_taken_in_the_logs_order(seed: int) -> None:
    """L6: what stands on the topics at a start is decided by record time, whatever is fetched first, and however long
    the lane is busy between two polls."""
    draw = random.Random(seed)
    parts = backlog(draw, [draw.choice([0, 5, 300]) for _ in PARTITIONS])
    expected = merged([list(part) for part in parts.values()])
    feed = Feed(Client(draw, parts), dict.fromkeys(PARTITIONS), draw.choice([40, 10_000]), 0.02)
    now, taken = 0.0, list[Message]()
    while len(taken) < len(expected):
        part = feed.ready(32, now)
        if part is None:
            feed.fill(32, 0.0, now)
            now += 0.01
        else:
            taken += part.messages
            now += draw.choice([0.001, 0.5])  # deciding takes its time
        assert now < 1e4
    assert taken == expected


class Quiet:
    """Brings once what it is told to, and else nothing."""

    def __init__(self) -> None:
        self.next = Polled()

    def poll(self, limit: int, timeout_s: float) -> Polled:
        polled, self.next = self.next, Polled()
        return polled

    def pause(self, partitions: Collection[Partition]) -> None: ...
    def resume(self, partitions: Collection[Partition]) -> None: ...
    def close(self) -> None: ...


ONE, OTHER = PARTITIONS[1], PARTITIONS[2]


def waited_s(feed: Feed, begun: float, *messages: Message, ended: Collection[Partition] = ()) -> float:
    """How long it takes from this poll on until something is ready."""
    feed.reader.next = Polled(messages, ended)  # type: ignore[attr-defined]
    now = begun
    while feed.ready(10, now) is None:
        feed.fill(10, 0.0, now)
        now += 0.005
        assert now < begun + 60
    return now - begun


def message(partition: Partition, offset: int) -> Message:
    return Message(*partition, offset, offset, None, b"")


def test_a_partition_that_brings_nothing_holds_up_the_others_for_a_while_only() -> None:
    """For seconds, where it was never at its end; else for merge_wait; and once, not at each batch."""
    feed = Feed(Quiet(), dict.fromkeys((ONE, OTHER)), 100, 0.02)
    assert 1.0 < waited_s(feed, 0.0, message(ONE, 0), ended={ONE}) < 10.0
    assert waited_s(feed, 20.0, message(ONE, 1), ended={ONE, OTHER}) < 0.01
    assert waited_s(feed, 30.0, message(OTHER, 0)) < 0.01
    assert 0.02 <= waited_s(feed, 40.0, message(ONE, 2), ended={ONE}) < 0.05
    assert waited_s(feed, 50.0, message(ONE, 3), ended={ONE}) < 0.01
