"""SQL text, its syntax tree, and where in the text each node begins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token

from features.refusal import Place, Refusal


class _Parser(DuckDBParser):
    """DuckDB's grammar, which also notes where each operand begins: sqlglot keeps that for names and literals only."""

    def _parse_unary(self) -> exp.Expr | None:
        first = self._curr
        node = super()._parse_unary()
        if node is not None and first is not None:
            node.meta.setdefault("begin", first.start)
        return node

    def _parse_window(self, this: exp.Expr | None, alias: bool = False) -> exp.Expr | None:
        first = self._curr
        node = super()._parse_window(this, alias)
        if isinstance(node, exp.Window) and first is not None:
            node.meta["over"] = (first.start, self._prev.end)
        return node


@dataclass(frozen=True)
class Source:
    """A piece of SQL. `origin` is where it begins in its file; further lines begin at column `indent` + 1."""

    sql: str
    tokens: tuple[Token, ...]
    origin: Place = Place(1, 1)
    indent: int = 0

    def place(self, node: exp.Expr) -> Place:
        """Where the node's text begins."""
        if isinstance(node, exp.Select):
            return self.keyword_before(node, "SELECT")
        return self.place_at(begin(node))

    def place_at(self, offset: int) -> Place:
        line = self.sql.count("\n", 0, offset)
        column = offset - (self.sql.rfind("\n", 0, offset) + 1)
        start = self.indent if line else self.origin.column - 1
        return Place(self.origin.line + line, start + column + 1)

    def keyword_before(self, node: exp.Expr, *words: str) -> Place:
        """Where the last of these words before the node's text stands; the node itself if there is none."""
        limit = begin(node)
        starts = [at for token in self.tokens if (at := token.start) < limit and self._word(at) in words]
        return self.place_at(max(starts, default=limit))

    def place_in_window(self, window: exp.Window, word: str) -> Place:
        """Where a word of the window's own text stands."""
        first, last = window.meta["over"]
        starts = [at for token in self.tokens if first <= (at := token.start) <= last and self._word(at) == word]
        return self.place_at(min(starts, default=first))

    def _word(self, offset: int) -> str:
        """The word or sign that begins at an offset, in upper case."""
        found = re.compile(r"\w+|\S").match(self.sql, offset)
        return found[0].upper() if found else ""

    def name_of(self, function: exp.Expr) -> str:
        """The name by which a function is called, as written, in lower case."""
        return self._word(begin(function)).lower()

    def is_call(self, function: exp.Expr) -> bool:
        """True for f(...), false for an operator that sqlglot reads as a function."""
        return re.compile(r"\w+\s*\(").match(self.sql, begin(function)) is not None

    def refuse(self, node: exp.Expr, what: str, fix: str) -> Refusal:
        return Refusal(what, fix, self.place(node))


def begin(node: exp.Expr) -> int:
    """The offset at which the node's text begins."""
    starts = [at for part in node.walk() for key in ("begin", "start") if (at := part.meta.get(key)) is not None]
    return min(starts, default=0)


def parse(sql: str, origin: Place = Place(1, 1), indent: int = 0) -> tuple[Source, list[exp.Expr]]:
    """The statements of a text. Raises Refusal with the place where reading stopped."""
    try:
        tokens = _tokens(sql)
    except TokenError:
        at = Source(sql, (), origin, indent).place_at(_left_open(sql))
        what = "this cannot be read as SQL: a text or comment does not end"
        raise Refusal(what, "close the quote or the comment", at) from None
    source = Source(sql, tuple(tokens), origin, indent)
    try:
        trees = _Parser(dialect="duckdb").parse(list(tokens), sql)
    except ParseError as error:
        raise _unreadable(source, error) from None
    return source, [tree for tree in trees if tree is not None]


def _tokens(sql: str) -> list[Token]:
    return DuckDB.Tokenizer(dialect="duckdb").tokenize(sql)


def _left_open(sql: str) -> int:
    """Where the quote or comment begins that never ends: the last one before which all can be read."""
    for match in reversed(list(re.finditer(r"['\"]|/\*|\$\$", sql))):
        try:
            _tokens(sql[: match.start()])
        except TokenError:
            continue
        return match.start()
    return 0


def _unreadable(source: Source, error: ParseError) -> Refusal:
    first = error.errors[0] if error.errors else {}
    line, end, text = first.get("line"), first.get("col"), first.get("highlight") or ""
    reason = str(first.get("description") or error).rstrip(".")
    if reason.startswith("Required keyword"):
        reason = "something is missing behind it"
    what = f"this cannot be read as SQL near {text!r}: {reason}"
    fix = "check for a missing comma, parenthesis or keyword"
    for token in source.tokens:
        if (token.line, token.col) == (line, end):
            return Refusal(what, fix, source.place_at(token.start))
    return Refusal(what, fix, source.origin)


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """A fix for an unknown name: the nearest known one, or another hint."""
    near = get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else otherwise
