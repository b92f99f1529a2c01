"""A source, a sink and a clock for tests, with everything that goes wrong as items of a list.

    source = ListSource([event, Late(event2, timedelta(hours=2)), Duplicate(0), Malformed(b'{"id":'), Crash(), event3])

The source is a log of one partition: item k is the record of offset k; it can be read again from any offset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Event = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_USUAL_LAG = timedelta(milliseconds=100)


@dataclass(frozen=True)
class Late:
    """The event, taken by the log only `by` after its event time."""

    event: Event
    by: timedelta


@dataclass(frozen=True)
class Duplicate:
    """The bytes of the item at `of` once more, as a sender repeats what was not acknowledged."""

    of: int


@dataclass(frozen=True)
class Malformed:
    """Bytes that are no event."""

    raw: bytes


@dataclass(frozen=True)
class Crash:
    """The reader dies here, once: reading on raises Crashed; after that the item is passed over."""


class Crashed(Exception):
    """Raised where a Crash stands. `offset` is its place in the list."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"a Crash stands at offset {offset}")


Item = Event | Late | Duplicate | Malformed | Crash


@dataclass(frozen=True)
class Record:
    """A record as a log holds it. record_time_us: when the log took it, microseconds UTC, never falling."""

    topic: str
    partition: int
    offset: int
    record_time_us: int
    value: bytes


class ListSource:
    """A log of one partition made of items.

    events: mappings in the wire format; `time_key` names their event time, RFC 3339 with a zone.
    """

    def __init__(self, items: Sequence[Item], topic: str = "payments", time_key: str = "time") -> None:
        self.items, self.topic, self.time_key = tuple(items), topic, time_key
        self.position = 0
        self._crashed: set[int] = set()
        self._records = self._log()

    def seek(self, offset: int) -> None:
        """Read on from this offset."""
        self.position = offset

    def poll(self, most: int = 1000) -> list[Record]:
        """The next records, at most so many; none at the end. Raises Crashed where a Crash stands."""
        found: list[Record] = []
        while self.position < len(self.items) and len(found) < most:
            record = self._records[self.position]
            if record is not None:
                found.append(record)
            elif self.position not in self._crashed:
                if found:
                    break
                self._crashed.add(self.position)
                raise Crashed(self.position)
            self.position += 1
        return found

    def _log(self) -> list[Record | None]:
        records: list[Record | None] = []
        latest = 0
        for offset, item in enumerate(self.items):
            if isinstance(item, Crash):
                records.append(None)
                continue
            latest = max(latest, self._arrival_us(item))
            records.append(Record(self.topic, 0, offset, latest, self._bytes(item)))
        return records

    def _bytes(self, item: Item) -> bytes:
        match item:
            case Malformed(raw):
                return raw
            case Duplicate(of):
                return self._bytes(self.items[of])
            case Late(event):
                return _json(event)
            case Crash():
                raise ValueError("a Crash has no bytes: a Duplicate names it")
            case _:
                return _json(item)

    def _arrival_us(self, item: Item) -> int:
        """When the log would take the item; 0 for what says no time."""
        match item:
            case Late(event, by):
                return self._event_us(event) + by // timedelta(microseconds=1)
            case Malformed() | Duplicate() | Crash():
                return 0
            case _:
                return self._event_us(item) + _USUAL_LAG // timedelta(microseconds=1)

    def _event_us(self, event: Event) -> int:
        return (datetime.fromisoformat(event[self.time_key]) - _EPOCH) // timedelta(microseconds=1)


@dataclass
class ListSink:
    """Takes records in transactions: what was not committed when its writer died was never there.

    committed: (topic, value) of every committed record, in order.
    """

    committed: list[tuple[str, bytes]] = field(default_factory=list)
    pending: list[tuple[str, bytes]] = field(default_factory=list)

    def send(self, topic: str, value: bytes) -> None:
        """Add a record to the open transaction."""
        self.pending.append((topic, value))

    def commit(self) -> None:
        """Make the open transaction's records visible, all at once."""
        self.committed += self.pending
        self.pending = []

    def abort(self) -> None:
        """Forget the open transaction."""
        self.pending = []

    def values(self, topic: str) -> list[bytes]:
        """The committed values of one topic, in order."""
        return [value for name, value in self.committed if name == topic]


@dataclass
class FixedClock:
    """A clock that stands still until it is told to go on."""

    now: datetime = datetime(2026, 1, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        """Let `by` pass. Raises ValueError for a step back: time has none."""
        if by < timedelta(0):
            raise ValueError("a clock does not go back")
        self.now += by


def _json(event: Event) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
