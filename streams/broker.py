"""What the lane asks of Kafka: one small protocol, so that the same lane runs on a cluster and in a simulation.

streams/client.py keeps it with confluent-kafka; sekisho/testing/simulated_kafka.py in memory, with faults.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sekisho.errors import SekishoError
from sekisho.log import Message

Partition = tuple[str, int]


class Send(NamedTuple):
    """A record to write. The partition is reduced modulo the topic's partitions."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True)
class Polled:
    """What a poll brought: records, in offset order within a partition, and the partitions read to their end."""

    messages: Sequence[Message] = ()
    ended: Collection[Partition] = field(default_factory=frozenset)


class BrokerError(Exception):
    """A client is of no more use: close it and make a new one. Whether the last request took effect is unknown."""


class FencedError(BrokerError):
    """Another lane has taken over; this one's writes no longer count."""


class LostRecordsError(SekishoError):
    """The log no longer holds what the lane must read: waiting and trying again is of no use."""


class Reader(Protocol):
    """Reads partitions from given offsets on; only what is committed."""

    def poll(self, limit: int, timeout_s: float) -> Polled:
        """At most `limit` records. Raises BrokerError, LostRecordsError."""

    def pause(self, partitions: Collection[Partition]) -> None:
        """Bring no more of these for now."""

    def resume(self, partitions: Collection[Partition]) -> None:
        """Bring them again."""

    def close(self) -> None:
        """Let go of all; never raises."""


class Answer(Protocol):
    """What becomes of a call that goes on beside the lane."""

    def result(self, timeout: float | None = None) -> int | None:
        """What the call returns, or raises. Raises TimeoutError while it goes on, after so many seconds."""


class Writer(Protocol):
    """Writes in transactions (exactly once), or records one by one (at least once). All but close raise BrokerError."""

    def begin(self) -> None:
        """Begin a transaction."""

    def send(self, sends: Iterable[Send]) -> None:
        """Hand records over, in order."""

    def commit(self) -> int | None:
        """Commit the transaction: when it returns, all of it counts. The offset of the record sent last, if known."""

    def flush(self) -> None:
        """Without a transaction: when it returns, all that was sent is on its topics."""

    def append(self, send: Send) -> int:
        """Without a transaction: write one record and wait for its offset."""

    def beside(self, call: Callable[[], int | None]) -> Answer:
        """Begin one of the calls that wait for the brokers, and do not wait. No other call before its answer."""

    def close(self) -> None:
        """Let go; what is not confirmed may or may not count. Never raises."""


class Leadership(Protocol):
    """Who is active: whoever holds the only partition of the control topic."""

    def poll(self) -> bool:
        """True while this member holds it, as far as it knows. Call often. Raises BrokerError."""

    def silent_s(self) -> float:
        """Seconds since the brokers were heard last; infinite before that."""

    def has_met(self) -> bool:
        """True while the group has met, so that somebody holds the partition."""

    def close(self) -> None:
        """Leave, so that another takes over at once; never raises."""


class Broker(Protocol):
    """Makes clients. `now` and `wait` are the only clock that the lane knows."""

    def now(self) -> float:
        """Seconds, monotonic."""

    def wait(self, seconds: float) -> None:
        """Do nothing for so long."""

    def partitions(self, topics: Sequence[str]) -> Sequence[Partition]:
        """Every partition of the topics. Raises BrokerError."""

    def bounds(self, partitions: Sequence[Partition]) -> Mapping[Partition, tuple[int, int]]:
        """The first offset that each still holds, and the one behind its last. Raises BrokerError."""

    def reader(self, positions: Mapping[Partition, int | None]) -> Reader:
        """Read from these offsets; None is the earliest that there is."""

    def writer(self, transactional: bool) -> Writer:
        """A new writer. A transactional one fences all before it; their transactions are settled when this returns."""

    def leadership(self) -> Leadership:
        """Join those who would be active."""

    def complaint(self) -> str:
        """What clients have said of the cluster since this was asked last, or "": often why a request failed."""

    def note_positions(self, positions: Mapping[Partition, int]) -> None:
        """Tell lag tools how far the lane is; no guarantee rests on it. Never raises."""
