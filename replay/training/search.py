"""Which parameters to train with: a seeded sample of a grid, judged on the earlier folds and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

import numpy as np

from models.training import DEFAULTS, NOT_MONOTONE, validation_curve
from replay.training.table import Split, Table

GRID: Mapping[str, tuple[Any, ...]] = {
    "num_leaves": (8, 16, 31),
    "learning_rate": (0.03, 0.05, 0.1),
    "min_sum_hessian_in_leaf": (1.0, 5.0),
    "lambda_l2": (1.0, 5.0, 20.0),
    "feature_fraction": (0.3, 0.5, 0.8),
}
MOST_TREES = 1000


@dataclass(frozen=True)
class Trial:
    """A configuration, and its average precision on the validation folds: the mean, and the spread over them."""

    params: Mapping[str, Any]
    average_precision: float
    spread: float


def search(
    table: Table,
    splits: Sequence[Split],
    names: Sequence[str],
    tries: int,
    fixed: Mapping[str, Any],
    seed: int,
    monotone: Mapping[str, int] = NOT_MONOTONE,
    told: Callable[[Trial], object] = lambda trial: None,
) -> list[Trial]:
    """The best configuration first. The defaults are tried, too; parameters in `fixed` stay as they are.

    splits: the folds before the model's own. How many trees there are is where the folds' mean average precision is
    highest, so its figure here is a little kind: the model's own test is what to believe.
    """
    prepared = [(*table.rows(split, names), len(split.learn)) for split in splits]
    found = []
    for params in configurations(tries, fixed, seed):
        curves = [validation_curve(*each, params, seed, monotone) for each in prepared]
        shortest = min(map(len, curves))
        each = np.array([curve[:shortest] for curve in curves])
        trees = int(each.mean(0).argmax()) + 1
        at_best = each[:, trees - 1]
        found.append(Trial({**params, "num_iterations": trees}, float(at_best.mean()), float(at_best.std())))
        told(found[-1])
    return sorted(found, key=lambda trial: -trial.average_precision)


def configurations(tries: int, fixed: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """The defaults and a seeded sample of the grid around them, without repeats."""
    free = {name: values for name, values in GRID.items() if name not in fixed}
    defaults = {name: DEFAULTS[name] for name in free}
    points = [dict(zip(free, values, strict=True)) for values in product(*free.values())]
    others = [point for point in points if point != defaults]
    chosen = [defaults, *Random(seed).sample(others, min(tries - 1, len(others)))]
    return [{**point, "num_iterations": MOST_TREES, **fixed} for point in chosen]
