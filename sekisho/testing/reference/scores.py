"""Scores: a forest followed from root to leaf, its calibration, and the scale from 0 to 999."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_SHIFT, MISSING_ZERO, Forest
from models.scorer import HIGHEST_SCORE, INV_LN2, LOG2_100, Scorer
from sekisho.testing.reference.expressions import Row, Value, is_null

NEAR_ZERO = 1.0000000180025095e-35  # what LightGBM takes for zero: the float32 nearest to 1e-35


@dataclass(frozen=True)
class Score:
    """What a model, known by its file's hash, says: 0 to 999 points, its trees' sum, the calibrated probability."""

    name: str
    sha256: str
    score: int
    raw: float
    probability: float


def score(scorer: Scorer, row: Row, scales: dict[str, int]) -> Score:
    """The scorer's answer on one row. `scales` says in which units of 10^-e the row's exact columns are.

    z = a raw + b is the logarithm of the odds; 500 points are odds of one to a hundred, 30 points double them.
    """
    inputs = [_input(row[f.name], scales.get(f.name, 0), f.categories) for f in scorer.card.features]
    raw = 0.0
    for tree in range(scorer.forest.trees):
        raw += _leaf(scorer.forest, tree, inputs)
    z = scorer.calibration.a * raw + scorer.calibration.b
    points = round(500.0 + 30.0 * (LOG2_100 + z * INV_LN2))
    return Score(scorer.name, scorer.sha256, min(max(points, 0), HIGHEST_SCORE), raw, 1.0 / (1.0 + math.exp(-z)))


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
        goes = _in_set if forest.decision[node] & CATEGORICAL else _below
        left = goes(forest, node, inputs[forest.feature[node]])
        child = int(forest.left[node] if left else forest.right[node])
    return float(forest.leaf_value[forest.leaf_start[tree] + ~child])


def _below(forest: Forest, node: int, x: float) -> bool:
    """Whether a number goes left. What the split counts as missing goes its default way."""
    decision = int(forest.decision[node])
    missing = decision >> MISSING_SHIFT
    if math.isnan(x) and missing != MISSING_NAN:
        x = 0.0
    if math.isnan(x) or (missing == MISSING_ZERO and abs(x) <= NEAR_ZERO):
        return bool(decision & DEFAULT_LEFT)
    return x <= float(forest.threshold[node])


def _in_set(forest: Forest, node: int, x: float) -> bool:
    """Whether a category goes left: those of the split's set do."""
    which = int(forest.threshold[node])
    words = forest.set_words[forest.set_start[which] : forest.set_start[which + 1]]
    if not -1.0 < x < 32 * len(words):
        return False
    return bool((int(words[int(x) // 32]) >> (int(x) % 32)) & 1)
