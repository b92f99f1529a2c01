"""L8: a score can be recomputed by anyone: the specification's plain walk of the trees equals LightGBM's own sum."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from hashlib import sha256

import lightgbm
import numpy as np
import pytest

from models.card import Calibration, Feature, ModelCard, write_card
from models.scorer import load_scorer
from sekisho.testing.reference.scores import score

CHANNELS = ("web", "pos", "atm", "日本")
FEATURES = (Feature("amount"), Feature("ratio"), Feature("channel", "categorical", CHANNELS))


def matrix(n: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.integers(-9999, 9999, n) / 100, rng.normal(size=n), rng.integers(0, 4, n)])
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


@pytest.mark.parametrize("zero_as_missing", [False, True])
def test_the_plain_walk_is_lightgbms_sum(zero_as_missing: bool) -> None:
    """Raw scores are equal to the last bit, NULLs and categories included; points follow from the odds."""
    x = matrix(600)
    y = np.nan_to_num(x[:, 0]) / 50 + np.nan_to_num(x[:, 1]) + (x[:, 2] == 3) > 1
    params = {"objective": "binary", "verbose": -1, "min_data_per_group": 5, "num_threads": 1,
              "zero_as_missing": zero_as_missing}  # fmt: skip
    data = lightgbm.Dataset(x, y, feature_name=[f.name for f in FEATURES], categorical_feature=[2])
    booster = lightgbm.train(params, data, 20)
    model = booster.model_to_string().encode()
    when = datetime(2026, 1, 1, tzinfo=UTC)
    card = ModelCard(
        "m", sha256(model).hexdigest(), FEATURES, when, when, 600, 9, "me", "tests", {}, Calibration(0.9, 0.1)
    )
    scorer = load_scorer(model, write_card(card).encode())
    for values, raw in zip(x, booster.predict(x, raw_score=True), strict=True):
        amount, ratio, channel = (None if math.isnan(value) else float(value) for value in values)
        row = {
            "amount": None if amount is None else round(amount * 100),
            "ratio": ratio,
            "channel": None if channel is None else CHANNELS[int(channel)],
        }
        found = score(scorer, row, {"amount": 2})
        assert found.raw == raw
        odds = math.exp(0.9 * raw + 0.1)
        assert math.isclose(found.probability, odds / (1 + odds), rel_tol=1e-12)
        assert abs(found.score - (500 + 30 * math.log2(100 * odds))) <= 0.5 + 1e-9
