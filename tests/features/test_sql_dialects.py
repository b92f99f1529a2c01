"""features.sql for other warehouses: what it becomes, and what is refused."""

from __future__ import annotations

import duckdb
import pytest
import sqlglot

from features.refusal import Place, Refusal
from features.sql import transpile_sql

QUERY = """
SELECT event_id,
       sum(amount) FILTER (WHERE kind = 'payment') OVER card_1h / NULLIF(count(*) OVER card_1h, 0) AS mean,
       extract(isodow FROM event_time AT TIME ZONE 'UTC') AS weekday
FROM events
WINDOW card AS (PARTITION BY card_id ORDER BY event_time),
       card_1h AS (card RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)
"""


@pytest.mark.parametrize("dialect", ["snowflake", "databricks", "spark", "trino", "postgres"])
def test_windows_are_spelled_out_and_division_is_of_doubles(dialect: str) -> None:
    """Law: no window name is left, the text can be read in its dialect, and / has a double on its left."""
    text = transpile_sql(QUERY, dialect)
    tree = sqlglot.parse_one(text, dialect=dialect)
    assert "card_1h" not in text
    assert all(window.args.get("partition_by") for window in tree.find_all(sqlglot.exp.Window))
    division = tree.find(sqlglot.exp.Div)
    assert division is not None and division.this.is_type("double")
    assert ("FILTER" in text) is (dialect == "postgres")


def test_filter_as_case_means_the_same() -> None:
    """Law: the text without FILTER, run by DuckDB, gives what FILTER gives."""
    db = duckdb.connect()
    db.execute("CREATE TABLE events AS SELECT i AS event_id, i % 3 AS card_id, i * 1.5 AS amount, NULL AS gap,"
               " if(i % 2 = 0, 'payment', 'label') AS kind FROM range(20) t(i)")  # fmt: skip
    calls = ("count(*)", "count(gap)", "sum(amount)", "max(amount)")
    columns = ", ".join(
        f"{call} FILTER (WHERE kind = 'payment') OVER (PARTITION BY card_id ORDER BY event_id) AS c{k}"
        for k, call in enumerate(calls)
    )
    sql = f"SELECT event_id, {columns} FROM events"
    other = transpile_sql(sql, "databricks").replace("NULLS LAST", "")
    assert "FILTER" not in other
    assert db.execute(sql + " ORDER BY event_id").fetchall() == db.execute(other + " ORDER BY event_id").fetchall()


@pytest.mark.parametrize(
    ("dialect", "expression", "what"),
    [
        (
            "bigquery",
            "sum(a) OVER (ORDER BY event_time RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)",
            "RANGE",
        ),
        ("snowflake", "sum(a) OVER (ORDER BY event_time ROWS 3 PRECEDING EXCLUDE CURRENT ROW)", "EXCLUDE"),
        ("trino", "count(DISTINCT a) OVER (ORDER BY event_time ROWS 3 PRECEDING)", "count(DISTINCT)"),
        ("postgres", "last_value(a IGNORE NULLS) OVER (ORDER BY event_time)", "IGNORE NULLS"),
        ("postgres", "TRY_CAST(a AS BIGINT)", "TRY_CAST"),
        ("snowflake", "a // 3", "//"),
        ("bigquery", "greatest(a, 1)", "greatest"),
        ("trino", "extract(epoch FROM a - b)", "epoch"),
        ("databricks", "extract(dow FROM a AT TIME ZONE 'UTC')", "dow"),
        ("snowflake", "epoch_us(a)", "epoch_us"),
    ],
)
def test_what_a_warehouse_cannot_say(dialect: str, expression: str, what: str) -> None:
    """Law: what would fail or mean something else there is refused, with its name and place."""
    with pytest.raises(Refusal) as caught:
        transpile_sql(f"SELECT event_id,\n  {expression} AS x FROM events", dialect)
    assert dialect in caught.value.what and what in caught.value.what
    assert caught.value.place == Place(2, 3)


def test_unknown_dialect() -> None:
    """Law: an unknown dialect is refused with the nearest known one."""
    with pytest.raises(Refusal) as caught:
        transpile_sql(QUERY, "snowflak")
    assert caught.value.fix == "did you mean snowflake?"
    assert transpile_sql(QUERY, "duckdb") == QUERY
