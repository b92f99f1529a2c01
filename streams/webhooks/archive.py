"""What was routed to a subscriber, found again: for receivers that were away, and to send it once more.

The deliveries topic is sorted by every subscriber's sequence, so a number is found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from streams.broker import Broker, LostRecordsError, Send
from streams.webhooks.message import json_bytes
from streams.webhooks.records import Delivery, decode_delivery, encode_delivery

_AT_ONCE = 500
_NEAR = 500  # records that are rather read than halved
_REMOVED = -1  # retention has removed what stood there
Chosen = Callable[[Delivery, int], bool]


class Archive:
    """Reads the deliveries topic anywhere; for one thread at a time."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker, self.partition = broker, (topic, 0)

    def after(self, subscriber: str, sequence: int, limit: int) -> list[tuple[int, Delivery]]:
        """The first `limit` deliveries behind a sequence, in order, each with its own. Raises BrokerError."""
        found: list[tuple[int, Delivery]] = []
        for delivery in self.read(self.start(subscriber, sequence)):
            place = delivery.to.get(subscriber)
            if place is not None and delivery.sequences is not None and place[0] > sequence:
                found.append((place[0], delivery))
                if len(found) == limit:
                    break
        return found

    def read(self, offset: int | None) -> Iterator[Delivery]:
        """Every delivery from an offset on (None: from the first), to the end that the topic has now."""
        _, end = self._bounds()
        reader = self.broker.reader({self.partition: offset})
        try:
            while offset is None or offset < end:
                polled = reader.poll(_AT_ONCE, 0.2)
                for record in polled.messages:
                    offset = record.offset + 1
                    yield decode_delivery(record)
                if self.partition in polled.ended:
                    return
        finally:
            reader.close()

    def start(self, subscriber: str, sequence: int) -> int | None:
        """An offset from which on nothing behind the sequence is missed. Raises BrokerError."""
        low, high = self._bounds()
        known: int | None = None
        while high - low > _NEAR:
            middle = (low + high) // 2
            behind = self._sequence_at(middle, high, subscriber)
            if behind == _REMOVED:
                low = middle
            elif behind is not None and behind <= sequence:
                low = known = middle
            else:
                high = middle
        return known

    def _bounds(self) -> tuple[int, int]:
        return self.broker.bounds([self.partition])[self.partition]

    def _sequence_at(self, offset: int, high: int, subscriber: str) -> int | None:
        """The subscriber's last sequence at the first routed record from an offset on; None if none is below `high`."""
        try:
            for delivery in self.read(offset):
                if delivery.offset >= high:
                    return None
                if delivery.sequences is not None:
                    return delivery.sequences.get(subscriber, 0)
        except LostRecordsError:
            return _REMOVED
        return None


def redeliver(broker: Broker, topic: str, subscriber: str, after: int, chosen: Chosen) -> int:
    """Send what was routed to the subscriber again, under the same ids and sequences; how many alerts.

    after: a sequence behind which all of it stands.   chosen: which deliveries, by themselves and their sequences. A
    batch goes as a whole, as its id and its signature are the whole's. Raises BrokerError.
    """
    count, archive = 0, Archive(broker, topic)
    writer = broker.writer(False)
    try:
        for batch in _batches(archive.read(archive.start(subscriber, after)), subscriber):
            if any(chosen(delivery, delivery.to[subscriber][0]) for delivery in batch):
                writer.send([Send(topic, 0, None, _again(delivery, subscriber)) for delivery in batch])
                count += len(batch)
        writer.flush()
    finally:
        writer.close()
    return count


def _batches(deliveries: Iterable[Delivery], subscriber: str) -> Iterator[list[Delivery]]:
    batch: list[Delivery] = []
    for delivery in deliveries:
        if subscriber not in delivery.to or delivery.sequences is None:
            continue
        _, index, size = delivery.to[subscriber]
        batch = [*batch, delivery] if index else [delivery]
        if index == size - 1 and len(batch) == size:
            yield batch


def _again(delivery: Delivery, subscriber: str) -> bytes:
    return encode_delivery({subscriber: delivery.to[subscriber]}, None, json_bytes(delivery.alert))
