"""Scorers: a forest with its card, compiled against the columns of a sheet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from features.refusal import Refusal
from models.card import Calibration, ModelCard, read_card
from models.forest import Forest, parse_forest


@dataclass(frozen=True)
class Scorer:
    """A model that has been checked against its card. `card.features` stand in the order of the model's matrix."""

    name: str
    forest: Forest
    card: ModelCard

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the model reads."""
        return tuple(feature.name for feature in self.card.features)

    @property
    def sha256(self) -> str:
        """Of the model file's bytes."""
        return self.card.sha256

    @property
    def calibration(self) -> Calibration:
        """The card's, or else the model's own sigmoid."""
        return self.card.calibration or Calibration(self.forest.sigmoid, 0.0)


def load_scorer(model: bytes, card: bytes) -> Scorer:
    """The scorer of a model file and its card. Refusal if either is malformed or they do not belong together."""
    read = read_card(card)
    digest = sha256(model).hexdigest()
    if digest != read.sha256:
        what = f"the model's sha256 is {digest[:12]}..., its card says {read.sha256[:12]}..."
        raise Refusal(what, "restore the model that the card describes, or write a card for this one")
    forest = parse_forest(model)
    return Scorer(read.name, forest, _in_model_order(read, forest))


def _in_model_order(card: ModelCard, forest: Forest) -> ModelCard:
    """The card with its features in the order of the model."""
    by_name = {feature.name: feature for feature in card.features}
    missing = [name for name in forest.feature_names if name not in by_name]
    extra = [name for name in by_name if name not in forest.feature_names]
    for name, where, whose in ((missing, "the model reads", "the card"), (extra, "the card lists", "the model")):
        if name:
            listed = ", ".join(f"`{each}`" for each in name[:5])
            raise Refusal(f"{where} {listed}, which {whose} does not", "write the card with the training script")
    return replace(card, features=tuple(by_name[name] for name in forest.feature_names))
