"""A pack's state on its way to a place in the journal: batches are folded as the journal names them, and emit nothing.

The state of a pack at a place is its own fold of the log up to there, whichever packs decided the batches. Where the
topics no longer hold the log's beginning, the fold begins behind the last batch that lacks a record: that is where the
pack is *cold*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sekisho.journal import Cold, JournalRecord
from sekisho.log import Message
from sekisho.settings import LaneSettings, TopicSettings
from streams.broker import Broker, LostRecordsError, Partition
from streams.feed import Feed
from streams.journal_tail import JournalTail, Place
from streams.outputs import PackRefused, Scorer

IDLE_S = 0.01
NEAR = 2  # batches: so few are worth waiting for
_ALLOWED = 0.01  # of the events may become dead letters that were none to the packs before
_BEGINNING = -(2**62)  # W before the first event


@dataclass
class Warming:
    """See the module. Raises BrokerError after which `close` and another `follow` go on where it was."""

    broker: Broker
    scorer: Scorer
    place: Place
    topics: TopicSettings
    settings: LaneSettings
    events: int = 0
    _dead: int = 0  # more of them than the journal counts
    _tail: JournalTail | None = None
    _feed: Feed | None = None

    def follow(self, most: int, until: int) -> bool:
        """Fold at most about so many events, none behind batch `until`; False when there was nothing to fold yet.

        Raises PackRefused when the pack cannot read the log, or the topics no longer hold it.
        """
        try:
            wait_s = IDLE_S if until - self.place.sequence <= NEAR else 0.0
            messages = self._take(most, until, wait_s)
        except LostRecordsError as error:
            raise PackRefused(error.what, "publish it again: it begins where the log begins now") from error
        if not messages:
            return False
        self._dead += len(self.scorer.decide(messages).dead_letters)
        self.events += len(messages)
        return True

    def examine(self) -> None:
        """Raise PackRefused when the events that it has folded are not of its schema."""
        if self._dead > _ALLOWED * self.events:
            raise PackRefused(
                f"{self._dead:,} of {self.events:,} events on the topics are dead letters to pack "
                f"{self.scorer.pack[:12]}, and are none to the pack that decides now",
                "make fields that old events lack optional, or give them a default",
            )

    def close(self) -> None:
        """Let the clients go; the state stays."""
        if self._tail is not None:
            self._tail.close()
        self._close_feed()
        self._tail = None

    def _take(self, most: int, until: int, wait_s: float) -> list[Message]:
        if self._tail is None:
            self._tail = JournalTail(self.broker, self.topics.journal, self.place)
        tail, taken = self._tail, list[Message]()
        entry = tail.peek(wait_s)
        while entry is not None and entry.record.sequence <= until and len(taken) < most:
            if taken and not self._reads(entry.record):
                break  # a failure of a client must not cost what has been taken
            feed = self._inputs(entry.record)
            part = feed.exactly(entry.record.ranges, self.broker.now())
            if part is None:
                if not taken:
                    feed.fill(self.settings.batch_events, wait_s, self.broker.now())
                break
            taken += part.messages
            self._dead -= entry.record.counts[2]
            tail.pop()
            self.place = self.place.after(entry.record, entry.offset)
            entry = tail.entries[0] if tail.entries else None
        return taken

    def _inputs(self, record: JournalRecord) -> Feed:
        if not self._reads(record):
            self._close_feed()
        if self._feed is None:
            known: dict[Partition, int | None] = dict(self.place.positions)
            known |= {(r.topic, r.partition): r.first for r in record.ranges if (r.topic, r.partition) not in known}
            self._feed = Feed(self.broker.reader(known), known, self.settings.buffer_events, 0.0)
        return self._feed

    def _reads(self, record: JournalRecord) -> bool:
        """Whether the feed has the record's partitions."""
        return self._feed is not None and all((r.topic, r.partition) in self._feed.queues for r in record.ranges)

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._feed.reader.close()
        self._feed = None


@dataclass(frozen=True)
class Beginning:
    """Where a fold can begin. watermark_us: W behind the last batch that was looked at."""

    cold: Cold | None
    place: Place
    watermark_us: int

    def lacks(self, reach_us: int | None, lateness_us: int) -> bool:
        """True when events that may still come see windows that reach back to what is lost."""
        if self.cold is None:
            return False
        return reach_us is None or self.watermark_us - lateness_us - reach_us <= self.cold.watermark_us


def beginning(broker: Broker, topics: TopicSettings, last: int, wanted: Cold | None = None) -> Beginning:
    """With the log, or behind the last batch of which the topics lack a record.

    last: the batch up to which the journal is looked through.   wanted: begin behind this very batch instead.
    """
    bounds = {} if wanted else broker.bounds(broker.partitions(topics.consumed))
    scan = _Scan({partition: first for partition, (first, _) in bounds.items()}, wanted)
    tail = JournalTail(broker, topics.journal, Place(), anywhere=True)
    try:
        while (entry := tail.peek(IDLE_S)) is not None or not tail.at_end:
            if entry is not None:
                if entry.record.sequence > last:
                    break
                scan.see(entry.record, entry.offset)
                tail.pop()
    finally:
        tail.close()
    place = replace(scan.place, positions={**scan.firsts, **scan.place.positions})
    return Beginning(scan.cold, place, scan.watermark_us)


@dataclass
class _Scan:
    """cold and place: behind the last batch that lacks a record.   firsts: where the partitions go on after it."""

    earliest: Mapping[Partition, int]
    wanted: Cold | None
    cold: Cold | None = None
    place: Place = field(default_factory=Place)
    firsts: dict[Partition, int] = field(default_factory=dict)
    watermark_us: int = _BEGINNING
    _seen: bool = False

    def see(self, record: JournalRecord, offset: int) -> None:
        """One record, in order."""
        self.watermark_us = _BEGINNING if record.watermark_us is None else record.watermark_us
        if self._lost(record):
            self.cold = Cold(record.sequence, self.watermark_us)
            self.place, self.firsts = self.place.after(record, offset), {}
        for r in record.ranges:
            self.firsts.setdefault((r.topic, r.partition), r.first)
        self._seen = True

    def _lost(self, record: JournalRecord) -> bool:
        if self.wanted is not None:
            return record.sequence <= self.wanted.sequence
        if not self._seen and (record.sequence > 0 or record.seed is not None):
            return True  # what came before it is not known
        return any(r.first < self.earliest.get((r.topic, r.partition), 0) for r in record.ranges)
