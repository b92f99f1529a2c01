"""Looking into a model: what its features weigh, how they have moved, what it says where one is missing or swept."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from features.sheet import Bytes, Doubles, Ints
from models.card import ModelCard
from models.contributions import contributions, make_paths
from models.drift import by_chance, count_bins, plan_bins, stability
from models.forest import CATEGORICAL, Forest
from models.measures import average_precision
from models.plan import make_plan
from models.scorer import predict_raw

Z_95 = 1.96


def gains(model: bytes, forest: Forest) -> Doubles:
    """float64[features]: the share of each in what splits have gained; the model's file says it of each split."""
    lines = re.findall(rb"^split_gain=(.*)$", model, re.MULTILINE)
    found = np.bincount(forest.feature, np.array(b" ".join(lines).split(), np.float64), len(forest.feature_names))
    return np.asarray(found / (found.sum() or 1.0))


def weights(forest: Forest, values: Doubles) -> Doubles:
    """float64[features]: the share of each in what moves raw scores, the mean of |SHAP| over values[features, n]."""
    found = np.abs(contributions(make_paths(forest), values, np.arange(len(values)), len(values))).mean(1)
    return np.asarray(found / (found.sum() or 1.0))


def shifts(card: ModelCard, values: Doubles) -> list[tuple[float, float]]:
    """(PSI, by chance) of each feature of values[features, n] against the card's reference."""
    bins = [card.reference[feature.name] for feature in card.features]
    counts, found = count_bins(plan_bins(bins), values, np.ones(values.shape[1])), []
    for each, now in zip(bins, counts, strict=True):
        before = np.array(each.counts, np.float64)
        psi, used = stability(before, now[: len(before)])
        found.append((psi, by_chance(used, before.sum(), now.sum())))
    return found


def without(forest: Forest, values: Doubles, labels: Bytes, features: Sequence[int]) -> list[float]:
    """The average precision of values[features, n] where one of some features is NULL in every row."""
    plan, found = make_plan(forest), []
    for feature in features:
        changed = values.copy()
        changed[feature] = np.nan
        found.append(average_precision(predict_raw(plan, changed), labels))
    return found


def sweep(forest: Forest, values: Doubles, feature: int) -> Doubles:
    """float64[n, places]: raw scores of values[features, n] with one numeric feature at every value that the model can
    tell from the one before, rising; in the last place it is NULL."""
    edges = np.unique(forest.threshold[(forest.feature == feature) & (forest.decision & CATEGORICAL == 0)])
    edges = edges[edges < np.finfo(np.float64).max]  # above it nothing but NULL is told apart
    places = np.concatenate([edges if len(edges) else [0.0], np.nextafter(edges[-1:], np.inf), [np.nan]])
    plan, scores = make_plan(forest), np.empty((values.shape[1], len(places)))
    for k, place in enumerate(places):
        changed = values.copy()
        changed[feature] = place
        scores[:, k] = predict_raw(plan, changed)
    return scores


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share: E. B. Wilson, "Probable inference" (1927). (0, 1) of nothing."""
    if not of:
        return 0.0, 1.0
    p, z = hits / of, Z_95 * Z_95 / of
    middle, half = p + z / 2, Z_95 * float(np.sqrt(p * (1 - p) / of + z / (4 * of)))
    return (middle - half) / (1 + z), (middle + half) / (1 + z)


def byar(count: int) -> tuple[float, float]:
    """The 95 % interval of a Poisson mean, by Byar (N. Breslow, N. Day, "Statistical Methods in Cancer Research" 2)."""
    up = count + 1
    low = count * (1 - 1 / (9 * count) - Z_95 / (3 * count**0.5)) ** 3 if count else 0.0
    return max(0.0, low), up * (1 - 1 / (9 * up) + Z_95 / (3 * up**0.5)) ** 3


def equal_rate(scores: Ints, champion: Ints, threshold: int) -> int:
    """The score from which on as many of `scores` lie as champion's do from its threshold on, as nearly as can be."""
    wanted = int((champion >= threshold).sum())
    levels, counts = np.unique(scores, return_counts=True)
    above = np.cumsum(counts[::-1])[::-1]
    if not wanted:
        return int(levels[-1]) + 1
    return int(levels[len(levels) - 1 - int(np.abs(above[::-1] - wanted).argmin())])
