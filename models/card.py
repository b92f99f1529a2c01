"""The card beside a model: what it was trained on, what it needs, and how its scores are calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from models.drift import Bins


@dataclass(frozen=True)
class Feature:
    """One column of the model. A categorical's values are numbered in the order of `categories`."""

    name: str
    kind: str = "numeric"
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """Platt scaling: probability = 1 / (1 + exp(-(a * raw + b))). a > 0, so the order of scores stays."""

    a: float
    b: float


@dataclass(frozen=True)
class Origin:
    """How a model was made, so that anybody can make it again, and what was taken for granted.

    command: as it was typed.   pack: the hash of its text.   log: "file sha256" of each, its first 32 digits.
    lightgbm: the version.   order_assumed: nothing said when events arrived.   labels_simulated: by a stated delay.
    maturity_us: younger payments were left out; older ones without a verdict were presumed good.
    """

    command: str
    pack: str
    log: tuple[str, ...]
    lightgbm: str
    order_assumed: bool
    labels_simulated: bool
    maturity_us: int


@dataclass(frozen=True)
class Thresholds:
    """Scores that stand for a champion's. champion: the sha256 of its model.

    rows: (a score of the champion, the score above which this model alerts as often, the score of the same risk).
    """

    champion: str
    rows: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class ModelCard:
    """What a bank has to know of a model before it decides with it.

    sha256: of the model file's bytes.   trained_from, trained_to: the event times of the training rows.
    limits: what it must not be used for.   expires: the day from which on it has to be looked at anew.
    rows, positives: of the training set.   metrics: on later rows than those, by name.
    calibration: None leaves the model's own sigmoid in force.
    origin: how it was made.   thresholds: against the model that it is to replace.
    reference: how the training's values of each feature lay; scores: the test's, in points. Drift is told against them.
    """

    name: str
    sha256: str
    features: tuple[Feature, ...]
    trained_from: datetime
    trained_to: datetime
    rows: int
    positives: int
    owner: str
    intended_use: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    limits: str = ""
    expires: date | None = None
    origin: Origin | None = None
    thresholds: Thresholds | None = None
    reference: Mapping[str, Bins] = field(default_factory=dict)
    scores: Bins | None = None
