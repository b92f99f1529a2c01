"""The figures of a back-test, as SQL over `counted`: the rows stay on disk, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from replay.backtest.database import Db, arrays, one, records, rows, sql_list, streamed, table
from replay.backtest.development import bootstrap
from replay.backtest.records import DAY_US, SIDES, Asked
from replay.backtest.tables import TABLES
from replay.backtest.track import OUTCOME_CODES
from replay.backtest.truth import Known, Span, alert_codes
from rules.alert_records import OPENED
from rules.records import OUTCOMES, Condition
from sekisho.compile import Engine

_COUNT = "count(*) AS payments, coalesce(sum(amount_minor), 0) AS amount_minor"
_FRAUDS = "count(*) FILTER (fraud) AS frauds, coalesce(sum(amount_minor) FILTER (fraud), 0) AS fraud_minor"


@dataclass(frozen=True)
class Case:
    """What figures are computed from. notifications: by (side, kind), what the alerting sent."""

    db: Db
    engines: tuple[Engine, Engine]
    asked: Asked
    span: Span
    known: Known
    notifications: Counter[tuple[int, str]]

    @property
    def strategies(self) -> tuple[str, ...]:
        return ("recorded", *SIDES) if self.known.outcomes else SIDES

    def each(self, query: Callable[[str], str], strategies: Sequence[str] | None = None) -> str:
        """The union of a query over the strategies, with a first column that names them."""
        parts = [f"SELECT '{s}' AS strategy, * FROM ({query(s)})" for s in strategies or self.strategies]
        return " UNION ALL ".join(parts)


def fitted(name: str, found: pa.Table | Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table with the columns and types of its spec; what it does not say is null."""
    schema = TABLES[name].schema
    if not isinstance(found, pa.Table):
        return pa.Table.from_pylist([dict(row) for row in found], schema)
    columns = [
        found[column.name] if column.name in found.column_names else pa.nulls(found.num_rows, column.type)
        for column in schema
    ]
    return pa.table(columns, schema.names).cast(schema, safe=False)


def _query(case: Case, name: str, query: str) -> pa.Table:
    return fitted(name, table(case.db, query))


def named(code: str) -> str:
    """A column of outcome codes as text."""
    return f"list_extract({list(OUTCOMES)!r}, {code} + 1)"


def outcomes(case: Case) -> pa.Table:
    """Outcomes by truth."""
    query = case.each(lambda s: f"SELECT {named(s)} AS outcome, truth, {_COUNT} FROM counted GROUP BY ALL")
    return _query(case, "outcomes", f"{query} ORDER BY ALL")


def transitions(case: Case) -> pa.Table:
    """Recorded by CURRENT by CANDIDATE."""
    names = ", ".join(f"{named(s)} AS {s}" for s in ("recorded", *SIDES))
    return _query(case, "transitions", f"SELECT {names}, truth, {_COUNT} FROM counted GROUP BY ALL ORDER BY ALL")


def excluded(case: Case) -> pa.Table:
    """What does not count, and why."""
    query = f"SELECT excluded AS reason, {_COUNT} FROM judged WHERE excluded IS NOT NULL GROUP BY ALL ORDER BY ALL"
    return _query(case, "excluded", query)


def typologies(case: Case) -> pa.Table:
    """Frauds by the class of their label."""
    query = case.each(
        lambda s: (
            f"""SELECT label_class AS typology, {_FRAUDS}, count(*) FILTER ({s}_alerted) AS caught,
            coalesce(sum(amount_minor) FILTER ({s}_alerted), 0) AS caught_minor
            FROM counted WHERE fraud GROUP BY label_class"""
        )
    )
    return _query(case, "typologies", f"{query} ORDER BY ALL")


def hours(case: Case) -> pa.Table:
    """By day and hour."""
    query = case.each(
        lambda s: (
            f"""SELECT day, hour, {_COUNT}, count(*) FILTER ({s}_alerted) AS alerted,
            count(*) FILTER ({s}_stopped) AS stopped, {_FRAUDS}, count(*) FILTER (fraud AND {s}_alerted) AS caught
            FROM counted GROUP BY day, hour"""
        )
    )
    return _query(case, "hours", f"{query} ORDER BY ALL")


