"""What was routed to a subscriber, found again by sequence: for receivers that were away, and for redelivery.

The deliveries topic is sorted by every subscriber's sequence, so a number is found by halving.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from streams.broker import Broker, LostRecordsError
from streams.webhooks.records import Delivery, decode_delivery

_AT_ONCE = 500
_NEAR = 500  # records that are rather read than halved
_REMOVED = -1  # retention has removed what stood there


class Archive:
    """Reads the deliveries topic anywhere. One reader at a time; safe to call from any thread."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker, self.partition = broker, (topic, 0)
        self._lock = Lock()

    def after(self, subscriber: str, sequence: int, limit: int) -> list[tuple[int, Delivery]]:
        """The first `limit` deliveries behind a sequence, in order, each with its own. Raises BrokerError."""
        with self._lock:
            found: list[tuple[int, Delivery]] = []
            for delivery in self.read(self._start(subscriber, sequence)):
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

    def _start(self, subscriber: str, sequence: int) -> int | None:
        """An offset from which on nothing behind the sequence is missed."""
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
