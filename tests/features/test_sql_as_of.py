"""The as-of form: against the plain query on logs in order, and against a naive oracle on all others."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from statistics import pvariance, variance

import duckdb
import pytest

from features.schema import Field, Schema
from features.sql import as_of_sql

SCHEMA = Schema(
    (
        Field("event_id", "id", required=True),
        Field("event_time", "time", required=True),
        Field("kind", "category", required=True),
        Field("card_id", "id", required=True),
        Field("device_id", "id"),
        Field("amount", "money", 2),
    ),
    ("payment", "label"),
)
MINUTE_US = 60_000_000


@dataclass(frozen=True)
class Event:
    """A row of the log; its place in the list is its arrival. minute: its event time."""

    minute: int
    card: str
    device: str | None
    amount: Decimal | None
    kind: str = "payment"
    enters: bool = True


def random_log(seed: int, n: int, in_order: bool) -> list[Event]:
    """Few keys and few minutes, so that rows tie, come late and lack values; in order each minute is its own."""
    rng = random.Random(seed)
    log = []
    for k in range(n):
        minute = k * 7 + rng.randrange(7) if in_order else rng.randrange(60)
        amount = None if rng.random() < 0.2 else Decimal(rng.randrange(-500, 5000)) / 100
        device = rng.choice(["d1", "d2", None])
        kind = rng.choice(["payment", "payment", "label"])
        log.append(Event(minute, rng.choice("ab"), device, amount, kind, in_order or rng.random() < 0.85))
    return log


def load(log: list[Event]) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f"{name} {type}" for name, type in SCHEMA.columns().items())
    db.execute(f"CREATE TABLE events ({columns}, arrival BIGINT, enters BOOLEAN)")
    rows = [(str(k), e.minute * MINUTE_US, e.kind, e.card, e.device, e.amount, k, e.enters) for k, e in enumerate(log)]
    db.executemany(
        "INSERT INTO events SELECT ?, make_timestamptz(?), ?, ?, ?, ?, NULL, NULL, NULL, ?, ?", rows
    )  # fmt: skip
    return db


PAYMENT = "FILTER (WHERE kind = 'payment')"
QUERY = f"""
WITH first AS (
    SELECT *,
           lag(CASE WHEN kind = 'payment' THEN amount END, 2 IGNORE NULLS) OVER card AS amount_2_before,
           sum(amount) {PAYMENT} OVER card_10m AS amount_10m,
           count(*) {PAYMENT} OVER (PARTITION BY card_id ORDER BY event_time) AS so_far
    FROM events
    WINDOW card AS (PARTITION BY card_id ORDER BY event_time),
           card_10m AS (card RANGE BETWEEN INTERVAL 10 MINUTES PRECEDING AND CURRENT ROW)
), second AS (
    SELECT *,
           first_value(CASE WHEN kind = 'payment' THEN amount_10m END IGNORE NULLS)
               OVER (PARTITION BY card_id ORDER BY event_time ROWS 3 PRECEDING) AS first_10m,
           CASE WHEN device_id IS NOT NULL THEN count(DISTINCT card_id) {PAYMENT} OVER device END AS device_cards
    FROM first
    WINDOW device AS (PARTITION BY device_id ORDER BY event_time
                      RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL 5 MINUTES PRECEDING)
)
SELECT event_id, amount_2_before, amount_10m, so_far, first_10m, device_cards,
       last_value(CASE WHEN kind = 'payment' THEN amount END IGNORE NULLS) OVER others AS last_other,
       max(amount) {PAYMENT} OVER others AS most_others,
       avg(amount) {PAYMENT} OVER others AS mean_others,
       var_samp(amount) {PAYMENT} OVER four AS variance_four,
       min(so_far) {PAYMENT} OVER four AS least_four
