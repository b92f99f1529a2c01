"""features.sql as records: stages, shared windows, frames, names."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from features.expr import Call, Case, Column, Literal, walk
from features.query import Frame, Query
from features.refusal import Place
from features.schema import Field, Schema
from features.sql import as_of_sql, parse_query
from features.types import BIGINT, DOUBLE, HUGEINT, TEXT, decimal

SCHEMA = Schema(
    (
        Field("event_id", "id", required=True),
        Field("event_time", "time", required=True),
        Field("kind", "category", required=True),
        Field("payment_id", "id"),
        Field("card_id", "id", required=True),
        Field("customer_id", "id"),
        Field("terminal_id", "id", required=True),
        Field("amount", "money", 2),
        Field("label_class", "category"),
    ),
    ("payment", "label"),
)
HOUR_US = 3_600_000_000
DESIGN = """
SELECT event_id,
       count(*)     FILTER (WHERE kind = 'payment')                     OVER card_1h      AS card_count_1h,
       sum(amount)  FILTER (WHERE kind = 'payment')                     OVER card_24h     AS card_amount_24h,
       amount / NULLIF(avg(amount) FILTER (WHERE kind = 'payment')      OVER card_30d, 0) AS amount_vs_card_mean,
       sum(label_delta) FILTER (WHERE kind = 'label')                   OVER terminal_28d AS terminal_frauds_28d
