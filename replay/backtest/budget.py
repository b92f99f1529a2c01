"""What a team of analysts would have seen: a causal threshold, a queue, and what was still in the payee's account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from replay.backtest.database import make, rows, streamed
from replay.backtest.figures import Case, fitted
from replay.backtest.records import DAY_US, SIDES
from rules.records import AlertPolicy

LOOKBACK_DAYS = 28
_NIGHT = (22, 6)  # local hours


@dataclass(frozen=True)
class Alert:
    """An alert of the budget. turn_us: when an analyst had time for it, None if it expired before."""

    n: int
    day: str
    at_us: int
    hour: int
    amount_minor: int
    fraud: bool
    turn_us: int | None = None


def budget(case: Case) -> pa.Table:
    """Day by day; empty without a budget or without scores."""
    found: list[dict[str, Any]] = []
    for s, engine in zip(SIDES, case.engines, strict=True):
        if case.asked.budget and engine.scorers:
            act_by = case.asked.act_by_us or (engine.pack.alert or AlertPolicy()).act_by_us
            thresholds = _thresholds(case, s)
            alerts = queue(_alerts(case, s), case.asked.budget, act_by)
            found += _days(case, s, thresholds, alerts)
    return fitted("budget", found)


def _thresholds(case: Case, s: str) -> dict[str, float | None]:
    """By day that counts, the raw score that gave the budget's number of alerts over the 28 days before."""
    total, first = case.asked.budget * LOOKBACK_DAYS, case.span.first_us
    make(
        case.db,
        f"""CREATE OR REPLACE TABLE top AS SELECT date_trunc('day', local_time) AS date, {s}_raw AS raw
        FROM judged WHERE excluded IS DISTINCT FROM 'duplicate' AND NOT isnan({s}_raw)
        QUALIFY row_number() OVER (PARTITION BY date_trunc('day', local_time) ORDER BY {s}_raw DESC, n) <= {total}""",
    )
    make(
        case.db,
        f"""CREATE OR REPLACE TABLE threshold AS
        SELECT d.date, min(raw) FILTER (place = {total}) AS threshold FROM
            (SELECT DISTINCT date_trunc('day', local_time) AS date FROM counted) d LEFT JOIN
            (SELECT c.date, raw, row_number() OVER (PARTITION BY c.date ORDER BY raw DESC) AS place
             FROM (SELECT DISTINCT date_trunc('day', local_time) AS date FROM counted) c
             JOIN top t ON t.date >= c.date - INTERVAL {LOOKBACK_DAYS} DAY AND t.date < c.date
             WHERE epoch_us(c.date) - {LOOKBACK_DAYS * DAY_US} >= {first} - {DAY_US}) r USING (date)
        GROUP BY d.date""",
    )
    query = "SELECT strftime(date, '%Y-%m-%d'), threshold FROM threshold ORDER BY 1"
    return dict(rows(case.db, query))


def _alerts(case: Case, s: str) -> Iterator[Alert]:
    query = f"""SELECT n, day, at_us, hour, coalesce(amount_minor, 0), fraud FROM counted c JOIN threshold t
                ON t.date = date_trunc('day', c.local_time) AND c.{s}_raw >= t.threshold ORDER BY n"""
    return (Alert(*row) for row in streamed(case.db, query))


def queue(alerts: Iterable[Alert], budget: int, act_by_us: int) -> Iterator[Alert]:
    """First come, first served: an alert is taken every day / budget; what waits longer than act_by expires."""
    takes_us, free_us = DAY_US // budget, -(2**62)
    for alert in alerts:
        turn = max(alert.at_us, free_us)
        worked = turn <= alert.at_us + act_by_us
        free_us = turn + takes_us if worked else free_us
        yield replace(alert, turn_us=turn if worked else None)


