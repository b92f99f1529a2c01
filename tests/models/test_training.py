from __future__ import annotations

import math
from decimal import Decimal

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from features.refusal import Refusal
from features.sheet import Layout, sheet_of
from features.types import BIGINT, BOOL, DOUBLE, HUGEINT, TEXT, decimal
from models.calibration import fit_platt
from models.card_toml import write_card
from models.matrix import find_inputs, gather
from models.measures import average_precision, card_precision, not_compromised, rank, roc_auc
from models.scorer import compile_scorer, load_scorer, score
from models.training import DEFAULTS, PARAMETERS, Purpose, Slices, read_parameter, to_matrix, train

PURPOSE = Purpose("demo", "me", "tests")
N = 9_000


def payments(seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Rare fraud that shows in rare large amounts, one channel, and little else."""
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(8, 1, N).astype(np.int64)
    channel = rng.choice(["pos", "web", "atm"], N, p=[0.7, 0.2, 0.1])
    ratio = rng.normal(size=N)
    chance = 1 / (1 + np.exp(-(0.9 * ratio + 1.5 * (channel == "web") + 3.0 * (amount > 20_000) - 6.2)))
    labels = (rng.random(N) < chance).astype(np.uint8)
    table = pa.table({
        "amount": pa.array([Decimal(int(value)) for value in amount], pa.decimal128(18, 0)),
        "channel": pa.array(channel).dictionary_encode(),
        "ratio": pa.array(ratio, mask=rng.random(N) < 0.1),
        "night": pa.array(rng.random(N) < 0.2),
    })  # fmt: skip
    return table, labels


TIMES = np.arange(N) * 60_000_000
SLICES = Slices(np.arange(5_000), np.arange(5_000, 7_000), np.arange(7_000, N))
QUICK = {"num_iterations": 40}


def test_equal_seeds_give_an_equal_model() -> None:
    """The same rows, parameters and seed give the same bytes; another seed gives others."""
    table, labels = payments()
    one, again, other = (train(table, labels, TIMES, SLICES, PURPOSE, QUICK, seed)[0] for seed in (1, 1, 2))
    assert one == again != other


def test_what_was_trained_is_what_scores() -> None:
    """The written model and card load, and the scorer gives the trained booster's own raw scores, text and NULL too."""
    table, labels = payments()
    model, card = train(table, labels, TIMES, SLICES, PURPOSE, QUICK)
    scorer = load_scorer(model, write_card(card).encode())
    layout = Layout()
    for name, type in (("ratio", DOUBLE), ("night", BOOL), ("channel", TEXT), ("amount", decimal(18, 0))):
        layout.add(name, type)
    compiled = compile_scorer(scorer, layout)
    sheet = sheet_of(layout, {name: table.column(name).to_pylist() for name in table.column_names})
    score(compiled, sheet)
    matrix = to_matrix(card.features, table)
    assert np.array_equal(
        sheet.doubles("demo_raw"), lightgbm.Booster(model_str=model.decode()).predict(matrix.T, raw_score=True)
    )
    assert card.rows == 5_000
    assert card.positives == labels[:5_000].sum()
    assert card.trained_to.timestamp() == TIMES[4_999] / 1e6
    assert card.metrics["roc_auc"] == round(roc_auc(sheet.doubles("demo_raw")[7_000:], labels[7_000:]), 4)
    assert 0.5 < card.metrics["expected_to_observed"] < 2


def test_training_sees_the_doubles_that_scoring_sees() -> None:
    """Every column type becomes the same double in the training matrix and in a sheet."""
    values = {
        "big": ([2**53 + 1, -(2**70) - 1, None, 10**37], pa.decimal128(38, 0), HUGEINT),
        "fine": (
            [Decimal("0.1"), Decimal("123456789012345.678"), None, Decimal("-0.001")],
            pa.decimal128(18, 3),
            decimal(18, 3),
        ),
        "whole": ([2**53 + 1, -5, None, 2**63 - 1], pa.int64(), BIGINT),
        "flag": ([True, False, None, True], pa.bool_(), BOOL),
        "real": ([0.1, -1e-300, None, math.inf], pa.float64(), DOUBLE),
        "word": (["b", "", None, "a"], pa.string(), TEXT),
    }
    table = pa.table({name: pa.array([Decimal(v) if pa.types.is_decimal(t) and v is not None else v for v in vs], t)
                      for name, (vs, t, _) in values.items()})  # fmt: skip
    _, card = train(*small(table))
    layout = Layout()
    for name, (_, _, type) in values.items():
        layout.add(name, type)
    units = {name: [int(v * 1000) if isinstance(v, Decimal) else v for v in vs] for name, (vs, _, _) in values.items()}
    cells = gather(find_inputs(card.features, layout), sheet_of(layout, units), np.arange(4))
    assert np.array_equal(cells, to_matrix(card.features, table), equal_nan=True)


def small(table: pa.Table) -> tuple[pa.Table, np.ndarray, np.ndarray, Slices, Purpose, dict[str, object]]:
    """A training that only looks at the columns' types: the table's rows over and over."""
    rows = np.arange(400) % len(table)
    labels = (rows < 2).astype(np.uint8)
    every = np.arange(400)
    return (
        table.take(pa.array(rows)),
        labels,
        every,
        Slices(every, every, every),
        PURPOSE,
        {"num_iterations": 2, "min_data_in_leaf": 1},
    )


def test_a_category_that_training_did_not_see_is_missing() -> None:
    """Categories come from the training rows alone; what turns up later is NaN."""
    table, labels = payments()
    first = pa.array(["pos" if k < 5_000 else "app" for k in range(N)])
    _, card = train(table.set_column(1, "channel", first), labels, TIMES, SLICES, PURPOSE, {"num_iterations": 2})
    assert card.features[1].categories == ("pos",)
    assert np.isnan(to_matrix(card.features, table.set_column(1, "channel", first))[1, 5_000:]).all()


def test_the_defaults_find_rare_extremes() -> None:
    """At half a percent of fraud the defaults rank it; LightGBM's own fall far behind (research on rare fraud)."""
    table, labels = payments(1)
    ours = train(table, labels, TIMES, SLICES, PURPOSE)[1].metrics["roc_auc"]
    theirs = train(table, labels, TIMES, SLICES, PURPOSE, {
        "num_leaves": 31, "min_sum_hessian_in_leaf": 1e-3, "lambda_l2": 0.0, "feature_fraction": 1.0,
        "bagging_fraction": 1.0, "max_bin": 255, "min_data_in_bin": 3, "boost_from_average": True, "learning_rate": 0.1,
    })[1].metrics["roc_auc"]  # fmt: skip
    assert ours > theirs
    assert ours > 0.65


def test_platt_finds_the_two_numbers() -> None:
    """Labels drawn with known a and b give them back; one class alone, and a ranking upside down, are refused."""
    rng = np.random.default_rng(2)
    raw = rng.normal(-2, 2, 200_000)
    labels = (rng.random(len(raw)) < 1 / (1 + np.exp(-(0.7 * raw - 1.5)))).astype(np.uint8)
    found = fit_platt(raw, labels)
    assert found.a == pytest.approx(0.7, abs=0.02)
    assert found.b == pytest.approx(-1.5, abs=0.05)
    with pytest.raises(ValueError, match="both classes"):
        fit_platt(raw, np.zeros_like(labels))
    with pytest.raises(ValueError, match="learnt nothing"):
        fit_platt(-raw, labels)


def test_platt_is_not_sure_of_what_it_has_seen_apart() -> None:
    """Of 50 frauds above 50 others it says 51 in 52, as Platt's targets do: not infinitely certain."""
    labels = np.repeat(np.array([0, 1], np.uint8), 50)
    found = fit_platt(labels * 2.0 - 1.0, labels)
    assert (found.a, found.b) == pytest.approx((math.log(51), 0), abs=1e-4)


def test_measures_of_small_cases() -> None:
    """By hand: two frauds at ranks 1 and 3 of 4; ties count half in the AUC and together in the precision."""
    scores, labels = np.array([4.0, 3, 2, 1]), np.array([1, 0, 1, 0], np.uint8)
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    assert roc_auc(scores, labels) == 0.75
    tied = np.array([1.0, 1, 1, 1])
    assert average_precision(tied, labels) == 0.5
    assert roc_auc(tied, labels) == 0.5


def test_card_precision_of_a_small_case() -> None:
    """By hand, two cards a day: day 0 finds cards 0 and 1, of which 0 is a fraud; day 1 no longer looks at 0."""
    scores = np.array([9.0, 1, 8, 7, 6, 5, 4, 3])
    labels = np.array([0, 1, 0, 1, 1, 1, 0, 1], np.uint8)
    cards = np.array([0, 0, 1, 2, -1, 0, 1, 2])
    days = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    assert card_precision(scores, labels, cards, days, 2) == (1 / 2 + 1 / 2) / 2
    assert card_precision(scores, labels, cards, days, 1) == (1 + 0) / 2
    assert math.isnan(rank(scores, np.zeros(8, np.uint8), cards, days).roc_auc)


def test_a_card_is_compromised_from_its_first_known_fraud() -> None:
    """A fraud at the horizon is not known yet; a payment of no card is kept, whatever frauds have no card."""
    cards, horizons = np.array([0, 0, 1, -1]), np.array([10, 11, 99, 99])
    found = not_compromised(cards, np.array([50, 10, 5]), np.array([0, 0, -1]), horizons)
    assert found.tolist() == [True, False, True, True]


def test_parameters_are_read_or_refused() -> None:
    """Every default can be written and read back; an alias, a slip and a wrong value are refused."""
    for name in PARAMETERS.keys() & DEFAULTS.keys():
        assert read_parameter(f"{name}={str(DEFAULTS[name]).lower()}") == (name, DEFAULTS[name])
    for wrong in ("n_estimators=3", "num_leavs=3", "num_leaves=3.5", "num_leaves", "extra_trees=1", "seed=2"):
        with pytest.raises(Refusal):
            read_parameter(wrong)
