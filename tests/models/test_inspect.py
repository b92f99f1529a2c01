"""Looking into a model, against LightGBM's own importance and plain counting."""

from __future__ import annotations

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from models import inspect
from models.forest import parse_forest
from models.plan import make_plan
from models.scorer import predict_raw
from models.training import fit

RNG = np.random.default_rng(7)
X = RNG.normal(size=(3000, 4))
X[RNG.random((3000, 4)) < 0.1] = np.nan
Y = (RNG.random(3000) < 1 / (1 + np.exp(2 - 2 * np.nan_to_num(X[:, 0]) - np.nan_to_num(X[:, 1])))).astype(np.uint8)
TABLE = pa.table({f"x{k}": X[:, k] for k in range(4)})
MODEL = fit(TABLE, Y, np.arange(3000), {"num_iterations": 30}, monotone={"x0": 1}).model
FOREST = parse_forest(MODEL)


def test_gain_is_lightgbms() -> None:
    """The shares are those of its feature_importance; a feature that is never split on weighs nothing."""
    gain = lightgbm.Booster(model_str=MODEL.decode()).feature_importance("gain")
    assert inspect.gains(MODEL, FOREST) == pytest.approx(gain / gain.sum(), rel=1e-4)


def test_weights_are_the_mean_of_lightgbms_contributions() -> None:
    """|pred_contrib|, averaged, as shares."""
    said = np.abs(lightgbm.Booster(model_str=MODEL.decode()).predict(X[:200], pred_contrib=True)[:, :-1]).mean(0)
    assert inspect.weights(FOREST, X[:200].T) == pytest.approx(said / said.sum(), rel=1e-6)


def test_a_sweep_meets_every_value_that_the_model_tells_apart() -> None:
    """Between two places of the sweep no value scores otherwise; the direction of x0 holds, and NULL stands last."""
    values = X[:20].T.copy()
    scores = inspect.sweep(FOREST, values, 0)
    assert (np.diff(scores[:, :-1], axis=1) >= 0).all() and (np.diff(scores[:, :-1], axis=1) > 0).any()
    plan = make_plan(FOREST)
    for x in (*RNG.normal(size=40) * 2, np.nan):
        changed = values.copy()
        changed[0] = x
        raw = predict_raw(plan, changed)
        assert (np.isclose(scores, raw[:, None], atol=0).any(axis=1)).all()
    assert (scores[:, -1] == raw).all()


@pytest.mark.parametrize("exact", [(0, 0, 3.689), (1, 0.0253, 5.572), (4, 1.090, 10.242), (30, 20.24, 42.83)])
def test_intervals_are_near_the_exact_ones(exact) -> None:
    """Byar's is near F. Garwood's exact one (1936); Wilson's holds its own share and lies within 0 and 1."""
    count, low, high = exact
    assert inspect.byar(count) == (pytest.approx(low, abs=0.03, rel=0.02), pytest.approx(high, rel=0.03))
    below, above = inspect.wilson(count, 500)
    assert 0 <= below <= count / 500 <= above <= 1


def test_equal_rate_is_as_near_as_levels_allow() -> None:
    """Of every threshold of a champion: no other level of ours alerts nearer to as often."""
    ours, theirs = RNG.integers(300, 900, 800), RNG.integers(200, 999, 800)
    for threshold in range(200, 1000, 37):
        wanted = (theirs >= threshold).sum()
        found = inspect.equal_rate(ours, theirs, threshold)
        nearest = min(abs(int((ours >= level).sum()) - wanted) for level in np.unique(ours))
        assert abs(int((ours >= found).sum()) - wanted) <= nearest
