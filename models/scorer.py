"""Scorers: a forest with its card, compiled against the columns of a sheet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from features.expr import Expr
from features.kernel import kernel
from features.refusal import Refusal
from features.sheet import VALID, Bytes, Doubles, Ints, Layout, Sheet, Slot
from features.threads import in_parts
from features.types import BIGINT, BOOL, DOUBLE
from models.arms import CHALLENGER, arms
from models.card import Calibration, ModelCard
from models.card_toml import read_card
from models.forest import Forest, parse_forest
from models.matrix import Inputs, find_inputs, gather
from models.plan import Plan, make_plan
from models.trees import raw_scores

LOG2_100, INV_LN2 = math.log2(100), 1 / math.log(2)
HIGHEST_SCORE = 999
POINTS = 30.0  # that double the odds


Predict = Callable[[Plan, Doubles], Doubles]  # raw scores of values[features, n], on the CPU or on a device


@dataclass(frozen=True)
class Model:
    """A model that has been checked against its card. `card.features` stand in the order of the model's matrix.

    segment: where this condition is true the model scores; None for every event.
    """

    name: str
    forest: Forest
    card: ModelCard
    segment: Expr | None = None

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
class Challenger(Model):
    """A model that stands in for a champion on a share of the entities: see arms.py.

    share: more than 0 and less than 1.   by: the column that names the entity.
    """

    share: float = 0.0
    by: str = ""
    salt: str = ""


@dataclass(frozen=True)
class Scorer(Model):
    """A model whose scores rules read, by the columns that are named after it; a champion where it has a challenger."""

    challenger: Challenger | None = None


@dataclass(frozen=True)
class ShadowModel(Model):
    """A model that is scored and reported, and that no rule, outcome or alert can read (law L9)."""


@dataclass(frozen=True)
class Slots:
    """Where a model's scores stand: raw and probability are DOUBLE, score is BIGINT."""

    raw: Slot
    probability: Slot
    score: Slot


@dataclass(frozen=True)
class CompiledModel:
    """A model that knows its columns and its segment."""

    model: Model
    inputs: Inputs
    plan: Plan
    segment: Slot | None

    def fill(self, slots: Slots, sheet: Sheet, index: Ints, predict: Predict, threads: int = 1) -> None:
        """Write the scores of the events at `index`. An event's scores do not depend on the events beside it.

        Threads share the rows; a device is given all of them at once.
        """
        if threads > 1 and predict is predict_raw:
            in_parts(threads, len(index), lambda a, b: self.fill(slots, sheet, index[a:b], predict))
            return
        raw = predict(self.plan, gather(self.inputs, sheet, index))
        calibration = self.model.calibration
        probability, points = calibrate(raw, calibration.a, calibration.b)
        events = index if len(index) < sheet.n else slice(None)
        for slot, column in ((slots.raw, raw), (slots.probability, probability), (slots.score, points)):
            sheet.cells[slot.row, events] = column.view(np.int64)
            sheet.valid[slot.row, events] = VALID


@dataclass(frozen=True)
class CompiledScorer(Slots):
    """A scorer and its columns.

    challenger: what stands in for it on a share of the events; arm: then which of arms.py's arms scored an event.
    """

    scorer: Scorer
    compiled: CompiledModel
    challenger: CompiledModel | None = None
    arm: Slot | None = None

    def in_arm(self, arm: int) -> CompiledModel:
        """The model of an arm."""
        return self.challenger if self.challenger and arm == CHALLENGER else self.compiled


@dataclass(frozen=True)
class CompiledShadow:
    """A shadow model and its columns, which have no names: no rule can read them."""

    shadow: ShadowModel
    compiled: CompiledModel
    slots: Slots


def load_scorer(model: bytes, card: bytes) -> Scorer:
    """The scorer, for every event, of a model file and its card. Refusal as load_model."""
    return Scorer(**vars(load_model(model, card)))


