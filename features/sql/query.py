"""features.sql as a whole: the chain of SELECTs, and each SELECT's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from features.expr import Column, Expr
from features.query import Query, Stage
from features.refusal import Refusal, Refusals
from features.schema import Schema
from features.sql.calls import Calls
from features.sql.coerce import settle
from features.sql.facts import Facts, never_null, not_negative
from features.sql.grammar import typer_of
from features.sql.source import Source, parse
from features.sql.typer import Scope
from features.sql.windows import named_windows
from features.types import INTERVAL, Kind, Type

_MOST_STAGES = 3  # CTEs before the last SELECT
# Clauses that features.sql does not have: sqlglot's name, the words that begin them, and the fix.
_CLAUSES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("distinct", ("DISTINCT",), "leave it out: every event keeps its row"),
    ("joins", ("JOIN", "CROSS", "LEFT", "INNER", "RIGHT", "FULL", "ASOF", ","), "use a window, or a list in a rule"),
    ("laterals", ("LATERAL",), "use a window"),
    ("where", ("WHERE",), "every event keeps its row: test in FILTER (WHERE ...) or CASE"),
    ("group", ("GROUP",), "use a window: PARTITION BY"),
    ("having", ("HAVING",), "use CASE over a window"),
    ("qualify", ("QUALIFY",), "every event keeps its row: use CASE over a window"),
    ("order", ("ORDER",), "leave it out: events keep the order of their arrival"),
    ("limit", ("LIMIT",), "leave it out: every event keeps its row"),
    ("offset", ("OFFSET",), "leave it out: every event keeps its row"),
    ("sample", ("USING", "TABLESAMPLE"), "leave it out: every event keeps its row"),
)
# Clauses without a word of their own here; whatever else sqlglot reads is refused by its name.
_KNOWN = frozenset({"expressions", "from_", "windows", "with_"})
_ALWAYS = frozenset({"event_id", "event_time", "kind"})


@dataclass(frozen=True)
class Table:
    """What a SELECT reads: its columns in order, those that can be NULL, and those that are never negative."""

    name: str
    columns: Mapping[str, Type]
    nullable: frozenset[str]
    counts: frozenset[str] = frozenset()


def parse_query(sql: str, schema: Schema) -> Query:
    """The stages of features.sql, typed and checked. Raises Refusals: all of a SELECT at once."""
    source, tree = read_select(sql)
    several_kinds = len(schema.kinds) > 1
    table = events_table(schema)
    taken = dict.fromkeys(table.columns, "events")
    stages: list[Stage] = []
    chain = selects(source, tree)
    for name, select in chain:
        calls = sum(len(stage.windows) for stage in stages)
        builder = _Builder(source, table, select, taken, several_kinds, calls + 1, last=select is tree)
        stage, table = builder.stage(name)
        taken |= {output: name for output, _ in stage.outputs if output not in taken}
        stages.append(stage)
    return Query(tuple(stages), sql)


def output_texts(sql: str) -> dict[str, str]:
    """How each output of features.sql is written, by its name; one that a CTE computes, as it stands there."""
    found: dict[str, str] = {}
    for _, select in selects(*read_select(sql)):
        for each in select.expressions:
            text = each.unalias().sql("duckdb")
            found[each.alias_or_name] = found.get(text, text)
    return found


def events_table(schema: Schema) -> Table:
    """The `events` view."""
    columns = schema.columns()
    return Table("events", columns, frozenset(name for name in columns if schema.nullable(name)) - _ALWAYS)


def read_select(sql: str) -> tuple[Source, exp.Select]:
    """The one SELECT of a text."""
    source, trees = parse(sql)
    if not trees:
        raise Refusal("there is no SELECT", "write SELECT event_id, ... FROM events", source.origin)
    if len(trees) > 1:
        raise source.refuse(trees[1], "there is more than one statement", "write one SELECT; chain them as CTEs")
    if not isinstance(trees[0], exp.Select):
        raise source.refuse(trees[0], f"{trees[0].key.upper()} is not a SELECT", "write one SELECT ... FROM events")
    return source, trees[0]


def selects(source: Source, tree: exp.Select) -> list[tuple[str, exp.Select]]:
    """The chain of SELECTs with their names, each reading the one before it; the last is called `features`."""
    found: list[tuple[str, exp.Select]] = []
    clause = tree.args.get("with_")
    if clause is not None and clause.args.get("recursive"):
        raise Refusal("WITH RECURSIVE is not supported", "write WITH", source.keyword_before(clause, "RECURSIVE"))
    for cte in clause.expressions if clause is not None else ():
        if not isinstance(cte.this, exp.Select):
            raise source.refuse(cte.this, f"{cte.this.key.upper()} is not a SELECT", "write one SELECT in each CTE")
        if len(found) == _MOST_STAGES:
            raise source.refuse(cte.args["alias"], f"there are more than {_MOST_STAGES} CTEs", "join two of them")
        found.append((cte.alias, cte.this))
    found.append(("features", tree))
    before = "events"
    for name, select in found:
        _check_shape(source, select, before)
        before = name
    return found


def _check_shape(source: Source, select: exp.Select, before: str) -> None:
    """Refuses every clause that features.sql does not have, and a FROM that leaves the chain."""
    for arg, words, fix in _CLAUSES:
        found = select.args.get(arg)
        if found:
            node = found[0] if isinstance(found, list) else found
            node = select.expressions[0] if arg == "distinct" else node
            raise Refusal(f"{words[0]} is not supported", fix, source.keyword_before(node, *words))
    other = [arg for arg, value in select.args.items() if value and arg not in _KNOWN]
    if other:
        raise source.refuse(select, f"{other[0].strip('_').upper()} is not supported", "leave it out")
    origin = select.args.get("from_")
    if origin is None:
        raise source.refuse(select, "this SELECT reads nothing", f"add FROM {before}")
    _check_from(source, origin.this, before)


def _check_from(source: Source, table: exp.Expr, before: str) -> None:
    if not isinstance(table, exp.Table):
        at = source.keyword_before(table, "(")
        raise Refusal("a subquery in FROM is not supported", "make it a CTE: WITH name AS (SELECT ...)", at)
    extra = [arg for arg, value in table.args.items() if value and arg not in ("this", "alias")]
    if extra or table.alias:
        what = "the table has an alias" if table.alias else f"{extra[0].upper()} is not supported"
        raise source.refuse(table, what, f"write FROM {before}")
    if table.name.lower() != before.lower():
        raise source.refuse(table, f"this SELECT reads {table.name}, not {before}", f"write FROM {before}")


@dataclass(frozen=True)
class _Builder:
    """Builds one stage from its SELECT. `taken` holds every column name used so far."""

    source: Source
    table: Table
    select: exp.Select
    taken: Mapping[str, str]
    several_kinds: bool
    first_call: int
    last: bool

    def stage(self, name: str) -> tuple[Stage, Table]:
        """The stage, and the table that it makes for the next one."""
        nullable, counts = set(self.table.nullable), set(self.table.counts)
        calls = self._calls(nullable, counts)
        scope = Scope(self.table.columns, nullable, counts, self.table.name, window=calls, elsewhere=self._aliases())
        typer = typer_of(self.source, scope)
        outputs: dict[str, Expr] = {}
        refusals: list[Refusal] = []
        for projection in self.select.expressions:
            try:
                for output, expr, node in self._outputs(projection, typer.expr):
                    self._check_name(output, expr, node, outputs)
                    outputs[output] = expr
            except Refusal as refusal:
                refusals.append(refusal)
        if refusals:
            raise Refusals(refusals)
        if self.last:
            self._check_last(outputs)
        known = [name for name, expr in outputs.items() if not never_null(expr, Facts(), nullable)]
        table = Table(
            name,
            {output: expr.type for output, expr in outputs.items()},
            frozenset(known),
            frozenset(output for output, expr in outputs.items() if not_negative(expr, Facts(), counts)),
        )
        settled = tuple((output, settle(expr)) for output, expr in outputs.items())
        return Stage(name, tuple(calls.found.values()), settled), table

    def _calls(self, nullable: set[str], counts: set[str]) -> Calls:
        scope = Scope(
            self.table.columns,
            nullable,
            counts,
            self.table.name,
            no_window="compute the inner one in a CTE, and use its column here",
            elsewhere=self._aliases(),
        )
        named = named_windows(self.source, self.select)
        return Calls(typer_of(self.source, scope), named, self.several_kinds, self.first_call, nullable, counts)

    def _aliases(self) -> dict[str, str]:
        """Names that this very SELECT gives: they are not columns yet."""
        fix = "it is made by this same SELECT: move it to a CTE before"
        return {node.alias.lower(): fix for node in self.select.expressions if node.alias}

    def _outputs(
        self, projection: exp.Expr, type_of: Callable[[exp.Expr], Expr]
    ) -> Iterator[tuple[str, Expr, exp.Expr]]:
        """(name, expression, where) of one entry of the SELECT list."""
        if isinstance(projection, exp.Star) or (isinstance(projection, exp.Column) and projection.name == "*"):
            yield from self._star(projection)
        elif isinstance(projection, exp.Alias):
            yield projection.alias, type_of(projection.this), projection
        elif isinstance(projection, exp.Column):
            column = type_of(projection)
            yield column.name if isinstance(column, Column) else projection.name, column, projection
        else:
            text = projection.sql("duckdb")
            raise self.source.refuse(projection, f"{text} has no name", "write AS and a name behind it")

    def _star(self, node: exp.Expr) -> Iterator[tuple[str, Expr, exp.Expr]]:
        if any(value for key, value in node.args.items() if key in ("except_", "replace", "rename")):
            raise self.source.refuse(node, "* with EXCLUDE, REPLACE or RENAME is not supported", "write * alone")
        if self.last:
            raise self.source.refuse(node, "* stands in the last SELECT", "name event_id and each feature")
        for name, type in self.table.columns.items():
            yield name, Column(type, name, place=self.source.place(node)), node

    def _check_name(self, name: str, expr: Expr, node: exp.Expr, outputs: Mapping[str, Expr]) -> None:
        """A name means one thing in the whole query."""
        lower = name.lower()
        if lower in {output.lower() for output in outputs}:
            raise self._refuse_name(node, f"there are two columns {name}")
        passes = isinstance(expr, Column) and expr.name == name
        owner = {column.lower(): owner for column, owner in self.taken.items()}.get(lower)
        if owner is not None and not passes:
            raise self._refuse_name(node, f"{name} is a column of {owner} already")
        if expr.type.kind is Kind.NULL:
            raise self.source.refuse(node, f"{name} is always NULL", "give it a type, as in CAST(NULL AS BIGINT)")
        if self.last and expr.type == INTERVAL:
            raise self.source.refuse(node, f"{name} is an INTERVAL", "write extract(epoch FROM ...), in seconds")

    def _refuse_name(self, node: exp.Expr, what: str) -> Refusal:
        at = node.args["alias"] if isinstance(node, exp.Alias) else node
        return self.source.refuse(at, what, "give this one a name of its own")

    def _check_last(self, outputs: Mapping[str, Expr]) -> None:
        found = outputs.get("event_id")
        if not (isinstance(found, Column) and found.name == "event_id"):
            first = self.select.expressions[0]
            raise self.source.refuse(first, "the last SELECT does not hand on event_id", "begin it with event_id")
