"""What features.sql and rules may not say: each refusal with its place and its fix. ▸ marks the refused place."""

from __future__ import annotations

import pytest

from features.refusal import Place, Refusal
from features.schema import Field, Schema
from features.sql import as_of_sql, parse_condition, parse_literal, parse_query
from features.types import BIGINT, BOOL, DOUBLE, TEXT, TIME, decimal

FIELDS = (
    Field("event_id", "id", required=True),
    Field("event_time", "time", required=True),
    Field("kind", "category", required=True),
    Field("card_id", "id", required=True),
    Field("device_id", "id"),
    Field("country", "category"),
    Field("amount", "money", 2, required=True),
    Field("score", "double"),
)
ONE_KIND = Schema(FIELDS)
TWO_KINDS = Schema(FIELDS, ("payment", "label"))
HOUR = "PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW"


def refusal_of(sql: str, schema: Schema = ONE_KIND) -> tuple[Refusal, Place]:
    """The refusal, and the place that ▸ marks."""
    before, _, after = sql.partition("▸")
    lines = before.split("\n")
    with pytest.raises(Refusal) as caught:
        parse_query(before + after, schema)
    return caught.value, Place(len(lines), len(lines[-1]) + 1)


def assert_refused(sql: str, what: str, fix: str, schema: Schema = ONE_KIND) -> None:
    refusal, marked = refusal_of(sql, schema)
    assert what in refusal.what
    assert fix in refusal.fix
    assert refusal.place == marked, f"{refusal} instead of {marked}"


EXPRESSIONS = [
    ("amount / ▸score", "the divisor score can be 0", "NULLIF(score, 0)"),
    ("amount / ▸(score + 1)", "can be 0", "NULLIF((score + 1), 0)"),
    ("label_delta // ▸arrival_lag", "can be 0", "NULLIF(arrival_lag, 0)"),
    ("arrival_lag % ▸0", "the divisor 0 can be 0", "NULLIF(0, 0)"),
    ("CASE WHEN amount > 0 THEN 1 / ▸score END", "the divisor score can be 0", "NULLIF"),
    ("CASE WHEN score >= 0 THEN 1 / ▸score END", "the divisor score can be 0", "NULLIF"),
    ("CASE WHEN score <> 0 OR amount > 0 THEN 1 / ▸score END", "the divisor score can be 0", "NULLIF"),
    ("▸CAST(country AS BIGINT)", "a CAST of text to a number can fail", "TRY_CAST(country AS BIGINT)"),
    ("▸country::DOUBLE", "a CAST of text to a number can fail", "TRY_CAST(country AS DOUBLE)"),
    ("▸amount::VARCHAR", "a cast from DECIMAL(18, 2) to VARCHAR", "as it is"),
    ("▸amount::INTEGER", "a cast to INT is not supported", "BIGINT"),
    ("▸event_time::TIMESTAMP", "a cast from TIMESTAMPTZ", "AT TIME ZONE 'UTC'"),
    ("extract(hour FROM ▸event_time)", "depends on the session's zone", "event_time AT TIME ZONE 'UTC'"),
    ("extract(hour FROM event_time AT TIME ZONE ▸'Asia/Tokio')", "is not a time zone", "IANA"),
    ("▸extract(century FROM event_time AT TIME ZONE 'UTC')", "extract(century)", "year"),
    ("event_time - ▸INTERVAL 1 MONTH", "a month has no fixed length", "days"),
    ("event_time - ▸INTERVAL '2 years'", "a year has no fixed length", "days"),
    ("event_time + ▸INTERVAL '1.5 hours'", "is not supported", "whole number"),
    ("▸event_time + amount", "TIMESTAMPTZ + DECIMAL(18, 2)", "INTERVAL"),
    ("event_time > ▸'yesterday'", "'yesterday' is not a time", "TIMESTAMPTZ '2026"),
    ("▸now() - event_time", "the function now is not supported", "the functions are"),
    ("▸random()", "the function random", "the functions are"),
    ("▸country ILIKE 'jp'", "is not supported", "docs/sql.md"),
    ("▸country ~ 'J.'", "is not supported", "docs/sql.md"),
    ("▸amount BETWEEN SYMMETRIC 2 AND 1", "SYMMETRIC", "smaller bound first"),
    ("amount > ▸1e400", "beyond a DOUBLE", "1.8e308"),
    ("▸amount::DECIMAL(40, 2)", "DECIMAL(40, 2) does not exist", "38 digits"),
    ("▸amount IN ()", "IN takes constants", "OR"),
    ("▸rounds(amount, 2)", "the function rounds is not supported", "did you mean round?"),
    ("▸amuont + 1", "events has no column amuont", "did you mean amount?"),
    ("1 +\n  ▸cards.amount", "cards is not the table", "amount alone"),
    ("▸country || 'x'", "is not supported", "docs/sql.md"),
    ("▸country + 1", "arithmetic on VARCHAR", "TRY_CAST"),
    ("▸country = 1", "VARCHAR and BIGINT cannot be compared", "TRY_CAST"),
    ("▸coalesce(country, 0)", "have no type in common", "cast"),
    ("CASE WHEN ▸amount THEN 1 END", "a condition is BOOLEAN", "x > 0"),
    ("country LIKE ▸card_id", "the pattern of LIKE is not a constant", "'JP%'"),
    ("round(amount, ▸label_delta)", "the digits of round are not a constant", "round(x, 2)"),
    ("▸(SELECT 1)", "a subquery is not supported here", "list_name"),
    ("country IN (SELECT value FROM ▸bad_countries)", "there is no list bad_countries", "lists"),
    ("▸sum(amount)", "sum stands without a window", "OVER"),
    ("▸amount // 2", "is not whole in DuckDB", "floor"),
]


