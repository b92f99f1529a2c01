"""What a batch becomes, and who makes it so: the seam between the lane and the pack that it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Protocol

from sekisho.decider import Outgoing
from sekisho.errors import SekishoError
from sekisho.journal import Cold, JournalRecord, Range, chain_of
from sekisho.log import Message
from streams.broker import Send
from streams.journal_tail import Place


@dataclass(frozen=True)
class Addressed:
    """Records on their way to a topic."""

    topic: str
    records: Outgoing

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Send]:
        records = self.records
        return map(Send, repeat(self.topic), records.partitions, records.keys, records.values)


@dataclass(frozen=True)
class Outputs:
    """The records of a batch. Each goes to the partition of the event that it comes from."""

    decisions: Addressed
    alerts: Addressed
    dead_letters: Addressed
    watermark_us: int | None

    @property
    def counts(self) -> tuple[int, int, int]:
        return len(self.decisions), len(self.alerts), len(self.dead_letters)

    def chain(self, before: bytes) -> bytes:
        """The journal's chain after these."""
        parts = (self.decisions, self.alerts, self.dead_letters)
        return chain_of(before, *(part.records.values for part in parts))

    def sends(self) -> Iterator[Send]:
        """All of them, in the order in which they are written."""
        return chain(self.decisions, self.alerts, self.dead_letters)


@dataclass(frozen=True)
class Pending:
    """A batch that is decided, while it is unknown whether its journal record counts."""

    events: int
    ranges: tuple[Range, ...]
    outputs: Outputs
    chain: bytes

    def is_told_by(self, record: JournalRecord) -> bool:
        """True when the record is this batch's."""
        return (self.ranges, self.chain) == (record.ranges, record.chain)


class Scorer(Protocol):
    """A pack and its state: records in, outputs out, and nothing else matters to them."""

    cold: Cold | None  # where its knowledge of the log begins, None with the log itself

    @property
    def pack(self) -> str:
        """The pack's content hash."""

    def reset(self, cold: Cold | None = None) -> None:
        """Back to the state before the first event that it is to know."""

    def decide(self, messages: Sequence[Message]) -> Outputs:
        """Fold a batch. Equal histories give equal outputs, however they are cut."""

    def told(self) -> Mapping[str, Any]:
        """What people should know of it: rules that are muted, labels of unknown payments ... Any thread may ask."""


class Snapshots(Protocol):
    """Where the states of scorers are kept. failed: why the last one was not written, or ""."""

    failed: str

    def due(self, now: float, active: bool) -> bool:
        """True when it is time for another. An active lane waits longer: a standby may do it."""

    def save(self, scorer: Scorer, place: Place, now: float, active: bool) -> None:
        """Keep the scorer's state and its place. Reports failure, never raises."""

    def load(self, trust: bool) -> tuple[Scorer, Place]:
        """The newest good state, or one from before the first batch: the only one when others are not trusted."""


@dataclass(frozen=True)
class Request:
    """Somebody asks that a pack decide from now on. accept_cold: also where the log is too short for its windows.

    cold: given by the journal, where the switch has been made; then the state must be that very one.
    """

    id: str
    pack: str
    accept_cold: bool = False
    journalled: bool = False
    cold: Cold | None = None


class PackRefused(SekishoError):
    """A pack that cannot decide this log: why, and what to do."""


class Packs(Protocol):
    """The packs that may be asked for, and their states."""

    def wanted(self) -> Request | None:
        """What was asked for last."""

    def warmed(self, request: Request, place: Place) -> tuple[Scorer, Place] | None:
        """The pack with a state somewhere before the place, None while it is on its way. Raises PackRefused."""

    def drop(self) -> None:
        """Nobody waits any more for what is on its way."""

    def refuse(self, request: Request, why: str) -> None:
        """Tell whoever asked."""