def load_model(model: bytes, card: bytes) -> Model:
    """The model of a file and its card. Refusal if either is malformed or they do not belong together."""
    read = read_card(card)
    digest = sha256(model).hexdigest()
    if digest != read.sha256:
        what = f"the model's sha256 is {digest[:12]}..., its card says {read.sha256[:12]}..."
        raise Refusal(what, "restore the model that the card describes, or write a card for this one")
    forest = parse_forest(model)
    return Model(read.name, forest, _in_model_order(read, forest))


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
    Refusal names a feature that no column gives, or that has another type; TypeError for a shadow model.
    """
    if type(scorer) is not Scorer:
        raise TypeError("only live models have scores that rules read")
    compiled, name = _compile(scorer, layout), scorer.name
    challenger = _compile(scorer.challenger, layout) if scorer.challenger else None
    slots = (
        layout.add(f"{name}_raw", DOUBLE),
        layout.add(f"{name}_probability", DOUBLE),
        layout.add(f"{name}_score", BIGINT),
    )
    arm = layout.temporary(BIGINT) if challenger else None
    return CompiledScorer(*slots, scorer, compiled, challenger, arm)


def compile_shadow(shadow: ShadowModel, layout: Layout) -> CompiledShadow:
    """The same for a shadow model. Its scores have a place in the layout, and no name."""
    slots = Slots(layout.temporary(DOUBLE), layout.temporary(DOUBLE), layout.temporary(BIGINT))
    return CompiledShadow(shadow, _compile(shadow, layout), slots)


def _compile(model: Model, layout: Layout) -> CompiledModel:
    segment = None if model.segment is None else layout.temporary(BOOL)
    return CompiledModel(model, find_inputs(model.card.features, layout), make_plan(model.forest), segment)


def score(
    compiled: CompiledScorer,
    sheet: Sheet,
    wanted: Bytes | None = None,
    predict: Predict | None = None,
    threads: int = 1,
) -> None:
    """Score the events where wanted (uint8[n], default all) is not 0 and that are in the segment; the others stay NULL.

    Segments stand in the sheet. Which arm scores an event follows from the event alone.
    """
    index, predict = _index(compiled.compiled, sheet, wanted), predict or predict_raw
    if compiled.challenger is None or compiled.arm is None or compiled.scorer.challenger is None:
        compiled.compiled.fill(compiled, sheet, index, predict, threads)
        return
    challenger = compiled.scorer.challenger
    arm = arms(sheet, challenger.by, challenger.salt, challenger.share, index)
    sheet.cells[compiled.arm.row, index], sheet.valid[compiled.arm.row, index] = arm, VALID
    compiled.compiled.fill(compiled, sheet, index[arm != CHALLENGER], predict, threads)
    compiled.challenger.fill(compiled, sheet, index[arm == CHALLENGER], predict, threads)


def score_shadow(
    compiled: CompiledShadow,
    sheet: Sheet,
    wanted: Bytes | None = None,
    predict: Predict | None = None,
    threads: int = 1,
) -> None:
    """Score the wanted events of the shadow's segment, where nothing but the record of a decision reads it."""
    index = _index(compiled.compiled, sheet, wanted)
    compiled.compiled.fill(compiled.slots, sheet, index, predict or predict_raw, threads)


def _index(compiled: CompiledModel, sheet: Sheet, wanted: Bytes | None) -> Ints:
    """The events that a model scores: a segment that is NULL is not true."""
    index = np.arange(sheet.n) if wanted is None else wanted.nonzero()[0]
    if compiled.segment is None:
        return index
    inside = (sheet.validity(compiled.segment) == VALID) & (sheet.ints(compiled.segment) == 1)
    return index[inside[index]]


def predict_raw(plan: Plan, values: Doubles) -> Doubles:
    """Raw scores, float64[n], of values[features, n]: those of LightGBM's Booster.predict(raw_score=True)."""
    raw = np.empty(values.shape[1])
    raw_scores(raw, values, *plan)
    return raw


def score_of_odds(odds: float) -> float:
    """The score, unrounded and unbounded, of odds of fraud."""
    return 500.0 + POINTS * (LOG2_100 + math.log(odds) * INV_LN2)


def points_of(raw: Doubles, calibration: Calibration) -> Ints:
    """int64[n]: the points of raw scores."""
    return calibrate(raw, calibration.a, calibration.b)[1]


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
        points[i] = np.int64(min(max(np.rint(500.0 + POINTS * (LOG2_100 + z * INV_LN2)), 0.0), HIGHEST_SCORE))
    return probability, points