@pytest.mark.parametrize(("expression", "what", "fix"), EXPRESSIONS)
def test_expressions(expression: str, what: str, fix: str) -> None:
    """Law: an expression that is unsafe, unknown or not DuckDB's is refused where it stands."""
    assert_refused(f"SELECT event_id,\n       {expression} AS x\nFROM events", what, fix)


CALLS = [
    (f"▸sum(score) OVER ({HOUR})", "sum of a DOUBLE", "money or number"),
    (f"1 + ▸stddev_samp(score) OVER ({HOUR})", "stddev_samp of a DOUBLE", "money or number"),
    (f"▸avg(country) OVER ({HOUR})", "avg takes a number", "use a number"),
    (f"▸median(amount) OVER ({HOUR})", "the window function median", "stddev_samp"),
    (f"▸row_number() OVER ({HOUR})", "the window function row_number", "stddev_samp"),
    (
        "count(*) OVER (PARTITION BY ▸device_id ORDER BY event_time)",
        "the key device_id can be NULL",
        "CASE WHEN device_id",
    ),
    (
        "CASE WHEN device_id IS NOT NULL THEN count(*) OVER (PARTITION BY device_id, ▸country ORDER BY event_time) END",
        "the key country can be NULL",
        "CASE WHEN country IS NOT NULL",
    ),
    ("count(*) OVER (PARTITION BY ▸nullif(card_id, 'x') ORDER BY event_time)", "can be NULL", "IS NOT NULL"),
    (
        "CASE WHEN score > 0 THEN count(*) OVER (PARTITION BY ▸score ORDER BY event_time) END",
        "a DOUBLE is no key",
        "text",
    ),
    ("▸count(*) OVER (PARTITION BY card_id)", "a window without ORDER BY sees the future", "ORDER BY event_time"),
    ("count(*) OVER (ORDER BY ▸amount)", "ordered by event_time, not by amount", "ORDER BY event_time"),
    ("count(*) OVER (ORDER BY ▸event_time DESC)", "ascending", "ORDER BY event_time"),
    ("count(*) OVER (ORDER BY event_time, ▸amount)", "event_time alone", "ORDER BY event_time"),
    (
        "count(*) OVER (ORDER BY event_time RANGE BETWEEN CURRENT ROW AND INTERVAL 1 HOUR ▸FOLLOWING)",
        "sees the future",
        "CURRENT ROW",
    ),
    ("count(*) OVER (ORDER BY event_time ▸GROUPS 3 PRECEDING)", "GROUPS", "RANGE or ROWS"),
    ("count(*) OVER (ORDER BY event_time ROWS 3 PRECEDING ▸EXCLUDE TIES)", "EXCLUDE TIES", "EXCLUDE CURRENT ROW"),
    ("count(*) OVER (ORDER BY event_time ROWS ▸amount PRECEDING)", "not a whole number", "ROWS 3 PRECEDING"),
    (
        "count(*) OVER (ORDER BY event_time ▸RANGE BETWEEN INTERVAL 1 HOUR AND CURRENT ROW)",
        "no direction",
        "PRECEDING",
    ),
    ("count(*) OVER (ORDER BY event_time RANGE ▸3 PRECEDING)", "not an INTERVAL", "INTERVAL 1 HOUR"),
    ("count(*) OVER (ORDER BY event_time RANGE ▸INTERVAL 1 MONTH PRECEDING)", "no fixed length", "days"),
    (
        "count(*) OVER (ORDER BY event_time ▸RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND INTERVAL 2 HOURS PRECEDING)",
        "ends before it starts",
        "earlier bound first",
    ),
    ("▸count(DISTINCT country) OVER (ORDER BY event_time)", "UNBOUNDED", "width"),
    (f"first_value(amount) FILTER (WHERE ▸score > 0) OVER ({HOUR})", "no FILTER on first_value", "IGNORE NULLS"),
    (f"lag(amount, 1, ▸0) OVER ({HOUR})", "a default", "COALESCE"),
    (f"lag(amount, ▸0) OVER ({HOUR})", "from 1 up", "lag(x, 2)"),
    (f"▸sum(amount IGNORE NULLS) OVER ({HOUR})", "IGNORE NULLS has no place on sum", "leave it out"),
    (f"sum(▸lag(amount) OVER ({HOUR})) OVER ({HOUR})", "a window function is not allowed here", "CTE"),
    (f"sum(amount) FILTER (WHERE ▸country) OVER ({HOUR})", "a condition is BOOLEAN", "x > 0"),
    (
        f"CASE WHEN arrival_lag > 0 THEN sum(label_delta // ▸arrival_lag) OVER ({HOUR}) END",
        "the divisor arrival_lag can be 0",  # the guard speaks of this row, the argument of every row of the frame
        "NULLIF",
    ),
    ("▸sum(amount) OVER device", "the key device_id can be NULL", "CASE WHEN device_id"),  # where the guard belongs
    ("sum(amount) OVER ▸hours", "there is no window hours", "did you mean hour?"),
    ("sum(amount) OVER (▸hour ROWS 3 PRECEDING)", "hour has a frame", "in full"),
    ("sum(amount) OVER (plain PARTITION BY ▸country)", "cannot have a PARTITION BY", "in full"),
]


