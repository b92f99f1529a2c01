"""Scorers: a forest with its card, compiled against the columns of a sheet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from features.kernel import kernel
from features.refusal import Refusal
from features.sheet import VALID, Bytes, Doubles, Ints, Layout, Sheet, Slot
from features.types import BIGINT, DOUBLE
from models.card import Calibration, ModelCard, read_card
from models.forest import Forest, parse_forest
from models.matrix import Inputs, find_inputs, gather
from models.plan import Plan, make_plan
from models.trees import raw_scores

LOG2_100, INV_LN2 = math.log2(100), 1 / math.log(2)
HIGHEST_SCORE = 999


Predict = Callable[[Plan, Doubles], Doubles]  # raw scores of values[features, n], on the CPU or on a device


@dataclass(frozen=True)
class Scorer:
    """A model that has been checked against its card. `card.features` stand in the order of the model's matrix."""

    name: str
    forest: Forest
    card: ModelCard

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the model reads."""
        return tuple(feature.name for feature in self.card.features)

    @property
    def sha256(self) -> str:
        """Of the model file's bytes."""
        return self.card.sha256

    @property
    def calibration(self) -> Calibration:
        """The card's, or else the model's own sigmoid."""
        return self.card.calibration or Calibration(self.forest.sigmoid, 0.0)


@dataclass(frozen=True)
class CompiledScorer:
    """A scorer that knows its columns. raw and probability are DOUBLE slots, score is a BIGINT slot."""

    scorer: Scorer
    inputs: Inputs
    plan: Plan
    raw: Slot
    probability: Slot
    score: Slot


def load_scorer(model: bytes, card: bytes) -> Scorer:
    """The scorer of a model file and its card. Refusal if either is malformed or they do not belong together."""
    read = read_card(card)
    digest = sha256(model).hexdigest()
    if digest != read.sha256:
        what = f"the model's sha256 is {digest[:12]}..., its card says {read.sha256[:12]}..."
        raise Refusal(what, "restore the model that the card describes, or write a card for this one")
    forest = parse_forest(model)
    return Scorer(read.name, forest, _in_model_order(read, forest))


def _in_model_order(card: ModelCard, forest: Forest) -> ModelCard:
    """The card with its features in the order of the model."""
    by_name = {feature.name: feature for feature in card.features}
    missing = [name for name in forest.feature_names if name not in by_name]
    extra = [name for name in by_name if name not in forest.feature_names]
    for names, where, whose in ((missing, "the model reads", "the card"), (extra, "the card lists", "the model")):
        if names:
            listed = ", ".join(f"`{name}`" for name in names[:5])
            raise Refusal(f"{where} {listed}, which {whose} does not", "write the card with the training script")
    return replace(card, features=tuple(by_name[name] for name in forest.feature_names))


def compile_scorer(scorer: Scorer, layout: Layout) -> CompiledScorer:
    """Match the model's features to columns and add its scores to the layout.

    The columns are `<name>_raw` and `<name>_probability` (DOUBLE) and `<name>_score` (BIGINT).
    Refusal names a feature that no column gives, or that has another type.
    """
    inputs = find_inputs(scorer.card.features, layout)
    slots = [
        layout.add(f"{scorer.name}_{column}", type)
        for column, type in (("raw", DOUBLE), ("probability", DOUBLE), ("score", BIGINT))
    ]
    return CompiledScorer(scorer, inputs, make_plan(scorer.forest), *slots)


def score(compiled: CompiledScorer, sheet: Sheet, wanted: Bytes | None = None, predict: Predict | None = None) -> None:
    """Score the events where wanted (uint8[n], default all) is not 0; the others stay NULL.

    An event's scores do not depend on the events beside it.
    """
    index = np.arange(sheet.n) if wanted is None else np.flatnonzero(wanted)
    values = gather(compiled.inputs, sheet, index)
    raw = (predict or predict_raw)(compiled.plan, values)
    calibration = compiled.scorer.calibration
    probability, points = calibrate(raw, calibration.a, calibration.b)
    for slot, column in ((compiled.raw, raw), (compiled.probability, probability), (compiled.score, points)):
        sheet.cells[slot.row, index] = column.view(np.int64)
        sheet.valid[slot.row, index] = VALID


def predict_raw(plan: Plan, values: Doubles) -> Doubles:
    """Raw scores, float64[n], of values[features, n]: those of LightGBM's Booster.predict(raw_score=True)."""
    raw = np.empty(values.shape[1])
    raw_scores(raw, values, *plan)
    return raw


@kernel
def calibrate(raw: Doubles, a: float, b: float) -> tuple[Doubles, Ints]:
    """Probabilities and points of raw scores.

    z = a raw + b is the logarithm of the odds; probability = 1 / (1 + exp(-z)); points = 500 + 30 log2(100 odds),
    rounded half to even and held within 0 and 999: 30 points double the odds, 500 are odds of one to a hundred.
    """
    probability, points = np.empty(len(raw)), np.empty(len(raw), np.int64)
    for i in range(len(raw)):
        z = a * raw[i] + b
        probability[i] = 1.0 / (1.0 + math.exp(-z))
        points[i] = np.int64(min(max(np.rint(500.0 + 30.0 * (LOG2_100 + z * INV_LN2)), 0.0), HIGHEST_SCORE))
    return probability, points
