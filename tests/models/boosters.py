"""Random LightGBM models, and rows to try them on."""

from __future__ import annotations

import lightgbm
import numpy as np

SPECIAL = [0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 1.1e-35, np.inf, -np.inf, 1e308, -1e308, np.nan, 0.5, -0.5, -1.0]
CATEGORIES = [2.0**31, -(2.0**31), 1e19, 40.0, 40.9, -0.9, 7.0, 1e6]


def random_matrix(rng: np.random.Generator, n: int, missing: float, zeros: float) -> np.ndarray:
    """Columns 0 to 3 numbers of four spreads, 4 and 5 categories."""
    numbers = rng.normal(size=(n, 4)) * [1, 1e-35, 1e6, 3]
    numbers[:, 3] = numbers[:, 3].round()
    x = np.column_stack([numbers, rng.integers(0, 40, n), rng.integers(0, 300, n)]).astype(float)
    x[rng.random(x.shape) < zeros] = 0
    x[rng.random(x.shape) < missing] = np.nan
    return x


def random_booster(seed: int) -> tuple[lightgbm.Booster, np.ndarray]:
    """A model with random parameters, and rows to try it on, among them values at the edge of every rule."""
    rng = np.random.default_rng(seed)
    x = random_matrix(rng, 2000, rng.choice([0, 0.2]), rng.choice([0, 0.3]))
    y = np.nan_to_num(x[:, 0]) + np.isin(x[:, 4], [3, 7, 40]) + (x[:, 5] % 7 == 3) + rng.normal(size=len(x)) > 1
    params = {
        "objective": "binary", "num_leaves": int(rng.choice([2, 5, 31, 80, 250])), "verbose": -1, "num_threads": 1,
        "use_missing": bool(rng.random() < 0.8), "zero_as_missing": bool(rng.random() < 0.3), "seed": seed,
        "sigmoid": float(rng.choice([1, 0.7, 2.5])), "min_data_per_group": 5, "min_data_in_leaf": 2,
        "max_bin": int(rng.choice([15, 255, 4000])), "boosting": str(rng.choice(["gbdt", "dart", "goss"])),
        "bagging_fraction": 0.8, "max_cat_to_onehot": int(rng.choice([1, 4, 64])),
    }  # fmt: skip
    data = lightgbm.Dataset(x, y, categorical_feature=[4, 5] if rng.random() < 0.8 else [])
    booster = lightgbm.train(params, data, int(rng.integers(1, 40)))
    test = random_matrix(rng, 1000, 0.1, 0.1)
    test[:300][rng.random((300, 6)) < 0.3] = rng.choice(SPECIAL)
    for column in range(6):
        odd = SPECIAL + CATEGORIES
        test[300:500, column] = np.where(rng.random(200) < 0.5, rng.choice(odd, 200), test[300:500, column])
    return lightgbm.Booster(model_str=booster.model_to_string()), test
