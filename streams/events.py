"""The events topic as people use it: control events and labels are sent to it, and what was said is read from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rules.controls import Control, ListChange, RuleMute
from sekisho.log import Message
from sekisho.wire.controls import decode_control, encode_control, is_control
from streams.broker import Broker, Partition, Send
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
    """Clients for the events topic."""

    def tell(self, controls: Iterable[Control]) -> None:
        """Send control events; when it returns, the brokers have them."""
        self.send((control.id.encode(), encode_control(control)) for control in controls)

    def send(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Send keys and values in order; when it returns, the brokers have them."""
        writer = self.broker.writer(transactional=False)
        try:
            writer.send([Send(self.settings.topics.events, 0, key, value) for key, value in records])
            writer.flush()
        finally:
            writer.close()

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
