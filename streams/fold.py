"""The state as a fold of the log, and its place in the journal: a standby reads along, an active lane runs ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sekisho.errors import SekishoError
from sekisho.journal import JournalError, JournalRecord
from sekisho.settings import LaneSettings, TopicSettings
from streams.broker import Broker, LostRecordsError, Partition
from streams.feed import Feed
from streams.journal_tail import Entry, JournalTail, Place
from streams.outputs import Outputs, Packs, Pending, Scorer, Snapshots
from streams.switching import Switching

IDLE_S = 0.01
_NEW_PARTITIONS_S = 30.0
_SLICE_EVENTS = 256  # of a pack's warming up, beside twice what the lane has decided meanwhile


class DifferenceError(SekishoError):
    """Folding the same input again gave other outputs."""

    def __init__(self, record: JournalRecord) -> None:
        ranges = ", ".join(f"{r.topic}[{r.partition}] {r.first}..{r.end - 1}" for r in record.ranges)
        super().__init__(
            f"batch {record.sequence} ({ranges}) folds to other outputs than the journal's",
            "this machine or version decides otherwise: compare pack, versions and hardware with the active worker's",
        )


@dataclass
class FoldStatus:
    """Counts since the start. folded: batches recomputed from the journal, each compared with it."""

    folded: int = 0
    differences: int = 0
    rebuilds: int = 0
    watermark_us: int | None = None


@dataclass
class Fold:
    """A scorer, its place, and the clients that bring it the journal and the inputs; the scorer when a place is known.

    pending: batches that are decided ahead of the place, the oldest first.   unconfirmed: sequence and outputs of the
    last batch, while no later record says that they are on their topics (delivery at least once).   undecided_since:
    since when records have been at hand that the journal, read to its end, does not name.
    """

    broker: Broker
    packs: Packs
    snapshots: Snapshots
    topics: TopicSettings
    settings: LaneSettings
    log: Callable[[str], None]
    place: Place | None = None
    pending: deque[Pending] = field(default_factory=deque)
    unconfirmed: tuple[int, Outputs] | None = None
    undecided_since: float | None = None
    status: FoldStatus = field(default_factory=FoldStatus)
    _scorer: Scorer | None = None
    _tail: JournalTail | None = None
    _feed: Feed | None = None
    _differing: int = -1
    _partitions_at: float = 0.0
    _decided: int = 0  # events since the last slice of warming up

    def __post_init__(self) -> None:
        self.switching = Switching(self.broker, self.packs, self.topics, self.settings, self.log)

    @property
    def scorer(self) -> Scorer:
        """The pack that decides, with its state at the place."""
        self.at()
        assert self._scorer is not None
        return self._scorer

    @property
    def pack(self) -> str:
        """Its hash, "" before there is one."""
        return "" if self._scorer is None else self._scorer.pack

    @property
    def running(self) -> Scorer | None:
        """The pack that decides, if there is one yet; any thread may ask."""
        return self._scorer

    def told(self) -> Mapping[str, Any]:
        """What people should know of the pack that decides; any thread may ask."""
        return {} if self._scorer is None else self._scorer.told()

    def at(self) -> Place:
        """The place; a state is restored when there is none."""
        if self.place is None:
            self._restore(trust=True)
        assert self.place is not None
        return self.place

    def tail(self) -> JournalTail:
        """The journal from the place on."""
        if self._tail is None:
            self._tail = JournalTail(self.broker, self.topics.journal, self.at())
        return self._tail

    def follow(self, saving: bool) -> bool:
        """Do what the journal says next, or wait a little for it; False when it says no more. saving: snapshots."""
        place, entry = self.at(), self.tail().peek(IDLE_S)
        if entry is None:
            feed, now = self._inputs(), self.broker.now()
            feed.fill(self.settings.batch_events, 0.0, now)
            self.undecided_since = (self.undecided_since or now) if any(feed.queues.values()) else None
            self._warm(active=False)
            return False
        self.undecided_since = None
        if self.unconfirmed is not None and entry.record.confirmed >= self.unconfirmed[0]:
            self.unconfirmed = None
        if self.pending:
            self._resolve(self.pending[0], entry)
        else:
            if saving and self.is_level:
                self._save_when_due(active=False)
            self._fold(place, entry)
        return True

    @property
    def is_level(self) -> bool:
        """True when the state is that of the place, and no outputs are open."""
        return not self.pending and self.unconfirmed is None

    def decide(self, limit: int, wait_s: float) -> Pending | None:
        """Decide what has arrived, ahead of the journal; None when nothing has, or the place must catch up first."""
        if self.is_level:
            self._save_when_due(active=True)
            self._take_over(self._warm(active=True))
        elif self._waits_for_level():
            return None
        if self.switching.near(self.at()):
            return None
        feed, now = self._inputs(), self.broker.now()
        if now - self._partitions_at > _NEW_PARTITIONS_S and set(self._partitions()) != set(feed.queues):
            self._close_feed()
            feed = self._inputs()
        part = feed.ready(limit, now)
        if part is None:
            feed.fill(self.settings.batch_events, wait_s, now)
            part = feed.ready(limit, self.broker.now())
        else:
            feed.fill(self.settings.batch_events, 0.0, now)
        if part is None:
            return None
        outputs = self.scorer.decide(part.messages)
        self._decided += len(part.messages)
        before = self.pending[-1].chain if self.pending else self.at().chain
        pending = Pending(len(part.messages), part.ranges, outputs, outputs.chain(before))
        self.pending.append(pending)
        return pending

    def advance(self, record: JournalRecord, offset: int | None) -> Pending:
        """The oldest pending batch counts: its record has been written, at `offset` of the journal if that is known."""
        pending = self.pending.popleft()
        self._passed(record, offset, pending.outputs)
        return pending

    def close_tail(self) -> None:
        """Read the journal anew from the place on, next time."""
        if self._tail is not None:
            self._tail.close()
        self._tail = None

    def close(self) -> None:
        """Let the clients go; the state stays."""
        self.close_tail()
        self._close_feed()
        self.switching.close()

    def _fold(self, place: Place, entry: Entry) -> None:
        record, feed, now = entry.record, self._inputs(), self.broker.now()
        if record.seed != place.seed:
            raise JournalError(
                f"it begins after the history {_short(record.seed)}, this worker's state after {_short(place.seed)}; "
                "give each worker the same one: sekisho state build"
            )
        if (record.pack, record.cold) != (self.scorer.pack, self.scorer.cold):
            self._take_over(self.switching.journalled(record, place, self.settings.batch_events))
            return
        if any((r.topic, r.partition) not in feed.queues for r in record.ranges):
            self._close_feed()
            feed = self._inputs()
        part = feed.exactly(record.ranges, now)
        if part is None:
            feed.fill(self.settings.batch_events, IDLE_S, now)
            return
        outputs = self.scorer.decide(part.messages)
        self._decided += len(part.messages)
        if outputs.chain(place.chain) != record.chain:
            self._differs(record)
            return
        self.status.folded += 1
        self.tail().pop()
        self._passed(record, entry.offset, outputs)
        self._warm(active=False)

    def _resolve(self, pending: Pending, entry: Entry) -> None:
        """The journal goes on: with the batch whose fate was unknown, or otherwise."""
        if pending.is_told_by(entry.record):
            self.tail().pop()
            self.advance(entry.record, entry.offset)
        else:
            self.log(f"another lane has decided batch {entry.record.sequence} otherwise: the state is rebuilt")
            self._restore(trust=True)

    def _passed(self, record: JournalRecord, offset: int | None, outputs: Outputs) -> None:
        self.place = self.at().after(record, offset)
        self.status.watermark_us = record.watermark_us
        self.unconfirmed = None if record.confirmed >= record.sequence else (record.sequence, outputs)

    def _differs(self, record: JournalRecord) -> None:
        self.status.differences += 1
        error = DifferenceError(record)
        if self._differing == record.sequence:
            raise error
        self._differing = record.sequence
        self.log(f"{error.what}: the state is rebuilt from the log")
        self._restore(trust=False)

    def _restore(self, trust: bool) -> None:
        """A state from the newest good snapshot, or from before the first event."""
        self.close()
        self.switching.drop()
        self.status.rebuilds += 1
        self.pending.clear()
        self.unconfirmed = None
        self._scorer, self.place = self.snapshots.load(trust)

    def _save_when_due(self, active: bool) -> None:
        if self.snapshots.due(self.broker.now(), active):
            self.snapshots.save(self.scorer, self.at(), self.broker.now(), active)

    def _waits_for_level(self) -> bool:
        """Whether a snapshot or another pack's turn needs the state of the place: running ahead would put it off."""
        return self.snapshots.due(self.broker.now(), True) or self.switching.open(self.scorer.pack) is not None

    def _warm(self, active: bool) -> Scorer | None:
        """A slice of work for the pack that is asked for; its scorer when it is level."""
        most, self._decided = _SLICE_EVENTS + 2 * self._decided, 0
        return self.switching.asked(self.scorer.pack, self.at(), most, active)

    def _take_over(self, scorer: Scorer | None) -> None:
        """The next batch is another pack's."""
        if scorer is not None:
            self._scorer = scorer

    def _inputs(self) -> Feed:
        if self._feed is None:
            positions: dict[Partition, int | None] = dict(self.at().positions)
            positions |= {(r.topic, r.partition): r.end for pending in self.pending for r in pending.ranges}
            partitions = self._partitions()
            if gone := sorted(positions.keys() - set(partitions)):
                raise LostRecordsError(
                    f"{gone[0][0]}[{gone[0][1]}]: there is no such partition", "look whether this is the right cluster"
                )
            positions = {partition: positions.get(partition) for partition in partitions}
            wait_s = self.settings.merge_wait_ms / 1000
            self._feed = Feed(self.broker.reader(positions), positions, self.settings.buffer_events, wait_s)
        return self._feed

    def _partitions(self) -> list[Partition]:
        self._partitions_at = self.broker.now()
        return list(self.broker.partitions(self.topics.consumed))

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._feed.reader.close()
        self._feed = None


def _short(seed: str | None) -> str:
    return "none" if seed is None else seed[:12]
