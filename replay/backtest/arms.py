"""Champion against challenger, by intention to treat: an entity counts in its arm, whatever its arm did to it.

Payments younger than the age by which verdicts are in are left out, labelled or not: the fast verdicts of young
payments would stand beside money of which the slow ones are still to come. What a strategy stops costs nothing, nor
does a fraud that fails its challenge: where history did not challenge it, a share `pass_fraud` passes, by the draws of
the state feedback. What history refused and a strategy lets through has no truth, is costed at nothing and counted as
`unknown`.

Intervals resample entities, which are what was drawn (the Poisson bootstrap; clusters stay whole).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from features.sheet import Doubles, Ints
from models.arms import CERTAIN, CHALLENGER, CHAMPION, propensities
from models.scorer import Challenger
from replay.backtest.database import Arrays, make, records, streamed_arrays, table
from replay.backtest.figures import Case, fitted
from replay.backtest.history import draws
from replay.backtest.records import SIDES
from rules.records import OUTCOMES
from sekisho.compile import Engine

ARMS = {CHAMPION: "champion", CHALLENGER: "challenger", CERTAIN: "not_drawn"}
RECORDED, REPLAYED = "recorded", "replayed"
_CHALLENGE = OUTCOMES.index("challenge")
_TOUCHES = tuple(OUTCOMES.index(name) for name in ("challenge", "hold", "decline"))
PERCENTILES = (2.5, 97.5)  # of a bootstrap: an interval of 95 %
_FEWEST = 2  # entities of an arm, below which nothing says how much they differ


Entities = tuple[Ints, Doubles, Doubles]  # int64[e], CHAMPION or CHALLENGER; float64[e, m], above and below


class Measure(NamedTuple):
    """A ratio of two sums, times a factor."""

    above: str
    below: str
    factor: float


MEASURES = {
    "net_per_million": Measure("net_minor", "attempted_minor", 1e6),
    "friction": Measure("goods_touched", "goods", 1.0),
    "friction_most": Measure("open_touched", "open", 1.0),
}


def drawn_by(engines: Sequence[Engine]) -> tuple[str, ...]:
    """The fields that name the entities by which the packs draw."""
    found = (scorer.challenger for engine in engines for scorer in engine.pack.models)
    return tuple(dict.fromkeys(challenger.by for challenger in found if challenger))


@dataclass(frozen=True)
class Trial:
    """A challenger of a strategy. column: the arm in `counted`.   outcomes: as recorded, or as the pack replayed."""

    strategy: str
    champion: str
    challenger: Challenger
    column: str
    outcomes: str

    @property
    def head(self) -> dict[str, Any]:
        """What every row of the trial begins with."""
        return {"strategy": self.strategy, "outcomes": self.outcomes, "champion": self.champion,
                "challenger": self.challenger.name}  # fmt: skip

    @property
    def sums(self) -> str:
        """The columns above and below of all measures."""
        outcome = "recorded" if self.outcomes == RECORDED else self.strategy
        touched = f"coalesce({outcome} IN {_TOUCHES}, false)"
        fails = f"fails AND {self.strategy} = {_CHALLENGE}"
        lost = "" if self.outcomes == RECORDED else f" AND NOT {self.strategy}_stopped AND NOT ({fails})"
        either = "(good OR truth = 'censored') AND NOT young"
        return f"""coalesce(sum(amount_minor) FILTER (NOT young), 0)::DOUBLE AS attempted_minor,
                   coalesce(sum(net_minor) FILTER (fraud AND NOT young{lost}), 0)::DOUBLE AS net_minor,
                   count(*) FILTER (good AND NOT young)::DOUBLE AS goods,
                   count(*) FILTER (good AND NOT young AND {touched})::DOUBLE AS goods_touched,
                   count(*) FILTER ({either})::DOUBLE AS open,
                   count(*) FILTER ({either} AND {touched})::DOUBLE AS open_touched"""


def trials(case: Case) -> Iterator[Trial]:
    """Every challenger of both packs: by what was recorded, where the log says it, and by what was replayed."""
    for side, engine in zip(SIDES, case.engines, strict=True):
        pairs = [(each.name, each.challenger) for each in engine.pack.models if each.challenger]
        for j, (champion, challenger) in enumerate(pairs):
            for outcomes in (RECORDED, REPLAYED) if case.known.outcomes else (REPLAYED,):
                yield Trial(side, champion, challenger, f"{side}_arm{j}", outcomes)


def arms(case: Case) -> tuple[pa.Table, pa.Table]:
    """(`arms`, `arm_differences`) of each trial."""
    found = list(trials(case))
    if found:
        _make_tried(case)
    return _arm_rows(case, found), _differences(case, found)


def _make_tried(case: Case) -> None:
    """The view `tried`: the payments that count, and whether each, if it were challenged, would fail."""
    challenged = " OR ".join(f"{side} = {_CHALLENGE}" for side in SIDES)
    query = f"""SELECT DISTINCT payment_id FROM counted WHERE fraud AND ({challenged})
                AND recorded IS DISTINCT FROM {_CHALLENGE}"""
    names = table(case.db, query)["payment_id"].combine_chunks()
    failing = pa.array(draws(names, case.asked.seed, "challenge") >= case.asked.pass_fraud)
    case.db.register("drawn", pa.table({"payment_id": names.filter(failing)}))
    make(case.db, "CREATE TABLE failing AS SELECT payment_id, true AS fails FROM drawn")
    case.db.unregister("drawn")
    make(
        case.db,
        """CREATE VIEW tried AS SELECT counted.*, coalesce(fails, false) AS fails
           FROM counted LEFT JOIN failing USING (payment_id)""",
    )


def _arm_rows(case: Case, trials: Sequence[Trial]) -> pa.Table:
    """Payments whose entity is NULL were not drawn: they stand apart, last."""
    found = []
    for trial in trials:
        share = propensities(trial.challenger.share)
        for row in records(case.db, _arms(trial)):
            code = row.pop("arm")
            rates = {name: _ratio(row[it.above], row[it.below], it.factor) for name, it in MEASURES.items()}
            found.append(trial.head | row | rates | {"arm": ARMS[code], "share": share[code]})
    return fitted("arms", found)


def _arms(trial: Trial) -> str:
    replayed = trial.outcomes == REPLAYED
    unknown = f"refused AND NOT {trial.strategy}_stopped" if replayed else "false"
    same = f"avg((recorded = {trial.strategy})::INT) FILTER (recorded IS NOT NULL)" if replayed else "NULL"
    return f"""SELECT {trial.column} AS arm, count(*) AS payments,
                      count(DISTINCT drawn_{trial.challenger.by}) AS entities, {trial.sums},
                      count(*) FILTER (fraud AND NOT young) AS frauds, count(*) FILTER ({unknown}) AS unknown,
                      coalesce(sum(amount_minor) FILTER ({unknown}), 0) AS unknown_minor, {same} AS fidelity
               FROM tried WHERE {trial.column} >= 0 GROUP BY arm ORDER BY arm = {CERTAIN}, arm"""


def _ratio(above: float, below: float, factor: float) -> float | None:
    return factor * above / below if below else None


def _differences(case: Case, trials: Sequence[Trial]) -> pa.Table:
    """Challenger less champion, by measure, with its interval."""
    found = []
    for trial in trials:
        query = f"""SELECT {trial.column} AS arm, {trial.sums} FROM tried WHERE {trial.column} > {CERTAIN}
                    GROUP BY arm, drawn_{trial.challenger.by} ORDER BY arm, drawn_{trial.challenger.by}"""
        parts = (_sides(part) for part in streamed_arrays(case.db, query))
        told = difference(parts, len(MEASURES), case.asked.replicates, case.asked.seed)
        for k, (name, measure) in enumerate(MEASURES.items()):
            values = (None if np.isnan(part[k]) else float(part[k] * measure.factor) for part in told)
            row = dict(zip(("difference", "low", "high"), values, strict=True))
            found.append(trial.head | {"measure": name} | row)
    return fitted("arm_differences", found)


def _sides(entities: Arrays) -> Entities:
    columns = ([getattr(measure, side) for measure in MEASURES.values()] for side in ("above", "below"))
    above, below = (np.column_stack([entities[name] for name in names]) for names in columns)
    return entities["arm"], above, below


def difference(
    parts: Iterable[Entities], measures: int, replicates: int, seed: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Ratios of the challenger's entities less those of the champion's: (they, 2.5th, 97.5th percentile), float64[m].

    parts: some entities after the others, in any cuts: they may be many, and only sums are kept.   measures: m.
    NaN where nothing says it.
    """
    rng, entities = np.random.default_rng(seed), np.zeros(2, np.int64)
    sums = np.zeros((2, 2, 1 + replicates, measures))  # by arm, above or below; each counted once, then resampled
    for arm, *sides in parts:
        weights = np.column_stack([np.ones(len(arm)), rng.poisson(1.0, (len(arm), replicates))])
        for k, code in enumerate((CHAMPION, CHALLENGER)):
            mine = arm == code
            entities[k] += mine.sum()
            sums[k] += [weights[mine].T @ side[mine] for side in sides]
    before, after = (_divided(*sums[k]) for k in range(2))
    found, *draws = after - before
    if entities.min() < _FEWEST:
        return found, np.full_like(found, np.nan), np.full_like(found, np.nan)
    low, high = np.array([_percentiles(column) for column in np.reshape(draws, (replicates, measures)).T]).T
    return found, low, high


def _divided(above: Doubles, below: Doubles) -> Doubles:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _percentiles(draws: Doubles) -> Doubles:
    known = draws[~np.isnan(draws)]
    return np.percentile(known, PERCENTILES) if len(known) else np.full(2, np.nan)