def thresholds(case: Case) -> pa.Table:
    """What alerting on every score at or above a threshold would give."""
    over = "OVER (ORDER BY score DESC)"
    query = case.each(
        lambda s: (
            f"""SELECT score, sum(alerts) {over} AS alerts, sum(goods) {over} AS goods,
            sum(frauds) {over} AS frauds, sum(fraud_minor) {over} AS fraud_minor
            FROM (SELECT {s}_score AS score, count(*) AS alerts, count(*) FILTER (good) AS goods, {_FRAUDS}
                  FROM counted WHERE {s}_score >= 0 GROUP BY 1)"""
        ),
        SIDES,
    )
    frauds, money = rows(case.db, f"SELECT frauds, fraud_minor FROM (SELECT {_FRAUDS} FROM counted)")[0]
    return _query(
        case,
        "thresholds",
        f"""SELECT *, frauds / NULLIF({frauds}, 0) AS recall, fraud_minor / NULLIF({money}, 0) AS value_recall,
            goods / NULLIF(frauds, 0) AS false_positive_ratio FROM ({query}) ORDER BY strategy, score""",
    )


def development(case: Case) -> pa.Table:
    """Shares of verdicts known by age."""
    known = case.known.development
    return fitted(
        "development",
        [
            {"typology": name, "age_days": k, "reported": float(share), "frauds": known.frauds[name]}
            for name, curve in known.reported.items()
            for k, share in enumerate(curve)
        ],
    )


def summary(case: Case, fidelity: float | None) -> pa.Table:
    """The strategies side by side."""
    found = [_summary(case, strategy, k) for k, strategy in enumerate(case.strategies, 2 - len(case.strategies))]
    for row in found:
        row["fidelity"] = fidelity if row["strategy"] == "current" else None
    return fitted("summary", found)


def _summary(case: Case, s: str, side: int) -> dict[str, Any]:
    money = "coalesce(sum(amount_minor)"
    found = _record(
        case,
        f"""SELECT {_COUNT}, {_FRAUDS}, count(*) FILTER (fraud AND {s}_alerted) AS caught,
            {money} FILTER (fraud AND {s}_alerted), 0) AS caught_minor,
            count(*) FILTER (fraud AND NOT {s}_alerted) AS missed,
            {money} FILTER (fraud AND NOT {s}_alerted), 0) AS missed_minor,
            {money} FILTER (fraud AND {s}_stopped), 0) AS stopped_minor,
            coalesce(sum(gross_minor) FILTER (fraud), 0) AS settled_minor,
            coalesce(sum(net_minor) FILTER (fraud), 0) AS net_minor,
            coalesce(sum(net_minor) FILTER (fraud AND NOT {s}_alerted), 0) AS missed_net_minor,
            count(*) FILTER (good) AS goods, count(*) FILTER (good AND {s}_alerted) AS goods_alerted,
            count(*) FILTER (refused AND NOT {s}_stopped) AS unknown,
            {money} FILTER (refused AND NOT {s}_stopped), 0) AS unknown_minor FROM counted""",
    )
    entities = _record(
        case,
        f"""SELECT count(first_us) / NULLIF(count(*) FILTER (frauds > 0), 0) AS adr,
            count(*) FILTER (frauds = 0 AND alerted) / NULLIF(count(first_us), 0) AS a_fpr,
            count(*) FILTER (touched) AS touched, count(*) FILTER (touched AND frauds = 0) AS touched_good
            FROM (SELECT entity, count(*) FILTER (fraud) AS frauds, bool_or({s}_alerted) AS alerted,
                         coalesce(bool_or({s} > 0), false) AS touched,
                         min(at_us) FILTER (fraud AND {s}_alerted) AS first_us
                  FROM counted WHERE entity IS NOT NULL GROUP BY entity)""",
    )
    vdr = one(
        case.db,
        f"""SELECT coalesce(sum(gross_minor) FILTER (at_us >= first_us), 0) / NULLIF(sum(gross_minor), 0)
            FROM (SELECT gross_minor, at_us,
                         min(CASE WHEN {s}_alerted THEN at_us END) OVER (PARTITION BY entity) AS first_us
                  FROM counted WHERE fraud AND entity IS NOT NULL)""",
    )
    told = {kind: n for (which, kind), n in case.notifications.items() if which == side}
    more = {
        "strategy": s, "vdr": vdr, "prevented_minor": prevented(case, s),
        "false_positive_ratio": found["goods_alerted"] / found["caught"] if found["caught"] else None,
        "alert_groups": told.get(OPENED, 0) if side >= 0 else None,
        "notifications": sum(told.values()) if side >= 0 else None,
    }  # fmt: skip
    return found | entities | more


