"""Training: a table of features and labels into a model file and its card. The only user of LightGBM.

The defaults hold at 0.1 to 1 % of positives, where LightGBM's own are unstable: leaves of some weight, regularised, no
start from the average, and histograms fine enough to see rare extremes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.refusal import Refusal, suggest
from features.sheet import Bytes, Doubles
from models.calibration import fit_platt
from models.card import Calibration, Feature, ModelCard
from models.drift import bins_of
from models.forest import parse_forest
from models.measures import average_precision, log_loss, roc_auc
from models.plan import make_plan
from models.scorer import points_of, predict_raw

DEFAULTS: Mapping[str, Any] = {
    "objective": "binary",
    "num_iterations": 300,
    "learning_rate": 0.05,
    "num_leaves": 16,
    "min_data_in_leaf": 20,
    "min_sum_hessian_in_leaf": 1.0,
    "lambda_l2": 1.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 4095,
    "min_data_in_bin": 1,
    "boost_from_average": False,
}
# What a caller may set, by LightGBM's own names: an alias beside the defaults would leave LightGBM to choose.
PARAMETERS: Mapping[str, type[int] | type[float] | type[bool]] = {
    "num_iterations": int,
    "learning_rate": float,
    "num_leaves": int,
    "max_depth": int,
    "min_data_in_leaf": int,
    "min_sum_hessian_in_leaf": float,
    "min_gain_to_split": float,
    "lambda_l1": float,
    "lambda_l2": float,
    "path_smooth": float,
    "feature_fraction": float,
    "feature_fraction_bynode": float,
    "bagging_fraction": float,
    "bagging_freq": int,
    "extra_trees": bool,
    "max_bin": int,
    "min_data_in_bin": int,
    "scale_pos_weight": float,
    "boost_from_average": bool,
}
NOT_MONOTONE: Mapping[str, int] = {}
PATIENCE = 50  # trees without a better average precision before a trial ends
# What makes a run repeatable, whatever the caller asks for.
_FIXED: Mapping[str, Any] = {"deterministic": True, "force_col_wise": True, "num_threads": 1, "verbosity": -1}


@dataclass(frozen=True)
class Slices:
    """Rows by time: the model learns from train, the calibration from calibrate, and test judges both.

    Each is an index (int64) or a mask into the rows.
    """

    train: npt.NDArray[Any]
    calibrate: npt.NDArray[Any]
    test: npt.NDArray[Any]


@dataclass(frozen=True)
class Purpose:
    """What the card says that no number tells."""

    name: str
    owner: str
    intended_use: str
    limits: str = ""
    expires: date | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model file, the columns that it reads, and its raw score of every row of the table (float64[rows])."""

    model: bytes
    features: tuple[Feature, ...]
    raw: Doubles


def read_parameter(text: str) -> tuple[str, int | float | bool]:
    """A parameter written as key=value. Refusal says what is wrong with it."""
    name, _, value = text.partition("=")
    if name not in PARAMETERS:
        raise Refusal(f"{name} is no parameter to set", suggest(name, PARAMETERS))
    kind = PARAMETERS[name]
    try:
        return name, {"true": True, "false": False}[value] if kind is bool else kind(value)
    except (KeyError, ValueError):
        what = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise Refusal(f"{text}: {name} is {what}", f"write {name}={str(DEFAULTS.get(name, '...')).lower()}") from None


def fit(
    table: pa.Table,
    labels: Bytes,
    learn: npt.NDArray[Any],
    params: Mapping[str, Any] | None = None,
    seed: int = 1,
    monotone: Mapping[str, int] = NOT_MONOTONE,
) -> Fitted:
    """Learn from the rows `learn` (an index or a mask) of a table. Equal inputs and seed give equal bytes.

    table: the features; text columns are categorical, all others numbers (NULL is missing).   labels: 0 or 1 a row.
    monotone: by feature, 1 where a larger value may only raise the score, -1 where it may only lower it.
    """
    import lightgbm

    features = tuple(_feature(name, table.column(name), learn) for name in table.column_names)
    matrix = to_matrix(features, table)
    settings = _settings(features, params, seed, monotone)
    booster = lightgbm.train(settings, _dataset(features, matrix[:, learn], labels[learn]))
    model = booster.model_to_string().encode()
    return Fitted(model, features, predict_raw(make_plan(parse_forest(model)), matrix))


def validation_curve(
    table: pa.Table,
    labels: Bytes,
    n: int,
    params: Mapping[str, Any] | None = None,
    seed: int = 1,
    monotone: Mapping[str, int] = NOT_MONOTONE,
) -> Doubles:
    """float64[trees]: the average precision on the rows from n on after each tree that the first n rows teach.

    It ends where PATIENCE more trees bring no more. The other arguments are those of fit().
    """
    import lightgbm

    learn = np.arange(n)
    features = tuple(_feature(name, table.column(name), learn) for name in table.column_names)
    matrix = to_matrix(features, table)
    settings = {**_settings(features, params, seed, monotone), "metric": "average_precision"}
    data, seen = _dataset(features, matrix[:, :n], labels[:n]), dict[str, Any]()
    judge = lightgbm.Dataset(matrix[:, n:].T, labels[n:], reference=data)
    told = [lightgbm.record_evaluation(seen), lightgbm.early_stopping(PATIENCE, verbose=False)]
    lightgbm.train(settings, data, valid_sets=[judge], valid_names=["judge"], callbacks=told)
    return np.array(seen["judge"]["average_precision"])