def _days(case: Case, s: str, thresholds: dict[str, float | None], alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    """Alerts pass by one after the other: where many payments have the threshold's score, they are as many."""
    number, done, found, night, money = (Counter[str]() for _ in range(5))
    frauds: list[Alert] = []
    for alert in alerts:
        number[alert.day] += 1
        if alert.turn_us is None:
            continue
        done[alert.day] += 1
        night[alert.day] += alert.hour >= _NIGHT[0] or alert.hour < _NIGHT[1]
        if alert.fraud:
            frauds.append(alert)
            found[alert.day] += 1
            money[alert.day] += alert.amount_minor
    left = _recoverable(case, frauds)
    return [
        {
            "strategy": s, "day": day, "threshold": threshold, "alerts": number[day], "worked": done[day],
            "expired": number[day] - done[day], "frauds": found[day], "fraud_minor": money[day], "night": night[day],
            "recoverable_alert_minor": left.get(day, (None, None))[0],
            "recoverable_turn_minor": left.get(day, (None, None))[1],
        }
        for day, threshold in thresholds.items()
    ]  # fmt: skip


def _recoverable(case: Case, frauds: Sequence[Alert]) -> dict[str, tuple[int, int]]:
    """By day, the fraud money that the payee had not yet paid on, when the alert came and when its turn came.

    Known only of payees that are customers: their later payments stand in the log.
    """
    if not frauds:
        return {}
    case.db.register("worked", pa.table({"n": [a.n for a in frauds], "turn_us": [a.turn_us for a in frauds]}))
    found = rows(
        case.db,
        """
        WITH f AS (SELECT w.turn_us, c.n, c.at_us, c.clock_us, c.amount_minor, c.payee, c.day
                   FROM worked w JOIN counted c USING (n) WHERE c.payee IN (SELECT DISTINCT entity FROM judged)),
             spent AS (SELECT f.n,
                              coalesce(sum(j.amount_minor) FILTER (j.at_us <= greatest(f.at_us, f.clock_us)), 0) AS a,
                              coalesce(sum(j.amount_minor), 0) AS b
                       FROM f LEFT JOIN judged j ON j.entity = f.payee AND j.at_us > f.at_us AND j.at_us <= f.turn_us
                            AND NOT coalesce(j.refused, false) GROUP BY f.n)
        SELECT day, sum(greatest(0, amount_minor - a)), sum(greatest(0, amount_minor - b))
        FROM f JOIN spent USING (n) GROUP BY day""",
    )
    case.db.unregister("worked")
    return {day: (int(at_alert), int(at_turn)) for day, at_alert, at_turn in found}


def hindsight(case: Case) -> pa.Table:
    """Precision at k and entity precision at k of each day, ranked with the whole day known."""
    found: list[dict[str, Any]] = []
    for s, engine in zip(SIDES, case.engines, strict=True):
        if case.asked.budget and engine.scorers:
            found += _hindsight(case, s, case.asked.budget)
    return fitted("hindsight", found)


def _hindsight(case: Case, s: str, k: int) -> list[dict[str, Any]]:
    payments = rows(
        case.db,
        f"""SELECT day, count(*) FILTER (fraud AND place <= {k}) / {k},
            least(count(*) FILTER (fraud), {k}) / {k}, count(entity) FROM (SELECT day, fraud, entity, row_number() OVER
            (PARTITION BY day ORDER BY {s}_raw DESC, n) AS place FROM counted WHERE NOT isnan({s}_raw))
            GROUP BY day ORDER BY day""",
    )
    precise = _entity_precision(case, s, k)
    return [
        {"strategy": s, "day": day, "k": k, "precision": precision, "ceiling": ceiling,
         "entity_precision": precise.get(day, 0.0) if entities else None}
        for day, precision, ceiling, entities in payments
    ]  # fmt: skip


def _entity_precision(case: Case, s: str, k: int) -> dict[str, float]:
    """By day, new entities with a fraud among the k highest; a day without any may be missing.

    An entity's place is its rank that day less the entities above it that an earlier day found. Only entities with a
    fraud by then matter: the others are counted by the ranks, and not fetched.
    """
    ranked = streamed(
        case.db,
        f"""SELECT day, entity, fraud, place FROM
            (SELECT day, entity, fraud, row_number() OVER (PARTITION BY day ORDER BY raw DESC, entity) AS place FROM
                (SELECT day, entity, bool_or(fraud) AS fraud, max({s}_raw) AS raw FROM counted
                 WHERE NOT isnan({s}_raw) AND entity IS NOT NULL GROUP BY day, entity))
            JOIN (SELECT entity, min(day) AS since FROM counted WHERE fraud GROUP BY entity) USING (entity)
            WHERE day >= since ORDER BY day, place""",
    )
    found, precise = set[str](), dict[str, float]()
    for day, entities in groupby(ranked, itemgetter(0)):
        hits, above = set[str](), 0
        for _, entity, fraud, place in entities:
            if entity in found:
                above += 1
            elif fraud and place - above <= k:
                hits.add(entity)
        precise[day], found = len(hits) / k, found | hits
    return precise
