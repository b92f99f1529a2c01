from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import lightgbm
import numpy as np
import pytest

from features.gpu.device import Host
from features.refusal import Refusal
from models import plan as plans
from models.forest import parse_forest
from models.gpu import DeviceForest
from models.plan import make_plan
from models.scorer import calibrate, predict_raw
from models.trees import BLOCK, FEW
from tests.models.boosters import random_booster


@pytest.mark.parametrize("seed", range(40))
def test_raw_scores_and_probabilities_equal_lightgbm(seed: int) -> None:
    """Raw score and probability differ from Booster.predict by exactly 0.0, whatever the model and the values."""
    booster, x = random_booster(seed)
    forest = parse_forest(booster.model_to_string().encode())
    plan, values = make_plan(forest), np.ascontiguousarray(x.T)
    raw = predict_raw(plan, values)
    assert np.array_equal(DeviceForest(Host()).predict_raw(plan, values), raw)
    assert np.array_equal(raw, booster.predict(x, raw_score=True))
    probability, _ = calibrate(raw, forest.sigmoid, 0.0)
    assert np.array_equal(probability, booster.predict(x))


def test_the_random_models_cover_every_decision() -> None:
    """The cases hold categorical splits, every missing type with both default directions, small and large trees."""
    decisions, places = set(), set()
    for seed in range(40):
        forest = parse_forest(random_booster(seed)[0].model_to_string().encode())
        decisions |= set(forest.decision.tolist())
        places.add(make_plan(forest).left.dtype.name)
    assert decisions >= {1, 2, 4, 6, 8, 10}
    assert places == {"uint8", "uint16"}


@pytest.mark.parametrize("n", [1, FEW, FEW + 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_a_row_scores_the_same_in_any_batch(n: int) -> None:
    """A row's score does not depend on how many rows stand beside it, whichever way the trees are walked."""
    booster, x = random_booster(1)
    plan = make_plan(parse_forest(booster.model_to_string().encode()))
    whole = predict_raw(plan, np.ascontiguousarray(x.T))
    parts = [predict_raw(plan, np.ascontiguousarray(x[a:b].T)) for a, b in pairwise([*range(0, 4 * n, n), 4 * n])]
    assert np.array_equal(np.concatenate(parts), whole[: 4 * n])


def test_a_feature_with_many_thresholds_is_spread_over_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """More thresholds than bins make more columns, not other scores."""
    booster, x = random_booster(2)
    forest = parse_forest(booster.model_to_string().encode())
    whole = make_plan(forest)
    monkeypatch.setattr(plans, "MAX_EDGES", 5)
    spread = make_plan(forest)
    assert len(spread.feature) > len(whole.feature)
    values = np.ascontiguousarray(x.T)
    assert np.array_equal(predict_raw(spread, values), predict_raw(whole, values))


@pytest.fixture(scope="module")
def model() -> str:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=400), rng.integers(0, 9, 400)])
    data = lightgbm.Dataset(x, (x[:, 0] > 0) ^ (x[:, 1] == 3), categorical_feature=[1])
    params = {"objective": "binary", "num_leaves": 5, "verbose": -1, "min_data_per_group": 5, "num_threads": 1}
    return lightgbm.train(params, data, 3).model_to_string()


def test_every_cut_of_a_model_is_refused(model: str) -> None:
    """A file cut anywhere before the end of its trees or inside its parameters is refused, with a line."""
    parse_forest(model.encode())
    stop = model.index("end of trees") + len("end of trees")
    parameters = model.index("parameters:") + len("parameters:")
    for cut in [*range(stop), *range(parameters, model.index("end of parameters"), 97)]:
        with pytest.raises(Refusal) as refused:
            parse_forest(model[:cut].encode())
        assert refused.value.place.line > 0


def edits() -> Iterator[tuple[str, str, str]]:
    """What is replaced, by what, and what the refusal says."""
    yield "tree\n", "forest\n", "not a LightGBM text model"
    yield "version=v4", "version=v3", "version=v3"
    yield "num_class=1", "num_class=3", "num_class=3"
    yield "binary sigmoid:1", "regression", "objective `regression`"
    yield "binary sigmoid:1", "binary sigmoid:-1", "sigmoid:-1"
    yield "Column_0 Column_1", "Column_0 Column_0", "twice"
    yield "max_feature_idx=1", "max_feature_idx=2", "max_feature_idx"
    yield "is_linear=0", "is_linear=1", "linear trees"
    yield "Tree=1", "Tree=7", "expected `Tree=1`"
    yield "num_leaves=5", "num_leaves=50", "values, found"
    yield "num_leaves=5", "num_leaves=0", "num_leaves=0"
    yield "num_leaves=5", "num_leaves=5\nnum_leaves=5", "twice"
    yield "num_leaves=5", "num_leaves=5\nleaf_const=1", "leaf_const"
    yield "left_child=1", "left_child=0", "makes no tree"
    yield "left_child=1", "left_child=-1", "makes no tree"
    yield "left_child=1", "left_child=99", "makes no tree"
    yield "left_child=1", "left_child=x", "not a number"
    yield "split_feature=0", "split_feature=2", "names no feature"
    yield "split_feature=0", "split_feature=１", "not a number"
    yield "decision_type=2", "decision_type=14", "decision_type 14"
    yield "leaf_value=", "leaf_value=nan ", "values, found"
    yield "label_index=0", "average_output\nlabel_index=0", "random forests"


@pytest.mark.parametrize(("old", "new", "says"), list(edits()))
def test_what_is_not_a_plain_binary_model_is_refused(model: str, old: str, new: str, says: str) -> None:
    """Every other kind of model, and every broken one, is refused with the line and what is wrong."""
    assert old in model
    with pytest.raises(Refusal, match=says) as refused:
        parse_forest(model.replace(old, new, 1).encode())
    assert refused.value.place.line > 0


@pytest.mark.parametrize("value", ["inf", "-inf", "1e301", "nan"])
def test_a_leaf_without_a_usable_value_is_refused(model: str, value: str) -> None:
    """Leaves are finite and far from overflow, so a score is never NaN."""
    broken = re.sub(r"leaf_value=\S+", f"leaf_value={value}", model, count=1)
    with pytest.raises(Refusal, match=r"leaf value|not a number"):
        parse_forest(broken.encode())


def test_broken_categorical_sets_are_refused(model: str) -> None:
    """A set that does not exist, falling bounds and words beyond 32 bits are refused."""
    lines = model.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("cat_boundaries="))
    for shift, line in ((0, "cat_boundaries=0 0"), (1, f"cat_threshold={2**32}"), (1, "cat_threshold=-1")):
        broken = [*lines]
        broken[at + shift] = line
        with pytest.raises(Refusal) as refused:
            parse_forest("\n".join(broken).encode())
        assert refused.value.place.line == at + shift + 1


def test_no_damage_of_a_byte_does_anything_but_load_or_refuse(model: str) -> None:
    """A model with any one byte changed is refused or gives a forest that can be walked; it never crashes or hangs."""
    rng = np.random.default_rng(5)
    stop = model.index("end of trees")
    values = np.ascontiguousarray(rng.normal(size=(2, 40)) * 5)
    refused = 0
    for at in rng.integers(0, stop, 400):
        raw = bytearray(model.encode())
        raw[at] = rng.integers(0, 256)
        try:
            forest = parse_forest(bytes(raw))
        except Refusal:
            refused += 1
            continue
        if len(forest.feature_names) == 2:
            predict_raw(make_plan(forest), values)
    assert 0 < refused < 400
