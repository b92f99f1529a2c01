"""What features add to a score: LightGBM's own pred_contrib, the definition, and what no batch can change."""

from __future__ import annotations

import math
import re

import lightgbm
import numpy as np
import pytest

from features.refusal import Refusal
from models.contributions import contributions, make_paths
from models.forest import parse_forest
from models.plan import make_plan
from models.scorer import predict_raw
from tests.models.boosters import random_booster


@pytest.mark.parametrize("seed", range(25))
def test_contributions_are_lightgbms(seed: int) -> None:
    """Every feature of every row, missing values, zeros and categories among them; and they add up to the raw score."""
    booster, x = random_booster(seed)
    x = x[:200]
    forest = parse_forest(booster.model_to_string().encode())
    values, paths = np.ascontiguousarray(x.T), make_paths(forest)
    ours = contributions(paths, values, np.arange(x.shape[1]), x.shape[1])
    theirs = booster.predict(x, pred_contrib=True)
    assert np.allclose(ours.T, theirs[:, :-1], rtol=1e-9, atol=1e-9)
    raw = predict_raw(make_plan(forest), values)
    assert np.allclose(ours.sum(axis=0) + theirs[:, -1], raw, rtol=1e-9, atol=1e-9)


def test_a_group_is_the_sum_of_its_features_and_no_batch_changes_it() -> None:
    """Features without a group count nowhere; a row alone gives the same bits as among others (law L6)."""
    booster, x = random_booster(3)
    paths, values = make_paths(parse_forest(booster.model_to_string().encode())), np.ascontiguousarray(x[:50].T)
    alone = contributions(paths, values, np.arange(6), 6)
    groups = contributions(paths, values, np.array([0, 1, -1, 0, 1, 1]), 2)
    assert np.allclose(groups, [alone[0] + alone[3], alone[1] + alone[4] + alone[5]], rtol=1e-12, atol=1e-12)
    for row in range(50):
        one = contributions(paths, np.ascontiguousarray(values[:, row : row + 1]), np.array([0, 1, -1, 0, 1, 1]), 2)
        assert np.array_equal(one[:, 0], groups[:, row])


@pytest.mark.parametrize(
    ("old", "new"),
    [(r"internal_count=\d+", "internal_count=7"), (r"leaf_count=\d+", "leaf_count=0"), (r"leaf_count=.*\n", "")],
)
def test_counts_that_do_not_add_up_are_refused(old: str, new: str) -> None:
    """Nothing is explained by shares that are none; scoring needs no counts."""
    text = random_booster(0)[0].model_to_string()
    forest = parse_forest(re.sub(old, new, text, count=1).encode())
    with pytest.raises(Refusal, match="rows of its two children"):
        make_paths(forest)


def test_a_long_path_stays_exact() -> None:
    """A chain of forty features: the sum over all is the score less its mean, where unwinding would have lost it."""
    n = 40
    rng = np.random.default_rng(1)
    x = (rng.random((20_000, n)) < 0.9).astype(float)
    y = x.all(axis=1)
    params = {"objective": "binary", "num_leaves": n + 1, "min_data_in_leaf": 1, "verbose": -1, "num_threads": 1,
              "min_sum_hessian_in_leaf": 0.0}  # fmt: skip
    booster = lightgbm.train(params, lightgbm.Dataset(x, y), 3)
    forest = parse_forest(booster.model_to_string().encode())
    paths = make_paths(forest)
    assert paths.number.max() >= 10
    values = np.ascontiguousarray(x[:100].T)
    sums = contributions(paths, values, np.zeros(n, np.int64), 1)[0]
    raw = predict_raw(make_plan(forest), values)
    mean = booster.predict(x[:1], pred_contrib=True)[0, -1]
    assert all(math.isclose(a, b - mean, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(sums, raw, strict=True))
