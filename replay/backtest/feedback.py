"""State feedback: what a strategy decides edits the log that it decides next. step() is unchanged.

A payment that the strategy stops: if it settled in history, its outcomes and labels never happened. One that it lets
through though history refused it: the recorded outcomes vanish, and a settlement is made after a stated delay. Reviewed
and held payments go as history says. A challenge is passed or failed by a seeded draw.

A follow-up never precedes its payment, so in batches the only trouble is one that shares a batch with it: there the
decision is guessed, from the run before. A run whose guesses all came true is exact, by induction over the log; else
the log is run again. Payments whose guess failed are then cut off from what follows them, and at last all are, so that
it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt

from features.sheet import SKIPPED, VALID, Bytes, Ints, Layout, sheet_of
from replay.backtest.history import LABEL, OUTCOME, PAYMENT, History
from replay.backtest.roles import Roles
from replay.backtest.track import BATCH, Track
from rules.records import OUTCOMES
from sekisho.batch import Batch, join
from sekisho.step import Decided

OUTCOME_KIND = "outcome"
AS_RECORDED, GOES, STOPS = 0, 1, 2
TOPIC = "feedback"
_CUT_UNSTABLE, _CUT_ALL = 2, 5  # from these runs on
_APPROVE, _CHALLENGE, _DECLINE = (OUTCOMES.index(name) for name in ("approve", "challenge", "decline"))

Effects = npt.NDArray[np.int8]


@dataclass(order=True)
class Settlement:
    """A settlement that history did not have. at_us: when it arrives; n: its payment's number in the log."""

    at_us: int
    n: int
    event_id: str = field(compare=False)
    payment_id: str = field(compare=False)
    amount: int | None = field(compare=False)
    recorded: bool = field(compare=False)


@dataclass(frozen=True)
class _Chunk:
    """A part of the log as it was. first: the number of its first event.   arrival: int64[n], never falling.

    kind, payment: its part of the history's.
    """

    batch: Batch
    first: int
    arrival: Ints
    kind: Bytes
    payment: npt.NDArray[np.int32]

    def followups(self, start: int, stop: int) -> Ints:
        """The outcomes and labels of payments in [start, stop)."""
        return np.flatnonzero((self.kind[start:stop] >= OUTCOME) & (self.payment[start:stop] >= 0)) + start


def _chunk_of(batch: Batch, first: int, history: History, clock_us: int) -> _Chunk:
    arrival = np.maximum.accumulate(np.maximum(arrival_of(batch), clock_us))
    part = slice(first, first + batch.n)
    return _Chunk(batch, first, arrival, history.kind[part], history.payment[part])