def _record(case: Case, query: str) -> dict[str, Any]:
    return records(case.db, query)[0]


def prevented(case: Case, strategy: str) -> int:
    """Per entity, payee and 24 hours from the first, the largest declined fraud, capped by the balance where known."""
    attempts = streamed(
        case.db,
        f"""SELECT coalesce(entity, event_id), coalesce(payee, ''), at_us,
                   least(amount_minor, coalesce(balance_minor, amount_minor))
            FROM counted WHERE fraud AND {strategy} = {OUTCOMES.index("decline")} ORDER BY 1, 2, 3""",
    )
    total, key, until, largest = 0, ("", ""), 0, 0
    for entity, payee, at_us, amount in attempts:
        if (entity, payee) != key or at_us >= until:
            total, key, until, largest = total + largest, (entity, payee), at_us + DAY_US, 0
        largest = max(largest, amount or 0)
    return total + largest


def ranges(case: Case) -> pa.Table:
    """What immature and censored rows may still add."""
    found = []
    for s in case.strategies:
        for caught in (True, False):
            which = f"coalesce({s}_alerted, false) = {caught}"
            counts = {
                truth: (n, money)
                for truth, n, money in rows(
                    case.db,
                    f"SELECT truth, count(*), coalesce(sum(amount_minor), 0) FROM counted WHERE {which} GROUP BY truth",
                )
            }
            low, likely, high = _immature(case, which)
            for truth, span in (("immature", (low, likely, high)), ("censored", (0, None, None))):
                n, money = counts.get(truth, (0, 0))
                bounds = {"low_minor": span[0], "likely_minor": span[1]}
                bounds["high_minor"] = money if truth == "censored" else span[2]
                found.append(
                    {"strategy": s, "rows": truth, "caught": caught, "payments": n, "amount_minor": money} | bounds
                )
    return fitted("ranges", found)


def _immature(case: Case, which: str) -> tuple[int | None, int | None, int | None]:
    """The bootstrapped fraud money of immature rows; None without any verdict to learn from."""
    last = case.span.as_known_us
    frauds = arrays(
        case.db,
        f"""SELECT dense_rank() OVER (ORDER BY coalesce(entity, event_id)) - 1 AS entity,
                   at_us, labelled_us, amount_minor
            FROM counted WHERE fraud AND {which} ORDER BY n""",
    )
    if not len(frauds["at_us"]):
        return (None, None, None) if not case.known.labels else (0, 0, 0)
    days = arrays(
        case.db,
        f"""SELECT ({last} - at_us) // {DAY_US} AS age, coalesce(sum(amount_minor), 0)::DOUBLE AS money
            FROM counted WHERE {which} AND at_us <= {last} GROUP BY 1 ORDER BY 1""",
    )
    age = (last - frauds["at_us"]) // DAY_US
    delay = np.maximum(0, frauds["labelled_us"] - frauds["at_us"]) // DAY_US
    money = np.asarray(frauds["amount_minor"], float)
    return bootstrap(
        np.asarray(frauds["entity"]), age, delay, money, np.asarray(days["age"]), np.asarray(days["money"]),
        case.asked.replicates, case.asked.seed,
    )  # fmt: skip