@pytest.mark.parametrize(("call", "what", "fix"), CALLS)
def test_window_calls(call: str, what: str, fix: str) -> None:
    """Law: a window that would mislead, or that nobody could keep exact, is refused where it stands."""
    windows = f"WINDOW hour AS ({HOUR}), plain AS (PARTITION BY card_id ORDER BY event_time)"
    windows += ", device AS (PARTITION BY device_id ORDER BY event_time)"
    assert_refused(f"SELECT event_id, {call} AS x\nFROM events {windows}", what, fix)


@pytest.mark.parametrize(
    ("call", "refused"),
    [
        ("▸count(*) OVER w", True),
        ("▸sum(amount) FILTER (WHERE amount > 0) OVER w", True),
        ("▸lag(amount) OVER w", True),
        ("▸lag(CASE WHEN kind = 'payment' THEN amount END) OVER w", True),
        ("▸sum(CASE WHEN kind = 'payment' THEN amount ELSE 0 END) OVER w", True),
        ("lag(CASE WHEN kind = 'payment' THEN amount END IGNORE NULLS) OVER w", False),
        ("sum(CASE WHEN kind = 'payment' THEN amount END) OVER w", False),
        ("count(*) FILTER (WHERE kind IN ('payment', 'label')) OVER w", False),
        ("count(*) FILTER (WHERE CASE WHEN amount > 0 THEN TRUE ELSE kind = 'payment' END) OVER w", False),
        ("count(*) OVER (PARTITION BY card_id, kind ORDER BY event_time)", False),
    ],
)
def test_kinds_are_told_apart(call: str, refused: bool) -> None:
    """Law: in a log of several kinds a window function says which it means."""
    sql = f"SELECT event_id, {call} AS x FROM events WINDOW w AS ({HOUR})"
    if refused:
        assert_refused(sql, "mixes the kinds of event", "kind = 'payment'", TWO_KINDS)
    assert parse_query(sql.replace("▸", ""), ONE_KIND if refused else TWO_KINDS).stages


