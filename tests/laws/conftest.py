"""Small packs from a few lines of SQL, and plain events for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from features.schema import Field, Schema
from features.sql import parse_query
from rules.records import AlertPolicy, RuleSet
from sekisho.pack import EventPolicy, LabelPolicy, Leg, Pack
from sekisho.testing.reference.intake import Event

FIELDS = (
    Field("event_id", "id", required=True),
    Field("event_time", "time", required=True),
    Field("kind", "category", required=True),
    Field("payment_id", "id"),
    Field("card_id", "id", required=True),
    Field("amount", "money", exponent=2),
    Field("ratio", "double"),
    Field("label_class", "category"),
    Field("reversal", "bool"),
)
LABELS = LabelPolicy(reversal_field="reversal")
POLICY = EventPolicy(inherit=("amount",))


@pytest.fixture(scope="session")
def make_pack() -> Callable[..., Pack]:
    """make_pack(features, kinds, rules, legs, alert, **policy): a pack; a log of payments alone needs no kinds."""

    def make(
        features: str, kinds: tuple[str, ...] = ("payment",), rules: RuleSet = RuleSet(), legs: tuple[Leg, ...] = (),
        alert: AlertPolicy | None = None, **policy: Any,
    ) -> Pack:  # fmt: skip
        schema = Schema(FIELDS, kinds)
        query = parse_query(features, schema)
        events = replace(POLICY, **policy)
        return Pack("small", "", "tests", "0" * 64, schema, events, LABELS, legs, query, rules, (), alert)

    return make


@pytest.fixture(scope="session")
def make_event() -> Callable[..., Event]:
    """make_event(number, at_us, **fields): a payment of card c, the number-th record of its log."""

    def make(number: int, at_us: int, **fields: Any) -> Event:
        base = {"event_id": f"e{number}", "event_time": at_us, "kind": "payment", "card_id": "c"}
        return base | {"topic": "t", "partition": 0, "offset": number} | fields

    return make
