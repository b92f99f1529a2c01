"""What a page is made of, before it is HTML. Every text is data: the template escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """A table's cell. shade: 0 to 1, how dark its ground is.   mark: good, bad or muted, said by the text as well."""

    text: str
    shade: float = 0.0
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column. kind: number stands right, text left, code in a fixed width, when is a time."""

    title: str
    kind: str = "number"


@dataclass(frozen=True)
class Table:
    """The first cell of a row heads it. square: rows and columns mean the same, so it stays one on a narrow screen."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    square: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot: inline SVG with its title and description, and the same numbers as a table."""

    caption: str
    svg: Markup
    data: Table


@dataclass(frozen=True)
class Fact:
    """A headline: what it is, its value, and what has to be said beside it."""

    name: str
    value: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A part of a page. texts stand first, then facts, figures, tables.   folded: tables open on a click, and in print.

    level: of its heading.   apart: begins a new sheet of paper.
    """

    id: str
    title: str
    texts: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    terms: Sequence[tuple[str, str]] = ()
    folded: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Page:
    """lang: en or ja.   warnings: what a reader must know first.   words: the few texts of the frame itself."""

    lang: str
    title: str
    lead: Sequence[str]
    warnings: Sequence[str]
    sections: Sequence[Section]
    words: dict[str, str] = field(default_factory=dict)
