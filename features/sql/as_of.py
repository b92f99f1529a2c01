"""The as-of form: features.sql as self-joins on the order of arrival, for DuckDB to run (law L2).

Its `events` table has two more columns: `arrival` BIGINT, each event's place in the log, and `enters` BOOLEAN, false
for an event that came too late or from the future. Each event e sees the rows r with r.enters, r.arrival <= e.arrival,
e's keys, and a place in e's frame; an event that does not enter sees no window at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlglot import exp

from features.query import Frame
from features.schema import Schema
from features.sql.calls import LAG_FRAME, NAMES, Parts, parts_of
from features.sql.query import parse_query, read_select, selects
from features.sql.source import Source
from features.sql.windows import frame_of, named_windows, resolve

_IN_ORDER = "r.event_time, r.arrival"


@dataclass
class _View:
    """What all calls of one partition and frame see: one self-join, one column for each call."""

    name: str
    partition: tuple[exp.Expr, ...]
    frame: Frame
    columns: dict[str, str] = field(default_factory=dict)

    def column(self, parts: Parts) -> str:
        """The column that holds a call's value, as the SELECT names it."""
        value = self._aggregate(parts)
        return f"{self.name}.{self.columns.setdefault(value, f'v{len(self.columns) + 1}')}"

    def _aggregate(self, parts: Parts) -> str:
        function = parts.function
        name = NAMES[type(function)]
        conditions = [self._in_frame(name, function)]
        if parts.filter is not None:
            conditions.append(f"({_of('r', parts.filter)})")
        if name in ("first_value", "last_value", "lag"):
            return self._positional(name, function, conditions, parts.ignore_nulls)
        return f"{_of('r', function)} FILTER (WHERE {' AND '.join(conditions)})"

    def _in_frame(self, name: str, function: exp.Expr) -> str:
        """Which of the joined rows the frame holds."""
        if self.frame.mode == "range":
            return "r.arrival IS NOT NULL"  # the join found a row
        near = f"r._back >= {self.frame.end}"
        if self.frame.start is not None:
            near = f"r._back BETWEEN {self.frame.end} AND {self.frame.start}"
        return f"{near} AND r.arrival <> r._at" if self.frame.exclude_current else near

    def _positional(self, name: str, function: exp.Expr, conditions: list[str], ignore_nulls: bool) -> str:
        value = _of("r", function.this)
        if ignore_nulls:
            conditions.append(f"({value}) IS NOT NULL")
        where = " AND ".join(conditions)
        if name == "lag":
            offset = function.args.get("offset")
            return f"(list({value} ORDER BY r._back) FILTER (WHERE {where}))[{offset.this if offset else 1}]"
        order = _IN_ORDER if name == "first_value" else "r.event_time DESC, r.arrival DESC"
        return f"(list({value} ORDER BY {order}) FILTER (WHERE {where}))[1]"

    def sql(self, table: str) -> str:
        """The common table expression."""
        columns = ",\n         ".join(f"{value} AS {name}" for value, name in self.columns.items())
        body = self._range(table) if self.frame.mode == "range" else self._rows(table)
        return f"{self.name} AS MATERIALIZED (\n  SELECT {body[0]} AS _at,\n         {columns}\n{body[1]}\n)"

    def _join(self, times: str) -> str:
        keys = (f"({_of('r', key)}) = ({_of('e', key)})" for key in self.partition)
        return "\n    AND ".join(("r.enters", "r.arrival <= e.arrival", *keys, times))

    def _range(self, table: str) -> tuple[str, str]:
        times = f"r.event_time <= {_before(self.frame.end)}"
        if self.frame.start is not None:
            times = f"r.event_time BETWEEN {_before(self.frame.start)} AND {_before(self.frame.end)}"
        if self.frame.exclude_current:
            times += " AND r.arrival <> e.arrival"
        join = f"  FROM {table} AS e LEFT JOIN {table} AS r\n     ON {self._join(times)}"
        return "e.arrival", f"{join}\n  WHERE e.enters\n  GROUP BY e.arrival"

    def _rows(self, table: str) -> tuple[str, str]:
        join = f"FROM {table} AS e JOIN {table} AS r\n     ON {self._join('r.event_time <= e.event_time')}"
        back = "row_number() OVER (PARTITION BY e.arrival ORDER BY r.event_time DESC, r.arrival DESC) - 1 AS _back"
        rows = f"  SELECT r.*, e.arrival AS _at,\n         {back}\n  {join}\n  WHERE e.enters"
        return "r._at", f"  FROM (\n{rows}\n  ) AS r\n  GROUP BY r._at"


def as_of_sql(sql: str, schema: Schema) -> str:
    """The query as self-joins on arrival order. Raises Refusal for what parse_query refuses."""
    parse_query(sql, schema)
    source, tree = read_select(sql)
    ctes: list[str] = []
    table, last = "events", ""
    for number, (name, select) in enumerate(selects(source, tree), 1):
        views, outputs = _stage(source, select, number)
        ctes += [view.sql(table) for view in views]
        joins = "".join(f"\nLEFT JOIN {view.name} ON {view.name}._at = e.arrival" for view in views)
        is_last = select is tree
        if not is_last and "e.*" not in outputs:
            outputs = ["e.arrival", "e.enters", *outputs]
        last = f"SELECT {_list(outputs)}\nFROM {table} AS e{joins}"
        table = name
        if not is_last:
            ctes.append(f"{name} AS MATERIALIZED (\n{last}\n)")
    return ("WITH " + ",\n".join(ctes) + "\n" if ctes else "") + last + "\nORDER BY e.arrival"


def _list(outputs: Iterable[str]) -> str:
    return ",\n       ".join(outputs)


def _stage(source: Source, select: exp.Select, number: int) -> tuple[list[_View], list[str]]:
    """The views of one SELECT, and its output columns over `e` and the views."""
    named = named_windows(source, select)
    views: dict[object, _View] = {}
    outputs = []
    for projection in select.expressions:
        root = projection.copy()
        for window in list(root.find_all(exp.Window)):
            parts, over = parts_of(window), resolve(source, window, named)
            frame = LAG_FRAME if isinstance(parts.function, exp.Lag) else frame_of(source, over)
            key = (tuple(key.sql("duckdb") for key in over.partition), frame)
            view = views.setdefault(key, _View(f"w{number}_{len(views) + 1}", over.partition, frame))
            view_name, _, column = view.column(parts).partition(".")
            window.replace(exp.column(column, table=view_name))
        outputs.append("e.*" if isinstance(root, exp.Star) else _of("e", root, keep=[v.name for v in views.values()]))
    return list(views.values()), outputs


def _of(row: str, node: exp.Expr, keep: Iterable[str] = ()) -> str:
    """The expression over the row named e or r."""
    root = exp.Paren(this=node.copy())
    for column in list(root.find_all(exp.Column)):
        if column.table not in keep:
            column.set("table", exp.to_identifier(row))
    return root.this.sql("duckdb")


def _before(width_us: int) -> str:
    return f"e.event_time - INTERVAL {width_us} MICROSECONDS" if width_us else "e.event_time"
