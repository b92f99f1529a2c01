"""The lane under thousands of seeded schedules of crashes, lost requests, lost answers, zombies and rebalances.

A schedule that fails prints its seed; `run(seed, delivery)` replays it.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from random import Random

import numpy as np
import pytest

from sekisho.decider import Outgoing
from sekisho.errors import SekishoError
from sekisho.journal import START, JournalRecord, decode
from sekisho.log import Message
from sekisho.settings import LaneSettings, TopicSettings
from streams.broker import BrokerError, Send, Writer
from streams.feed import Feed
from streams.fold import Fold
from streams.journal_tail import Place
from streams.lane import Flight, Lane
from streams.outputs import Addressed, Outputs, Pending, Request, Scorer
from streams.simulated import Cluster, SimulatedBroker, Transaction
from streams.switching import Switching
from tests.streams.standins import Folding, Kept, Offered, Shelf, merged

TOPICS = TopicSettings(("payments",), journal="journal", control="control", dead_letters="dead")
SEEDS = int(os.environ.get("SEKISHO_SCHEDULES", "400"))


class Killed(BaseException):
    """SIGKILL, as the code that it hits sees it: never."""


class World:
    """Two lanes, a cluster, an upstream, and a seeded scheduler that troubles them all."""

    def __init__(self, seed: int, delivery: str, lane: type[Lane] = Lane) -> None:
        self.random = Random(seed)
        self.lane = lane
        self.partitions = self.random.choice([1, 2, 3])
        counts = {"payments": self.partitions, "decisions": 2, "alerts": 1, "dead": 1, "journal": 1}
        self.cluster = Cluster(counts)
        self.settings = LaneSettings(
            delivery=delivery, batch_events=self.random.choice([1, 3, 8]), buffer_events=self.random.choice([6, 1000])
        )
        self.shelf: Shelf = {}
        self.wanted: Request | None = None
        self.switching = self.random.choice([0.0, 0.0, 0.02, 0.1])
        self.last: dict[tuple[str, int], int] = {}
        self.rates = {fault: self.random.choice([0.0, 0.01, 0.04]) for fault in ("kill", "lose", "stop", "expire")}
        self.rates["late"] = self.random.choice([0.0, 0.3])
        self.rates["slow"] = self.random.choice([0.0, 0.3, 0.8])
        self.lanes: dict[str, Lane] = {}
        self.stopped: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.upstream: Transaction | None = None
        self.calm = False

    def run(self) -> None:
        for _ in range(self.random.choice([30, 60])):
            self.arrive()
            self.turn(self.random.choice(["a", "b"]))
        self.heal()
        for _ in range(3000):
            self.turn("a")
            self.turn("b")
            if self.finished():
                return
        raise AssertionError("the lanes did not finish")

    def heal(self) -> None:
        """No more trouble; the sessions of the dead end."""
        self.calm = True
        living = [lane._leadership for lane in self.lanes.values()]
        self.cluster.members = [member for member in self.cluster.members if member in living]
        if self.upstream is not None:
            self.close_upstream()
        self.last = {(m.topic, m.partition): m.offset + 1 for part in self.cluster.committed("payments") for m in part}

    def arrive(self) -> None:
        """Payments come, some in transactions of their own that end either way."""
        self.cluster.clock += self.random.random() * 0.05
        if self.random.random() < 0.1:
            self.cluster.land()
        if self.switching and self.random.random() < self.switching:
            self.faults["pack"] += 1
            self.wanted = Request(str(self.faults["pack"]), self.random.choice("pqqrx") * 64)
        for _ in range(self.random.choice([0, 0, 1, 3])):
            value = b"malformed" if self.random.random() < 0.05 else b"payment"
            self.cluster.produce(Send("payments", self.random.randrange(self.partitions), None, value), self.upstream)
        if self.upstream is not None and self.random.random() < 0.5:
            self.close_upstream()
        elif self.upstream is None and self.random.random() < 0.05:
            self.upstream = self.cluster.begin("upstream")

    def close_upstream(self) -> None:
        self.cluster.end("upstream", commit=self.random.random() < 0.7)
        self.cluster.settle("upstream")
        self.upstream = None

    def turn(self, name: str) -> None:
        if name in self.stopped:
            return
        if name not in self.lanes:
            broker = SimulatedBroker(self.cluster, "lane", lambda op: self.trouble(name, op), self.late, self.slow)
            kept = Kept(self.shelf)
            packs = Offered(kept, lambda: self.wanted, self.late)
            self.lanes[name] = self.lane(broker, packs, kept, TOPICS, self.settings)
        try:
            self.lanes[name].turn()
        except Killed:
            leadership = self.lanes.pop(name)._leadership
            if leadership is not None and self.random.random() < 0.7:  # else its session lives on a while
                leadership.close()

    def late(self) -> bool:
        return not self.calm and self.random.random() < self.rates["late"]

    def slow(self) -> bool:
        return not self.calm and self.random.random() < self.rates["slow"]

    def trouble(self, name: str, op: str) -> None:
        if self.calm:
            return
        chance = self.random.random
        if chance() < self.rates["kill"]:
            self.faults["kill"] += 1
            raise Killed
        if chance() < self.rates["lose"]:
            self.faults["lose"] += 1
            raise BrokerError(op)
        if chance() < self.rates["expire"] and self.cluster.members:
            self.faults["expire"] += 1
            self.cluster.members.pop(0)
        if chance() < self.rates["stop"] and not self.stopped:
            self.faults["stop"] += 1
            self.stop(name)

    def stop(self, name: str) -> None:
        """SIGSTOP for a while: the session may end, the others go on, and then this call returns as if nothing were."""
        self.stopped.add(name)
        leadership = self.lanes[name]._leadership if name in self.lanes else None
        if leadership is not None and self.random.random() < 0.8:
            leadership.close()
        for _ in range(self.random.choice([3, 10, 30])):
            self.arrive()
            self.turn("b" if name == "a" else "a")
        self.stopped.discard(name)

    def finished(self) -> bool:
        """True when the active lane has decided all there is, and it is out."""
        active = [lane for lane in self.lanes.values() if lane.status.phase == "active"]
        if not active or not active[0].fold.is_level:
            return False
        wanted = self.wanted is None or self.wanted.pack in (active[0].fold.pack, "x" * 64)
        return wanted and dict(active[0].fold.at().positions) == self.last

    def counting(self) -> list[JournalRecord]:
        """The journal's records that count, by the rule as its page states it."""
        records: list[JournalRecord] = []
        for message in self.cluster.committed("journal")[0]:
            record = decode(message.value or b"")
            sequence, epoch = (records[-1].sequence, records[-1].epoch) if records else (-1, 0)
            if record.epoch >= epoch and record.sequence == sequence + 1:
                records.append(record)
        return records


