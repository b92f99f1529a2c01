from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from hashlib import sha256

import lightgbm
import numpy as np
import pytest

from features.refusal import Refusal
from features.sheet import ERROR, Layout, Sheet, new_sheet, sheet_of
from features.types import BOOL, DOUBLE, HUGEINT, TEXT, TIME, Type, decimal
from models.card import Calibration, Feature, ModelCard
from models.card_toml import write_card
from models.matrix import gather
from models.scorer import CompiledScorer, Scorer, compile_scorer, load_scorer, score

CHANNELS = ("web", "pos", "atm", "日本", "po", "posx")
FEATURES = (
    Feature("ratio"),
    Feature("amount"),
    Feature("channel", "categorical", CHANNELS),
    Feature("night"),
    Feature("total"),
)
TYPES: dict[str, Type] = {
    "total": HUGEINT,
    "channel": TEXT,
    "amount": decimal(18, 2),
    "spare": TIME,
    "night": BOOL,
    "ratio": DOUBLE,
}


def matrix(rng: np.random.Generator, n: int) -> np.ndarray:
    x = np.column_stack(
        [
            rng.normal(size=n),
            rng.integers(-100_000, 100_000, n) / 100,
            rng.integers(0, 6, n),
            rng.integers(0, 2, n),
            rng.integers(0, 9, n) * 2.0**70,
        ]
    )
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


@pytest.fixture(scope="module")
def model() -> bytes:
    x = matrix(np.random.default_rng(0), 3000)
    y = np.nan_to_num(x[:, 0]) + (x[:, 1] > 200) + (x[:, 2] == 3) + x[:, 3] * (x[:, 4] > 2**72) > 1.2
    params = {"objective": "binary", "num_leaves": 15, "verbose": -1, "min_data_per_group": 5, "num_threads": 1}
    data = lightgbm.Dataset(x, y, feature_name=[f.name for f in FEATURES], categorical_feature=[2])
    return lightgbm.train(params, data, 20).model_to_string().encode()


def card_of(model: bytes, **changes: object) -> ModelCard:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    card = ModelCard("demo", sha256(model).hexdigest(), FEATURES, when, when, 3000, 9, "me", "tests")
    return replace(card, **changes)


def load(model: bytes, **changes: object) -> Scorer:
    return load_scorer(model, write_card(card_of(model, **changes)).encode())


def layout_of(types: dict[str, Type]) -> Layout:
    layout = Layout()
    for name, type in types.items():
        layout.add(name, type)
    return layout


def cells_of(x: np.ndarray, layout: Layout) -> Sheet:
    """The matrix as cells of each column's own type."""

    def column(f: int, convert: object) -> list[object]:
        return [None if math.isnan(value) else convert(value) for value in x[:, f]]  # type: ignore[operator]

    columns = {
        "ratio": column(0, float),
        "amount": column(1, lambda v: round(Fraction(v) * 100)),
        "channel": column(2, lambda v: CHANNELS[int(v)]),
        "night": column(3, bool),
        "total": column(4, int),
        "spare": [None] * len(x),
    }
    return sheet_of(layout, columns)


def compiled(model: bytes, **changes: object) -> tuple[CompiledScorer, Layout]:
    layout = layout_of(TYPES)
    return compile_scorer(load(model, **changes), layout), layout


def results(sheet: Sheet) -> list[np.ndarray]:
    return [sheet.doubles("demo_raw"), sheet.doubles("demo_probability"), sheet.ints("demo_score")]


def test_columns_are_found_by_name_and_converted(model: bytes) -> None:
    """Cells in any order and of any type give LightGBM's own scores of the same values."""
    scorer, layout = compiled(model)
    x = matrix(np.random.default_rng(1), 500)
    sheet = cells_of(x, layout)
    score(scorer, sheet)
    booster = lightgbm.Booster(model_str=model.decode())
    assert np.array_equal(sheet.doubles("demo_raw"), booster.predict(x, raw_score=True))
    assert np.array_equal(sheet.doubles("demo_probability"), booster.predict(x))
    assert sheet.validity("demo_score").all()


def test_exact_cells_become_the_nearest_double(model: bytes) -> None:
    """Units of 10^-e and 128-bit integers are rounded once, half to even."""
    scorer, layout = compiled(model)
    units = [1, -1, 2**53 + 1, -(2**53) - 1, 10**18 - 1, 2**63 - 1, -(2**63), 123_456_789_012_345_678]
    wide = [0, 2**53 + 1, 2**100 + 1, -(2**126) + 1, 10**38 - 1, -(10**38), 3, -3]
    sheet = sheet_of(layout, {"amount": units, "total": wide})
    values = gather(scorer.compiled.inputs, sheet, np.arange(len(units)))
    assert values[1].tolist() == [float(Fraction(u, 100)) for u in units]
    assert values[4].tolist() == [float(w) for w in wide]


