"""Reading the journal: which of its records count, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sekisho.journal import START, JournalError, JournalRecord, decode
from streams.broker import Broker, Partition


@dataclass(frozen=True)
class Place:
    """Where a state stands: behind which record of the journal. journal: offset to read on from, None the earliest.

    pack, since, before: what that record says of them; "" and None before the first.   seed: of the history before it.
    """

    sequence: int = -1
    epoch: int = 0
    chain: bytes = START
    positions: Mapping[Partition, int] = field(default_factory=dict)
    journal: int | None = None
    pack: str = ""
    since: int = 0
    before: str | None = None
    seed: str | None = None

    def after(self, record: JournalRecord, offset: int | None) -> Place:
        """The place behind the next record, which stands at `offset` of the journal; None is somewhere further on."""
        positions = dict(self.positions) | {(r.topic, r.partition): r.end for r in record.ranges}
        return replace(
            self,
            sequence=record.sequence,
            epoch=record.epoch,
            chain=record.chain,
            positions=positions,
            journal=self.journal if offset is None else offset + 1,
            pack=record.pack,
            since=record.since,
            before=record.before,
            seed=record.seed,
        )


class Entry(NamedTuple):
    """A record that counts, and its offset."""

    offset: int
    record: JournalRecord


class JournalTail:
    """The journal from a place on.

    A record counts when its epoch is not below that of the last one that counts, and its sequence is the next. Others
    are void: those of a lane that another has followed, and what a retry wrote twice. A gap is an error; but `anywhere`
    takes the first record that there is for the beginning.
    """

    def __init__(self, broker: Broker, topic: str, place: Place, anywhere: bool = False) -> None:
        self.partition = (topic, 0)
        self.reader = broker.reader({self.partition: place.journal})
        self.sequence, self.epoch, self.anywhere = place.sequence, place.epoch, anywhere
        self.offset = place.journal or 0  # of the next record to read
        self.entries: deque[Entry] = deque()
        self.ended = False

    @property
    def at_end(self) -> bool:
        """True when all that is committed has been taken, as far as is known."""
        return self.ended and not self.entries

    def peek(self, timeout_s: float) -> Entry | None:
        """The next record that counts; it stays the next until `pop`. Raises BrokerError, JournalError."""
        if not self.entries:
            polled = self.reader.poll(1000, timeout_s)
            for message in polled.messages:
                self._read(message.offset, message.value or b"")
            self.ended = self.partition in polled.ended or (self.ended and not polled.messages)
        return self.entries[0] if self.entries else None

    def pop(self) -> None:
        """Go on to the record behind the next."""
        self.entries.popleft()

    def close(self) -> None:
        """Let the reader go."""
        self.reader.close()

    def _read(self, offset: int, raw: bytes) -> None:
        record = decode(raw)
        self.offset = offset + 1
        if record.epoch < self.epoch or record.sequence <= self.sequence:
            return
        if record.sequence != self.sequence + 1 and not self.anywhere:
            raise JournalError(f"record {record.sequence} follows {self.sequence} at offset {offset}: some are missing")
        self.sequence, self.epoch, self.anywhere = record.sequence, record.epoch, False
        self.entries.append(Entry(offset, record))
