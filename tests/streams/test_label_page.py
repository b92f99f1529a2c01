"""POST /v1/labels without a broker: answered when the brokers have it, all or none, once a key, within its rate."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from sekisho.compile import compile_pack, wire_plan
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from streams.broker import BrokerError
from streams.label_page import Allowance, LabelDoor

PACK = load_pack(shipped_pack("card_payments"))
PLAN = wire_plan(compile_pack(PACK))
GOOD = {"payment_id": "p1", "label_class": "fraud"}


class Topic:
    """Takes records, or is away."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.away = False

    def __call__(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        if self.away:
            raise BrokerError("away")
        self.records += records


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def door(topic: Topic) -> LabelDoor:
    return LabelDoor(b"a token of some length", lambda: (PACK, PLAN), topic, 10.0, lambda: 1_767_225_600.0)


def take(door: LabelDoor, body: object, key: str = "") -> tuple[int, dict[str, Any]]:
    return asyncio.run(door.take(body if isinstance(body, bytes) else json.dumps(body).encode(), key))


def test_a_key_is_answered_once_and_the_same(door: LabelDoor, topic: Topic) -> None:
    """Sent once; another body under the key is refused; a failure is not remembered."""
    topic.away = True
    assert take(door, GOOD, "k")[0] == 503
    topic.away = False
    first = take(door, GOOD, "k")
    assert first[0] == 202 and take(door, GOOD, "k") == first and len(topic.records) == 1
    assert take(door, GOOD | {"label_class": "mule"}, "k")[0] == 422
    assert first[1]["ids"] == [topic.records[0][0].decode()]


def test_all_are_taken_or_none(door: LabelDoor, topic: Topic) -> None:
    """One bad label refuses the request and is named; two equal ones are one event."""
    status, answer = take(door, [GOOD, {"payment_id": "p2"}])
    assert status == 400 and [each["label"] for each in answer["refused"]] == [1] and not topic.records
    assert take(door, [GOOD, GOOD])[0] == 202 and len(topic.records) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"7", b"[1]", b"[]", b"[" * 100_000, json.dumps([GOOD] * 1001).encode()])
def test_a_body_that_is_none_is_refused(door: LabelDoor, topic: Topic, body: bytes) -> None:
    """400 with a reason, whatever comes."""
    status, answer = take(door, body)
    assert status == 400 and answer["error"] and not topic.records


def test_the_token_is_compared_whole(door: LabelDoor) -> None:
    """No prefix, no other scheme, no bytes that are no text."""
    assert door.allows("Bearer a token of some length")
    for wrong in ("", "Bearer ", "Bearer a token of some lengt", "Basic a token of some length", "Bearer \udcff"):
        assert not door.allows(wrong)


def test_an_allowance_is_spent_and_comes_back() -> None:
    """A full request at once, then the rate; a request that must wait spends nothing."""
    now = [0.0]
    allowance = Allowance(10.0, lambda: now[0])
    assert allowance.wait_s(1000) == 0 and allowance.wait_s(5) == 0.5
    now[0] = 0.5
    assert allowance.wait_s(5) == 0 and allowance.wait_s(1) > 0
    now[0] = 10_000.0
    assert allowance.wait_s(1000) == 0


def test_too_many_are_told_when_to_come_again(door: LabelDoor, topic: Topic) -> None:
    """429, and nothing is sent."""
    assert take(door, [GOOD | {"payment_id": f"p{k}"} for k in range(1000)])[0] == 202
    status, answer = take(door, [GOOD] * 100)
    assert status == 429 and 0 < answer["retry_after_s"] <= 10 and len(topic.records) == 1000
