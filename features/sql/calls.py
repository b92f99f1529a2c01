"""Window calls: which function over which rows, and what is refused because it would mislead (laws L5 and L7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from features.expr import Case, Column, Expr, Literal, walk
from features.query import Frame, WindowCall
from features.sql.coerce import settle
from features.sql.facts import Facts, never_null
from features.sql.typer import Typer
from features.sql.windows import Over, check_order, frame_of, resolve
from features.types import BIGINT, DOUBLE, HUGEINT, NULL, Kind, Type, decimal

# sqlglot's node for each function, and its name in a WindowCall.
NAMES: Mapping[type[exp.Expr], str] = {
    exp.Count: "count", exp.Sum: "sum", exp.Avg: "avg", exp.Min: "min", exp.Max: "max",
    exp.Variance: "var_samp", exp.VariancePop: "var_pop",
    exp.Stddev: "stddev_samp", exp.StddevSamp: "stddev_samp", exp.StddevPop: "stddev_pop",
    exp.FirstValue: "first_value", exp.LastValue: "last_value", exp.Lag: "lag",
}  # fmt: skip
POSITIONAL = ("first_value", "last_value", "lag")
_ARITHMETIC = ("sum", "avg", "var_samp", "var_pop", "stddev_samp", "stddev_pop")
_COUNTS = ("count_star", "count", "count_distinct")
# lag reads the rows before the current one, whatever the frame says, as DuckDB does.
LAG_FRAME = Frame("rows", None, 1)


@dataclass(frozen=True)
class Parts:
    """A window function taken apart: the function's node, its FILTER condition, and IGNORE NULLS."""

    function: exp.Expr
    filter: exp.Expr | None
    ignore_nulls: bool


def parts_of(window: exp.Window) -> Parts:
    """The parts of `f(x) FILTER (WHERE c) OVER ...`, however they are nested."""
    node, condition, ignore = window.this, None, False
    while isinstance(node, (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)):
        if isinstance(node, exp.Filter):
            condition = node.expression.this
        ignore |= isinstance(node, exp.IgnoreNulls)
        node = node.this
    return Parts(node, condition, ignore)


