"""Sending again what a person asks for: the same ids, sequences and bytes, put on the deliveries topic once more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from streams.broker import Broker, Send
from streams.webhooks.catch_up import Archive
from streams.webhooks.records import Delivery, encode_delivery

Chosen = Callable[[Delivery, int], bool]


def redeliver(broker: Broker, topic: str, subscriber: str, start: int | None, chosen: Chosen) -> int:
    """Append every delivery to the subscriber, from an offset on, that is chosen by itself and its sequence; how many.

    A batch goes again as a whole, as its signature and id are the whole's. Raises BrokerError.
    """
    count = 0
    writer = broker.writer(False)
    try:
        for batch in _batches(Archive(broker, topic).read(start), subscriber):
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
    alert = json.dumps(delivery.alert, ensure_ascii=False, separators=(",", ":")).encode()
    return encode_delivery({subscriber: delivery.to[subscriber]}, None, alert)
