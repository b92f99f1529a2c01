"""All that a row expression may be made of. A new operator or function is added to one of these three tables."""

from __future__ import annotations

from features.sql.functions import FUNCTIONS, NAMES
from features.sql.operators import OPERATORS
from features.sql.source import Source
from features.sql.times import TIMES
from features.sql.typer import Grammar, Scope, Typer

GRAMMAR = Grammar({**OPERATORS, **FUNCTIONS, **TIMES}, NAMES)


def typer_of(source: Source, scope: Scope) -> Typer:
    """The typer of a source's expressions in a scope."""
    return Typer(source, scope, GRAMMAR)
