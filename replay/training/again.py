"""Making a model again from what its card says, and naming what comes out otherwise."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path

from rich.console import Console

from models.card import ModelCard
from models.card_toml import read_card, write_card
from replay.training.command import train
from replay.training.make import Made, make
from sekisho.errors import SekishoError


@dataclass(frozen=True)
class Difference:
    """A figure of the card that is another when it is made again. name: as `metrics.roc_auc`."""

    name: str
    on_file: str
    again: str


def card_of(model: Path) -> ModelCard:
    """The card beside a model file. Raises SekishoError where it does not say how the model was made."""
    file = model.with_suffix(".toml")
    if model.suffix != ".txt" or not file.is_file() or not model.is_file():
        raise SekishoError(f"{model}: there is no model with its card", "name the .txt that `sekisho train` wrote")
    card = read_card(file.read_bytes())
    if card.origin is None:
        raise SekishoError(f"{file}: it does not say how the model was made", "train the model with `sekisho train`")
    return card


def make_again(card: ModelCard, model: bytes, console: Console, seeds: int) -> tuple[Made, list[Difference]]:
    """The model of a card's own command, and every difference from the card and the model's file.

    What the model was made of comes first, then its file, then the card in its order. `expires` is no figure: whoever
    has reviewed the model writes a later day.
    """
    assert card.origin is not None
    words = shlex.split(card.origin.command)
    if words[:2] != ["sekisho", "train"]:
        raise SekishoError(f"the card's command is not one of `sekisho train`: {words[:2]}", "train the model again")
    asked = train.make_context("sekisho train", words[2:]).params
    del asked["out"], asked["lang"]
    made = make(card.origin.command, console, seeds=seeds, **asked)
    again = read_card(write_card(made.trained.card).encode())
    found = list(differences("origin", card.origin, again.origin))
    if model != made.trained.model:
        found.append(Difference("model", *(sha256(each).hexdigest() for each in (model, made.trained.model))))
    rest = differences("", replace(card, expires=again.expires), again)
    return made, found + [each for each in rest if not each.name.startswith("origin.")]


def differences(name: str, on_file: object, again: object) -> Iterator[Difference]:
    """What differs between two values, part by part."""
    if is_dataclass(on_file) and type(on_file) is type(again):
        for field in fields(on_file):
            part = f"{name}.{field.name}".lstrip(".")
            yield from differences(part, getattr(on_file, field.name), getattr(again, field.name))
    elif isinstance(on_file, Mapping) and isinstance(again, Mapping):
        for key in dict.fromkeys((*on_file, *again)):
            yield from differences(f"{name}.{key}", on_file.get(key), again.get(key))
    elif on_file != again:
        yield Difference(name, str(on_file), str(again))
