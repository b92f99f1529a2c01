"""Topics as one log: which records, in which order. Real brokers are asked in tests/streams/test_replay_topics.py."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from replay import topic_log
from replay.topic_input import parse_topics
from sekisho.log import Message

TIMES_US = {("a", 0): [10, 20, 20, 30], ("a", 1): [10, 20, 25, 40], ("b", 0): [10, 20, 30, 40]}


def reader_of(bootstrap: str, topic: str, *_: object) -> SimpleNamespace:
    """A stand-in for TopicReader: all records of a topic, whatever the range."""
    places = {k: k for name, k in TIMES_US if name == topic}

    def take(k: int, end: int) -> Iterator[Message]:
        return (Message(topic, k, n, at, None, b"") for n, at in enumerate(TIMES_US[topic, k]) if n < end)

    return SimpleNamespace(places=places, ends=dict.fromkeys(places, 99), take=take, close=lambda: None)


RANGE = "?from=1970-01-01T00:00:00.000020Z&to=1970-01-01T00:00:00.000040Z"


@pytest.mark.parametrize(("query", "first_us", "end_us"), [("", 0, 99), (RANGE, 20, 40)])
def test_records_of_a_range_are_merged_by_time_topic_and_partition(
    query: str, first_us: int, end_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L6: the order of a quiet day; of a range exactly the records from its first time to before its last."""
    monkeypatch.setattr(topic_log, "TopicReader", reader_of)
    messages = topic_log.read_messages(parse_topics(f"kafka://x/b,a{query}"))
    assert [(each.time_us, each.topic, each.partition, each.offset) for each in messages] == sorted(
        (at, *place, n) for place, times in TIMES_US.items() for n, at in enumerate(times) if first_us <= at < end_us
    )
