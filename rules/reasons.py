"""Reason codes: what has raised a score, in words with their values filled in.

A code is a group of features. It is given where the group has raised the score by a point at least, its condition is
true, and every value that its texts name is known; those that raised it most come first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from features.expr import Expr
from features.types import Kind, Type
from rules.records import Reasons

Value = int | float | bool | str | None

# {name}, {name:,}, {name:.1}, {name:,.1}: separators of thousands, and how many decimals.
_VALUE = re.compile(r"\{([a-z][a-z0-9_]*)(?::(,?)(?:\.([0-9]))?)?\}")
_EXACTLY = Context(prec=400, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True)
class ReasonCode:
    """One of reasons.yaml. features: the columns of its group.   texts: with values to be filled in."""

    id: str
    features: tuple[str, ...]
    when: Expr
    when_sql: str
    texts: Reasons

    def values(self) -> Iterator[str]:
        """The columns that its texts name."""
        for text in vars(self.texts).values():
            yield from (found[1] for found in _VALUE.finditer(text))


@dataclass(frozen=True)
class ReasonBook:
    """reasons.yaml, checked. above: the least score that is explained.   most: reasons that a decision has at most."""

    above: int
    most: int
    codes: tuple[ReasonCode, ...]


@dataclass(frozen=True)
class GivenReason:
    """A reason of a decision: the model that it speaks of, and by how many points its group has raised the score."""

    id: str
    model: str
    points: int
    texts: Reasons


def give(
    book: ReasonBook,
    model: str,
    points: Sequence[int],
    holds: Sequence[bool],
    value: Callable[[str], tuple[Value, Type]],
) -> tuple[GivenReason, ...]:
    """The reasons of one decision. points, holds: by code.   value: of a column, and its type."""
    able = [k for k, code in enumerate(book.codes) if points[k] >= 1 and holds[k]]
    able = [k for k in able if all(value(name)[0] is not None for name in book.codes[k].values())]
    best = sorted(able, key=lambda k: -points[k])[: book.most]
    return tuple(GivenReason(book.codes[k].id, model, points[k], _filled(book.codes[k].texts, value)) for k in best)


def _filled(texts: Reasons, value: Callable[[str], tuple[Value, Type]]) -> Reasons:
    def fill(found: re.Match[str]) -> str:
        what, type = value(found[1])
        return value_text(what, type, bool(found[2]), int(found[3]) if found[3] else None)

    return Reasons(**{key: _VALUE.sub(fill, text) for key, text in vars(texts).items()})


def value_text(value: Value, type: Type, grouped: bool = False, digits: int | None = None) -> str:
    """A value in a sentence. digits: how many decimals, rounded half to even; None for those of an exact type."""
    if isinstance(value, str):
        return value
    number = Decimal(value or 0)
    if type.kind is not Kind.DOUBLE:
        number, digits = _EXACTLY.scaleb(number, -type.scale), type.scale if digits is None else digits
    number = _EXACTLY.quantize(number, Decimal(1).scaleb(-(digits or 0)))
    return f"{number if number else abs(number):{',' if grouped else ''}f}"


def unfilled(text: str) -> str:
    """What is left of a text without its values: braces in there are a slip."""
    return _VALUE.sub("", text)


def formats(text: str) -> list[tuple[str, bool]]:
    """The columns that a text names, and whether it says how many decimals."""
    return [(found[1], found[3] is not None) for found in _VALUE.finditer(text)]
