"""Scores: a forest followed from root to leaf, its calibration, and the scale from 0 to 999."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256

from models.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_SHIFT, MISSING_ZERO, Forest
from models.scorer import HIGHEST_SCORE, INV_LN2, LOG2_100, Model, Scorer
from sekisho.testing.reference.expressions import Lists, Row, Value, evaluate, is_null

NEAR_ZERO = 1.0000000180025095e-35  # what LightGBM takes for zero: the float32 nearest to 1e-35


@dataclass(frozen=True)
class Score:
    """What a model, known by its file's hash, says: 0 to 999 points, its trees' sum, the calibrated probability.

    arm, propensity: of a model with a challenger, which of the two spoke, and how likely that was.
    """

    name: str
    sha256: str
    score: int
    raw: float
    probability: float
    arm: str | None = None
    propensity: float | None = None

    def entry(self) -> dict[str, object]:
        """As the record has it."""
        return {key: value for key, value in vars(self).items() if value is not None}


def scores_of(scorer: Scorer, row: Row, lists: Lists, scales: dict[str, int]) -> Score | None:
    """What stands under a live model's name: its own score, or its challenger's on the challenger's entities.

    An entity is the challenger's if the first 64 bits of sha256(salt, NUL, entity) are below share x 2^64.
    """
    if not speaks(scorer, row, lists):
        return None
    challenger = scorer.challenger
    if challenger is None:
        return score(scorer, row, scales)
    entity, share = row[challenger.by], Fraction(str(challenger.share))
    if is_null(entity):
        return replace(score(scorer, row, scales), arm="champion", propensity=1.0)
    digest = sha256(challenger.salt.encode() + b"\0" + str(entity).encode()).hexdigest()
    if int(digest[:16], 16) < share * 2**64:
        return replace(score(challenger, row, scales), arm="challenger", propensity=float(share))
    return replace(score(scorer, row, scales), arm="champion", propensity=float(1 - share))


def speaks(model: Model, row: Row, lists: Lists) -> bool:
    """Whether an event is in the model's segment. What is unknown is not."""
    return model.segment is None or evaluate(model.segment, row, lists) is True


def score(scorer: Model, row: Row, scales: dict[str, int]) -> Score:
    """The model's answer on one row. `scales` says in which units of 10^-e the row's exact columns are.

    z = a raw + b is the logarithm of the odds; 500 points are odds of one to a hundred, 30 points double them.
    """
    inputs = matrix_row(scorer, row, scales)
    raw = 0.0
    for tree in range(scorer.forest.trees):
        raw += _leaf(scorer.forest, tree, inputs)
    z = scorer.calibration.a * raw + scorer.calibration.b
    points = round(500.0 + 30.0 * (LOG2_100 + z * INV_LN2))
    return Score(scorer.name, scorer.sha256, min(max(points, 0), HIGHEST_SCORE), raw, 1.0 / (1.0 + math.exp(-z)))


def matrix_row(model: Model, row: Row, scales: dict[str, int]) -> list[float]:
    """The row as the model reads it, in the order of its features."""
    return [_input(row[f.name], scales.get(f.name, 0), f.categories) for f in model.card.features]


def _input(value: Value, scale: int, categories: tuple[str, ...]) -> float:
    """A column as the model reads it: NULL and unknown categories are NaN, never 0 (L7)."""
    if is_null(value):
        return math.nan
    if isinstance(value, str):
        return float(categories.index(value)) if value in categories else math.nan
    return value if isinstance(value, float) else int(value) / 10**scale  # type: ignore[arg-type]


def _leaf(forest: Forest, tree: int, inputs: list[float]) -> float:
    """The value of the leaf that the row falls into."""
    first, child = int(forest.node_start[tree]), 0
    if first == forest.node_start[tree + 1]:
        child = -1  # a tree of one leaf
    while child >= 0:
        node = first + child
        goes = in_set if forest.decision[node] & CATEGORICAL else below
        left = goes(forest, node, inputs[forest.feature[node]])
        child = int(forest.left[node] if left else forest.right[node])
    return float(forest.leaf_value[forest.leaf_start[tree] + ~child])


def below(forest: Forest, node: int, x: float) -> bool:
    """Whether a number goes left. What the split counts as missing goes its default way."""
    decision = int(forest.decision[node])
    missing = decision >> MISSING_SHIFT
    if abs(x) <= NEAR_ZERO or (math.isnan(x) and missing != MISSING_NAN):
        x = 0.0
    if math.isnan(x) or (missing == MISSING_ZERO and x == 0.0):
        return bool(decision & DEFAULT_LEFT)
    return x <= float(forest.threshold[node])


def in_set(forest: Forest, node: int, x: float) -> bool:
    """Whether a category goes left: those of the split's set do."""
    which = int(forest.threshold[node])
    words = forest.set_words[forest.set_start[which] : forest.set_start[which + 1]]
    if not -1.0 < x < 32 * len(words):
        return False
    return bool((int(words[int(x) // 32]) >> (int(x) % 32)) & 1)
