"""Train a pack's model from a log: the folds, the calibration, and what is said of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.sheet import Bytes, Doubles, Ints
from models.calibration import fit_platt
from models.card import ModelCard
from models.measures import average_precision, roc_auc
from models.prequential import Window
from models.training import Fitted, Purpose, fit, make_card, measure
from replay.backtest.database import Db, arrays, open_rows
from replay.backtest.roles import Roles, roles_of
from replay.backtest.sweep import Told
from replay.sources import Input
from replay.topic_input import TopicInput
from replay.training.rows import Span, Truth, counts, read_features, truth_at, write_rows
from sekisho.compile import Engine
from sekisho.errors import SekishoError


@dataclass(frozen=True)
class Plan:
    """window: of the model itself.   validation: how many earlier folds.   maturity_us: what is younger is left out."""

    window: Window
    validation: int
    maturity_us: int
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Fold:
    """A model, the payments that it learnt from (learn, learn_labels), and its test.

    known, later: payments by Truth, of the training and of the test range.
    """

    window: Window
    fitted: Fitted
    learn: Ints
    learn_labels: Bytes
    raw: Doubles
    labels: Bytes
    known: dict[str, int]
    later: dict[str, int]

    @property
    def average_precision(self) -> float:
        return average_precision(self.raw, self.labels)

    @property
    def roc_auc(self) -> float:
        return roc_auc(self.raw, self.labels)


@dataclass(frozen=True, eq=False)
class Trained:
    """folds: the model's own first, then the earlier ones."""

    model: bytes
    card: ModelCard
    folds: tuple[Fold, ...]


def train_on_log(
    engine: Engine, inputs: Sequence[Input | TopicInput], plan: Plan, purpose: Purpose, told: Told, threads: int = 1
) -> Trained:
    """Replay the log, train, calibrate on the earlier folds' tests, and judge on the model's own.

    What is trained, validated and calibrated knows only what the log held when the test begins.
    Raises SekishoError where a fold has no fraud or no good payment, or nothing can be calibrated.
    """
    if engine.pack.labels is None:
        raise SekishoError(f"pack {engine.pack.name}: it has no [labels] table", "add one: nothing says what is fraud")
    windows = [plan.window, *plan.window.folds(plan.validation, plan.maturity_us)]
    roles = roles_of(engine.pack, engine.pack.schema)
    with tempfile.TemporaryDirectory(prefix="sekisho-train-") as name:
        span = Span(windows[-1].train_from_us, plan.window.test_to_us)
        newest = write_rows(engine, roles, inputs, span, Path(name), told, threads)
        if not list(Path(name).glob("payments.parquet")):
            raise SekishoError("the log holds no event", "look at the dead letters with `sekisho replay run`")
        db = open_rows(Path(name))
        try:
            table = _Table(db, roles, engine.pack.labels.fraud, read_features(Path(name)), plan)
            folds = tuple(table.fold(w, newest + 1 if not k else plan.window.known_us) for k, w in enumerate(windows))
            return _trained(folds, table.at_us, purpose)
        finally:
            db.close()


class _Table:
    """The payments of a log, and their truth at any moment."""

    def __init__(self, db: Db, roles: Roles, fraud: tuple[str, ...], features: pa.Table, plan: Plan) -> None:
        self.db, self.roles, self.fraud, self.features, self.plan = db, roles, fraud, features, plan
        self.at_us = arrays(db, "SELECT at_us FROM payments ORDER BY n")["at_us"]

    def fold(self, window: Window, judged_us: int) -> Fold:
        """Train a fold by what was known when its test began, and judge it by what was known before `judged_us`."""
        learn, known = self._known(window.train_from_us, window.train_to_us, window.known_us)
        test, later = self._known(window.known_us, window.test_to_us, judged_us)
        for what, truth in (("training", known), ("test", later)):
            _check(window, what, counts(truth))
        keep, judge = known <= Truth.FRAUD, later <= Truth.FRAUD
        rows = np.concatenate([learn[keep], test[judge]])
        labels = np.concatenate([known[keep], later[judge]]).astype(np.uint8)
        n = int(keep.sum())
        fitted = fit(self.features.take(pa.array(rows)), labels, np.arange(n), seed=self.plan.seed)
        return Fold(window, fitted, learn[keep], labels[:n], fitted.raw[n:], labels[n:], counts(known), counts(later))

    def _known(self, from_us: int, to_us: int, at_us: int) -> tuple[Ints, Ints]:
        """The payments of a time, and their truth at a moment."""
        rows = np.flatnonzero((self.at_us >= from_us) & (self.at_us < to_us))
        return rows, truth_at(self.db, self.roles, self.fraud, at_us, self.plan.maturity_us)[rows]


def _check(window: Window, what: str, found: dict[str, int]) -> None:
    if found["fraud"] and found["good"]:
        return
    said = ", ".join(f"{count:,} {name}" for name, count in found.items())
    days = (window.train_to_us - window.train_from_us) / 86_400_000_000
    raise SekishoError(
        f"the {what} range of a fold has not both frauds and good payments: {said} (its training lasts {days:g} days)",
        "give longer ranges, a longer --delay, fewer --folds, or the labels of this log",
    )


def _trained(folds: tuple[Fold, ...], at_us: Ints, purpose: Purpose) -> Trained:
    own, earlier = folds[0], folds[1:]
    try:
        calibration = fit_platt(
            np.concatenate([fold.raw for fold in earlier]), np.concatenate([fold.labels for fold in earlier])
        )
    except ValueError as error:
        raise SekishoError(
            f"the scores cannot be calibrated: {error}", "give more --folds, or other features"
        ) from None
    metrics = measure(own.raw, own.labels, calibration)
    for name in ("average_precision", "roc_auc"):
        values = [getattr(fold, name) for fold in earlier]
        metrics |= {f"validation_{name}": round(float(np.mean(values)), 4)}
        metrics |= {f"validation_{name}_std": round(float(np.std(values)), 4)}
    metrics |= {f"left_out_{name}": float(own.known[name]) for name in ("young", "unsettled", "other")}
    card = make_card(own.fitted, own.learn_labels, at_us[own.learn], purpose, calibration, metrics)
    return Trained(own.fitted.model, card, folds)