def expected(world: World) -> tuple[dict[str, list[bytes]], list[list[bytes]]]:
    """What the journal says should stand on the topics: by topic, and by batch."""
    scorers, chain, running = {name * 64: Folding(pack=name) for name in "pqr"}, START, ("p" * 64, 0, None)
    inputs = {(m.topic, m.partition, m.offset): m for part in world.cluster.committed("payments") for m in part}
    ends: dict[tuple[str, int], int] = {}
    topics: dict[str, list[bytes]] = {"decisions": [], "alerts": [], "dead": []}
    batches = []
    for record in world.counting():
        parts = []
        for r in record.ranges:
            first = ends.get((r.topic, r.partition))
            assert first in (None, r.first), "a range does not begin where the one before ended"
            ends[r.topic, r.partition] = r.end
            parts.append(
                [inputs[r.topic, r.partition, k] for k in range(r.first, r.end) if (r.topic, r.partition, k) in inputs]
            )
        if record.ranges:
            messages = merged(parts)
            outputs = {pack: scorer.decide(messages) for pack, scorer in scorers.items()}[record.pack]
            if record.pack != running[0]:
                running = record.pack, record.sequence, running[0] if record.sequence else None
            assert (record.since, record.before) == running[1:], "the record tells another story of packs"
            chain = outputs.chain(chain)
            assert record.counts == outputs.counts
            for send in outputs.sends():
                topics[send.topic].append(send.value)
            batches.append([send.value for send in outputs.sends()])
        assert record.chain == chain, "the chain is broken"
    assert sum(len(values) for name, values in topics.items() if name != "alerts") == len(inputs), "not all is decided"
    return topics, batches