@dataclass
class FeedbackTrack(Track):
    """A pack over the log that its own decisions edit. runs: how often it has begun; dirty: a guess of this run failed.

    edited: the batches of the chunk that was decided last, as they were after editing.
    """

    roles: Roles
    history: History
    settle_after_us: int
    runs: int = 0
    dirty: bool = False
    edited: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        payments = len(self.history.at)
        self.guess: Effects = np.zeros(payments, np.int8)
        self.unstable = np.zeros(payments, bool)
        self._begin()

    def again(self) -> None:
        """Begin another run, with what this one decided as the guess."""
        self.guess = self.effect
        self.restart()
        self._begin()

    def _begin(self) -> None:
        self.effect: Effects = np.zeros(len(self.history.at), np.int8)
        self.known = np.zeros(len(self.history.at), bool)
        self.pending, self.clock_us = list[Settlement](), -(2**63)
        self.runs, self.dirty = self.runs + 1, False

    def decide(self, batch: Batch, first: int) -> list[Decided]:
        """Edit, decide, learn, go on."""
        chunk = _chunk_of(batch, first, self.history, self.clock_us)
        decided, self.edited, start = list[Decided](), [], 0
        while start < batch.n:
            stop = self._stop(chunk, start)
            edited, guessed = self._edit(chunk, start, stop)
            parts = self.fold(edited)
            self.edited.append(edited)
            decided += parts
            self._learn(parts, chunk, start, stop)
            wrong = guessed[self._drops(guessed, self.guess) != self._drops(guessed, self.effect)]
            self.dirty |= bool(len(wrong))
            self.unstable[self.history.payment[wrong]] = True
            start = stop
        self.clock_us = int(chunk.arrival[-1])
        return decided

    def _stop(self, chunk: _Chunk, start: int) -> int:
        """Where the batch ends: no settlement may share it with its payment, nor what must not be guessed."""
        stop = min(start + BATCH, chunk.batch.n)
        paid = np.flatnonzero(chunk.kind[start:stop] == PAYMENT) + start
        p = chunk.payment[paid]
        may = paid[(p >= 0) & self.history.refused[p] & self.history.edits[p]]
        if len(may):
            stop = min(stop, int(np.searchsorted(chunk.arrival, chunk.arrival[may] + self.settle_after_us).min()))
        if self.runs > _CUT_UNSTABLE:
            near = self._near(chunk, start, stop)
            near = near if self.runs > _CUT_ALL else near[self.unstable[chunk.payment[near]]]
            stop = min(stop, int(near.min())) if len(near) else stop
        return stop

    def _near(self, chunk: _Chunk, start: int, stop: int) -> Ints:
        """The follow-ups of [start, stop) whose payment stands before them in it."""
        at = chunk.followups(start, stop)
        paid = self.history.at[chunk.payment[at]] - chunk.first
        return at[(paid >= start) & (paid < at)]

    def _edit(self, chunk: _Chunk, start: int, stop: int) -> tuple[Batch, Ints]:
        """The edited events of [start, stop), and the numbers of the follow-ups whose fate was guessed."""
        near, effect = self._near(chunk, start, stop), self.effect
        if len(near):
            effect = effect.copy()
            effect[chunk.payment[near]] = self.guess[chunk.payment[near]]
        followups = chunk.followups(start, stop)
        drop = followups[self._drops(followups + chunk.first, effect)]
        kept = np.setdiff1d(np.arange(start, stop), drop)
        due = list[Settlement]()
        while self.pending and self.pending[0].at_us <= chunk.arrival[stop - 1]:
            due.append(heappop(self.pending))
        edited = chunk.batch.take(kept) if len(drop) else chunk.batch.cut(start, stop)
        added = [settlements(chunk.batch.sheet.layout, self.roles, due)] if due else []
        edited = join([edited, *added])  # over its own text: a chunk may be cut into thousands
        if due:
            place = np.searchsorted(chunk.arrival[kept], [each.at_us for each in due])
            order = np.argsort(np.concatenate([np.arange(len(kept)) * 2 + 1, place * 2]), kind="stable")
            edited = edited.take(order)
        return edited, near + chunk.first

    def _drops(self, events: Ints, effect: Effects) -> npt.NDArray[np.bool_]:
        """Which follow-ups, by their numbers in the log, never happened."""
        history, p = self.history, self.history.payment[events]
        label, after = history.kind[events] == LABEL, events > history.at[p]
        gone = (effect[p] == STOPS) & history.settled[p] & ~(label & history.confirmed[p])
        other = (effect[p] == GOES) & history.refused[p] & ~label
        return (gone | other) & after & (history.at[p] >= 0)

    def _learn(self, parts: Sequence[Decided], chunk: _Chunk, start: int, stop: int) -> None:
        """Take in what was decided; make the settlements that follow from it."""
        paid = np.flatnonzero(chunk.kind[start:stop] == PAYMENT) + start
        outcome = [code for part in parts for code in part.results.outcome[part.rows].tolist()]
        fate = [code for part in parts for code in part.admission.fate[part.rows].tolist()]
        for i, code, how in zip(paid.tolist(), outcome, fate, strict=True):
            p = chunk.payment[i]
            if p < 0 or how == SKIPPED or self.known[p] or not self.history.edits[p]:
                continue
            self.known[p] = True
            self.effect[p] = effect = effect_of(code, self.history.passes[p])
            if effect == GOES and self.history.refused[p]:
                heappush(self.pending, self._settlement(chunk.batch, i, int(chunk.arrival[i]), chunk.first))

    def _settlement(self, batch: Batch, i: int, arrived_us: int, first: int) -> Settlement:
        sheet = batch.sheet
        amount = int(sheet.ints(self.roles.amount)[i]) if sheet.validity(self.roles.amount)[i] == VALID else None
        return Settlement(
            arrived_us + self.settle_after_us, first + i, f"settled:{sheet.value('event_id', i)}",
            str(sheet.value(self.roles.payment, i)), amount, bool(sheet.validity("record_time")[i] == VALID),
        )  # fmt: skip


def effect_of(outcome: int, passes: bool) -> int:
    """What an outcome does to the payment."""
    if outcome == _CHALLENGE:
        return GOES if passes else STOPS
    return {_APPROVE: GOES, _DECLINE: STOPS}.get(outcome, AS_RECORDED)


def settlements(layout: Layout, roles: Roles, due: Sequence[Settlement]) -> Batch:
    """Outcome events as the log would have had them."""
    columns: dict[str, list[int | str | None]] = {
        "event_id": [each.event_id for each in due],
        "event_time": [each.at_us for each in due],
        "kind": [OUTCOME_KIND] * len(due),
        "record_time": [each.at_us if each.recorded else None for each in due],
        "arrival_lag": [0 if each.recorded else None for each in due],
        roles.payment: [each.payment_id for each in due],
        roles.outcome: ["settled"] * len(due),
    }
    if roles.outcome_amount:
        columns[roles.outcome_amount] = [each.amount for each in due]
    n = len(due)
    offset = np.array([each.n for each in due], np.int64)
    return Batch(sheet_of(layout, columns), (TOPIC,), np.zeros(n, np.int64), np.zeros(n, np.int64), offset)


def arrival_of(batch: Batch) -> Ints:
    """int64[n], microseconds: record_time, or event_time where there is none."""
    sheet = batch.sheet
    return np.where(sheet.validity("record_time") == VALID, sheet.ints("record_time"), sheet.ints("event_time"))


@dataclass
class FollowingTrack(Track):
    """A pack over the log that another pack's decisions edit: to tell its own part in a flip from the log's."""

    leader: FeedbackTrack

    def decide(self, batch: Batch, first: int) -> list[Decided]:
        """Decide what the leader has just decided."""
        return [decided for part in self.leader.edited for decided in self.fold(part)]
