"""A disposition labels the payments of its alert where the pack maps it, and says nothing where it does not."""

import json

from rules.controls import DISPOSITION, AlertMark
from sekisho.compile import compile_pack, wire_plan
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.packs import shipped_pack
from streams.dispositions import labels_of, members_of

PACK = load_pack(shipped_pack("card_payments"))
PLAN = wire_plan(compile_pack(PACK))
GROUP, OTHER = "a" * 32, "b" * 32


def notification(group: str, *payments: str | None) -> Message:
    members = [{"decision_id": f"d{k}", "payment_id": payment} for k, payment in enumerate(payments)]
    return Message("alerts", 0, 0, 0, group.encode(), json.dumps({"members": members}).encode())


def mark(word: str) -> AlertMark:
    return AlertMark("m1", 1_767_225_600_000_000, "sato", "", DISPOSITION, GROUP, None, word)


def test_the_members_are_all_that_any_notification_lists() -> None:
    """Once each, in their order; other groups and payments without an id apart."""
    alerts = [notification(GROUP, "p1", None), notification(OTHER, "p9"), notification(GROUP, "p1", None, "p2")]
    members = members_of(GROUP, alerts)
    assert list(members.payments) == ["p1", "p2"] and members.nameless == {"d1"}
    assert not members_of("c" * 32, alerts).payments


def test_the_pack_says_what_a_word_means() -> None:
    """One label a payment, of the mapped class; said again it has ids of its own; an unmapped word is no label."""
    labels = labels_of(PACK, PLAN, mark("false_positive"), ["p1", "p2"])
    records = [json.loads(label.raw) for label in labels]
    assert [record["payment"]["id"] for record in records] == ["p1", "p2"]
    assert {record["label"]["class"] for record in records} == {"genuine_confirmed"}
    assert {record["type"] for record in records} == {"label"} and len({label.id for label in labels}) == 2
    assert labels_of(PACK, PLAN, mark("unable_to_contact"), ["p1"]) == []
