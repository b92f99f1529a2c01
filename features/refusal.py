"""Refusing pack source: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A position in a text, both counted from 1; 0 means unknown."""

    line: int = 0
    column: int = 0


class Refusal(Exception):
    """Pack source that Sekisho will not load.

    `what` says what is wrong, `fix` what to do about it. The spine adds the file.
    """

    def __init__(self, what: str, fix: str, place: Place = Place(), file: str = "") -> None:
        self.what, self.fix, self.place, self.file = what, fix, place, file
        super().__init__(str(self))

    @property
    def each(self) -> tuple[Refusal, ...]:
        """This one, or the several that it stands for."""
        return (self,)

    def __str__(self) -> str:
        at = ":".join(str(part) for part in (self.file, self.place.line, self.place.column) if part)
        return f"{at}: {self.what}\n  fix: {self.fix}" if at else f"{self.what}\n  fix: {self.fix}"


class Refusals(Refusal):
    """Several refusals of one text; it speaks as the first of them."""

    def __init__(self, each: Sequence[Refusal]) -> None:
        self._each = tuple(each)
        super().__init__(each[0].what, each[0].fix, each[0].place, each[0].file)

    @property
    def each(self) -> tuple[Refusal, ...]:
        return self._each


def suggest(word: str, known: Iterable[str]) -> str:
    """A fix for a wrong word: the nearest right one, else all of them."""
    names = [name for name in known if name]
    if near := difflib.get_close_matches(word, names, 1):
        return f"did you mean {near[0]}?"
    return "use one of " + ", ".join(names) if names else "remove it"
