"""The flips: every payment that the two strategies decide otherwise, with its causes, the most money first."""

from __future__ import annotations

import pyarrow as pa

from replay.backtest.causes import UPSTREAM
from replay.backtest.database import one, table
from replay.backtest.figures import Case, fitted, named

_EXAMPLE = """CASE WHEN fraud AND candidate_alerted AND NOT current_alerted THEN 'fraud_found'
                   WHEN fraud AND current_alerted AND NOT candidate_alerted THEN 'fraud_lost'
                   WHEN good AND current_alerted AND NOT candidate_alerted THEN 'good_freed'
                   WHEN good AND candidate_alerted AND NOT current_alerted THEN 'good_hit' END"""
_LAST = 4  # characters of an account that may be seen


def flips(case: Case) -> pa.Table:
    """All flips among the payments that count."""
    if not _any(case):
        return fitted("flips", [])
    masked = f"'****' || CASE WHEN length(entity) >= {2 * _LAST} THEN right(entity, {_LAST}) ELSE '' END"
    query = f"""
        SELECT printf('%016x%016x', id_high::BIGINT, id_low::BIGINT) AS decision_id, event_id, payment_id, at_us,
               {masked} AS entity, amount_minor, {named("recorded")} AS recorded, {named("current")} AS current,
               {named("candidate")} AS candidate, NULLIF(current_score, -1) AS current_score,
               NULLIF(candidate_score, -1) AS candidate_score,
               CASE WHEN refused AND NOT candidate_stopped AND truth = 'censored' THEN 'unknown' ELSE truth END
                   AS truth,
               label_class, cause, restoring, {_EXAMPLE} AS example,
               CASE WHEN contains(restoring, '{UPSTREAM}') THEN lag(first) OVER (PARTITION BY entity ORDER BY n) END
                   AS first_flip
        FROM (SELECT *, first_value(event_id) OVER (PARTITION BY entity ORDER BY n) AS first
              FROM counted JOIN flips USING (n))
        ORDER BY amount_minor DESC NULLS LAST, n"""
    return fitted("flips", table(case.db, query))


def causes(case: Case) -> pa.Table:
    """The flips by their causes, the most money first."""
    if not _any(case):
        return fitted("causes", [])
    money = ", ".join(
        f"coalesce(sum(amount_minor) FILTER (example = '{name}'), 0) AS {name}_minor"
        for name in ("fraud_found", "fraud_lost")
    )
    counts = ", ".join(
        f"count(*) FILTER (example = '{name}') AS {name}"
        for name in ("fraud_found", "fraud_lost", "good_freed", "good_hit")
    )
    query = f"""SELECT restoring, cause, count(*) AS flips, coalesce(sum(amount_minor), 0) AS amount_minor,
                       {counts}, {money}
                FROM (SELECT *, {_EXAMPLE} AS example FROM counted JOIN flips USING (n))
                GROUP BY restoring, cause ORDER BY amount_minor DESC, restoring"""
    return fitted("causes", table(case.db, query))


def _any(case: Case) -> bool:
    query = "SELECT 1 FROM duckdb_views() WHERE view_name = 'flips' AND NOT internal"
    return one(case.db, query) is not None
