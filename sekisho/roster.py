"""The roster of a pack's models: champions and their segments, who challenges whom, and who only looks on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from features.expr import Expr
from features.refusal import Refusal, suggest
from features.types import BIGINT, DOUBLE, Type
from models.scorer import Challenger, Model, Scorer, ShadowModel
from sekisho.pack_toml import ModelHead
from sekisho.toml import Document


def score_columns(model: str) -> dict[str, Type]:
    """The columns that a live model adds to every event."""
    return {f"{model}_score": BIGINT, f"{model}_raw": DOUBLE, f"{model}_probability": DOUBLE}


@dataclass(frozen=True)
class Roster:
    """The models whose scores rules read, and those that are scored for the record alone."""

    scorers: tuple[Scorer, ...]
    shadows: tuple[ShadowModel, ...]


@dataclass(frozen=True)
class RosterReader:
    """Gives each model its part. columns: fields, system columns and features.   parse: a condition over them."""

    document: Document
    columns: Mapping[str, Type]
    parse: Callable[[str], Expr]

    def read(self, heads: Sequence[ModelHead], models: Sequence[Model]) -> Roster:
        """The roster. What is wrong is noted in the document, at the model's own table."""
        parts = list(enumerate(zip(heads, models, strict=True)))
        for k, (_, model) in parts:
            self._check(k, model, [other.name for other in models[:k]])
        live = [(k, pair) for k, pair in parts if not (pair[0].shadow or pair[0].challenges)]
        scorers = {model.name: Scorer(**_segmented(self, k, head, model)) for k, (head, model) in live}
        for k, (head, model) in parts:
            if head.challenges:
                self._challenge(k, head, model, scorers)
        shadows = (ShadowModel(**_segmented(self, k, head, model)) for k, (head, model) in parts if head.shadow)
        return Roster(tuple(scorers.values()), tuple(shadows))

    def _check(self, k: int, model: Model, before: Sequence[str]) -> None:
        for name in model.features:
            if name not in self.columns:
                what = f"the model {model.name} reads {name}, which the pack does not have"
                self.document.refuse(("models", k), what, suggest(name, self.columns))
        if model.name in before:
            fix = "give each a name of its own in its card"
            self.document.refuse(("models", k), f"two models have the name {model.name}", fix)
        for name in score_columns(model.name):
            if name in self.columns:
                what = f"the model {model.name} adds the column {name}, which the pack already has"
                self.document.refuse(("models", k), what, "rename the feature or the model")

    def _challenge(self, k: int, head: ModelHead, model: Model, scorers: dict[str, Scorer]) -> None:
        """Put a challenger beside its champion."""
        champion = scorers.get(head.challenges)
        if champion is None:
            what = f"there is no model {head.challenges} to challenge"
            self.document.refuse(("models", k, "challenges"), what, suggest(head.challenges, scorers))
        elif champion.challenger:
            what = f"{champion.name} has the challenger {champion.challenger.name} already"
            self.document.refuse(("models", k, "challenges"), what, "try one after the other, or make one a shadow")
        else:
            challenger = Challenger(**vars(model), share=head.share, by=head.by, salt=head.salt)
            scorers[champion.name] = replace(champion, challenger=challenger)

    def segment(self, k: int, sql: str) -> Expr | None:
        """A segment's condition; None where there is none, or where it is refused."""
        try:
            return self.parse(sql) if sql else None
        except Refusal as refusal:
            place = self.document.inside(("models", k, "segment"), refusal.place)
            self.document.refusals.append(Refusal(refusal.what, refusal.fix, place))
            return None


def _segmented(reader: RosterReader, k: int, head: ModelHead, model: Model) -> dict[str, Any]:
    """The fields of a model, its segment among them."""
    return {**vars(model), "segment": reader.segment(k, head.segment)}
