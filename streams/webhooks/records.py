"""The records of delivery: what was routed to whom, what must outlive a crash, what was given up.

A delivery names for each subscriber [sequence, place in its batch, size of the batch], and holds the alert itself:

    {"v":1,"to":{"case-tool":[17,0,1]},"sequences":{"case-tool":17,"mail":9},"alert":{...}}

`sequences` is how far every subscriber's count was behind it, so that a sequence is found by halving. One that a person
asked for again has no `sequences`, and the subscriber's first number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sekisho.log import Message as Record
from streams.webhooks.message import Alert, json_bytes
from streams.webhooks.outbox import Undelivered

ROUTER = b"router"
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Delivery:
    """A record of the deliveries topic. sequences: None for one that was asked for again."""

    offset: int
    time_s: float
    to: Mapping[str, Place]
    sequences: Mapping[str, int] | None
    alert: Alert


@dataclass(frozen=True)
class Routed:
    """How far routing is: the next offset of each partition of alerts, and the last sequence of each subscriber."""

    positions: Mapping[int, int] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As a record."""
        positions = {str(partition): offset for partition, offset in self.positions.items()}
        return json_bytes({"v": 1, "positions": positions, "sequences": dict(self.sequences)})

    @classmethod
    def decode(cls, raw: bytes) -> Routed:
        """What `encode` wrote."""
        found = json.loads(raw)
        return cls({int(key): offset for key, offset in found["positions"].items()}, found["sequences"])


def encode_delivery(to: Mapping[str, Place], sequences: Mapping[str, int] | None, alert: bytes) -> bytes:
    """A delivery around an alert's own bytes."""
    head: dict[str, object] = {"v": 1, "to": to}
    if sequences is not None:
        head["sequences"] = sequences
    return json_bytes(head)[:-1] + b',"alert":' + alert + b"}"


def decode_delivery(record: Record) -> Delivery:
    """Read one."""
    found = json.loads(record.value or b"{}")
    to = {name: tuple(place) for name, place in found["to"].items()}
    return Delivery(record.offset, record.time_us / 1e6, to, found.get("sequences"), found["alert"])


def subscriber_key(id: str) -> bytes:
    """The key of an outbox on the webhooks topic."""
    return f"subscriber {id}".encode()


def encode_undelivered(lost: Undelivered) -> bytes:
    """What was given up, with the alerts themselves where they are known."""
    item = lost.item
    values: dict[str, Any] = {
        "v": 1,
        "subscriber": lost.subscriber,
        "webhook_id": item.message.id if item.message else None,
        "first_sequence": item.first,
        "sequence": item.last,
        "reason": lost.reason,
        "tries": item.tries,
        "alerts": list(item.message.alerts) if item.message else [],
    }
    return json_bytes(values)
