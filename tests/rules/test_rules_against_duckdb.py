"""Rules against DuckDB: the same condition, three-valued, on the same rows."""

from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features.lists import build_lists
from features.sheet import Layout, sheet_of
from features.sql import parse_condition
from features.types import BIGINT, BOOL, DOUBLE, TEXT, TIME, decimal
from rules.evaluate import HIT, NO_HIT, UNKNOWN, compile_rules, evaluate
from rules.lists import OPEN_ENDS
from rules.records import ListEntry, Reasons, Rule, RuleSet

COLUMNS = {
    "event_time": TIME, "amount": decimal(18, 0), "usd": decimal(18, 2), "n": BIGINT, "ratio": DOUBLE,
    "country": TEXT, "card": TEXT, "present": BOOL,
}  # fmt: skip
ARROW = {
    "event_time": pa.timestamp("us", "UTC"), "amount": pa.decimal128(18, 0), "usd": pa.decimal128(18, 2),
    "n": pa.int64(), "ratio": pa.float64(), "country": pa.string(), "card": pa.string(), "present": pa.bool_(),
}  # fmt: skip
TEXTS = ("JP", "KP", "", "東京", "jp")
CARDS = ("c1", "c2", "c3")
LISTS = {"blocked": tuple(ListEntry(card, *OPEN_ENDS) for card in CARDS[:2])}


def number(draw):
    return str(draw.choice(["amount", "usd", "n", "ratio", "amount + n", "amount / NULLIF(usd, 0)", "abs(n)", "n * 2",
                            "coalesce(amount, 0)", "greatest(amount, usd)", "0", "5", "-1", "2.5", "100"]))  # fmt: skip


def text(draw):
    return str(draw.choice(["country", "'JP'", "'東京'", "coalesce(country, '')"]))


def condition(draw, depth):
    """A random condition as SQL text."""
    if depth and draw.random() < 0.7:
        a, b = condition(draw, depth - 1), condition(draw, depth - 1)
        return str(draw.choice([f"({a} AND {b})", f"({a} OR {b})", f"(NOT {a})", f"(CASE WHEN {a} THEN {b} END)"]))
    op = draw.choice(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"])
    return str(draw.choice([
        f"{number(draw)} {op} {number(draw)}",
        f"{number(draw)} BETWEEN {number(draw)} AND {number(draw)}",
        f"{number(draw)} IN (0, 5, 100)",
        f"{text(draw)} {draw.choice(['=', '<>', '<'])} {text(draw)}",
        f"country LIKE '{draw.choice(['J%', '%P', '_P', '%'])}'",
        f"{draw.choice(['amount', 'country', 'present', 'ratio'])} IS {draw.choice(['', 'NOT '])}NULL",
        "present",
        f"card {draw.choice(['', 'NOT '])}IN (SELECT value FROM blocked)",
    ]))  # fmt: skip


def rows(draw, n):
    """Random rows as Python values in the units of a sheet, with many NULLs, ties and zeros."""
    made = {
        "event_time": draw.integers(0, 10**15, n).tolist(),
        "amount": draw.integers(-3, 7, n).tolist(),
        "usd": (draw.integers(-3, 7, n) * 50).tolist(),
        "n": draw.integers(-2, 6, n).tolist(),
        "ratio": (draw.integers(-4, 8, n) / 2).tolist(),
        "country": [TEXTS[k] for k in draw.integers(0, len(TEXTS), n)],
        "card": [CARDS[k] for k in draw.integers(0, len(CARDS), n)],
        "present": (draw.random(n) < 0.5).tolist(),
    }
    return {
        name: values if name == "event_time" else [None if draw.random() < 0.25 else v for v in values]
        for name, values in made.items()
    }


def duckdb_answers(conditions, values):
    """For each condition the rows' True, False or None, from DuckDB."""
    scaled = {
        name: [v if v is None or type.kind.value != "decimal" else Decimal(v).scaleb(-type.scale) for v in values[name]]
        for name, type in COLUMNS.items()
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("events", pa.table({name: pa.array(scaled[name], ARROW[name]) for name in COLUMNS}))
        connection.execute("CREATE TABLE blocked (value VARCHAR)")
        connection.executemany("INSERT INTO blocked VALUES (?)", [[entry.value] for entry in LISTS["blocked"]])
        found = connection.execute(f"SELECT {', '.join(conditions)} FROM events").fetchall()
        wheres = [connection.execute(f"SELECT count(*) FROM events WHERE {c}").fetchone()[0] for c in conditions]
    return list(zip(*found, strict=True)), wheres


@pytest.mark.parametrize("seed", range(12))
def test_rules_are_where_of_duckdb(seed):
    """hit, no_hit and unknown are DuckDB's true, false and NULL; the hits are its WHERE."""
    draw = np.random.default_rng(seed)
    conditions = [condition(draw, 3) for _ in range(25)]
    values = rows(draw, 60)
    layout, lists = Layout(), build_lists(LISTS)
    for name, type in COLUMNS.items():
        layout.add(name, type)
    rules = tuple(
        Rule(f"r{k}", parse_condition(sql, COLUMNS, LISTS), sql, "review", Reasons("", ""), "o", "t")
        for k, sql in enumerate(conditions)
    )
    compiled = compile_rules(RuleSet(rules, lists=LISTS), layout, lists.index, "review")
    results = evaluate(compiled, sheet_of(layout, values), lists, np.zeros(60, np.uint8))
    answers, wheres = duckdb_answers(conditions, values)
    for k, sql in enumerate(conditions):
        expected = [{True: HIT, False: NO_HIT, None: UNKNOWN}[answer] for answer in answers[k]]
        assert results.status[k].tolist() == expected, sql
        assert results.counts[k, HIT] == wheres[k], sql
