"""The inputs' partitions as one log: buffered, and merged by record time as the journal's rule `log-time/1` says.

partition 0:  10:00:01  10:00:04  10:00:05          taken: 01 02 03 04
partition 1:  10:00:02  10:00:03                    left:  05, until partition 1 brings more,
                                                           or its end is known, or it was waited for long enough

Long enough is merge_wait once all is at its end, as every payment waits with it. While there is a backlog nobody
waits: then a partition is passed over only if it looks dead. Time counts from when the client had nothing more at hand,
so that a lane that was busy deciding does not take its own delay for a partition's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from sekisho.journal import Range
from sekisho.log import Message, merge_order
from streams.broker import LostRecordsError, Partition, Reader

_LOST_AFTER_S = 30.0
_DEAD_AFTER_S = 3.0


@dataclass(frozen=True)
class Slice:
    """A piece of the merged log, and the ranges of the partitions that it is made of."""

    messages: Sequence[Message]
    ranges: tuple[Range, ...]


class Feed:
    """Buffers what a reader brings, at most about `buffer_events`, and cuts the merged log into slices.

    positions: where each partition's next slice begins. Times in seconds, as `now` gives them.
    """

    def __init__(
        self, reader: Reader, positions: Mapping[Partition, int | None], buffer_events: int, merge_wait_s: float
    ):
        self.reader, self.merge_wait_s = reader, merge_wait_s
        self.positions = dict(positions)
        self.queues: dict[Partition, deque[Message]] = {partition: deque() for partition in sorted(positions)}
        self.full = max(1, buffer_events // max(1, len(positions)))
        self.paused: set[Partition] = set()
        self.ended: set[Partition] = set()
        self.caught_up: set[Partition] = set()  # those that were at their end once
        self.empty_since: dict[Partition, float] = {}  # of those of which the client has nothing at hand
        self.lacking: Partition | None = None  # the partition that a record of the journal waits for: never paused
        self.lacking_since = 0.0

    def fill(self, limit: int, timeout_s: float, now: float) -> None:
        """Poll once. A full partition is paused, and resumed when half of it is taken."""
        polled = self.reader.poll(limit, timeout_s)
        for message in polled.messages:
            self.queues[message.topic, message.partition].append(message)
        self.ended -= {(message.topic, message.partition) for message in polled.messages}
        self.ended |= set(polled.ended)
        self.caught_up |= self.ended
        seen_all = len(polled.messages) < limit  # else more of any partition may be at hand
        empty = {partition for partition, queue in self.queues.items() if not queue} if seen_all else set()
        self.empty_since = {partition: self.empty_since.get(partition, now) for partition in empty}
        self._hold_back()

    def ready(self, limit: int, now: float) -> Slice | None:
        """The next slice, at most `limit` records, or None while there is nothing whose place in the order is known."""
        open_ended = self._open_ended(now)
        if any(not self.queues[p] for p in open_ended) or not any(self.queues.values()):
            return None
        heads = {p: list(islice(queue, limit)) for p, queue in self.queues.items() if queue}
        order, messages = merge_order(list(heads.values()))
        cut, last = min(limit, len(messages)), -1
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        for p, head in heads.items():
            last += len(head)
            if p in open_ended and len(head) == len(self.queues[p]):
                cut = min(cut, int(ranks[last]) + 1)
        return self._taken([messages[i] for i in order[:cut]])

    def _open_ended(self, now: float) -> list[Partition]:
        """The partitions that may yet bring what belongs before the others' records, and are waited for."""
        behind = self.queues.keys() - self.ended
        backlog = any(self.queues[p] for p in behind)
        patient_s = max(self.merge_wait_s, _DEAD_AFTER_S)
        waits_s = {p: patient_s if backlog or p not in self.caught_up else self.merge_wait_s for p in behind}
        return [p for p, wait_s in waits_s.items() if now - self.empty_since.get(p, now) < wait_s]

    def exactly(self, ranges: Sequence[Range], now: float) -> Slice | None:
        """The slice that the journal names, or None until all of it is buffered. Raises LostRecordsError."""
        heads = []
        for each in ranges:
            queue = self.queues[each.topic, each.partition]
            self._begins(each, queue)
            head = [message for message in islice(queue, each.end - each.first) if message.offset < each.end]
            if not head or head[-1].offset != each.end - 1:
                self._lacks(each, now)
                return None
            heads.append(head)
        self.lacking, self.lacking_since = None, now
        order, messages = merge_order(heads)
        return self._taken([messages[i] for i in order])

    def _begins(self, wanted: Range, queue: deque[Message]) -> None:
        position = self.positions[wanted.topic, wanted.partition]
        if position is None and queue:
            position = queue[0].offset
        if position is not None and position != wanted.first:
            raise LostRecordsError(
                f"{wanted.topic}[{wanted.partition}]: the journal goes on at {wanted.first}, the topic at {position}",
                "use a snapshot that is newer than what the topic still holds",
            )

    def _lacks(self, wanted: Range, now: float) -> None:
        if self.lacking != (wanted.topic, wanted.partition):
            self.lacking, self.lacking_since = (wanted.topic, wanted.partition), now
            self._hold_back()
        if now - self.lacking_since > _LOST_AFTER_S:
            raise LostRecordsError(
                f"{wanted.topic}[{wanted.partition}]: no record at offset {wanted.end - 1}, which the journal names",
                "look whether this is the right cluster, and what became of the topic",
            )

    def _taken(self, messages: Sequence[Message]) -> Slice:
        ends: dict[Partition, int] = {}
        for message in messages:
            partition = message.topic, message.partition
            queue = self.queues[partition]
            first = queue.popleft()
            if self.positions[partition] is None:
                self.positions[partition] = first.offset
            ends[partition] = first.offset + 1
        ranges = tuple(Range(*p, self.positions[p] or 0, ends[p]) for p in sorted(ends))
        self.positions |= ends
        self._hold_back()
        return Slice(messages, ranges)

    def _hold_back(self) -> None:
        lengths = {partition: len(queue) for partition, queue in self.queues.items()}
        if full := {p for p, length in lengths.items() if length >= self.full and p != self.lacking} - self.paused:
            self.reader.pause(full)
            self.paused |= full
        if low := {p for p in self.paused if lengths[p] <= self.full // 2 or p == self.lacking}:
            self.reader.resume(low)
            self.paused -= low