SHAPES = [
    ("SELECT event_id FROM events ▸WHERE amount > 0", "WHERE is not supported", "FILTER"),
    (
        f"SELECT event_id, sum(amount) FILTER (WHERE score > 0) OVER ({HOUR}) AS x\nFROM events\n▸WHERE amount > 0",
        "WHERE",
        "FILTER",
    ),
    ("SELECT event_id FROM events ▸GROUP BY event_id", "GROUP is not supported", "PARTITION BY"),
    ("SELECT event_id FROM events ▸JOIN cards USING (card_id)", "JOIN is not supported", "window"),
    ("SELECT event_id FROM events ▸ORDER BY amount", "ORDER is not supported", "arrival"),
    ("SELECT event_id FROM events ▸LIMIT 3", "LIMIT is not supported", "every event"),
    ("SELECT ▸DISTINCT event_id FROM events", "DISTINCT is not supported", "every event"),
    ("SELECT event_id FROM events ▸QUALIFY amount > 0", "QUALIFY is not supported", "CASE"),
    ("SELECT event_id FROM events ▸HAVING amount > 0", "HAVING is not supported", "CASE"),
    ("SELECT event_id FROM ▸payments", "reads payments, not events", "FROM events"),
    ("SELECT event_id FROM ▸(SELECT * FROM events)", "a subquery in FROM", "CTE"),
    ("▸SELECT event_id", "reads nothing", "FROM events"),
    ("▸", "there is no SELECT", "SELECT event_id"),
    ("SELECT event_id FROM events; ▸SELECT 2", "more than one statement", "CTE"),
    ("SELECT ▸amount FROM events", "does not hand on event_id", "event_id"),
    ("SELECT ▸* FROM events", "* stands in the last SELECT", "each feature"),
    ("SELECT event_id, ▸amount + 1 FROM events", "has no name", "AS"),
    ("SELECT event_id, score + 1 AS ▸amount FROM events", "amount is a column of events already", "name of its own"),
    ("SELECT event_id, 1 AS a, 2 AS ▸A FROM events", "two columns A", "name of its own"),
    ("SELECT event_id, 1 AS a, ▸a + 1 AS b FROM events", "no column a", "this same SELECT"),
    ("SELECT event_id, ▸NULL AS a FROM events", "always NULL", "CAST(NULL AS BIGINT)"),
    ("SELECT event_id, ▸event_time - record_time AS a FROM events", "an INTERVAL", "epoch"),
    ("SELECT event_id, (1 + ▸) AS a FROM events", "cannot be read as SQL", "parenthesis"),
    ("SELECT event_id,\n ▸'open FROM events", "cannot be read as SQL", "quote"),
    (
        "WITH a AS (SELECT *, amount * 2 AS b FROM events) SELECT event_id, b FROM ▸events",
        "reads events, not a",
        "FROM a",
    ),
    (
        "WITH a AS (SELECT event_id, amount FROM events) SELECT event_id, ▸score AS s FROM a",
        "a has no column score",
        "",
    ),
    ("WITH a AS (SELECT * FROM events ▸WHERE score > 0) SELECT event_id FROM a", "WHERE is not supported", "FILTER"),
    (
        "WITH a AS (SELECT *, nullif(card_id, 'x') AS k FROM events)\n"
        "SELECT event_id, count(*) OVER (PARTITION BY ▸k ORDER BY event_time) AS n FROM a",
        "the key k can be NULL",
        "CASE WHEN k IS NOT NULL",
    ),
    (
        f"WITH a AS (SELECT *, count(*) OVER ({HOUR}) AS k FROM events)\n"
        "SELECT event_id, count(*) OVER (PARTITION BY ▸k ORDER BY event_time) AS n FROM a",
        "the key k can be NULL",
        "CASE WHEN k IS NOT NULL",
    ),
    ("WITH ▸RECURSIVE a AS (SELECT * FROM events) SELECT event_id FROM a", "WITH RECURSIVE", "write WITH"),
]


@pytest.mark.parametrize(("sql", "what", "fix"), SHAPES)
def test_shapes(sql: str, what: str, fix: str) -> None:
    """Law: features.sql is one chain of SELECTs that keep every event; every other clause is refused by its name."""
    assert_refused(sql, what, fix)


