"""Drift of what a pack's models read and say, by day of event time, against their cards.

A sixteenth of the decisions is looked at, chosen by their ids, so that a worker and a replay count the same. Nothing
of it enters a decision. Too late, future and repeated events do not count; of an experiment the champion's share does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.sheet import ENTERS, VALID, Doubles, Ints
from models.arms import CHALLENGER
from models.drift import BinPlan, Bins, by_chance, count_bins, plan_bins, stability
from models.matrix import gather
from models.scorer import CompiledScorer
from sekisho.compile import Engine
from sekisho.step import Decided

SAMPLED, WEEK, DAY_US = 16, 7, 86_400_000_000


@dataclass(frozen=True)
class Shift:
    """A column of a model on some days: its PSI, what chance alone would give, and how many values were looked at."""

    model: str
    column: str
    psi: float
    by_chance: float
    values: int


@dataclass(frozen=True)
class _Watched:
    """A model and its columns: features by their rows in its matrix, and the score behind them."""

    scorer: CompiledScorer
    columns: Mapping[str, Bins]
    rows: Ints
    plan: BinPlan


@dataclass
class DriftCounts:
    """Counts by day and model, float64[columns, bins]: a few KB a day. Models whose cards have no reference are passed
    over. One thread counts, others may ask."""

    engine: Engine
    days: dict[int, dict[str, Doubles]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watched = [found for each in self.engine.scorers if (found := _watched(each))]

    def warm(self) -> None:
        """Compile what counts."""
        for each in self.watched:
            count_bins(each.plan, np.empty((len(each.columns), 0)), np.empty(0))

    def note(self, decided: Decided, wanted: npt.NDArray[np.bool_] | None = None) -> None:
        """Count the sampled ones of a batch's decisions. wanted: bool[decided.rows], which of them (default: all)."""
        if not self.watched:
            return
        chosen = decided.ids[:, 1] % SAMPLED == 0
        rows = decided.rows[chosen if wanted is None else chosen & wanted]
        if not len(rows):
            return
        rows = rows[decided.admission.fate[rows] == ENTERS]
        for each in self.watched if len(rows) else ():
            self._count(each, decided, rows)

    def _count(self, watched: _Watched, decided: Decided, rows: Ints) -> None:
        scorer, sheet = watched.scorer, decided.sheet
        scored = sheet.validity(scorer.score)[rows] == VALID
        if scorer.arm:
            scored &= sheet.ints(scorer.arm)[rows] != CHALLENGER
        rows, name = rows[scored], scorer.scorer.name
        values = np.vstack([gather(scorer.compiled.inputs, sheet, rows)[watched.rows], sheet.ints(scorer.score)[rows]])
        day = sheet.ints("event_time")[rows] // DAY_US
        for each in np.unique(day).tolist():
            here = values[:, day == each]
            counts, kept = count_bins(watched.plan, here, np.ones(here.shape[1])), self.days.setdefault(each, {})
            kept[name] = kept[name] + counts if name in kept else counts

    def newest(self, count: int = WEEK) -> list[int]:
        """The newest days that are over, at most `count`, since 1970: another has begun behind them."""
        return sorted(dict(self.days))[-count - 1 : -1]

    def shifts(self, days: list[int] | None = None) -> list[Shift]:
        """Every column over these days (default: all), the farthest first."""
        kept = dict(self.days)
        chosen = [kept[day] for day in (kept if days is None else days)]
        found = [shift for each in self.watched for shift in _shifts(each, chosen)]
        return sorted(found, key=lambda each: (-each.psi, each.model, each.column))


def _watched(scorer: CompiledScorer) -> _Watched | None:
    card, names = scorer.scorer.card, scorer.scorer.features
    if card.scores is None:
        return None
    known = [k for k, name in enumerate(names) if name in card.reference]
    columns = {names[k]: card.reference[names[k]] for k in known} | {f"{scorer.scorer.name}_score": card.scores}
    return _Watched(scorer, columns, np.array(known, np.int64), plan_bins(list(columns.values())))


def _shifts(watched: _Watched, chosen: list[dict[str, Doubles]]) -> Iterator[Shift]:
    model = watched.scorer.scorer.name
    counts = [each[model] for each in chosen if model in each]
    for c, (column, bins) in enumerate(watched.columns.items() if counts else ()):
        before = np.array(bins.counts, np.float64)
        now = np.sum([each[c, : len(before)] for each in counts], axis=0)
        psi, used = stability(before, now)
        yield Shift(model, column, psi, by_chance(used, before.sum(), now.sum()), int(now.sum()))