@dataclass
class Calls:
    """Collects the window calls of one SELECT; equal calls are one call.

    rows: types expressions over one row, without windows.   several_kinds: the log holds more than payments.
    first: the number of the first call.   nullable, counts: what is known of columns, the calls' own added.
    """

    rows: Typer
    named: Mapping[str, Over]
    several_kinds: bool
    first: int
    nullable: set[str]
    counts: set[str]
    found: dict[object, WindowCall] = field(default_factory=dict)

    def __call__(self, window: exp.Window, facts: Facts) -> Expr:
        """The column that holds the window call's value. Raises Refusal where law or dialect forbid the call."""
        source, parts = self.rows.source, parts_of(window)
        name = self._function(parts)
        over = resolve(source, window, self.named)
        check_order(source, window, over)
        partition = tuple(self._key(key, facts, window) for key in over.partition)
        frame = LAG_FRAME if name == "lag" else frame_of(source, over)
        argument = self._argument(parts, name)
        if name == "count" and argument is None:
            name = "count_star"
        elif name == "count" and isinstance(parts.function.this, exp.Distinct):
            name = "count_distinct"
        condition = None if parts.filter is None else self.rows.condition(parts.filter)
        self._check_distinct(parts, name, frame)
        self._check_kinds(window, name, argument, condition, partition, parts.ignore_nulls)
        type = self._type(parts, name, argument)
        call = WindowCall(
            name=f"#{self.first + len(self.found)}",
            function=name,
            argument=None if argument is None else settle(argument),
            filter=None if condition is None else settle(condition),
            partition=tuple(settle(key) for key in partition),
            frame=frame,
            type=BIGINT if type.kind is Kind.INT and not type.wide else type,
            ignore_nulls=parts.ignore_nulls,
            offset=self._offset(parts),
            place=source.place(window),
        )
        return self._shared(call, type)

    def _shared(self, call: WindowCall, type: Type) -> Column:
        key = (call.function, call.argument, call.filter, call.partition, call.frame, call.ignore_nulls, call.offset)
        call = self.found.setdefault(key, call)
        self.nullable.add(call.name)  # no event that came too late sees its windows
        if call.function in _COUNTS:
            self.counts.add(call.name)
        return Column(type, call.name, place=call.place)

    def _function(self, parts: Parts) -> str:
        source, node = self.rows.source, parts.function
        name = NAMES.get(type(node))
        if name is None:
            text = source.name_of(node)
            known = ", ".join(dict.fromkeys(NAMES.values()))
            raise source.refuse(node, f"the window function {text} is not supported", f"the functions are: {known}")
        if name in POSITIONAL and parts.filter is not None:
            fix = f"write {name}(CASE WHEN ... THEN x END IGNORE NULLS)"
            raise source.refuse(parts.filter, f"DuckDB has no FILTER on {name}", fix)
        if parts.ignore_nulls and name not in POSITIONAL:
            raise source.refuse(node, f"IGNORE NULLS has no place on {name}", "leave it out: aggregates skip NULLs")
        if name == "lag" and node.args.get("default") is not None:
            raise source.refuse(node.args["default"], "lag with a default is not supported", "write COALESCE around it")
        return name

    def _key(self, node: exp.Expr, facts: Facts, window: exp.Window) -> Expr:
        key = self.rows.expr(node)
        if not never_null(key, facts, self.rows.scope.nullable):
            text = node.sql("duckdb")
            what = f"the key {text} can be NULL, and a window over it would pool strangers"
            fix = f"write CASE WHEN {text} IS NOT NULL THEN ... END around the window function"
            at = node if window.args.get("partition_by") else window  # a named window stands far from its uses
            raise self.rows.source.refuse(at, what, fix)
        if key.type.kind is Kind.DOUBLE:
            raise self.rows.source.refuse(node, "a DOUBLE is no key", "use text, a number, a time or a BOOLEAN")
        return key

    def _argument(self, parts: Parts, name: str) -> Expr | None:
        source, node = self.rows.source, parts.function.this
        if isinstance(node, exp.Distinct):
            if name != "count" or len(node.expressions) != 1:
                raise source.refuse(node, f"{name}(DISTINCT ...) is not supported", "only count(DISTINCT x) is")
            node = node.expressions[0]
        if node is None or isinstance(node, exp.Star):
            if name != "count":
                raise source.refuse(parts.function, f"{name} takes an argument", f"write {name}(x)")
            return None
        if len(parts.function.expressions) > 0:
            raise source.refuse(parts.function, f"{name} takes one argument", f"write {name}(x)")
        return self.rows.expr(node)

    def _check_distinct(self, parts: Parts, name: str, frame: Frame) -> None:
        if isinstance(parts.function.this, exp.Distinct) and frame.start is None:
            what = "count(DISTINCT) over an UNBOUNDED frame would have to remember every value for ever"
            raise self.rows.source.refuse(parts.function, what, "give the frame a width, as in INTERVAL 90 DAYS")

    def _check_kinds(
        self,
        window: exp.Window,
        name: str,
        argument: Expr | None,
        condition: Expr | None,
        partition: tuple[Expr, ...],
        ignore_nulls: bool,
    ) -> None:
        """In a log of several kinds a window function says which it means (domain.md)."""
        if not self.several_kinds or any(_tests_kind(part) for part in (condition, *partition)):
            return
        skips_nulls = name not in POSITIONAL or ignore_nulls
        if skips_nulls and _of_one_kind(argument):
            return
        if name in POSITIONAL:
            fix = f"write {name}(CASE WHEN kind = 'payment' THEN x END IGNORE NULLS), or partition by kind"
        else:
            fix = "add FILTER (WHERE kind = 'payment'), or partition by kind"
        said = {"count_star": "count(*)", "count_distinct": "count(DISTINCT)"}.get(name, name)
        raise self.rows.source.refuse(window, f"this {said} mixes the kinds of event", fix)

    def _type(self, parts: Parts, name: str, argument: Expr | None) -> Type:
        """The type of the call's value."""
        if argument is None or name in _COUNTS:
            return BIGINT
        type = argument.type
        if name not in _ARITHMETIC:
            return type
        source, node = self.rows.source, parts.function
        if type.kind is Kind.DOUBLE:
            what = f"{name} of a DOUBLE depends on the order of the rows"
            raise source.refuse(node, what, "make the field money or number, or CAST(x AS DECIMAL(18, 6))")
        if not type.exact:
            fix = "count(*) FILTER (WHERE x) counts" if type.kind is Kind.BOOL else "use a number"
            raise source.refuse(node, f"{name} takes a number, and this is {type}", fix)
        if name != "sum":
            return DOUBLE
        return HUGEINT if type.kind is Kind.INT else decimal(38, type.scale)

    def _offset(self, parts: Parts) -> int:
        given = parts.function.args.get("offset")
        if given is None:
            return 1
        if isinstance(given, exp.Literal) and not given.is_string and given.this.isdigit() and int(given.this) >= 1:
            return int(given.this)
        raise self.rows.source.refuse(given, "the offset of lag is not a whole number from 1 up", "write lag(x, 2)")


def _tests_kind(expr: Expr | None) -> bool:
    return expr is not None and any(isinstance(part, Column) and part.name == "kind" for part in walk(expr))


def _of_one_kind(argument: Expr | None) -> bool:
    """True for CASE WHEN kind = '...' THEN x END: NULL on all other kinds."""
    return (
        isinstance(argument, Case) and _null(argument.default) and all(_tests_kind(when) for when, _ in argument.whens)
    )


def _null(expr: Expr) -> bool:
    return isinstance(expr, Literal) and (expr.value is None or expr.type == NULL)