@pytest.mark.parametrize(
    "expression",
    [
        "amount / NULLIF(score, 0)",
        "amount / 2.5",
        "amount / greatest(score, 1)",
        "amount / (1 + abs(score))",
        f"amount / (count(*) OVER ({HOUR}) + 1)",
        "CASE WHEN score > 0 THEN amount / score END",
        "CASE WHEN score <> 0 AND amount > 0 THEN amount / score END",
        "CASE WHEN score = 0 THEN 0 ELSE amount / score END",
        "CASE WHEN score IS NULL OR score = 0 THEN NULL ELSE amount / score END",
        f"CASE WHEN count(*) OVER ({HOUR}) > 0 THEN sum(amount) OVER ({HOUR}) / count(*) OVER ({HOUR}) END",
        "label_delta // NULLIF(arrival_lag, 0) % 7",
        "CASE WHEN device_id IS NOT NULL THEN count(*) OVER (PARTITION BY device_id ORDER BY event_time) END",
        "CASE WHEN device_id IS NULL THEN 0 ELSE count(*) OVER (PARTITION BY device_id ORDER BY event_time) END",
        "CASE WHEN device_id = 'x' THEN count(*) OVER (PARTITION BY device_id, card_id ORDER BY event_time) END",
        "count(*) OVER (PARTITION BY coalesce(device_id, 'none') ORDER BY event_time)",
        "if(device_id IS NOT NULL, count(*) OVER (PARTITION BY length(device_id) ORDER BY event_time), 0)",
        f"max(score) OVER ({HOUR})",
    ],
)
def test_what_is_safe_is_accepted(expression: str) -> None:
    """Law: a guard that proves a key present or a divisor not 0 is enough."""
    assert parse_query(f"SELECT event_id, {expression} AS x FROM events", ONE_KIND).features


COLUMNS = {
    "amount": decimal(18, 2),
    "card_id": TEXT,
    "card_score": BIGINT,
    "probability": DOUBLE,
    "at": TIME,
    "ok": BOOL,
}


def test_conditions_of_rules() -> None:
    """Law: a rule's condition is BOOLEAN over known columns and lists, and its refusals stand where it stands."""
    sql = "amount > 100\n  AND card_id IN (SELECT value FROM blocked)\n  AND cardscore > 800"
    with pytest.raises(Refusal) as caught:
        parse_condition(sql, COLUMNS, ["blocked_cards"], Place(12, 11), indent=4)
    assert "there is no list blocked" in caught.value.what
    assert caught.value.fix == "did you mean blocked_cards?"
    assert caught.value.place == Place(13, 4 + 1 + sql.split("\n")[1].index("blocked"))
    with pytest.raises(Refusal) as caught:
        parse_condition("amount > 100 AND cardscore > 800", COLUMNS, (), Place(12, 11))
    assert (caught.value.fix, caught.value.place) == ("did you mean card_score?", Place(12, 11 + 17))
    with pytest.raises(Refusal, match="a window function is not allowed here"):
        parse_condition("count(*) OVER () > 1", COLUMNS)
    with pytest.raises(Refusal, match="a condition is BOOLEAN"):
        parse_condition("amount", COLUMNS)


@pytest.mark.parametrize(
    ("sql", "type", "value"),
    [
        ("120.50", decimal(18, 2), 12050),
        ("-3", BIGINT, -3),
        ("3", DOUBLE, 3.0),
        ("'JP'", TEXT, "JP"),
        ("TRUE", BOOL, True),
        ("NULL", decimal(18, 2), None),
        ("TIMESTAMPTZ '1970-01-01 09:00:01+09:00'", TIME, 1_000_000),
        ("'1970-01-01T00:00:01Z'", TIME, 1_000_000),
    ],
)
def test_constants_of_examples(sql: str, type: object, value: object) -> None:
    """Law: a rule example's constant becomes the column's own units, or is refused."""
    assert parse_literal(sql, type) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sql", "type"), [("1.005", decimal(18, 2)), ("'JP'", BIGINT), ("amount", BIGINT), ("1", TEXT)]
)
def test_constants_that_do_not_fit(sql: str, type: object) -> None:
    """Law: no constant is rounded or guessed."""
    with pytest.raises(Refusal):
        parse_literal(sql, type)  # type: ignore[arg-type]


def test_as_of_refuses_what_the_query_refuses() -> None:
    """Law: the as-of form exists for accepted queries only."""
    with pytest.raises(Refusal, match="can be NULL"):
        as_of_sql(
            "SELECT event_id, count(*) OVER (PARTITION BY device_id ORDER BY event_time) AS n FROM events", ONE_KIND
        )
