"""L8: a score can be recomputed by anyone: the specification's plain walk of the trees equals LightGBM's own sum."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import lightgbm
import numpy as np
import pytest

from features.types import BOOL
from models.card import Calibration, Feature, ModelCard
from models.card_toml import write_card
from models.scorer import Scorer, load_scorer
from sekisho.compile import compile_pack
from sekisho.testing.judges import View, view_of
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference.expressions import is_null
from sekisho.testing.reference.scores import score
from sekisho.testing.runs import run_engine

CHANNELS = ("web", "pos", "atm", "日本")
FEATURES = (Feature("amount"), Feature("ratio"), Feature("channel", "categorical", CHANNELS))


def scorer_of(booster: lightgbm.Booster, name: str, features: tuple[Feature, ...]) -> Scorer:
    model, when = booster.model_to_string().encode(), datetime(2026, 1, 1, tzinfo=UTC)
    calibration = Calibration(0.9, 0.1)
    card = ModelCard(name, sha256(model).hexdigest(), features, when, when, 9, 9, "me", "tests", {}, calibration)
    return load_scorer(model, write_card(card).encode())


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
    scorer = scorer_of(booster, "m", FEATURES)
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


def trained(view: View, names: list[str], name: str) -> Scorer:
    """A model over columns of the view; what it learns does not matter."""
    x = np.array([[math.nan if is_null(row[c]) else float(row[c]) for c in names] for row in view.rows])  # type: ignore[arg-type]
    x, y = np.concatenate([x] * 8), np.arange(8 * len(x)) % 3 == 0
    params = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 2, "num_threads": 1, "seed": 1}
    booster = lightgbm.train(params, lightgbm.Dataset(x, y, feature_name=names), 8)
    return scorer_of(booster, name, tuple(Feature(column) for column in names))


@pytest.mark.parametrize("seed", range(5000, 5012))
def test_scores_of_random_packs_are_the_specifications(seed: int) -> None:
    """Two models over features and fields of any numeric type: equal records, every bit of raw and probability."""
    pack, log = random_case(seed)
    view = view_of(pack, log)
    columns = pack.schema.columns() | dict(pack.query.features)
    names = [name for name, type in columns.items() if type.numeric or type == BOOL]
    models = trained(view, names[:3], "first"), trained(view, names, "second")
    pack = replace(pack, models=models)
    _, run = run_engine(compile_pack(pack), log, 7)
    for ours, theirs in zip(view_of(pack, log).records, run.records, strict=True):
        assert list(json.loads(ours).items()) == list(json.loads(theirs).items())