def check(world: World) -> None:
    """Nothing lost, nothing doubled (exactly once), no byte that the journal does not say."""
    topics, _ = expected(world)
    transactional = world.settings.delivery == "exactly-once"
    for name, values in topics.items():
        found = [message.value for part in world.cluster.committed(name) for message in part]
        if transactional:
            assert Counter(found) == Counter(values), f"{name} lost or doubled"
        else:
            assert set(found) == set(values), f"{name} lost or alien"
    if transactional:
        assert len(world.counting()) == len(world.cluster.committed("journal")[0]), "a void record was committed"


def run(seed: int, delivery: str, lane: type[Lane] = Lane) -> World:
    world = World(seed, delivery, lane)
    world.run()
    check(world)
    return world


def judged(seeds: range, delivery: str) -> tuple[Counter[str], Counter[str]]:
    """The faults of these schedules, and what the lanes went through. Raises AssertionError with the failing seed."""
    faults: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            world = run(seed, delivery)
            assert not any(lane.fold.status.differences for lane in world.lanes.values()), "a difference"
        except BaseException as error:
            raise AssertionError(f"seed {seed}, {delivery}: {error!r}") from error
        faults += world.faults
        faults["switch"] += sum(record.since == record.sequence > 0 for record in world.counting())
        for lane in world.lanes.values():
            fold = lane.fold.status
            seen.update(fencings=lane.status.fencings, folded=fold.folded, rebuilds=fold.rebuilds)
    return faults, seen


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_no_schedule_loses_doubles_or_changes_anything(delivery: str) -> None:
    """L10: whatever happens, the topics hold what the journal says, and the journal holds every payment."""
    faults: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    started, chunks = time.monotonic(), [range(k, min(k + 200, SEEDS)) for k in range(0, SEEDS, 200)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for some, more in pool.map(judged, chunks, [delivery] * len(chunks)):
            faults, seen = faults + some, seen + more
    print(f"{delivery}: {SEEDS / (time.monotonic() - started) * 60:,.0f} schedules a minute; {dict(faults)}")
    assert min(faults[fault] for fault in ("kill", "lose", "stop", "expire", "switch")) > SEEDS // 10
    assert seen["folded"] and seen["rebuilds"] and (seen["fencings"] or delivery == "at-least-once")


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_each_writer_has_an_epoch_of_its_own(delivery: str) -> None:
    """L10: what an earlier writer sends late bears a lower epoch than its successor's records, and is void by that."""
    world = World(0, delivery)
    world.calm = True
    for name in "ab":
        world.cluster.produce(Send("payments", 0, None, b"payment"))
        for _ in range(200):
            world.turn(name)
        world.lanes.pop(name).close()
    assert [decode(message.value or b"").epoch for message in world.cluster.committed("journal")[0]] == [1, 2]


# Planted bugs: each is what somebody could write in good faith.


def _trusts_its_ears(lane: Lane, error: BrokerError) -> None:
    """An error means failure: send the batch again without asking the journal."""
    writable = lane._writable
    RECOVER(lane, error)
    lane.blind = writable  # type: ignore[attr-defined]


def _opens_blindly(lane: Lane) -> None:
    OPEN_WRITER(lane)
    if getattr(lane, "blind", False):
        lane._writable = True


def _forgets(lane: Lane, error: BrokerError) -> None:
    """What was not confirmed did not happen; the state is good enough."""
    lane.fold.pending.clear()
    RECOVER(lane, error)


def _reads_before_fencing(lane: Lane) -> None:
    """The journal has just been read to its end, so why read it again behind the fencing?"""
    assert lane._writable is False
    tail = lane.fold._tail
    lane.fold._tail = None
    OPEN_WRITER(lane)
    lane.fold._tail = tail


def _commits_apart(
    lane: Lane, writer: Writer, batches: Sequence[Pending], records: Sequence[JournalRecord]
) -> Callable[[], int | None]:
    """Outputs first, the journal when they are safe."""
    writer.begin()
    writer.send([send for batch in batches for send in batch.outputs.sends()])
    writer.commit()
    nothing = Addressed("", Outgoing())
    silent = Outputs(nothing, nothing, nothing, None)
    lane.fold.pending = deque(replace(batch, outputs=silent) for batch in lane.fold.pending)
    return PUBLISH(lane, writer, tuple(lane.fold.pending), records)


def _feeds_from_the_place(fold: Fold) -> Feed:
    """Inputs are read from the place on, even when a batch is decided ahead of it."""
    pending, fold.pending = fold.pending, deque()
    try:
        return INPUTS(fold)
    finally:
        fold.pending = pending


def _reads_on_behind_the_first(fold: Fold) -> Feed:
    """There is one batch ahead of the place, as ever."""
    pending, fold.pending = fold.pending, deque(list(fold.pending)[:1])
    try:
        return INPUTS(fold)
    finally:
        fold.pending = pending


def _sends_once(lane: Lane, writer: Writer) -> None:
    """What is journalled has surely been sent."""
    lane.fold.unconfirmed = None


def _appends_all(
    lane: Lane, writer: Writer, batches: Sequence[Pending], records: Sequence[JournalRecord]
) -> Callable[[], int | None]:
    """All that is pending leaves together, with or without a transaction: one record after the other, one wait."""
    calls = [PUBLISH(lane, writer, batches, [record]) for record in records]
    return lambda: [call() for call in calls][-1]


def _decides_on(lane: Lane) -> int:
    """There is always room."""
    return lane.settings.batch_events


def _asks_nobody(lane: Lane, flight: Flight, offset: int | None) -> None:
    """The records are acknowledged, so they count."""
    if flight.records and offset is not None:
        lane._next = offset + 1 - len(flight.records)
    LAND(lane, flight, offset)


def _lands_everything(lane: Lane, flight: Flight, offset: int | None) -> None:
    """The answer is there, so what is pending counts."""
    LAND(lane, replace(flight, records=lane._records(lane.fold.pending)) if flight.records else flight, offset)


def _counts_on_it(lane: Lane, writer: Writer) -> Flight | None:
    """A commit that was asked for will come: why wait for its answer?"""
    flight = TAKE_OFF(lane, writer)
    for record in flight.records if flight else ():
        lane.fold.advance(record, None)
    return replace(flight, records=()) if flight else None


def _chains_to_the_place(fold: Fold, limit: int, wait_s: float) -> Pending | None:
    """A batch is chained to the last record of the journal."""
    batch = DECIDE(fold, limit, wait_s)
    if batch is not None:
        fold.pending[-1] = replace(batch, chain=batch.outputs.chain(fold.at().chain))
    return batch


def _switches_ahead(fold: Fold, limit: int, wait_s: float) -> Pending | None:
    """A pack that is level with the place is level."""
    fold._take_over(fold._warm(active=True))
    return DECIDE(fold, limit, wait_s)


def _saves_ahead(fold: Fold, limit: int, wait_s: float) -> Pending | None:
    """A snapshot of the state as it is, at the place as it is."""
    batch = DECIDE(fold, limit, wait_s)
    if batch is not None and fold.snapshots.due(fold.broker.now(), True):
        fold.snapshots.save(fold.scorer, fold.at(), fold.broker.now(), True)
    return batch


def _sends_before_the_journal(
    lane: Lane, writer: Writer, batches: Sequence[Pending], records: Sequence[JournalRecord]
) -> Callable[[], int | None]:
    """Without transactions: outputs first, so that nobody waits for the journal."""
    writer.send([send for batch in batches for send in batch.outputs.sends()])
    writer.flush()
    return PUBLISH(lane, writer, batches, records)


def _merges_by_partition(heads: Sequence[Sequence[Message]]) -> tuple[object, list[Message]]:
    """One partition after the other: each is in order."""
    messages = [message for head in heads for message in head]
    return np.arange(len(messages)), messages


def _switches_when_near(switching: Switching, request: Request, place: Place, most: int, taken: bool) -> Scorer | None:
    """A batch or two cannot matter: payments must not wait."""
    level = TOWARDS(switching, request, place, most, taken)
    if level is None and taken and switching.near(place) and switching.warming is not None:
        level = switching.warming.scorer
        switching.drop()
    return level


def _carries_over(fold: Fold, scorer: Scorer | None) -> None:
    """The new pack goes on with the state that is there."""
    if scorer is not None:
        scorer.state = fold.scorer.state  # type: ignore[attr-defined]
    TAKE_OVER(fold, scorer)


RECOVER, OPEN_WRITER, PUBLISH = Lane._recover, Lane._open_writer, Lane._publish
LAND, TAKE_OFF = Lane._land, Lane._take_off
INPUTS, DECIDE, TAKE_OVER = Fold._inputs, Fold.decide, Fold._take_over
TOWARDS = Switching._towards
BOTH, ONCE, LEAST = ("exactly-once", "at-least-once"), ("exactly-once",), ("at-least-once",)


@pytest.mark.parametrize(
    ("deliveries", "bugs"),
    [
        (ONCE, {"Lane._recover": _trusts_its_ears, "Lane._open_writer": _opens_blindly}),
        (BOTH, {"Lane._recover": _forgets}),
        (ONCE, {"Lane._open_writer": _reads_before_fencing}),
        (ONCE, {"Lane._publish": _commits_apart}),
        (BOTH, {"Fold._inputs": _feeds_from_the_place}),
        (ONCE, {"Fold.decide": _saves_ahead}),
        (ONCE, {"Fold._inputs": _reads_on_behind_the_first}),
        (ONCE, {"Fold.decide": _chains_to_the_place}),
        (ONCE, {"Fold.decide": _switches_ahead}),
        (ONCE, {"Lane._land": _lands_everything}),
        (ONCE, {"Lane._take_off": _counts_on_it}),
        (LEAST, {"Lane._send_again": _sends_once}),
        (LEAST, {"Lane._room": _decides_on, "Lane._publish": _appends_all}),
        (LEAST, {"Lane._land": _asks_nobody}),
        (LEAST, {"Lane._publish": _sends_before_the_journal}),
        (BOTH, {"merge": _merges_by_partition}),
        (BOTH, {"Switching._towards": _switches_when_near}),
        (BOTH, {"Fold._take_over": _carries_over}),
    ],
    ids=lambda value: "+".join(bug.__name__.strip("_") for bug in value.values()) if isinstance(value, dict) else "",
)
def test_planted_bugs_are_found(
    deliveries: Sequence[str], bugs: dict[str, Callable[..., object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulation is judged: each of these would lose, double or change something, and is caught."""
    homes = {"Lane": Lane, "Fold": Fold, "Switching": Switching}
    for name, bug in bugs.items():
        if name == "merge":
            monkeypatch.setattr("streams.feed.merge_order", bug)
        else:
            home, method = name.split(".")
            monkeypatch.setattr(homes[home], method, bug)
    for delivery in deliveries:
        assert any(_fails(seed, delivery) for seed in range(400)), f"{delivery}: not found"


def _fails(seed: int, delivery: str) -> bool:
    try:
        world = run(seed, delivery)
    except (AssertionError, SekishoError):
        return True
    return any(lane.fold.status.differences for lane in world.lanes.values())
