"""DuckDB as the judge of features: the same features.sql, asked there and compared value by value.

A log whose events all enter, in order and without ties, is judged by features.sql as it stands; every other log by its
as-of form, where a window sees only what had arrived. Integers, decimals, texts and NULLs must be equal; of doubles
avg is compared to 1e-12 and variance to 1e-6, because DuckDB adds floats where Sekisho keeps exact integers (L5).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import duckdb
import pyarrow as pa

from features.expr import Call, Case, Column, Expr, walk
from features.query import Query, WindowCall
from features.sql import as_of_sql
from features.types import Kind, Type
from rules.alert_records import Notification
from rules.controls import Control
from sekisho.pack import Pack
from sekisho.testing.reference import State, control, fold
from sekisho.testing.reference.expressions import Row, Value, evaluate, is_null
from sekisho.testing.reference.intake import Event
from sekisho.wire.arrow import arrow_type

AVG, SPREAD = 1e-12, 1e-6
INEXACT = math.inf  # small differences may have become large ones: not compared
# Operators that hand a relative error of their arguments on as it is. All others may magnify it.
HANDS_ON = {"mul", "div", "neg", "abs", "coalesce", "greatest", "least", "cast", "is_null"}
# DuckDB's names of types that Sekisho calls otherwise: its whole literals are narrower than BIGINT.
TYPE_NAMES = {"INTEGER": "BIGINT", "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}


@dataclass(frozen=True)
class View:
    """What the specification makes of a log.

    rows: the `events` view, its events (no duplicates) and legs in arrival order, with the values of all calls.
    enters: whether each was accepted; the others are too late or from the future.
    records: the lines of the decided kinds, as they go over the wire.   decided: the row of each, duplicates' too.
    notifications: what goes out to people, in order.
    """

    rows: list[Row]
    enters: list[bool]
    records: list[bytes]
    decided: list[Row]
    notifications: list[Notification]

    @property
    def in_order(self) -> bool:
        """True when every event entered, each later than the one before it."""
        times = [int(row["event_time"]) for row in self.rows]  # type: ignore[arg-type]
        return all(self.enters) and all(a < b for a, b in pairwise(times))


@dataclass(frozen=True)
class Difference:
    """One value that two judges see differently. event: its number in the view."""

    event: int
    column: str
    ours: Value
    theirs: Value


def view_of(pack: Pack, log: Sequence[Event | Control]) -> View:
    """Run the specification over a log."""
    state, view = State(), View([], [], [], [], [])
    for event in log:
        if isinstance(event, Control):
            view.notifications.extend(control(state, event))
            continue
        folded = fold(pack, state, event)
        if not folded.admission.duplicate_of:
            view.rows.extend(folded.rows)
            view.enters.extend(not folded.admission.degraded for _ in folded.rows)
        if folded.record is not None:
            line = json.dumps(folded.record, ensure_ascii=False, separators=(",", ":")) + "\n"
            view.records.append(line.encode())
            view.decided.append(folded.rows[0])
            view.notifications.extend(folded.notifications)
    return view


def judge_features(pack: Pack, view: View) -> list[Difference]:
    """Where the specification's features differ from DuckDB's."""
    rows, theirs = view.rows, duckdb_features(pack, view)
    tolerance = tolerances(pack.query)
    largest = max((abs(v) for row in rows for v in row.values() if isinstance(v, int)), default=1)
    return [
        Difference(k, name, row[name], other[name])
        for k, (row, other) in enumerate(zip(rows, theirs, strict=True))
        for name, _ in pack.query.features
        if not same(row[name], other[name], tolerance[name], float(largest))
    ]


def judge_conditions(pack: Pack, view: View) -> list[Difference]:
    """Where rules' conditions on the view's rows differ from DuckDB's: true, false or NULL."""
    features = pack.query.features
    table = events_table(pack, view)
    for name, type in features:
        values = [_arrow(None if is_null(row[name]) else row[name], type) for row in view.rows]
        table = table.append_column(name, pa.array(values, arrow_type(type)))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        connection.register("scored", table)
        for name, entries in pack.rules.lists.items():
            connection.execute(f"CREATE TABLE {name} (value VARCHAR, starts BIGINT, expires BIGINT)")
            entered = [(entry.value, entry.starts_us, entry.expires_us) for entry in entries]
            # A list is never empty: to SQL, NULL IN () would be false; to Sekisho what is unknown stays so.
            entered.append(("nobody at all", -(2**63), 2**63 - 1))
            connection.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", entered)
        conditions = ", ".join(f"({_active(rule.when_sql, pack)})" for rule in pack.rules.rules)
        found = connection.execute(f"SELECT {conditions} FROM scored ORDER BY arrival").fetchall()
    return [
        Difference(k, rule.when_sql, evaluate(rule.when, row, pack.rules.lists), theirs)
        for k, (row, answers) in enumerate(zip(view.rows, found, strict=True))
        for rule, theirs in zip(pack.rules.rules, answers, strict=True)
        if evaluate(rule.when, row, pack.rules.lists) is not theirs
    ]


