"""The events topic as people use it: control events and labels are sent to it, and what was said is read from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from rules.controls import Control, ListChange, RuleMute
from sekisho.labels import KEYED
from sekisho.log import Message
from sekisho.settings import Settings
from sekisho.wire.controls import decode_control, is_control
from streams.broker import Broker, BrokerError, Partition, Reader, Send, Writer
from streams.desk import Desk


@dataclass
class Said:
    """What is in force. entries: by list and value, what was said since its last removal, that one included."""

    entries: dict[tuple[str, str], list[ListChange]] = field(default_factory=dict)
    mutes: dict[str, RuleMute] = field(default_factory=dict)

    def take_in(self, control: Control) -> None:
        """One more event, in the log's order."""
        if isinstance(control, RuleMute):
            self.mutes.pop(control.rule, None)
            if control.until_us is not None:
                self.mutes[control.rule] = control
        elif isinstance(control, ListChange):
            key = control.list, control.value
            before = [] if control.remove else self.entries.get(key, [])
            self.entries[key] = [*before, control]


class EventDesk(Desk):
    """Clients for the events topic; kept between uses, and made anew after a failure. For one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._writer: Writer | None = None
        self._recent = Recent(self.broker, settings.topics.events)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        super().__exit__(kind, error, at)

    def close(self) -> None:
        """Let the clients for the topic go."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._recent.close()

    def send(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Send keys and values in order; when it returns, the brokers have them."""
        self._writer = self._writer or self.broker.writer(transactional=False)
        try:
            self._writer.send([Send(self.settings.topics.events, 0, key, value) for key, value in records])
            self._writer.flush()
        except BrokerError:
            self.close()
            raise

    def recent(self, keys: Iterable[bytes]) -> set[bytes]:
        """The keys of the topic's last records that begin as one of these does, whoever sent them."""
        try:
            return self._recent.like(keys)
        except BrokerError:
            self.close()
            raise

    def said(self) -> Said:
        """What people have said, up to now."""
        said = Said()
        for message in self.read([self.settings.topics.events]):
            if is_control(raw := message.value or b"") and isinstance(control := decode_control(raw), Control):
                said.take_in(control)
        return said

    def read(self, topics: list[str]) -> Iterator[Message]:
        """Everything on the topics up to their present ends."""
        return read_all(self.broker, topics)


class Recent:
    """The keys of the topic's last MOST records, read on to its end whenever somebody asks."""

    MOST = 20_000

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker, self.partition = broker, (topic, 0)
        self._reader: Reader | None = None
        self._next = 0
        self._order, self._known = deque[bytes](), dict[bytes, set[bytes]]()

    def like(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those that begin as one of these does. Raises BrokerError."""
        first, end = self.broker.bounds([self.partition])[self.partition]
        if self._reader is None:
            self._next = max(first, end - self.MOST)
            self._reader = self.broker.reader({self.partition: self._next})
        while self._next < end:
            polled = self._reader.poll(10_000, 1.0)
            for message in polled.messages:
                self._next = message.offset + 1
                self._note(message.key or b"")
            if self.partition in polled.ended:  # behind the last record may stand a transaction's marker
                self._next = end
        beginnings = {key[:KEYED] for key in keys}
        return set[bytes]().union(*(self._known.get(each, ()) for each in beginnings))

    def close(self) -> None:
        """Forget it, and let the reader go."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None
        self._order.clear()
        self._known.clear()

    def _note(self, key: bytes) -> None:
        self._order.append(key)
        self._known.setdefault(key[:KEYED], set()).add(key)
        if len(self._order) > self.MOST:
            old = self._order.popleft()
            self._known[old[:KEYED]].discard(old)
            if not self._known[old[:KEYED]]:
                del self._known[old[:KEYED]]


def said_before(broker: Broker, topic: str, positions: Mapping[Partition, int]) -> Iterator[Message]:
    """The events topic up to where a place in the log stands in it; all of it where the place has not come to it."""
    for message in read_all(broker, [topic]):
        if message.offset < positions.get((topic, message.partition), message.offset + 1):
            yield message


def read_all(broker: Broker, topics: list[str]) -> Iterator[Message]:
    """Everything on the topics up to their present ends. Raises BrokerError."""
    wanted: dict[Partition, int | None] = dict.fromkeys(broker.partitions(topics))
    reader, ended = broker.reader(wanted), set[Partition]()
    try:
        while not ended >= wanted.keys():
            polled = reader.poll(10_000, 1.0)
            yield from polled.messages
            ended |= set(polled.ended)
    finally:
        reader.close()
