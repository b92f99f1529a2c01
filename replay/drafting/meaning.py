"""What the columns of a sample mean to a pack, and what is unsure of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from replay.drafting import words


@dataclass(frozen=True)
class Guess:
    """A field of the draft, or a column that is none: then `name` is "". options: behind the type in pack.toml."""

    source: str
    name: str
    type: str
    why: str
    options: Mapping[str, str | bool | int | list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Doubt:
    """What is unsure. line: the beginning of the line of pack.toml that says it.   fix: what to write there."""

    line: str
    what: str
    fix: str


@dataclass
class Meaning:
    """All of a sample's columns. record_time: as [events] says it.   label: the column of verdicts, or ""."""

    guesses: list[Guess] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    kinds: tuple[str, ...] = ("payment",)
    zone: str = "UTC"
    record_time: str = ""
    label: str = ""

    @property
    def fields(self) -> dict[str, Guess]:
        return {guess.name: guess for guess in self.guesses if guess.name}

    @property
    def entities(self) -> tuple[str, ...]:
        """In the order in which people think of them: whose money, with what, where."""
        return tuple(name for name in (*words.PAYERS, *words.PLACES) if f"{name}_id" in self.fields)

    @property
    def payer(self) -> str:
        return next(iter(self.entities), "")

    @property
    def place(self) -> str:
        return next((name for name in words.PLACES if f"{name}_id" in self.fields and name != self.payer), "")

    @property
    def amount(self) -> Guess | None:
        return self.fields.get("amount")
