"""What became known of each payment: recorded outcome, verdict, truth. One DuckDB table, `judged`, a row a payment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from features.sheet import SKIPPED
from replay.backtest.database import Db, arrays, make, one, sql_list
from replay.backtest.development import Development, development_of
from replay.backtest.records import DAY_US, Asked
from replay.backtest.roles import Roles
from rules.records import OUTCOMES, AlertPolicy
from sekisho.compile import Engine
from sekisho.pack import LabelPolicy

STOPPED = (OUTCOMES.index("hold"), OUTCOMES.index("decline"))
BACK = ("reversed", "refunded", "recalled")
GOOD_CLASSES = ("dispute_not_fraud", "genuine_confirmed")
MATURE = 0.95  # of a typology's verdicts are in


@dataclass(frozen=True)
class Span:
    """first_us, last_us: of the log.   from_us, to_us: what counts.   cold_us: before it, history is too short."""

    first_us: int
    last_us: int
    from_us: int
    to_us: int
    cold_us: int
    as_known_us: int


@dataclass(frozen=True)
class Known:
    """What the log says at all, and how fast verdicts come."""

    outcomes: bool
    labels: bool
    development: Development
    maturity_us: dict[str, int]


def alert_codes(engine: Engine) -> tuple[int, ...]:
    """The outcomes that alert, as numbers."""
    policy = engine.pack.alert or AlertPolicy()
    return tuple(OUTCOMES.index(name) for name in policy.outcomes)


def judge(db: Db, engines: tuple[Engine, Engine], roles: Roles, asked: Asked, span: Span) -> Known:
    """Make `judged` and the view `counted` of the payments that count."""
    labels = engines[0].pack.labels
    fraud = labels.fraud if labels else ()
    make_happened(db, span.as_known_us)
    outcomes = bool(one(db, "SELECT count(*) FROM happened"))
    by_then = f"coalesce(known_us, at_us) <= {span.as_known_us}"
    known = bool(one(db, f"SELECT count(*) FROM followups WHERE is_label AND {by_then}"))
    make_verdicts(db, roles, by_then)
    development = development_of(*_delays(db, fraud), span.as_known_us)
    maturity = maturity_of(asked, labels, development)
    alerting = {
        "recorded": alert_codes(engines[0]), "current": alert_codes(engines[0]), "candidate": alert_codes(engines[1]),
    }  # fmt: skip
    flags = ", ".join(
        f"coalesce({strategy} IN {sql_list(codes)}, false) AS {strategy}_{name}"
        for strategy, alerted in alerting.items()
        for name, codes in (("alerted", alerted), ("stopped", STOPPED))
    )
    late = span.as_known_us - maturity.get("", 0) if known else -(2**63)
    make(
        db,
        f"""
        CREATE TABLE judged AS SELECT *, {flags} FROM (
            SELECT p.*, h.recorded, h.refused, {lost(outcomes)}, v.class AS label_class, v.first_us AS labelled_us,
                   CASE WHEN v.verdict = 'fraud' THEN 'fraud' WHEN v.verdict IS NOT NULL THEN v.verdict
                        WHEN {outcomes} AND NOT coalesce(h.settled, false) THEN 'censored'
                        WHEN p.at_us > {late} THEN 'immature' ELSE 'presumed_good' END AS truth,
                   p.at_us > {late} AS young,
                   CASE WHEN p.fate = {SKIPPED} THEN 'duplicate' WHEN p.at_us < {span.from_us} THEN 'before_the_range'
                        WHEN p.at_us >= {span.to_us} THEN 'after_the_range'
                        WHEN p.at_us < {span.cold_us} THEN 'cold' END AS excluded,
                   timezone('{asked.zone}', timezone('UTC', make_timestamp(p.at_us))) AS local_time
            FROM payments p LEFT JOIN happened h USING (payment_id)
            LEFT JOIN (SELECT *, CASE WHEN reversed THEN 'good' WHEN class IN {sql_list(fraud)} THEN 'fraud'
                              WHEN class IN {sql_list(GOOD_CLASSES)} THEN 'good' ELSE 'excluded' END AS verdict
                       FROM verdicts) v USING (payment_id))""",
    )
    make(
        db,
        """CREATE VIEW counted AS SELECT *, strftime(local_time, '%Y-%m-%d') AS day, hour(local_time) AS hour,
                  truth = 'fraud' AS fraud, truth IN ('good', 'presumed_good') AS good
                  FROM judged WHERE excluded IS NULL""",
    )
    return Known(outcomes, known, development, maturity)


def maturity_of(asked: Asked, labels: LabelPolicy | None, development: Development) -> dict[str, int]:
    """Microseconds by class, and "" for payments without a verdict: as asked, else as the pack says, else by delays."""
    if asked.maturity_us:
        return dict.fromkeys(development.reported, asked.maturity_us)
    if labels and labels.mature_us is not None:
        return {"": labels.mature_us, **labels.maturity_us}
    return {name: days * DAY_US for name, days in development.maturity(MATURE).items()}


def lost(outcomes: bool) -> str:
    """Columns: what settled of a payment (gross), and what of that did not come back (net)."""
    if not outcomes:
        return "p.amount_minor AS gross_minor, p.amount_minor AS net_minor"
    gross = "CASE WHEN h.settled THEN coalesce(h.settled_minor, p.amount_minor) ELSE 0 END"
    net = f"CASE WHEN h.all_back THEN 0 ELSE greatest(0, {gross} - coalesce(h.back_minor, 0)) END"
    return f"{gross} AS gross_minor, {net} AS net_minor"


def make_verdicts(db: Db, roles: Roles, known: str) -> None:
    """The verdict that stands on each payment by the labels that meet the SQL condition `known`, as table `verdicts`.

    A label of a card or account means its payments from occurred_at on.
    """
    known = f"is_label AND {known} AND (class IS NOT NULL OR reversal = 1)"
    parts = [f"SELECT payment_id, n, at_us, class, reversal FROM followups WHERE {known} AND payment_id IS NOT NULL"]
    before = "payment_id IS NULL"
    for name in roles.names:
        parts.append(f"""SELECT p.payment_id, l.n, l.at_us, l.class, l.reversal
            FROM (SELECT * FROM followups WHERE {known} AND {before} AND name_{name} IS NOT NULL) l
            JOIN payments p ON p.name_{name} = l.name_{name} AND p.at_us BETWEEN l.occurred_us AND l.at_us""")
        before += f" AND name_{name} IS NULL"
    make(
        db,
        f"""CREATE OR REPLACE TABLE verdicts AS
        SELECT payment_id, arg_max(class, n) FILTER (class IS NOT NULL) AS class,
               arg_max(coalesce(reversal, 0), n) = 1 AS reversed, min(at_us) AS first_us
        FROM ({" UNION ALL ".join(parts)}) GROUP BY payment_id""",
    )


def make_happened(db: Db, as_known_us: int) -> None:
    """What was applied first, whether the payment was refused in the end, what settled and came back: `happened`."""
    code = " ".join(f"WHEN '{name}' THEN {k}" for k, name in enumerate(OUTCOMES))
    last = OUTCOMES.index("decline")
    make(
        db,
        f"""CREATE OR REPLACE TABLE happened AS
        SELECT payment_id, coalesce(arg_min(code, n), CASE WHEN bool_or(settled) THEN 0 END)::TINYINT AS recorded,
               bool_or(settled) AS settled, arg_max(code, n) = {last} AND NOT bool_or(settled) AS refused,
               sum(outcome_minor) FILTER (settled) AS settled_minor,
               sum(outcome_minor) FILTER (back) AS back_minor, bool_or(back AND outcome_minor IS NULL) AS all_back
        FROM (SELECT payment_id, n, CASE status {code} END AS code, status IN ('settled', 'partial') AS settled,
                     status IN {sql_list(BACK)} AS back, outcome_minor
              FROM followups WHERE NOT is_label AND payment_id IS NOT NULL AND status IS NOT NULL
                               AND at_us <= {as_known_us}) GROUP BY payment_id""",
    )


def _delays(db: Db, fraud: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Of each fraud that is known: its class, when it was paid, when its verdict came."""
    found = arrays(
        db,
        f"""SELECT v.class, p.at_us, v.first_us FROM verdicts v JOIN payments p USING (payment_id)
            WHERE p.fate <> {SKIPPED} AND NOT v.reversed AND v.class IN {sql_list(fraud)} ORDER BY p.n""",
    )
    return found["class"].astype(str), found["at_us"], found["first_us"]
