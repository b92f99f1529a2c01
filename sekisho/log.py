"""A record of the log, and the order of records from several partitions: the journal's merge rule `log-time/1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Message(NamedTuple):
    """A record of a topic. time_us: when the log took it (LogAppendTime), microseconds UTC."""

    topic: str
    partition: int
    offset: int
    time_us: int
    key: bytes | None
    value: bytes | None


def merge_order(heads: Sequence[Sequence[Message]]) -> tuple[npt.NDArray[np.int64], list[Message]]:
    """The order of `log-time/1` as indexes into the partitions' records laid end to end, and these.

    `heads` come in order of (topic, partition), each in offset order. Taking the least head again and again is the same
    as a stable sort by the greatest time so far within each partition.
    """
    messages = [message for head in heads for message in head]
    if len(heads) == 1:
        return np.arange(len(messages)), messages
    times = [np.maximum.accumulate(np.array([message.time_us for message in head], np.int64)) for head in heads]
    return np.argsort(np.concatenate(times), kind="stable"), messages
