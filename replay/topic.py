"""A Kafka topic as replay reads it, with kafka-python: committed records, partition by partition, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from sekisho.errors import SourceError
from sekisho.log import Message

_AHEAD = 20_000  # records of one partition that may wait for another's
_WAIT_MS = 500
_ANSWER_WITHIN_MS = 10_000


class TopicReader:
    """The committed records of a topic, from its beginning to the end that it has when the reader is made.

    client: further settings of kafka-python, for TLS and SASL. Raises SourceError where the topic cannot be read.
    """

    def __init__(self, bootstrap: str, topic: str, client: Mapping[str, object]) -> None:
        self.topic = topic
        try:
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
        except KafkaError as error:
            what = f"{bootstrap}: {type(error).__name__}: {str(error)[:300]}"
            raise SourceError(what, "look at the address and at the brokers") from error
        self.queues: dict[int, deque[Message]] = {k: deque() for k in self.places}

    def peek(self, partition: int) -> Message | None:
        """The partition's next record; None behind the last."""
        queue, place = self.queues[partition], self.places[partition]
        while not queue and self.consumer.position(place) < self.ends[place]:
            self._fill()
        return queue[0] if queue else None

    def pop(self, partition: int) -> Message:
        """Take the record that `peek` showed."""
        return self.queues[partition].popleft()

    def take(self, partition: int, end: int) -> Iterator[Message]:
        """The partition's next records, below the offset `end`."""
        while (message := self.peek(partition)) is not None and message.offset < end:
            yield self.pop(partition)

    def close(self) -> None:
        """Let the client go."""
        self.consumer.close()

    def _fill(self) -> None:
        full = {self.places[k] for k, queue in self.queues.items() if len(queue) > _AHEAD}
        self.consumer.resume(*(self.consumer.paused() - full))
        self.consumer.pause(*full)
        for place, records in self.consumer.poll(_WAIT_MS).items():
            self.queues[place.partition] += [
                Message(self.topic, place.partition, r.offset, r.timestamp * 1000, r.key, r.value) for r in records
            ]
