"""Reads the deliveries topic for one subscriber, in a thread of its own: a full outbox makes it wait, nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Event, Thread

from sekisho.log import Message as Record
from sekisho.webhook_settings import Webhook
from streams.broker import Broker, BrokerError, LostRecordsError
from streams.webhooks.message import message_of
from streams.webhooks.outbox import Item
from streams.webhooks.records import Delivery, decode_delivery

_AT_ONCE = 100
_RETRY_S = 1.0
# Items with the offsets behind them, and how far the topic is read; offsets of items that are not there any more.
Take = Callable[[list[tuple[Item, int]], int], object]
Lose = Callable[[list[int]], object]


class Assembler:
    """Puts the records of a batch together again: they stand one after the other, maybe with others' between."""

    def __init__(self, webhook: Webhook) -> None:
        self.webhook = webhook
        self.parts: dict[tuple[bool, int], list[Delivery]] = {}

    def add(self, records: Iterable[Record]) -> Iterator[tuple[Item, int]]:
        """The items that are complete, each with the offset up to which nothing is missing."""
        for record in records:
            delivery = decode_delivery(record)
            place = delivery.to.get(self.webhook.id)
            if place is None:
                continue
            sequence, index, size = place
            key = delivery.sequences is None, sequence - index
            if index == 0:
                self.parts[key] = []
            parts = self.parts.setdefault(key, [])
            parts.append(delivery)
            if index == size - 1:
                del self.parts[key]
                if len(parts) == size:
                    yield self._item(key, parts), self.behind(delivery.offset + 1)

    def behind(self, read: int) -> int:
        """From where to read on after a restart, when all below `read` is read: a batch is not torn."""
        return min((parts[0].offset for parts in self.parts.values()), default=read)

    def _item(self, key: tuple[bool, int], parts: Sequence[Delivery]) -> Item:
        again, first = key
        message = message_of(self.webhook.id, self.webhook.audience, first, [part.alert for part in parts])
        last = first + len(parts) - 1
        return Item(parts[0].offset, first, last, parts[0].time_s, again, message=message)


class DeliveryFeed:
    """Brings first the messages that open items lack since a restart, then what is new. lacking: these items."""

    def __init__(
        self,
        broker: Broker,
        topic: str,
        webhook: Webhook,
        start: int,
        lacking: Mapping[int, Item],
        has_room: Callable[[], bool],
        take: Take,
        lose: Lose,
        log: Callable[[str], None],
    ) -> None:
        self.broker, self.partition, self.webhook, self.log = broker, (topic, 0), webhook, log
        self.start_at: int | None = start
        self.lacking = dict(lacking)
        self.has_room, self.take, self.lose = has_room, take, lose
        self.stopping = Event()
        self.thread = Thread(target=self._run, name=f"feed {webhook.id}", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self.thread.start()

    def stop(self) -> None:
        """End soon."""
        self.stopping.set()

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._restore()
                self._follow()
            except LostRecordsError:
                self._pass_over()
            except BrokerError as error:
                self.log(f"webhook {self.webhook.id}: the deliveries topic: {error}")
                self.stopping.wait(_RETRY_S)

    def _pass_over(self) -> None:
        """The worker was away for longer than the topic's retention: say so, and go on with what is left."""
        if self.lacking:
            self.lose([self.lacking.pop(min(self.lacking)).offset])
            return
        self.log(f"webhook {self.webhook.id}: what was routed from offset {self.start_at} on is gone: retention")
        self.start_at = None

    def _restore(self) -> None:
        """Read the open items again. They are few, and far apart at worst, so each run of them is read by itself."""
        while self.lacking and not self.stopping.is_set():
            wanted = min(self.lacking)
            reader, assembler = self.broker.reader({self.partition: wanted}), Assembler(self.webhook)
            try:
                while self.lacking and not self.stopping.is_set():
                    records = reader.poll(_AT_ONCE, 0.2).messages
                    if not records:
                        continue
                    found = [(item, behind) for item, behind in assembler.add(records) if item.offset in self.lacking]
                    for item, _ in found:
                        self.lacking.pop(item.offset)
                    read = records[-1].offset + 1
                    gone = [offset for offset in self.lacking if offset < assembler.behind(read)]
                    for offset in gone:
                        self.lacking.pop(offset)
                    self.take(found, 0)
                    self.lose(gone)
                    if self.lacking and min(self.lacking) > read + 10 * _AT_ONCE:
                        break
            finally:
                reader.close()

    def _follow(self) -> None:
        reader, assembler = self.broker.reader({self.partition: self.start_at}), Assembler(self.webhook)
        try:
            while not self.stopping.is_set():
                if not self.has_room():
                    self.stopping.wait(0.05)
                    continue
                records = reader.poll(_AT_ONCE, 0.2).messages
                if records:
                    items = list(assembler.add(records))
                    self.start_at = assembler.behind(records[-1].offset + 1)
                    self.take(items, self.start_at)
        finally:
            reader.close()
