"""Train a pack's model from a log: the folds, the calibration, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from features.refusal import suggest
from models.calibration import fit_platt
from models.card import ModelCard, Origin, Thresholds
from models.measures import Band, bands
from models.prequential import Window
from models.scorer import calibrate
from models.training import Purpose, make_card, measure, with_reference
from replay.backtest.sweep import Told
from replay.sources import Input
from replay.topic_input import TopicInput
from replay.training.rows import Span, learnable, undated
from replay.training.search import Trial, search
from replay.training.study import Study, against, study
from replay.training.table import Fold, Table, table_of_log
from sekisho.compile import Engine
from sekisho.errors import SekishoError


@dataclass(frozen=True)
class Plan:
    """window: of the model itself.   validation: how many earlier folds.   maturity_us: what is younger is left out.

    params: LightGBM's, over the defaults.   features: those to learn from; () for all of the pack's.
    tries: how many configurations are tried on the earlier folds; 0 for none but the defaults.
    seeds: how many other seeds train the model again, to see how much its ranking is by chance.
    """

    window: Window
    validation: int
    maturity_us: int
    seed: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    tries: int = 0
    seeds: int = 0


@dataclass(frozen=True, eq=False)
class Trained:
    """folds: the model's own first, then the earlier ones.   trials: what was tried, the best first.

    bands: how calibrated the model is on its own test, by hundreds of the score.   study: what else there is to see.
    seeds: the test's measures of the same model by other seeds.
    """

    model: bytes
    card: ModelCard
    folds: tuple[Fold, ...]
    trials: tuple[Trial, ...]
    bands: tuple[Band, ...]
    study: Study
    seeds: tuple[Mapping[str, float], ...] = ()


def train_on_log(
    engine: Engine, inputs: Sequence[Input | TopicInput], plan: Plan, purpose: Purpose, told: Told, threads: int = 1,
    origin: Origin | None = None,
) -> Trained:  # fmt: skip
    """Replay the log, train, calibrate on the earlier folds' tests, and judge on the model's own.

    What is trained, validated and calibrated knows only what the log held when the test begins.
    Raises SekishoError where a fold has no fraud or no good payment, or nothing can be calibrated.
    """
    names = wanted(engine, plan.features)
    windows = [plan.window, *plan.window.folds(plan.validation, plan.maturity_us)]
    span = Span(windows[-1].train_from_us, plan.window.test_to_us)
    with table_of_log(engine, inputs, span, told, threads) as table:
        moments = [table.newest_us + 1] + [plan.window.known_us] * plan.validation
        splits = [table.split(window, plan.maturity_us, at_us) for window, at_us in zip(windows, moments, strict=True)]
        ways = {name: way for name, way in engine.pack.directions.items() if name in names}
        trials = search(table, splits[1:], names, plan.tries, plan.params, plan.seed, ways) if plan.tries else []
        params = trials[0].params if trials else plan.params
        folds = tuple(table.fit(split, names, params, plan.seed, ways) for split in splits)
        model, card = _carded(folds, purpose, table, names)
        own, test = folds[0], table.features.take(pa.array(folds[0].split.test))
        card = replace(card, origin=origin, thresholds=_against(engine, card, own, test))
        assert card.calibration is not None
        probability, points = calibrate(own.raw, card.calibration.a, card.calibration.b)
        found = tuple(bands(points, probability, own.split.test_labels))
        others = range(plan.seed + 1, plan.seed + 1 + plan.seeds)
        again = tuple(table.fit(own.split, names, params, seed, ways).measures() for seed in others)
        return Trained(model, card, folds, tuple(trials), found, study(model, card, own, test, ways), again)


def wanted(engine: Engine, names: Sequence[str]) -> list[str]:
    """The features to learn from, in the pack's order. Raises SekishoError for one that it has not."""
    known = learnable(engine)[0]
    for name in names:
        if name not in known:
            raise SekishoError(f"pack {engine.pack.name} has no feature {name} to learn from", suggest(name, known))
    return [name for name in known if name in names] if names else known


def _carded(folds: tuple[Fold, ...], purpose: Purpose, table: Table, names: Sequence[str]) -> tuple[bytes, ModelCard]:
    """The model and its card: calibrated on the earlier folds' tests, judged on its own."""
    own, earlier = folds[0], folds[1:]
    try:
        calibration = fit_platt(
            np.concatenate([fold.raw for fold in earlier]), np.concatenate([fold.split.test_labels for fold in earlier])
        )
    except ValueError as error:
        raise SekishoError(
            f"the scores cannot be calibrated: {error}", "give more --folds, or other features"
        ) from None
    split = own.split
    metrics = measure(own.raw, split.test_labels, calibration) | _rankings(own, earlier)
    if lost := undated(table.db):
        metrics["labels_of_no_payment"] = float(lost)
    metrics |= {f"left_out_{name}": float(split.known[name]) for name in ("young", "unsettled", "other")}
    card = make_card(own.fitted, split.learn_labels, table.at_us[split.learn], purpose, calibration, metrics)
    learnt = table.features.select(names).take(pa.array(split.learn))
    return own.fitted.model, with_reference(card, learnt, own.raw)


def _against(engine: Engine, card: ModelCard, own: Fold, test: pa.Table) -> Thresholds | None:
    """The scores that stand for those of the pack's model of the same name, or of its first; None without one."""
    champions = sorted(engine.scorers, key=lambda each: each.scorer.name != card.name)
    if not champions:
        return None
    scorer = champions[0].scorer
    raw, score = (test.column(f"{scorer.name}_{part}").combine_chunks() for part in ("raw", "score"))
    rules = engine.pack.files.get("rules.yaml", b"").decode()
    used = [int(found) for found in re.findall(rf"\b{scorer.name}_score\s*>=?\s*(\d{{1,3}})\b", rules)]
    said = raw.cast(pa.float64()).fill_null(np.nan).to_numpy(), score.fill_null(-1).to_numpy()
    return against(scorer.sha256, *said, own, card, used)


def _rankings(own: Fold, earlier: tuple[Fold, ...]) -> dict[str, float]:
    """Of the test, of its cards not known to be compromised ("fresh"), and of the validation, with the spread."""
    metrics = own.measures()
    metrics |= {f"fresh_{name}": value for name, value in asdict(own.ranking(fresh=True)).items()}
    folds = [fold.measures() for fold in earlier]
    for name in folds[0]:
        values = [each[name] for each in folds]
        metrics |= {f"validation_{name}": float(np.mean(values)), f"validation_{name}_std": float(np.std(values))}
    return {name: round(value, 4) for name, value in metrics.items() if not np.isnan(value)}
