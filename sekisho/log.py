"""A record of the log, and the order of records from several partitions: the journal's merge rule `log-time/1`."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from features.sheet import Ints


class Message(NamedTuple):
    """A record of a topic. time_us: when the log took it (LogAppendTime), microseconds UTC."""

    topic: str
    partition: int
    offset: int
    time_us: int
    key: bytes | None
    value: bytes | None


_TOPIC, _PARTITION, _OFFSET = map(itemgetter, range(3))


def merge_order(heads: Sequence[Sequence[Message]]) -> tuple[Ints, list[Message]]:
    """The order of `log-time/1` as indexes into the partitions' records laid end to end, and these.

    `heads` come in order of (topic, partition), each in offset order. Taking the least head again and again is the same
    as a stable sort by the greatest time so far within each partition.
    """
    messages = [message for head in heads for message in head]
    if len(heads) == 1:
        return np.arange(len(messages)), messages
    times = [np.maximum.accumulate(np.array([message.time_us for message in head], np.int64)) for head in heads]
    return np.argsort(np.concatenate(times), kind="stable"), messages


def places_of(records: Sequence[Message]) -> tuple[tuple[str, ...], Ints, Ints, Ints]:
    """Where records stand, as a Batch says it: topic names, and int64[n] each of their index, partition and offset."""
    names = list(map(_TOPIC, records))  # no step of Python a record, and no object for the garbage collector
    topics = tuple(dict.fromkeys(names))
    index = {topic: k for k, topic in enumerate(topics)}
    return (
        topics,
        np.array(list(map(index.__getitem__, names)), np.int64) if len(topics) > 1 else np.zeros(len(names), np.int64),
        np.array(list(map(_PARTITION, records)), np.int64),
        np.array(list(map(_OFFSET, records)), np.int64),
    )