def _active(sql: str, pack: Pack) -> str:
    """The condition with each list narrowed to the entries that are active at the row's event time."""
    for name in pack.rules.lists:
        active = f"FROM {name} WHERE starts <= epoch_us(event_time) AND epoch_us(event_time) < expires)"
        sql = sql.replace(f"FROM {name})", active)
    return sql


def same(ours: Value, theirs: Value, tolerance: float, largest: float = 1.0) -> bool:
    """Whether two values agree. Spreads below what DuckDB's doubles can see of numbers as large as `largest` agree."""
    if tolerance == INEXACT:
        return True
    if is_null(ours) or theirs is None:
        return is_null(ours) and theirs is None
    if isinstance(ours, float) and isinstance(theirs, float):
        blind = (largest * 1e-8) ** 2 if tolerance == SPREAD else 0.0
        return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=blind)
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)


def tolerances(query: Query) -> dict[str, float]:
    """The relative tolerance of every call and output: 0 for what is exact everywhere."""
    known: dict[str, float] = {}
    for stage in query.stages:
        for call in stage.windows:
            inputs = [_tolerance(part, known) for part in (call.argument, call.filter, *call.partition) if part]
            known[call.name] = _of_call(call.function, max(inputs, default=0.0))
        known |= {name: _tolerance(expr, known) for name, expr in stage.outputs}
    return known


def _of_call(function: str, inputs: float) -> float:
    if inputs:
        return inputs if function in ("min", "max", "first_value", "last_value", "lag") else INEXACT
    return AVG if function == "avg" else SPREAD if function.startswith(("var", "stddev")) else 0.0


def _tolerance(expr: Expr, known: Mapping[str, float]) -> float:
    if isinstance(expr, Column):
        return known.get(expr.name, 0.0)
    worst = max((_tolerance(child, known) for child in expr.children), default=0.0)
    if isinstance(expr, Case):
        return INEXACT if any(_tolerance(condition, known) for condition, _ in expr.whens) else worst
    if isinstance(expr, Call) and worst:
        exact_zero = expr.op == "nullif" and worst == AVG  # an average is 0 exactly where its sum is
        return worst if exact_zero or (expr.op in HANDS_ON and expr.type.kind in (Kind.DOUBLE, Kind.BOOL)) else INEXACT
    return worst