FROM second
WINDOW others AS (PARTITION BY card_id, kind ORDER BY event_time
                  RANGE BETWEEN INTERVAL 20 MINUTES PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
       four AS (PARTITION BY card_id ORDER BY event_time ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING)
"""


def assert_close(left: object, right: object, where: str) -> None:
    if isinstance(left, float) and isinstance(right, float):
        assert left == pytest.approx(right, rel=1e-9, abs=1e-9), where
    else:
        assert left == right, where


@pytest.mark.parametrize("seed", range(3))
def test_in_order_it_equals_the_query(seed: int) -> None:
    """Law L2: where nothing of an equal or earlier time arrives later, as-of and plain SQL are one."""
    db = load(random_log(seed, 150, in_order=True))
    plain = db.execute(f"SELECT * FROM ({QUERY}) ORDER BY event_id::BIGINT").fetchall()
    as_of = db.execute(as_of_sql(QUERY, SCHEMA)).fetchall()
    assert len(plain) == 150
    for left, right in zip(plain, as_of, strict=True):
        for k, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_close(a, b, f"seed {seed}, event {left[0]}, column {k}")


# --- the oracle: one event at a time, over a list ---

Rows = list[tuple[int, Event]]


def seen(log: list[Event], at: int, key: Callable[[Event], object]) -> Rows:
    """What event `at` sees of its key, in (event_time, arrival) order, up to its own time; itself is last."""
    now = log[at]
    rows = [(k, e) for k, e in enumerate(log[: at + 1]) if e.enters and key(e) == key(now) and e.minute <= now.minute]
    return sorted(rows, key=lambda row: (row[1].minute, row[0]))


def amounts(rows: Rows) -> list[Decimal]:
    return [e.amount for _, e in rows if e.kind == "payment" and e.amount is not None]


def between(rows: Rows, first: int, last: int) -> Rows:
    return [row for row in rows if first <= row[1].minute <= last]


def amount_10m(log: list[Event], at: int) -> Decimal | None:
    if not log[at].enters:
        return None
    card = seen(log, at, lambda e: e.card)
    found = amounts(between(card, log[at].minute - 10, log[at].minute))
    return sum(found, Decimal(0)) if found else None


def so_far(log: list[Event], at: int) -> int | None:
    card = seen(log, at, lambda e: e.card)
    return sum(e.kind == "payment" for _, e in card) if log[at].enters else None


def expected(log: list[Event], at: int) -> tuple[object, ...]:
    """QUERY's outputs for one event."""
    now = log[at]
    if not now.enters:
        return (str(at), *[None] * 10)
    card = seen(log, at, lambda e: e.card)
    others = between(seen(log, at, lambda e: (e.card, e.kind)), now.minute - 20, now.minute)
    others = amounts([row for row in others if row[0] != at])
    before = amounts(card[:-1])
    first = [value for k, e in card[-4:] if e.kind == "payment" and (value := amount_10m(log, k)) is not None]
    device = between(seen(log, at, lambda e: e.device), now.minute - 60, now.minute - 5)
    four = card[-5:-1]
    least = [value for k, e in four if e.kind == "payment" and (value := so_far(log, k)) is not None]
    return (
        str(at),
        before[-2] if len(before) > 1 else None,
        amount_10m(log, at),
        so_far(log, at),
        first[0] if first else None,
        None if now.device is None else len({e.card for _, e in device if e.kind == "payment"}),
        others[-1] if others else None,
        max(others, default=None),
        float(sum(others, Decimal(0)) / len(others)) if others else None,
        float(variance(amounts(four))) if len(amounts(four)) > 1 else None,
        min(least, default=None),
    )


@pytest.mark.parametrize("seed", range(10, 16))
def test_out_of_order_it_equals_the_oracle(seed: int) -> None:
    """Law L2: each event sees the rows of its key that had arrived, in (event_time, arrival) order."""
    log = random_log(seed, 90, in_order=False)
    rows = load(log).execute(as_of_sql(QUERY, SCHEMA)).fetchall()
    assert len(rows) == len(log)
    for at, row in enumerate(rows):
        for k, (a, b) in enumerate(zip(row, expected(log, at), strict=True)):
            assert_close(a, b, f"seed {seed}, event {at}, column {k}")


def test_one_row_by_hand() -> None:
    """Law L2 on three rows: a late row is not seen by those before it, and sees only what is earlier than itself."""
    log = [Event(10, "a", None, Decimal(1)), Event(20, "a", None, Decimal(2)), Event(15, "a", None, Decimal(4))]
    sql = f"SELECT event_id, sum(amount) {PAYMENT} OVER (PARTITION BY card_id ORDER BY event_time) AS s FROM events"
    assert load(log).execute(as_of_sql(sql, SCHEMA)).fetchall() == [("0", 1), ("1", 3), ("2", 5)]


def test_population_variance() -> None:
    """Law: var_pop divides by n."""
    log = [Event(k, "a", None, Decimal(k * k)) for k in range(5)]
    sql = f"SELECT event_id, var_pop(amount) {PAYMENT} OVER (PARTITION BY card_id ORDER BY event_time) AS v FROM events"
    last = load(log).execute(as_of_sql(sql, SCHEMA)).fetchall()[-1]
    assert last[1] == pytest.approx(float(pvariance([e.amount for e in log if e.amount is not None])))
