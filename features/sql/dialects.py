"""features.sql in a warehouse's own dialect, or what of it the warehouse cannot say.

sqlglot writes the other dialect. Where its text would run and mean something else, it is put right before, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel, UnsupportedError

from features.refusal import Refusal
from features.sql.calls import parts_of
from features.sql.source import Source, did_you_mean, parse
from features.sql.windows import named_windows

_SELF_JOIN = "run it in DuckDB, or leave it out there"
_EPOCH = "use date_diff('second', a, b)"
# For each warehouse, the names that its extract has for our parts. A part that is missing counts otherwise there.
_SAME_PARTS = {part: part for part in ("year", "month", "day", "hour", "minute", "second")}
_SPARK_PARTS = {**_SAME_PARTS, "isodow": "dow_iso", "doy": "doy", "week": "week"}
_PARTS: Mapping[str, Mapping[str, str]] = {
    "snowflake": {**_SAME_PARTS, "isodow": "dayofweekiso", "doy": "dayofyear", "week": "weekiso"},
    "bigquery": {**_SAME_PARTS, "doy": "dayofyear", "week": "isoweek"},
    "databricks": _SPARK_PARTS,
    "spark": _SPARK_PARTS,
    "trino": {**_SAME_PARTS, "isodow": "dow", "doy": "doy", "week": "week"},
    "postgres": {**_SAME_PARTS, "dow": "dow", "isodow": "isodow", "doy": "doy", "week": "week", "epoch": "epoch"},
}
# What each warehouse lacks.
_LACKS: Mapping[str, frozenset[str]] = {
    "snowflake": frozenset({"FILTER", "EXCLUDE", "DISTINCT", "//", "epoch", "WINDOW"}),
    "bigquery": frozenset({"FILTER", "EXCLUDE", "DISTINCT", "RANGE", "greatest", "epoch"}),
    "databricks": frozenset({"FILTER", "EXCLUDE", "DISTINCT", "epoch"}),
    "spark": frozenset({"FILTER", "EXCLUDE", "DISTINCT", "epoch"}),
    "trino": frozenset({"FILTER", "EXCLUDE", "DISTINCT", "//", "greatest", "epoch"}),
    "postgres": frozenset({"IGNORE NULLS", "DISTINCT", "TRY_CAST"}),
}
_Test = Callable[[exp.Expr], bool]
# A lack that cannot be written otherwise: where it shows, how it is called, and what to do.
_REFUSED: Mapping[str, tuple[_Test, str, str]] = {
    "EXCLUDE": (
        lambda n: isinstance(n, exp.WindowSpec) and bool(n.args.get("exclude")),
        "EXCLUDE in a frame",
        "subtract the current row by hand, or " + _SELF_JOIN,
    ),
    "DISTINCT": (
        lambda n: isinstance(n, exp.Window) and isinstance(parts_of(n).function.this, exp.Distinct),
        "count(DISTINCT) over a frame",
        _SELF_JOIN,
    ),
    "RANGE": (
        lambda n: isinstance(n, exp.WindowSpec) and n.find(exp.Interval) is not None,
        "RANGE over an INTERVAL",
        _SELF_JOIN,
    ),
    "IGNORE NULLS": (lambda n: isinstance(n, exp.IgnoreNulls), "IGNORE NULLS", _SELF_JOIN),
    "TRY_CAST": (lambda n: isinstance(n, exp.TryCast), "TRY_CAST", "read the number when the table is loaded"),
    "//": (lambda n: isinstance(n, exp.IntDiv), "an exact //", "write floor(a / b)"),
    "greatest": (lambda n: isinstance(n, (exp.Greatest, exp.Least)), "greatest and least that skip NULL", "write CASE"),
    "epoch": (lambda n: isinstance(n, exp.TimeToUnix), "epoch of a time difference", _EPOCH),
}


def transpile_sql(sql: str, dialect: str) -> str:
    """The statement in another dialect: snowflake, bigquery, databricks, spark, trino, postgres or duckdb.

    Raises Refusal, with the place, for what the warehouse cannot say or would understand otherwise.
    """
    source, trees = parse(sql)
    if dialect == "duckdb":
        return sql
    if dialect not in _LACKS:
        known = ", ".join((*sorted(_LACKS), "duckdb"))
        raise Refusal(f"there is no dialect {dialect}", did_you_mean(dialect, _LACKS, f"the dialects are: {known}"))
    return ";\n".join(_written(source, tree, dialect) for tree in trees)


def _written(source: Source, tree: exp.Expr, dialect: str) -> str:
    for node in tree.walk():
        _check(source, node, dialect)
    for select in list(tree.find_all(exp.Select)):
        _spell_out_windows(source, select)
    if "FILTER" in _LACKS[dialect]:
        tree = tree.transform(_filter_as_case)
    tree = tree.transform(_put_right, dialect)
    try:
        return tree.sql(dialect, pretty=True, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise Refusal(f"{dialect} cannot say this: {error}", _SELF_JOIN) from None


def _check(source: Source, node: exp.Expr, dialect: str) -> None:
    """Refuses what the warehouse lacks."""
    for lack in _LACKS[dialect]:
        shows, what, fix = _REFUSED.get(lack, (None, "", ""))
        if shows is not None and shows(node):
            raise source.refuse(node.find_ancestor(exp.Window) or node, f"{dialect} has no {what}", fix)
    if isinstance(node, exp.Extract) and node.name.lower() not in _PARTS[dialect]:
        fix = _EPOCH if node.name.lower() == "epoch" else "extract another part"
        raise source.refuse(node, f"{dialect} has no extract({node.name.lower()}) of the same meaning", fix)
    if isinstance(node, (exp.Anonymous, exp.ArrayAgg)):
        name = "list" if isinstance(node, exp.ArrayAgg) else str(node.this)
        raise source.refuse(node, f"{dialect} has no {name} of the same meaning", _SELF_JOIN)


def _spell_out_windows(source: Source, select: exp.Select) -> None:
    """Named windows written out: not every warehouse has a WINDOW clause, and none lets windows refine each other."""
    named = named_windows(source, select)
    select.set("windows", None)
    for window in list(select.find_all(exp.Window)):
        base = window.args.get("alias")
        over = named.get(base.name.lower()) if base is not None else None
        if over is not None:
            window.set("alias", None)
            window.set("partition_by", [key.copy() for key in over.partition])
            window.set("order", window.args.get("order") or (over.order.copy() if over.order else None))
            window.set("spec", window.args.get("spec") or (over.spec.copy() if over.spec else None))


def _put_right(node: exp.Expr, dialect: str) -> exp.Expr:
    """The node so that the other dialect's text means the same."""
    if isinstance(node, exp.Ordered):  # event_time is never NULL: leave the warehouse its own order of NULLs
        node.set("nulls_first", Dialect.get_or_raise(dialect).NULL_ORDERING == "nulls_are_small")
    if isinstance(node, (exp.Div, exp.Avg)):  # of decimals they are decimals elsewhere
        node.set("this", exp.cast(node.this, "double"))
    if isinstance(node, exp.DataType) and node.this is exp.DType.INT128:
        return exp.DataType.build("DECIMAL(38, 0)", dialect="duckdb")
    if isinstance(node, exp.TryCast):
        node.this.type = "varchar"  # Snowflake tries casts of text alone
    if isinstance(node, exp.Extract):
        node.set("this", exp.var(_PARTS[dialect][node.name.lower()].upper()))
    return node


def _filter_as_case(node: exp.Expr) -> exp.Expr:
    """f(x) FILTER (WHERE c) as f(CASE WHEN c THEN x END)."""
    if not isinstance(node, exp.Filter):
        return node
    function, condition = node.this.copy(), node.expression.this
    inner = function.this
    value = exp.Literal.number(1) if inner is None or isinstance(inner, exp.Star) else inner
    function.set("this", exp.Case(ifs=[exp.If(this=condition.copy(), true=value.copy())]))
    return function