def duckdb_features(pack: Pack, view: View) -> list[dict[str, Value]]:
    """DuckDB's values of all features of the view, in the units of `Value`. AssertionError where its types differ."""
    sql = pack.query.sql if view.in_order else as_of_sql(pack.query.sql, pack.schema)
    types = dict(pack.query.features)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        connection.register("events", events_table(pack, view))
        for name, given, *_ in connection.execute(f"DESCRIBE {sql}").fetchall():
            expected = str(types.get(name, given)).replace(" ", "")
            assert TYPE_NAMES.get(given, given).replace(" ", "") == expected, f"{name}: {given}, not {expected}"
        columns = ", ".join(f"{_readable(name, type)} AS {name}" for name, type in types.items())
        found = connection.execute(f"SELECT event_id, {columns} FROM ({sql.rstrip().rstrip(';')})").fetchall()
    values = {int(number): dict(zip(types, cells, strict=True)) for number, *cells in found}
    return [{name: _value(cell, types[name]) for name, cell in values[k].items()} for k in range(len(view.rows))]


def events_table(pack: Pack, view: View) -> pa.Table:
    """The view as Arrow. event_id is the row's number, so that DuckDB's rows can be told apart."""
    types = pack.schema.columns()
    columns = {name: [_arrow(row[name], type) for row in view.rows] for name, type in types.items()}
    columns["event_id"] = [str(k) for k in range(len(view.rows))]
    arrays = [pa.array(columns[name], arrow_type(type)) for name, type in types.items()]
    arrays += [pa.array(range(len(view.rows)), pa.int64()), pa.array(view.enters, pa.bool_())]
    return pa.table(arrays, names=[*types, "arrival", "enters"])


def _arrow(value: Value, type: Type) -> object:
    return Decimal(int(value)).scaleb(-type.scale) if type.kind is Kind.DECIMAL and value is not None else value  # type: ignore[arg-type]


def _readable(name: str, type: Type) -> str:
    """The column in a form that loses nothing on its way to Python."""
    if type.kind in (Kind.TIME, Kind.LOCAL, Kind.INTERVAL):
        return f"epoch_us({name})"
    return f"CAST({name} AS VARCHAR)" if type.exact else name


def _value(cell: object, type: Type) -> Value:
    if isinstance(cell, str) and type.exact:
        return int(cell.replace(".", ""))  # DuckDB writes every digit of the scale
    return cell  # type: ignore[return-value]


def report(pack: Pack, view: View, differences: Sequence[Difference], most: int = 3) -> str:
    """The differences as a person reads them: the pack, the event, both values, and the events of its key."""
    parts = [f"{pack.name}: {len(differences)} differences", pack.query.sql]
    for difference in differences[:most]:
        row = view.rows[difference.event]
        fields = {name: row[name] for name in pack.schema.columns() if row[name] is not None}
        parts.append(
            f"event {difference.event}, {difference.column}: {difference.ours!r} against {difference.theirs!r}"
        )
        parts.append(f"  {fields}")
        for call in _calls_of(pack.query, difference.column):
            parts += _window_of(pack, view, difference.event, call)
    return "\n".join(parts)


def _calls_of(query: Query, column: str) -> list[WindowCall]:
    """The window calls that an output of the last stage reads."""
    stage = query.stages[-1]
    names = {node.name for node in walk(dict(stage.outputs)[column]) if isinstance(node, Column)}
    return [call for call in stage.windows if call.name in names]


def _window_of(pack: Pack, view: View, event: int, call: WindowCall) -> list[str]:
    """The call, and what each event of the same key that had arrived brings to it."""
    lists, here = pack.rules.lists, view.rows[event]

    def key(row: Row) -> tuple[Value, ...]:
        return tuple(evaluate(part, row, lists) for part in call.partition)

    lines = [f"  {call.name}: {call.function} over {call.frame}, key {key(here)}, here {here[call.name]!r}"]
    for k, row in enumerate(view.rows[: event + 1]):
        if view.enters[k] and key(row) == key(here):
            passes = call.filter is None or evaluate(call.filter, row, lists)
            argument = call.argument and evaluate(call.argument, row, lists)
            lines.append(f"    event {k} at {row['event_time']} us: filter {passes}, argument {argument!r}")
    return lines