def test_null_error_and_unseen_categories_are_missing(model: bytes) -> None:
    """What is NULL, failed to compute or was never seen in training is NaN to the model, never 0 (law L7)."""
    scorer, layout = compiled(model)
    sheet = sheet_of(layout, {"channel": ["web", "WEB", "", None, "p", "日本", "日"], "ratio": [1.0] * 7})
    sheet.valid[layout["ratio"].row, 2] = ERROR
    values = gather(scorer.compiled.inputs, sheet, np.arange(7))
    nan = math.nan
    assert np.array_equal(values[2], [0, nan, nan, nan, nan, 3, nan], equal_nan=True)
    assert np.array_equal(values[0], [1, 1, nan, 1, 1, 1, 1], equal_nan=True)
    assert np.isnan(values[1]).all()


def test_a_batch_of_one_equals_a_batch_of_many(model: bytes) -> None:
    """The same bits, however the events are cut into batches (law L6)."""
    scorer, layout = compiled(model, calibration=Calibration(1.3, -0.4))
    x = matrix(np.random.default_rng(2), 300)
    whole = cells_of(x, layout)
    score(scorer, whole)
    for size in (1, 7, 64):
        for start in range(0, 300, size):
            part = cells_of(x[start : start + size], layout)
            score(scorer, part)
            for a, b in zip(results(part), results(whole), strict=True):
                assert np.array_equal(a, b[start : start + size])


def test_only_wanted_events_are_scored(model: bytes) -> None:
    """An event that is not wanted has NULL scores; the others score as if it were not there."""
    scorer, layout = compiled(model)
    x = matrix(np.random.default_rng(3), 100)
    whole, part = cells_of(x, layout), cells_of(x, layout)
    wanted = (np.arange(100) % 3 == 0).astype(np.uint8)
    score(scorer, whole)
    score(scorer, part, wanted)
    assert np.array_equal(part.validity("demo_raw"), wanted)
    assert np.array_equal(results(part)[0][wanted == 1], results(whole)[0][wanted == 1])
    score(scorer, new_sheet(layout, 0))


def test_points_are_logarithmic_odds(model: bytes) -> None:
    """500 points are odds of one to a hundred, 30 points double them, parts are rounded, the ends held at 0 and 999."""
    expected = {0.01 * 2 ** (part / 30): 500 + round(part) for part in (0.4, 0.6, -0.4, -0.6)}
    expected |= {1 / 100: 500, 2 / 100: 530, 1 / 200: 470, 1.0: 699, 1e9: 999, 1e-30: 0}
    for odds, points in expected.items():
        scorer, layout = compiled(model, calibration=Calibration(1e-300, math.log(odds)))
        sheet = sheet_of(layout, {"ratio": [0.5]})
        score(scorer, sheet)
        assert sheet.value("demo_score", 0) == points
        assert sheet.value("demo_probability", 0) == pytest.approx(odds / (1 + odds))


def test_a_calibration_keeps_the_order_of_scores(model: bytes) -> None:
    """Ranking by probability or points never contradicts ranking by raw score."""
    scorer, layout = compiled(model, calibration=Calibration(0.7, -2.0))
    sheet = cells_of(matrix(np.random.default_rng(4), 400), layout)
    score(scorer, sheet)
    raw, probability, points = results(sheet)
    order = np.argsort(raw)
    assert (np.diff(probability[order]) >= 0).all()
    assert (np.diff(points[order]) >= 0).all()
    assert np.allclose(probability, 1 / (1 + np.exp(2.0 - 0.7 * raw)), rtol=1e-14)


def test_a_model_and_a_card_that_do_not_belong_together_are_refused(model: bytes) -> None:
    """Another fingerprint, a missing feature and a feature too many are each refused by name."""
    with pytest.raises(Refusal, match="sha256"):
        load_scorer(model + b"\n", write_card(card_of(model)).encode())
    with pytest.raises(Refusal, match="the model reads `total`"):
        load(model, features=FEATURES[:-1])
    with pytest.raises(Refusal, match="the card lists `extra`"):
        load(model, features=(*FEATURES, Feature("extra")))
    assert load(model, features=FEATURES[::-1]).features == tuple(f.name for f in FEATURES)


def test_columns_that_do_not_fit_the_model_are_refused(model: bytes) -> None:
    """A feature that no column gives, or that is of another type, is refused by name."""
    scorer = load(model)
    with pytest.raises(Refusal, match="`amount`, which is neither"):
        compile_scorer(scorer, layout_of({k: v for k, v in TYPES.items() if k != "amount"}))
    for name, type in (("amount", TEXT), ("amount", TIME), ("channel", DOUBLE)):
        with pytest.raises(Refusal, match=f"`{name}` as"):
            compile_scorer(scorer, layout_of(TYPES | {name: type}))


def test_scoring_does_not_import_lightgbm() -> None:
    """Scoring stands on the parsed model alone: LightGBM trains and judges, it does not decide."""
    code = "import sys, models.scorer; sys.exit('lightgbm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
