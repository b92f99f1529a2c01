"""The router: committed alerts in; for each that somebody wants, the next number of each subscriber's sequence out.

One worker routes at a time, as one scores: whoever leads, with a transactional producer that fences the one before. One
transaction holds what was routed, how far the alerts are read, and what the couriers have done; so a sequence has no
gaps whatever crashes. Crash-only: after an error of a client all couriers stop, and the webhooks topic says how
to go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sekisho.alert_filter import AlertFilter
from sekisho.log import Message as Record
from sekisho.settings import TopicSettings
from sekisho.webhook_settings import Webhook
from streams.broker import Broker, BrokerError, FencedError, Leadership, Partition, Reader, Send, Writer
from streams.webhooks.couriers import Office
from streams.webhooks.message import json_bytes
from streams.webhooks.outbox import Outbox
from streams.webhooks.records import ROUTER, Place, Routed, encode_delivery, encode_undelivered, subscriber_key

WAITING, STANDING_BY, ROUTING = "waiting", "standing by", "routing"
_AT_ONCE = 500
_APART_S = 0.03  # from one transaction to the next, each with a note: what comes meanwhile shares one
_SAVE_EVERY_S = 0.1  # beside what is routed
_SAVE_ALONE_S = 0.5  # in a transaction of its own, which costs the brokers as much as a batch of the lane
_NOTE_EVERY_S = 5.0
_BACKOFF_S = (0.05, 2.0)


@dataclass
class RouterStatus:
    """phase: one of the three above. Counts since the start."""

    phase: str = WAITING
    alerts: int = 0
    routed: int = 0
    not_alerts: int = 0
    errors: int = 0
    last_error: str = ""
    sequences: Mapping[str, int] = field(default_factory=dict)


class Router:
    """Whoever owns it calls turn() again and again from one thread, then close()."""

    def __init__(
        self,
        broker: Broker,
        topics: TopicSettings,
        webhooks: Sequence[Webhook],
        office: Office,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.broker, self.topics, self.office, self.log = broker, topics, office, log
        self.webhooks = [(webhook, AlertFilter(webhook.filter)) for webhook in webhooks]
        self.status = RouterStatus()
        self.routed = Routed()
        self._leadership: Leadership | None = None
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._saved_s = self._noted_s = 0.0
        self._failures = 0

    def turn(self) -> None:
        """Do one small thing."""
        try:
            self._turn()
            self._failures = 0
        except BrokerError as error:
            self._recover(error)

    def close(self) -> None:
        """Save what was done, and let go; another takes over at once."""
        try:
            if self._writer is not None and self._reader is not None:
                self._commit(self._writer, [*self._saves(), self._note()])
        except BrokerError as error:
            self.log(f"webhooks: what was delivered last may be delivered again: {error}")
        self._retire()
        self._leave()

    def _turn(self) -> None:
        if self._leadership is None:
            self._leadership = self.broker.leadership()
        if not self._leadership.poll():
            self._retire()
            self.status.phase = STANDING_BY
            self.broker.wait(0.1)
        elif self._writer is None or self._reader is None:
            self._take_over()
        else:
            self._route(self._reader, self._writer)

    def _take_over(self) -> None:
        self._writer = self.broker.writer(True)
        kept = self._kept()
        self.routed = Routed.decode(kept[ROUTER]) if ROUTER in kept else Routed()
        deliveries = (self.topics.deliveries, 0)
        _, end = self.broker.bounds([deliveries])[deliveries]
        self.office.open([self._outbox(webhook, kept, end) for webhook, _ in self.webhooks])
        self._reader = self.broker.reader(self._positions())
        self.status.phase, self.status.sequences = ROUTING, self.routed.sequences
        self._saved_s = self._noted_s = 0.0

    def _positions(self) -> dict[Partition, int | None]:
        """Where to read the alerts on. What retention has removed meanwhile is told, and passed over."""
        bounds = self.broker.bounds(self.broker.partitions([self.topics.alerts]))
        positions: dict[Partition, int | None] = {}
        for place, (low, _) in bounds.items():
            position = self.routed.positions.get(place[1])
            if position is not None and position < low:
                self.log(f"{place[0]}[{place[1]}]: offsets {position} to {low - 1} are gone: retention; not routed")
                position = low
            positions[place] = position
        return positions

    def _kept(self) -> dict[bytes, bytes]:
        """The newest value of each key of the webhooks topic."""
        partition, kept = (self.topics.webhooks, 0), dict[bytes, bytes]()
        reader = self.broker.reader({partition: None})
        try:
            ended = False
            while not ended:
                polled = reader.poll(10_000, 1.0)
                kept |= {record.key: record.value for record in polled.messages if record.key and record.value}
                ended = partition in polled.ended
        finally:
            reader.close()
        return kept

    def _outbox(self, webhook: Webhook, kept: Mapping[bytes, bytes], end: int) -> Outbox:
        raw = kept.get(subscriber_key(webhook.id))
        return Outbox(webhook, end) if raw is None else Outbox.from_json(webhook, json.loads(raw))

    def _route(self, reader: Reader, writer: Writer) -> None:
        if (early_s := self._noted_s + _APART_S - self.broker.now()) > 0:
            self.broker.wait(min(early_s, _APART_S))
        records = reader.poll(_AT_ONCE, 0.02).messages
        now = self.broker.now()
        sends = self._routed(records) if records else []
        if now - self._saved_s >= (_SAVE_EVERY_S if sends else _SAVE_ALONE_S):
            self._saved_s = now
            sends += self._saves()
        if sends or (now - self._noted_s >= _NOTE_EVERY_S and records):
            self._noted_s = now
            self._commit(writer, [*sends, self._note()])
            self.broker.note_positions({(self.topics.alerts, k): at for k, at in self.routed.positions.items()})

    def _routed(self, records: Sequence[Record]) -> list[Send]:
        """The deliveries of some alerts; positions and sequences move on."""
        alerts, sends = list[tuple[bytes, dict[str, Any]]](), list[Send]()
        positions, sequences = dict(self.routed.positions), dict(self.routed.sequences)
        for record in records:
            positions[record.partition] = record.offset + 1
            alert = _alert(record.value)
            if alert is None:
                self.status.not_alerts += 1
                self.log(f"{record.topic}[{record.partition}], offset {record.offset}: not an alert, passed over")
            else:
                alerts.append((record.value or b"", alert))
        to: list[dict[str, Place]] = [{} for _ in alerts]
        for webhook, wants in self.webhooks:
            taken = wants.taken([alert for _, alert in alerts])
            for start in range(0, len(taken), webhook.batch):
                batch = taken[start : start + webhook.batch]
                for index, k in enumerate(batch):
                    sequences[webhook.id] = sequences.get(webhook.id, 0) + 1
                    to[k][webhook.id] = sequences[webhook.id], index, len(batch)
        behind = dict(self.routed.sequences)
        for (raw, _), places in zip(alerts, to, strict=True):
            if places:
                behind |= {name: place[0] for name, place in places.items()}
                sends.append(Send(self.topics.deliveries, 0, None, encode_delivery(places, behind, raw)))
        self.status.alerts += len(alerts)
        self.status.routed += len(sends)
        self.routed = Routed(positions, sequences)
        self.status.sequences = sequences
        return sends

    def _saves(self) -> list[Send]:
        outboxes, given_up = self.office.collect()
        for lost in given_up:
            self.log(f"webhook {lost.subscriber}: sequence {lost.item.first} is given up: {lost.reason}")
        return [
            *(
                Send(self.topics.undelivered, 0, lost.subscriber.encode(), encode_undelivered(lost))
                for lost in given_up
            ),
            *(Send(self.topics.webhooks, 0, subscriber_key(name), json_bytes(kept)) for name, kept in outboxes),
        ]

    def _note(self) -> Send:
        return Send(self.topics.webhooks, 0, ROUTER, self.routed.encode())

    def _commit(self, writer: Writer, sends: Sequence[Send]) -> None:
        writer.begin()
        writer.send(sends)
        writer.commit()

    def _recover(self, error: BrokerError) -> None:
        self.status.errors += 1
        self.status.last_error = f"{type(error).__name__}: {error}"
        self.log(f"webhooks: {self.status.last_error}")
        self._retire()
        if isinstance(error, FencedError):
            self._leave()
        low, high = _BACKOFF_S
        self.broker.wait(min(high, low * 2 ** min(self._failures, 10)))
        self._failures += 1

    def _retire(self) -> None:
        """Stop delivering and writing."""
        self.status.phase = WAITING
        self.office.shut()
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    def _leave(self) -> None:
        if self._leadership is not None:
            self._leadership.close()
        self._leadership = None


def _alert(raw: bytes | None) -> dict[str, Any] | None:
    """The alert of a record, or None for what no worker wrote."""
    try:
        found = json.loads(raw or b"")
        return found if found["v"] == 1 and isinstance(found["members"], list) else None
    except (ValueError, KeyError, TypeError):
        return None