def _dataset(features: Sequence[Feature], matrix: Doubles, labels: Bytes) -> Any:
    import lightgbm

    return lightgbm.Dataset(
        matrix.T,
        labels,
        feature_name=[feature.name for feature in features],
        categorical_feature=[k for k, feature in enumerate(features) if feature.kind == "categorical"],
    )


def _settings(
    features: Sequence[Feature], params: Mapping[str, Any] | None, seed: int, monotone: Mapping[str, int]
) -> dict[str, Any]:
    """All that LightGBM is told. Refusal where a feature cannot be held to a direction."""
    for feature in features:
        if feature.kind == "categorical" and feature.name in monotone:
            what = f"{feature.name} is categorical: its values have no order to rise or fall with"
            raise Refusal(what, "take it out of [training]")
    held = [monotone.get(feature.name, 0) for feature in features]
    # "advanced" breaks the direction where values are NULL: tests/models/test_inspect.py sweeps it
    ways = {"monotone_constraints": held, "monotone_constraints_method": "intermediate"} if any(held) else {}
    return {**DEFAULTS, **(params or {}), **ways, **_FIXED, "seed": seed}


def train(
    table: pa.Table,
    labels: Bytes,
    times_us: npt.NDArray[np.int64],
    slices: Slices,
    purpose: Purpose,
    params: Mapping[str, Any] | None = None,
    seed: int = 1,
) -> tuple[bytes, ModelCard]:
    """A model file and its card, calibrated by the model's own later scores. The table and labels are those of fit().

    times_us: each row's event_time, microseconds UTC.
    """
    fitted = fit(table, labels, slices.train, params, seed)
    calibration = fit_platt(fitted.raw[slices.calibrate], labels[slices.calibrate])
    metrics = measure(fitted.raw[slices.test], labels[slices.test], calibration)
    card = make_card(fitted, labels[slices.train], times_us[slices.train], purpose, calibration, metrics)
    learnt = table.filter(pa.array(_mask(slices.train, len(table))))
    return fitted.model, with_reference(card, learnt, fitted.raw[slices.test])


def make_card(
    fitted: Fitted,
    labels: Bytes,
    times_us: npt.NDArray[np.int64],
    purpose: Purpose,
    calibration: Calibration,
    metrics: Mapping[str, float],
) -> ModelCard:
    """The card of a model; labels and times are those of the rows that it learnt from."""
    return ModelCard(
        name=purpose.name,
        sha256=sha256(fitted.model).hexdigest(),
        features=fitted.features,
        trained_from=_moment(times_us.min()),
        trained_to=_moment(times_us.max()),
        rows=len(labels),
        positives=int(labels.sum()),
        owner=purpose.owner,
        intended_use=purpose.intended_use,
        limits=purpose.limits,
        expires=purpose.expires,
        metrics=metrics,
        calibration=calibration,
    )


def measure(raw: Doubles, labels: Bytes, calibration: Calibration) -> dict[str, float]:
    """The card's metrics on rows later than the training: ranking by raw score, and expected to observed frauds."""
    probability, own = (1 / (1 + np.exp(-z)) for z in (calibration.a * raw + calibration.b, raw))
    return {
        "test_rows": float(len(labels)),
        "test_positives": float(labels.sum()),
        "average_precision": round(average_precision(raw, labels), 4),
        "roc_auc": round(roc_auc(raw, labels), 4),
        "expected_to_observed": round(float(probability.sum() / labels.sum()), 4),
        "log_loss": round(log_loss(probability, labels), 6),
        "log_loss_uncalibrated": round(log_loss(own, labels), 6),
    }


def with_reference(card: ModelCard, learnt: pa.Table, test_raw: Doubles) -> ModelCard:
    """The card with how the values that it learnt from lay, and the points of its test: what drift is told against."""
    matrix = to_matrix(card.features, learnt)
    reference = {feature.name: bins_of(values) for feature, values in zip(card.features, matrix, strict=True)}
    assert card.calibration is not None
    return replace(card, reference=reference, scores=bins_of(points_of(test_raw, card.calibration).astype(np.float64)))


def to_matrix(features: Sequence[Feature], table: pa.Table) -> Doubles:
    """float64[features, rows]: the doubles that the scorer makes of the same values."""
    return np.stack([_doubles(feature, table.column(feature.name).combine_chunks()) for feature in features])


def _feature(name: str, column: pa.ChunkedArray, train: npt.NDArray[Any]) -> Feature:
    if not _is_text(column.type):
        return Feature(name)
    seen = column.combine_chunks().filter(pa.array(_mask(train, len(column))))
    return Feature(
        name, "categorical", tuple(sorted(value for value in seen.unique().to_pylist() if value is not None))
    )


def _mask(rows: npt.NDArray[Any], n: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask


def _doubles(feature: Feature, column: pa.Array) -> Doubles:
    if feature.kind == "categorical":
        codes = pc.index_in(column.cast(pa.string()), pa.array(feature.categories, pa.string()))
        return codes.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    if pa.types.is_decimal(column.type):  # Arrow's own cast does not always give the nearest double
        return np.array([np.nan if value is None else float(value) for value in column.to_pylist()])
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)


def _is_text(type: pa.DataType) -> bool:
    return pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_dictionary(type)


def _moment(us: np.int64) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC).replace(microsecond=0)
