"""Types of expressions: Sekisho's typing against DuckDB's DESCRIBE."""

from __future__ import annotations

import random
import re

import duckdb
import pytest

from features.refusal import Refusal
from features.schema import Field, Schema
from features.sql import parse_query

SCHEMA = Schema(
    (
        Field("event_id", "id", required=True),
        Field("event_time", "time", required=True),
        Field("kind", "category", required=True),
        Field("card_id", "id", required=True),
        Field("country", "category"),
        Field("settled_at", "time"),
        Field("amount", "money", 2),
        Field("yen", "money", 0),
        Field("rate", "number", 6),
        Field("score", "double"),
        Field("foreign_card", "bool"),
    )
)
WINDOW = "WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)"
# DuckDB names for one and the same of ours.
SAME = {"INTEGER": "BIGINT", "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}


def create_events(connection: duckdb.DuckDBPyConnection, schema: Schema, extra: str = "") -> None:
    columns = ", ".join(f"{name} {type}" for name, type in schema.columns().items())
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE TABLE events ({columns}{extra})")


@pytest.fixture(scope="module")
def db() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    create_events(connection, SCHEMA)
    return connection


class Generator:
    """Random SQL: numbers, conditions, texts and times, nested `depth` deep."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def number(self, depth: int) -> str:
        if depth == 0:
            return self.pick(
                "amount", "yen", "rate", "label_delta", "score", "arrival_lag", "1", "0", "-3", "100", "2147483648",
                "0.5", "1.25", "-1.5", "1e2", ".125", "12345678901234567890", "count(*) OVER w", "sum(amount) OVER w",
                "sum(label_delta) OVER w", "avg(yen) OVER w", "max(rate) OVER w", "lag(amount) OVER w",
                "stddev_pop(amount) OVER w", "count(DISTINCT country) OVER w", "length(country)",
            )  # fmt: skip
        a, b = self.number(depth - 1), self.number(self.random.randrange(depth))
        c = self.condition(depth - 1)
        return self.pick(
            f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({a} / NULLIF({b}, 0))", f"({a} % NULLIF({b}, 0))",
            f"({a} // NULLIF({b}, 0))", f"(- {a})", f"abs({a})", f"round({a})", f"round({a}, 1)", f"round({a}, -1)",
            f"round({a}, 4)", f"floor({a})", f"ceil({a})", f"greatest({a}, {b})", f"least({a}, {b}, 1)",
            f"coalesce({a}, {b})", f"coalesce({a}, 0)", f"nullif({a}, {b})", f"CASE WHEN {c} THEN {a} ELSE {b} END",
            f"CASE WHEN {c} THEN {a} END", f"if({c}, {a}, {b})", f"({a})::DOUBLE", f"CAST({a} AS DECIMAL(18, 3))",
            f"TRY_CAST({a} AS BIGINT)", "TRY_CAST(country AS DECIMAL(10, 2))", f"({c})::BIGINT",
            f"date_diff('hour', settled_at, {self.time(depth - 1)})", f"epoch_us({self.time(depth - 1)})",
            f"extract(hour FROM {self.time(depth - 1)} AT TIME ZONE 'Asia/Tokyo')",
            f"extract(epoch FROM {self.time(depth - 1)} - settled_at)", f"epoch({self.time(0)})",
            f"CASE ({a}) WHEN 1 THEN {b} WHEN 2 THEN 0.5 ELSE NULL END",
        )  # fmt: skip

    def condition(self, depth: int) -> str:
        if depth == 0:
            return self.pick("foreign_card", "TRUE", "country = 'JP'", "amount > 100", "NULL", "country LIKE 'J%'")
        a, b = self.number(depth - 1), self.number(self.random.randrange(depth))
        p, q = self.condition(depth - 1), self.condition(self.random.randrange(depth))
        return self.pick(
            f"({a} {self.pick('<', '<=', '=', '<>', '>', '>=')} {b})", f"({p} AND {q})", f"({p} OR {q})", f"(NOT {p})",
            f"({a} IS NULL)", f"({a} IS NOT NULL)", f"({a} IS DISTINCT FROM {b})", f"({a} BETWEEN {b} AND 10)",
            f"({a} IN (1, 2.5, 3))", "(country NOT IN ('JP', 'US'))", f"({p} IS TRUE)",
            f"({self.time(depth - 1)} > '2026-01-01')", f"({a} IS NOT DISTINCT FROM {b})",
            f"({self.time(0)} - settled_at > INTERVAL '1 hour 30 minutes')",
        )  # fmt: skip

    def time(self, depth: int) -> str:
        if depth == 0:
            return self.pick("event_time", "settled_at", "record_time", "TIMESTAMPTZ '2026-01-01 00:00:00+09:00'")
        a = self.time(depth - 1)
        return self.pick(
            f"({a} + INTERVAL 1 HOUR)", f"({a} - INTERVAL '2' DAY)", f"coalesce({a}, event_time)", f"max({a}) OVER w",
        ) if "OVER" not in a else a  # fmt: skip


def ours(expression: str) -> str:
    query = parse_query(f"SELECT event_id, {expression} AS x FROM events {WINDOW}", SCHEMA)
    return re.sub(r"\s", "", str(query.features[-1][1]))


def duckdbs(db: duckdb.DuckDBPyConnection, expression: str) -> str:
    row = db.execute(f"DESCRIBE SELECT {expression} AS x FROM events {WINDOW}").fetchall()[0]
    return SAME.get(row[1], row[1]).replace(" ", "")


@pytest.mark.parametrize("seed", range(6))
def test_types_are_duckdbs(db: duckdb.DuckDBPyConnection, seed: int) -> None:
    """Law: what Sekisho accepts, DuckDB accepts, and gives the same type (whole numbers below BIGINT are BIGINT)."""
    generator, accepted, tried = Generator(seed), 0, 150
    for k in range(tried):
        make = generator.number if k % 3 else generator.condition
        expression = make(1 + k % 4)
        try:
            type = ours(expression)
        except Refusal as refusal:
            assert not _must_accept(refusal), f"seed {seed}: {expression}\n{refusal}"
            continue
        accepted += 1
        assert type == duckdbs(db, expression), f"seed {seed}: {expression}"
    assert accepted >= tried * 0.7


def _must_accept(refusal: Refusal) -> bool:
    """True unless the refusal is one that random expressions run into by right."""
    rightly = ("// on ", "more than 38 digits", "always NULL")
    return not any(text in refusal.what for text in rightly)


@pytest.mark.parametrize(
    ("expression", "type"),
    [
        ("amount + amount", "DECIMAL(19,2)"),
        ("amount * amount", "DECIMAL(18,4)"),
        ("amount * label_delta", "DECIMAL(37,2)"),
        ("amount + label_delta", "DECIMAL(22,2)"),
        ("sum(amount) OVER w", "DECIMAL(38,2)"),
        ("sum(label_delta) OVER w", "HUGEINT"),
        ("amount / 2", "DOUBLE"),
        ("floor(label_delta)", "DOUBLE"),
        ("greatest(amount, yen)", "DECIMAL(20,2)"),
    ],
)
def test_types_that_the_contract_names(db: duckdb.DuckDBPyConnection, expression: str, type: str) -> None:
    """Law: the rules of width and scale, each seen once in plain sight."""
    assert ours(expression) == type == duckdbs(db, expression)
