"""A track: one pack over one version of the log, and what it answers to each payment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.sheet import DEGRADED, ENTERS, SKIPPED, VALID, Bytes, Doubles, Ints
from replay.backtest.shared_log import Projection
from rules.evaluate import FAILED, HIT, NO_HIT, UNKNOWN, RuleResults, decide
from sekisho.batch import Batch
from sekisho.compile import Engine
from sekisho.decision import headline
from sekisho.state import State, new_state
from sekisho.step import Decided, fold

BATCH = 16_384
OUTCOME_CODES = 8  # a rule and the outcome without it share a number: rule * 8 + outcome


@dataclass(frozen=True)
class Answers:
    """What a track says of the k payments of a chunk, in order.

    outcome: int8[k].   score: int64[k], -1 unscored.   raw: float64[k], NaN unscored; the first model's.
    fate: uint8[k].   clock: int64[k], W after the payment.   ids: int64[k, 2].
    arms: int8[k, c], of each of the c models with a challenger: the arm that scored, -1 where neither did.
    hits, shadows, unknown, failed: rules' numbers by payment.   without: see OUTCOME_CODES, only where it differs.
    """

    outcome: npt.NDArray[np.int8]
    score: Ints
    raw: Doubles
    fate: Bytes
    clock: Ints
    ids: Ints
    arms: npt.NDArray[np.int8]
    hits: pa.Array
    shadows: pa.Array
    unknown: pa.Array
    failed: pa.Array
    without: pa.Array


@dataclass
class Track:
    """A pack on its way through the log. digest: sha256 over the outcomes and raw scores of its payments so far."""

    engine: Engine
    projection: Projection
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Go back to the beginning of the log."""
        self.state, self._hash = new_state(self.engine), sha256()

    def again(self) -> None:
        """Begin another run over the log."""
        self.restart()

    def end(self) -> None:
        """Let go of the state, which is large: the log has been read."""
        del self.state

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def note(self, answers: Answers) -> None:
        """Take answers into the digest."""
        self._hash.update(answers.outcome.tobytes() + answers.raw.tobytes())

    def decide(self, batch: Batch, first: int) -> list[Decided]:
        """Fold events in the shared layout into the state; `first` is the number of the first of them in the log."""
        parts = (self.fold(batch.cut(at, min(at + BATCH, batch.n))) for at in range(0, batch.n, BATCH))
        return [decided for part in parts for decided in part]

    def fold(self, batch: Batch) -> list[Decided]:
        """Fold one batch in the shared layout into the state; in pieces where control events stand in it."""
        pieces = fold(self.engine, self.state, self.projection.batch(batch))
        return [decided for _, decided in pieces if decided is not None]


def answers_of(engine: Engine, decided: Sequence[Decided]) -> Answers:
    """The answers to the payments of some batches."""
    parts = [_answers(engine, part) for part in decided] or [NOTHING]
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Answers(*(pa.concat_arrays(c) if isinstance(c[0], pa.Array) else np.concatenate(c) for c in columns))


def _answers(engine: Engine, decided: Decided) -> Answers:
    rows, results = decided.rows, decided.results
    score, scored = headline(engine, decided, rows)
    fresh = decided.admission.fate[rows] != SKIPPED
    raw = np.full(len(rows), np.nan)
    if engine.scorers:
        first = engine.scorers[0].raw
        known = fresh & (decided.sheet.validity(first)[rows] == VALID)
        raw[known] = decided.sheet.doubles(first)[rows][known]
    status, silenced = results.status[:, rows], results.lifted[:, rows] | results.muted[:, rows]
    before, times = decided.admission.watermark[rows], decided.sheet.ints("event_time")[rows]
    entered = decided.admission.fate[rows] == ENTERS
    return Answers(
        outcome=results.outcome[rows],
        score=np.where((scored == VALID) & fresh, score, -1),
        raw=raw,
        fate=decided.admission.fate[rows],
        clock=np.where(entered, np.maximum(before, times), before),
        ids=decided.ids,
        arms=_arms(engine, decided, fresh),
        hits=lists_of((status == HIT) & (silenced == 0)),
        shadows=lists_of(results.shadow_status[:, rows] == HIT),
        unknown=lists_of(status == UNKNOWN),
        failed=lists_of(status == FAILED),
        without=_without(engine, results, rows, (decided.admission.fate[rows] == DEGRADED).astype(np.uint8)),
    )


def _arms(engine: Engine, decided: Decided, fresh: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    """What the records say: int8[k, c]."""
    slots, sheet, rows = [each.arm for each in engine.scorers if each.arm], decided.sheet, decided.rows
    found = np.full((len(rows), len(slots)), -1, np.int8)
    for j, slot in enumerate(slots):
        drawn = fresh & (sheet.validity(slot)[rows] == VALID)
        found[drawn, j] = sheet.ints(slot)[rows][drawn]
    return found


def _without(engine: Engine, results: RuleResults, rows: Ints, degraded: Bytes) -> pa.Array:
    """The outcomes of the strategy run again without one rule, where they differ."""
    live, k = engine.rules.live, len(rows)
    changed = np.full((len(live.rules), k), -1, np.int64)
    for rule in range(len(live.rules)):
        said = np.flatnonzero(results.status[rule, rows] != NO_HIT)
        if not len(said):
            continue
        status = results.status[:, rows[said]]
        status[rule] = NO_HIT
        lifted, outcome = np.zeros(status.shape, np.uint8), np.zeros(len(said), np.int8)
        muted, least = results.muted[:, rows[said]], engine.rules.on_degraded
        decide(status, live.asks, live.lifts, degraded[said], least, muted, lifted, outcome)
        other = outcome != results.outcome[rows[said]]
        changed[rule, said[other]] = rule * OUTCOME_CODES + outcome[other].astype(np.int64)
    return lists_of(changed >= 0, changed)


def lists_of(mask: npt.NDArray[np.bool_], values: Ints | None = None) -> pa.Array:
    """A list<int16> for each column of mask[m, k]: the rows where it is true, or the values there."""
    column, row = np.nonzero(mask.T)
    offsets = np.zeros(mask.shape[1] + 1, np.int32)
    np.cumsum(mask.sum(axis=0), out=offsets[1:])
    inner = row if values is None else values[row, column]
    buffers = [pa.py_buffer(part) for part in (offsets, np.ascontiguousarray(inner, np.int16))]
    child = pa.Array.from_buffers(pa.int16(), len(inner), [None, buffers[1]])
    return pa.Array.from_buffers(pa.list_(pa.int16()), mask.shape[1], [None, buffers[0]], children=[child])


_NO_LISTS = lists_of(np.zeros((0, 0), bool))
NOTHING = Answers(
    np.zeros(0, np.int8), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.uint8), np.zeros(0, np.int64),
    np.zeros((0, 2), np.int64), np.zeros((0, 0), np.int8), *([_NO_LISTS] * 5),
)  # fmt: skip
