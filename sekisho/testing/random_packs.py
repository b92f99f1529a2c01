"""Seeded random packs: schemas, features.sql and rule conditions over all that the dialect knows.

A pack is made as text and read by the real parser, so that parser, engine, specification and DuckDB all start from the
same words. What is drawn here is meant to be right; what must be refused is tested beside the parser.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from features.query import Query
from features.refusal import Refusal
from features.schema import Field, Schema
from features.sheet import Layout
from features.sql import parse_condition, parse_query
from features.types import Type
from features.window_plan import plan_windows
from rules.records import OUTCOMES, STAGES, AlertPolicy, ListEntry, Reasons, Rule, RuleSet, ShadowRule
from sekisho.pack import EventPolicy, LabelPolicy, Leg, Pack
from sekisho.testing.random_logs import SECOND_US, START_US, random_log
from sekisho.testing.random_sql import random_condition, random_features
from sekisho.testing.reference.intake import Event

KINDS = ("payment", "outcome", "label", "login", "credit")


def random_schema(rng: Random) -> Schema:
    """Fields of every type. Some keys are required, the others can be NULL."""
    return Schema(
        (
            Field("event_id", "id", required=True),
            Field("event_time", "time", required=True),
            Field("kind", "category", required=True),
            Field("payment_id", "id"),
            Field("card_id", "id", required=rng.random() < 0.5),
            Field("terminal_id", "id"),
            Field("account_id", "id", required=rng.random() < 0.3),
            Field("amount", "money", rng.choice((0, 2))),
            Field("quantity", "number", rng.choice((0, 1, 3))),
            Field("ratio", "double"),
            Field("country", "category"),
            Field("is_online", "bool"),
            Field("note", "text"),
            Field("occurred_at", "time"),
            Field("label_class", "category"),
            Field("reversal", "bool"),
        ),
        kinds=KINDS,
    )


def random_case(
    seed: int, events: int = 60, overflow: bool = False, in_order: bool = False
) -> tuple[Pack, list[Event]]:
    """A random pack and a random log for it. Equal seeds give equal cases."""
    pack = random_pack(seed, overflow=overflow)
    return pack, random_log(Random(seed), pack.policy, events, in_order)


def random_pack(seed: int, calls: int = 6, overflow: bool = False) -> Pack:
    """A whole pack: schema, policies, features, rules, lists. Equal seeds give equal packs.

    overflow: some products leave the range of their type, which DuckDB answers with an error for the whole query.
    Now and then a draft says what the dialect refuses (the variance of a sum, say); then another is drawn.
    """
    rng = Random(seed)
    schema = random_schema(rng)
    query = _accepted_features(rng, schema, calls, overflow)
    watched = tuple(
        ListEntry(value, START_US, START_US + rng.choice((1, 3600, 10**6)) * SECOND_US) for value in ("c0", "t1", "JP")
    )
    lists = {"watched": watched}
    leg_fields = {"account_id": "card_id", "card_id": "account_id", "amount": "amount"}
    settled = parse_condition("kind = 'outcome' AND note = 'settled'", schema.columns(), lists)
    return Pack(
        name=f"random_{seed}",
        description="",
        owner="",
        hash=f"{seed:064x}",
        schema=schema,
        policy=_random_policy(rng),
        labels=LabelPolicy(names=("payment_id", "card_id"), reversal_field="reversal"),
        legs=(Leg(settled, "credit", leg_fields),) if rng.random() < 0.7 else (),
        query=query,
        rules=_random_rules(rng, schema.columns() | dict(query.features), lists, overflow),
        models=(),
        alert=_random_alerts(rng),
    )


def _accepted_features(rng: Random, schema: Schema, calls: int, overflow: bool) -> Query:
    for _ in range(50):
        try:
            query = parse_query(random_features(rng, schema, calls, overflow), schema)
            _plan(query, schema)
        except Refusal:
            continue
        return query
    raise AssertionError("fifty drafts of features.sql were refused")


def _plan(query: Query, schema: Schema) -> None:
    """Refusal where the window engine cannot take a call."""
    layout = Layout()
    for name, type in schema.columns().items():
        layout.add(name, type)
    for stage in query.stages:
        plan_windows(stage.windows, layout, 0)
        for name, expr in stage.outputs:
            if name not in layout:
                layout.add(name, expr.type)


def _random_policy(rng: Random) -> EventPolicy:
    return EventPolicy(
        lateness_us=rng.choice((0, 60, 3600, 86_400, 86_400)) * SECOND_US,
        max_clock_skew_us=60 * SECOND_US,
        dedup_horizon_us=rng.choice((10, 3600, 10**6)) * SECOND_US,
        inherit_horizon_us=rng.choice((10, 3600, 10**6)) * SECOND_US,
        inherit=("card_id", "terminal_id", "amount"),
    )


def _random_alerts(rng: Random) -> AlertPolicy:
    return AlertPolicy(
        group_by=("terminal_id", "card_id"),
        quiet_us=rng.choice((10, 3600)) * SECOND_US,
        max_open_us=rng.choice((60, 7200)) * SECOND_US,
        escalate_on=rng.choice((("outcome", "typology"), ("outcome", "typology", "amount"))),
        amount_field="amount",
        storm_limit=rng.choice((2, 50)),
    )


def _random_rules(
    rng: Random, columns: dict[str, Type], lists: dict[str, tuple[ListEntry, ...]], overflow: bool
) -> RuleSet:
    kinds = {name: _kind(type) for name, type in columns.items() if name != "event_id"}
    conditions = [random_condition(rng, kinds) for _ in range(6)]
    if overflow:
        conditions[0] = f"amount * 5000 > 3 OR ({conditions[0]})"
    rules = [_random_rule(rng, k, sql, columns, lists) for k, sql in enumerate(conditions)]
    normal = tuple(rule.id for rule in rules if rule.stage == "normal")
    rules = [replace(rule, lifts=normal[:2]) if rule.stage == "exempt" else rule for rule in rules]
    shadows = [ShadowRule(**vars(rule) | {"id": f"shadow_{rule.id}"}) for rule in rules if rng.random() < 0.2]
    return RuleSet(tuple(rules), tuple(shadows), lists)


def _random_rule(
    rng: Random, number: int, sql: str, columns: dict[str, Type], lists: dict[str, tuple[ListEntry, ...]]
) -> Rule:
    stage = rng.choice((*STAGES, "normal"))
    fallbacks = ("ignore", "review", "outcome")
    return Rule(
        id=f"r{number}",
        when=parse_condition(sql, columns, lists),
        when_sql=sql,
        outcome="approve" if stage == "exempt" else rng.choice(OUTCOMES[1:]),
        reasons=Reasons(f"reason {number}", f"理由 {number}"),
        owner="fraud team",
        typology=rng.choice(("cnp", "mule")),
        stage=stage,
        on_unknown=rng.choice(fallbacks),
        on_error=rng.choice(fallbacks),
        expires_us=START_US + 7200 * SECOND_US if rng.random() < 0.2 else None,
    )


def _kind(type: Type) -> str:
    return "exact" if type.exact else type.kind.value