def rules(case: Case) -> pa.Table:
    """Each rule, live or shadow, of both packs."""
    found: list[dict[str, Any]] = []
    for s, engine in zip(SIDES, case.engines, strict=True):
        live, shadows = engine.rules.live.rules, engine.rules.shadows
        hits, quiet = _hits(case, s, "hits", engine), _hits(case, s, "shadows", engine)
        unknown, failed, value = _said(case, s, "unknown"), _said(case, s, "failed"), _without(case, s, engine)
        for k, rule in enumerate(live):
            counted = hits.get(k, {}) | value.get(k, {}) | {"unknown": unknown.get(k, 0), "errors": failed.get(k, 0)}
            found.append(_rule_row(s, rule, counted, shadow=False))
        found += [_rule_row(s, rule, quiet.get(k, {}), shadow=True) for k, rule in enumerate(shadows)]
    return fitted("rules", found)


_NONE = dict.fromkeys(("hits", "hits_minor", "unique_hits", "goods", "frauds", "fraud_minor"), 0)
_WORTH = dict.fromkeys(("unknown", "errors", "changed", "value_minor", "cost_goods"), 0)


def _rule_row(strategy: str, rule: Condition, counted: Mapping[str, Any], *, shadow: bool) -> dict[str, Any]:
    found: dict[str, Any] = {**_NONE, **({} if shadow else _WORTH), **counted}
    return {
        "strategy": strategy, "rule": rule.id, "outcome": rule.outcome, "typology": rule.typology, "shadow": shadow,
        "silent": found["hits"] == 0,
        "false_positive_ratio": found["goods"] / found["frauds"] if found["frauds"] else None,
    } | found  # fmt: skip


def _hits(case: Case, s: str, column: str, engine: Engine) -> dict[int, dict[str, Any]]:
    codes = alert_codes(engine)
    alerting = [k for k, rule in enumerate(engine.rules.live.rules) if OUTCOMES.index(rule.outcome) in codes]
    others = f"len(list_filter({s}_hits, lambda x: x <> rule AND list_contains({alerting}::SMALLINT[], x))) = 0"
    query = f"""SELECT rule, count(*) AS hits, coalesce(sum(amount_minor), 0) AS hits_minor,
                       count(*) FILTER ({others}) AS unique_hits, count(*) FILTER (good) AS goods, {_FRAUDS}
                FROM (SELECT unnest({s}_{column}) AS rule, {s}_hits, amount_minor, good, fraud FROM counted)
                GROUP BY rule"""
    return {row.pop("rule"): row for row in records(case.db, query)}


def _said(case: Case, s: str, column: str) -> dict[int, int]:
    query = f"SELECT rule, count(*) FROM (SELECT unnest({s}_{column}) AS rule FROM counted) GROUP BY rule"
    return dict(rows(case.db, query))


def _without(case: Case, s: str, engine: Engine) -> dict[int, dict[str, Any]]:
    """What the strategy would do without a rule: marginal, so that two rules for the same frauds are worth nothing."""
    lost = f"alerted AND w % {OUTCOME_CODES} NOT IN {sql_list(alert_codes(engine))}"
    query = f"""SELECT w // {OUTCOME_CODES} AS rule, count(*) AS changed,
                       coalesce(sum(amount_minor) FILTER (fraud AND {lost}), 0) AS value_minor,
                       count(*) FILTER (good AND {lost}) AS cost_goods
                FROM (SELECT unnest({s}_without) AS w, {s}_alerted AS alerted, amount_minor, good, fraud FROM counted)
                GROUP BY rule"""
    return {row.pop("rule"): row for row in records(case.db, query)}


def overlaps(case: Case) -> pa.Table:
    """How often two rules hit together."""
    found = []
    for s, engine in zip(SIDES, case.engines, strict=True):
        names = [rule.id for rule in engine.rules.live.rules]
        query = f"""SELECT a, b, count(*) FROM (SELECT a, unnest(hits) AS b FROM
                    (SELECT unnest({s}_hits) AS a, {s}_hits AS hits FROM counted))
                    WHERE a < b GROUP BY ALL ORDER BY ALL"""
        found += [
            {"strategy": s, "rule": names[a], "other": names[b], "both": both} for a, b, both in rows(case.db, query)
        ]
    return fitted("overlaps", found)