FROM events
WINDOW card_1h AS (PARTITION BY card_id ORDER BY event_time
                   RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
       card_24h AS (PARTITION BY card_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '24 hours' PRECEDING AND CURRENT ROW),
       card_30d AS (PARTITION BY card_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
       terminal_28d AS (PARTITION BY terminal_id ORDER BY event_time
                        RANGE BETWEEN INTERVAL 4 WEEKS PRECEDING AND CURRENT ROW)
"""


def test_a_query_of_four_features() -> None:
    """Law: each call keeps its function, argument, filter, key and frame, and the place where it stands."""
    query = parse_query(DESIGN, SCHEMA)
    (stage,) = query.stages
    assert query.features == (
        ("card_count_1h", BIGINT),
        ("card_amount_24h", decimal(38, 2)),
        ("amount_vs_card_mean", DOUBLE),
        ("terminal_frauds_28d", HUGEINT),
    )
    assert [call.function for call in stage.windows] == ["count_star", "sum", "avg", "sum"]
    assert [call.frame for call in stage.windows] == [
        Frame("range", HOUR_US),
        Frame("range", 24 * HOUR_US),
        Frame("range", 720 * HOUR_US, 0, exclude_current=True),
        Frame("range", 672 * HOUR_US),
    ]
    assert stage.windows[3].partition == (Column(TEXT, "terminal_id"),)
    assert stage.windows[3].argument == Column(BIGINT, "label_delta")
    assert stage.windows[3].place == Place(6, 8)
    mean = dict(stage.outputs)["amount_vs_card_mean"]
    assert isinstance(mean, Call) and mean.op == "div"
    assert mean.args[1] == Call(DOUBLE, "nullif", (Column(DOUBLE, "#3"), Literal(DOUBLE, 0.0)))


def parse(columns: str, windows: str = "") -> Query:
    return parse_query(f"SELECT event_id, {columns} FROM events {windows}", SCHEMA)


def test_equal_calls_are_one() -> None:
    """Law: the same function of the same rows is computed once, however its window is written."""
    window = "PARTITION BY card_id, kind ORDER BY event_time"
    query = parse(
        f"sum(amount) OVER w AS a, 1 + sum(amount) OVER ({window}) AS b, sum(amount) OVER (w ROWS 2 PRECEDING) AS c",
        f"WINDOW w AS ({window})",
    )
    assert [call.frame for call in query.stages[0].windows] == [Frame("range", None), Frame("rows", 2)]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("", Frame("range", None)),
        ("RANGE UNBOUNDED PRECEDING", Frame("range", None)),
        ("RANGE INTERVAL '1' HOUR PRECEDING", Frame("range", HOUR_US)),
        ("RANGE BETWEEN INTERVAL '1 hour 30 minutes' PRECEDING AND INTERVAL 5 MINUTES PRECEDING",
         Frame("range", 90 * 60_000_000, 300_000_000)),
        ("RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 250 MILLISECONDS PRECEDING", Frame("range", None, 250_000)),
        ("RANGE BETWEEN INTERVAL (604799) SECONDS PRECEDING AND CURRENT ROW", Frame("range", 604_799_000_000)),
        ("ROWS 3 PRECEDING", Frame("rows", 3)),
        ("ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING", Frame("rows", 5, 1)),
        ("ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW", Frame("rows", None, 0, exclude_current=True)),
    ],
)  # fmt: skip
def test_frames(frame: str, expected: Frame) -> None:
    """Law: a frame is microseconds or rows before the current one, whatever its spelling."""
    query = parse(f"count(*) OVER (PARTITION BY kind ORDER BY event_time {frame}) AS n")
    assert query.stages[0].windows[0].frame == expected


def test_a_chain_hands_its_columns_on() -> None:
    """Law: a later SELECT sees the earlier one's columns by name and type, * included; no two calls share a name."""
    query = parse_query(
        "WITH a AS (SELECT *, count(*) OVER (PARTITION BY kind ORDER BY event_time) AS n FROM events),\n"
        "b AS (SELECT event_id, event_time, kind, n, 2 * amount AS twice FROM a)\n"
        "SELECT event_id, n, max(twice) OVER (PARTITION BY kind ORDER BY event_time) AS most FROM b",
        SCHEMA,
    )
    assert [stage.name for stage in query.stages] == ["a", "b", "features"]
    assert [call.name for stage in query.stages for call in stage.windows] == ["#1", "#2"]
    assert [name for name, _ in query.stages[0].outputs] == [*SCHEMA.columns(), "n"]
    assert dict(query.stages[1].outputs)["n"] == Column(BIGINT, "n")
    assert query.features == (("n", BIGINT), ("most", decimal(18, 2)))


def test_operands_have_the_types_that_operators_need() -> None:
    """Law: comparisons and choices are over one type; constants are cast at load."""
    query = parse("amount > 100 AS a, coalesce(amount, 0) + 1 AS b, CASE WHEN amount > 1.5 THEN 1 ELSE 0.5 END AS c")
    for _, output in query.stages[0].outputs:
        for node in walk(output):
            if isinstance(node, Call) and node.op in ("gt", "add", "coalesce"):
                assert len({arg.type for arg in node.args}) == 1
            if isinstance(node, Case):
                assert {value.type for _, value in node.whens} == {node.default.type} == {node.type}
            assert not (isinstance(node, Call) and node.op == "cast" and isinstance(node.args[0], Literal))


# --- the handbook's pack ---

FDH = Path(__file__).parents[2] / "packs" / "fdh" / "features.sql"
BASE = [
    *("tx_amount", "tx_during_weekend", "tx_during_night"),
    *(f"customer_id_{what}_{days}day_window" for what in ("nb_tx", "avg_amount") for days in (1, 7, 30)),
    *(f"terminal_id_{what}_{days}day_window" for what in ("nb_tx", "risk") for days in (1, 7, 30)),
]
LOG = """
INSERT INTO events BY NAME
SELECT 'p' || i AS event_id, make_timestamptz(i * 7919000000) AS event_time, 'payment' AS kind, 'p' || i AS payment_id,
       'c' || i % 5 AS customer_id, 't' || i % 7 AS terminal_id, (i * 37 % 1000) / 10 AS amount, 2 * i AS arrival,
       true AS enters
FROM range(600) t(i)
UNION ALL BY NAME
SELECT 'l' || i AS event_id, make_timestamptz(i * 7919000000 + 604800000000 + 1000000) AS event_time, 'label' AS kind,
       'p' || i AS payment_id, 'c' || i % 5 AS customer_id, 't' || i % 7 AS terminal_id, 1 AS label_delta,
       2 * (i + 76) + 1 AS arrival, true AS enters
FROM range(600) t(i) WHERE i % 7 = 3 AND i % 4 < 2 AND i < 500
"""


def test_the_handbooks_features() -> None:
    """Law: 62 features, the handbook's 15 first; plain and as-of agree on a log in order, streaks included."""
    sql = FDH.read_text()
    names = [name for name, _ in parse_query(sql, SCHEMA).features]
    assert names[:15] == BASE
    assert len(names) == 62
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f"{name} {type}" for name, type in SCHEMA.columns().items())
    db.execute(f"CREATE TABLE events ({columns}, arrival BIGINT, enters BOOLEAN)")
    db.execute(LOG)
    plain = db.execute(f"SELECT f.* FROM ({sql}) AS f JOIN events USING (event_id) ORDER BY arrival").fetchall()
    as_of = db.execute(as_of_sql(sql, SCHEMA)).fetchall()
    for left, right in zip(plain, as_of, strict=True):
        for name, a, b in zip(("event_id", *names), left, right, strict=True):
            assert a == (pytest.approx(b, rel=1e-6) if isinstance(a, float) else b), (left[0], name)
    streaks = [row[1 + names.index("terminal_streak")] for row in plain]
    assert max(streaks) == 2  # of every four payments at t3 the first two are frauds
