"""What is said of a model beyond its card: what its features weigh, segments, directions, scores like a champion's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.sheet import Bytes, Doubles, Ints
from models import inspect
from models.calibration import fit_platt
from models.card import ModelCard, Thresholds
from models.entities import Detection
from models.forest import Forest, parse_forest
from models.scorer import HIGHEST_SCORE, calibrate, points_of
from models.training import to_matrix
from replay.training.table import Fold

EXPLAINED = 2_000  # test payments whose contributions are averaged
SWEPT = 200  # test payments on which a direction is swept
MISSING = 10  # features that are taken away, one at a time
VALUES = 6  # of a categorical feature that are segments
STEP = 50  # of the score, in the histogram and in thresholds
LEAST_CHAMPION = 500  # the champion's thresholds that are compared begin here


@dataclass(frozen=True)
class FeatureFacts:
    """gain, weight: shares of all features', by the splits and by |SHAP|.   psi, chance: of the test to the training.

    nulls: the share of the test's payments without it.   missing: AP where no payment has it; None if not tried.
    """

    name: str
    gain: float
    weight: float
    psi: float
    chance: float
    nulls: float
    missing: float | None


@dataclass(frozen=True)
class Segment:
    """A part of the test. caught: frauds at or above the threshold of five good cards a defrauded one.

    expected: frauds by the calibrated probabilities.
    """

    of: str
    value: str
    rows: int
    frauds: int
    alerts: int
    caught: int
    expected: float


@dataclass(frozen=True)
class Direction:
    """A feature that is held to a direction. worst: the smallest step of a raw score in that direction (0 or more).

    low, high, null: the median score, 0 to 999, at its lowest and highest values, and where it is NULL.
    """

    name: str
    way: int
    worst: float
    low: int
    high: int
    null: int


@dataclass(frozen=True)
class Study:
    """histogram: (score, good payments, frauds) from each score on, STEP wide."""

    features: tuple[FeatureFacts, ...]
    segments: tuple[Segment, ...]
    directions: tuple[Direction, ...]
    histogram: tuple[tuple[int, int, int], ...]
    detection: Detection


def study(model: bytes, card: ModelCard, own: Fold, test: pa.Table, ways: Mapping[str, int]) -> Study:
    """Look into a model with its own test. test: the features of the test's payments.   ways: directions by feature."""
    forest, values = parse_forest(model), to_matrix(card.features, test)
    found, labels = own.detection(), own.split.test_labels
    assert card.calibration is not None
    probability, points = calibrate(own.raw, card.calibration.a, card.calibration.b)
    return Study(
        _features(model, forest, card, values, labels),
        tuple(_segments(own, test, card, probability, found.threshold)),
        tuple(_direction(forest, card, values, *way) for way in ways.items() if way[0] in forest.feature_names),
        tuple(_histogram(points, labels)),
        found,
    )  # fmt: skip


def _features(
    model: bytes, forest: Forest, card: ModelCard, values: Doubles, labels: Bytes
) -> tuple[FeatureFacts, ...]:
    gain, weight = inspect.gains(model, forest), inspect.weights(forest, values[:, _spread(values.shape[1], EXPLAINED)])
    first = np.argsort(-weight, kind="stable")[:MISSING].tolist()
    missing = dict(zip(first, inspect.without(forest, values, labels, first), strict=True))
    return tuple(
        FeatureFacts(name, float(gain[k]), float(weight[k]), *moved, float(np.isnan(values[k]).mean()), missing.get(k))
        for k, (name, moved) in enumerate(zip(forest.feature_names, inspect.shifts(card, values), strict=True))
    )


def _spread(rows: int, wanted: int) -> Ints:
    """Rows from the first to the last, evenly."""
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64))


def _segments(own: Fold, test: pa.Table, card: ModelCard, probability: Doubles, threshold: float) -> list[Segment]:
    """The commonest values of each categorical feature; quarters of the money; cards known to be compromised or not."""
    split, parts = own.split, list[tuple[str, str, np.ndarray]]()
    for feature in card.features:
        if feature.kind == "categorical":
            column = test.column(feature.name).to_pandas()
            parts += [(feature.name, str(v), (column == v).to_numpy()) for v in column.value_counts().index[:VALUES]]
    edges = np.quantile(split.settled, (0.25, 0.5, 0.75))
    quarter = np.searchsorted(edges, split.settled, side="left")
    parts += [("quarter", str(k + 1), quarter == k) for k in range(4)]
    parts += [("fresh", str(flag).lower(), split.fresh == flag) for flag in (True, False)]
    hit = own.raw >= threshold  # never where no threshold is cheap enough
    return [
        Segment(of, value, int(here.sum()), int(split.test_labels[here].sum()), int(hit[here].sum()),
                int(split.test_labels[here & hit].sum()), float(probability[here].sum()))
        for of, value, here in parts if here.any()
    ]  # fmt: skip


def _direction(forest: Forest, card: ModelCard, values: Doubles, name: str, way: int) -> Direction:
    scores = inspect.sweep(forest, values[:, _spread(values.shape[1], SWEPT)], forest.feature_names.index(name))
    assert card.calibration is not None
    median = points_of(np.median(scores, axis=0), card.calibration)
    steps = np.diff(scores[:, :-1], axis=1) * way
    return Direction(name, way, float(steps.min(initial=0.0)), int(median[0]), int(median[-2]), int(median[-1]))


def _histogram(points: Ints, labels: Bytes) -> list[tuple[int, int, int]]:
    step = points // STEP
    good, bad = (np.bincount(step[labels == label], minlength=HIGHEST_SCORE // STEP + 1) for label in (0, 1))
    used = np.flatnonzero(good + bad)
    return [(int(k) * STEP, int(good[k]), int(bad[k])) for k in range(used[0], used[-1] + 1)]


def against(champion: str, raw: Doubles, score: Ints, own: Fold, card: ModelCard, used: Sequence[int]) -> Thresholds:
    """The scores that stand for a champion's, on the model's own test. champion: the sha256 of its model.

    raw, score: the champion's on the test.   used: the thresholds that the pack's rules have.
    Of equal risk: where this model's probability is what the champion's score turned out to mean on this test.
    """
    assert card.calibration is not None
    _, points = calibrate(own.raw, card.calibration.a, card.calibration.b)
    known = ~np.isnan(raw)
    meant = fit_platt(raw[known], own.split.test_labels[known])
    wanted = sorted({*range(LEAST_CHAMPION, HIGHEST_SCORE, 2 * STEP), *used})
    rows = []
    for threshold in wanted:
        above = raw[known & (score >= threshold)]
        if len(above):
            risk = int(points_of(np.array([above.min()]), meant)[0])
            rows.append((threshold, inspect.equal_rate(points[known], score[known], threshold), risk))
    return Thresholds(champion, tuple(rows))
