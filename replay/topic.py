"""A Kafka topic as replay reads it, with kafka-python: committed records, partition by partition, in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from replay.topic_input import Place
from sekisho.errors import SourceError
from sekisho.log import Message

_AHEAD = 20_000  # records of one partition that may wait for another's
_AHEAD_BYTES = 64 << 20
_WAIT_MS = 500
_ANSWER_WITHIN_MS = 10_000
_SILENT_S = 60.0


class TopicReader:
    """The committed records of a topic from `first` to `end`, at most to the end that it has when the reader is made.

    client: further settings of kafka-python, for TLS and SASL.   first: None is the topic's beginning; a time is where
    the broker's index finds it, at or before the first record of that time.   end: where an offset bounds `ends`.
    Raises SourceError where the topic cannot be read, or no longer holds `first`.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        client: Mapping[str, object],
        first: Place | None = None,
        end: Place | None = None,
    ) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        with self._told():
            self.consumer = KafkaConsumer(
                bootstrap_servers=bootstrap.split(","),
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=10_000,
                fetch_max_wait_ms=_WAIT_MS,
                bootstrap_timeout_ms=_ANSWER_WITHIN_MS,
                **client,
            )
            found = self.consumer.partitions_for_topic(topic)
            if not found:
                raise SourceError(f"{bootstrap}: there is no topic {topic!r}", "give its name, or look at the address")
            self.places = {k: TopicPartition(topic, k) for k in sorted(found)}
            self.consumer.assign(list(self.places.values()))
            self.ends = self.consumer.end_offsets(list(self.places.values()))
            self.expected = self._bound(end)
            self.firsts = self._seek(first)
        self.queues: dict[int, deque[Message]] = {k: deque() for k in self.places}
        self.held = dict.fromkeys(self.places, 0)  # bytes
        self.popped = dict(self.firsts)  # the offset behind the last record taken

    @property
    def progress(self) -> float:
        """How much has been taken, 0 to 1."""
        whole = sum(max(0, self.expected[place] - self.firsts[place]) for place in self.popped)
        taken = sum(min(at, self.expected[place]) - self.firsts[place] for place, at in self.popped.items())
        return min(1.0, max(0.0, taken / whole)) if whole else 1.0

    def peek(self, partition: int) -> Message | None:
        """The partition's next record; None behind the last. Raises SourceError where the brokers fall silent."""
        queue, place = self.queues[partition], self.places[partition]
        heard, before = time.monotonic(), -1
        while not queue and (at := self.consumer.position(place)) < self.ends[place]:
            if at != before:  # also past markers and aborted records, which are not shown
                heard, before = time.monotonic(), at
            elif time.monotonic() - heard > _SILENT_S:
                raise SourceError(
                    f"{self.bootstrap}: no answer for {_SILENT_S:.0f} s at {self.topic}[{partition}], offset {at}",
                    "look at the brokers, then start again",
                )
            self._fill()
        return queue[0] if queue else None

    def pop(self, partition: int) -> Message:
        """Take the record that `peek` showed."""
        message = self.queues[partition].popleft()
        self.held[partition] -= len(message.value or b"")
        self.popped[self.places[partition]] = message.offset + 1
        return message

    def take(self, partition: int, end: int) -> Iterator[Message]:
        """The partition's next records, below the offset `end`."""
        while (message := self.peek(partition)) is not None and message.offset < end:
            yield self.pop(partition)

    def close(self) -> None:
        """Let the client go."""
        self.consumer.close()

    def _bound(self, end: Place | None) -> dict[TopicPartition, int]:
        """Cut `ends` at an offset; where the end is expected. A time's is a guess: records need not be in its order."""
        if end is not None and end.offset is not None:
            self.ends = {place: min(at, end.offset) for place, at in self.ends.items()}
        if end is None or end.time_us is None:
            return self.ends
        return {place: min(self.ends[place], at) for place, at in self._at_time(end.time_us).items()}

    def _seek(self, first: Place | None) -> dict[TopicPartition, int]:
        begins = self.consumer.beginning_offsets(list(self.places.values()))
        if first is not None and first.time_us is not None:
            begins = self._at_time(first.time_us)
        elif first is not None and first.offset is not None:
            for place, begin in begins.items():
                if first.offset < begin:
                    raise SourceError(
                        f"{self.topic}[{place.partition}]: offset {first.offset} is gone, it begins at {begin}",
                        "leave `from` out to read from where each partition begins",
                    )
            begins = dict.fromkeys(begins, first.offset)
        for place, begin in begins.items():
            begins[place] = min(begin, self.ends[place])
            self.consumer.seek(place, begins[place])
        return begins

    def _at_time(self, time_us: int) -> dict[TopicPartition, int]:
        """The first offset of at least that time in each partition, its end where there is none."""
        found = self.consumer.offsets_for_times(dict.fromkeys(self.places.values(), -(-time_us // 1000)))
        return {place: at.offset if at else self.ends[place] for place, at in found.items()}

    def _fill(self) -> None:
        with self._told():
            full = {place for k, place in self.places.items() if self._is_enough(k, place)}
            self.consumer.resume(*(self.consumer.paused() - full))
            self.consumer.pause(*full)
            polled = self.consumer.poll(_WAIT_MS)
        for place, records in polled.items():
            self.held[place.partition] += sum(len(r.value or b"") for r in records)
            self.queues[place.partition] += [
                Message(self.topic, place.partition, r.offset, r.timestamp * 1000, r.key, r.value) for r in records
            ]

    def _is_enough(self, partition: int, place: TopicPartition) -> bool:
        ahead = len(self.queues[partition]) > _AHEAD or self.held[partition] > _AHEAD_BYTES
        return ahead or self.consumer.position(place) >= self.ends[place]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            what = f"{self.bootstrap}: {type(error).__name__}: {str(error)[:300]}"
            raise SourceError(what, "look at the address and at the brokers") from error
