"""POST /v1/labels without a broker: answered when the brokers have it, all or none, once a key, within its rate."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from sekisho.compile import compile_pack, wire_plan
from sekisho.labels import KEYED
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from streams.broker import BrokerError
from streams.label_page import Allowance, LabelDoor
from streams.web import bears, body_of

PACK = load_pack(shipped_pack("card_payments"))
PLAN = wire_plan(compile_pack(PACK))
GOOD = {"payment_id": "p1", "label_class": "fraud"}


class Topic:
    """Keeps records, or is away. breaks_after: how many more it takes before it goes away."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.breaks_after = 1 << 30

    def send(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        for record in records:
            if not self.breaks_after:
                raise BrokerError("away")
            self.breaks_after -= 1
            self.records.append(record)

    def recent(self, keys: Iterable[bytes]) -> set[bytes]:
        return {key for key, _ in self.records if key[:KEYED] in {each[:KEYED] for each in keys}}


@pytest.fixture
def topic() -> Topic:
    return Topic()


def door_of(topic: Topic) -> LabelDoor:
    return LabelDoor(lambda: (PACK, PLAN), topic, 10.0, lambda: 1_767_225_600.0)


@pytest.fixture
def door(topic: Topic) -> LabelDoor:
    return door_of(topic)


def take(door: LabelDoor, body: object, key: str = "") -> tuple[int, dict[str, Any]]:
    return asyncio.run(door.take(body if isinstance(body, bytes) else json.dumps(body).encode(), key))


def test_a_key_is_answered_once_and_the_same_whoever_is_asked(topic: Topic) -> None:
    """Sent once, by whichever worker, before and after a restart; other labels under the key are refused."""
    first = take(door_of(topic), GOOD, "k")
    assert first[0] == 202 and take(door_of(topic), GOOD, "k") == first and len(topic.records) == 1
    assert take(door_of(topic), GOOD | {"label_class": "mule"}, "k")[0] == 422
    assert first[1]["ids"] == [topic.records[0][0].decode()]
    assert take(door_of(topic), GOOD, "another")[0] == 202 and len(topic.records) == 2


def test_what_broke_off_is_made_whole(door: LabelDoor, topic: Topic) -> None:
    """A worker that ends halfway through a request: the same again sends the rest, and each label is there once."""
    labels = [GOOD | {"payment_id": f"p{k}"} for k in range(5)] + [GOOD | {"id": "the-bank's-own"}]
    topic.breaks_after = 3
    assert take(door, labels, "k")[0] == 503
    topic.breaks_after = 1 << 30
    status, answer = take(door_of(topic), labels, "k")
    assert status == 202 and answer["accepted"] == 6 and "the-bank's-own" in answer["ids"]
    assert sorted(key.decode() for key, _ in topic.records) == sorted(answer["ids"])
    assert take(door, labels, "k") == (status, answer) and len(topic.records) == 6


def test_what_waits_has_an_end(door: LabelDoor, topic: Topic) -> None:
    """Beyond some requests at once the rest is told to come again: bodies that wait are memory."""

    async def many() -> list[int]:
        return [each[0] for each in await asyncio.gather(*(door.take(b"[]", "") for _ in range(100)))]

    assert Counter(asyncio.run(many())) == {400: 64, 429: 36}


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


def test_a_body_ends_in_size_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """None beyond the limit, without reading on; TimeoutError where it stops in the middle."""
    monkeypatch.setattr("streams.web._PATIENCE_S", 0.05)

    class Sends:
        def __init__(self, parts: int, then_s: float = 0.0) -> None:
            self.content, self.parts, self.then_s = self, parts, then_s

        async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
            for _ in range(self.parts):
                self.parts -= 1
                yield b"12345"
            await asyncio.sleep(self.then_s)

    endless = Sends(1000)
    assert asyncio.run(body_of(Sends(2), 10)) == b"1234512345"
    assert asyncio.run(body_of(endless, 12)) is None and endless.parts == 997
    with pytest.raises(TimeoutError):
        asyncio.run(body_of(Sends(1, then_s=5.0), 12))


class Asks:
    """A request with nothing but its header."""

    def __init__(self, authorization: str) -> None:
        self.headers = {"authorization": authorization}


def test_the_token_is_compared_whole() -> None:
    """No prefix, no other scheme, no bytes that are no text."""
    token = "a token of some length"
    assert bears(Asks(f"Bearer {token}"), token) and bears(Asks(f"Bearer {token}"), token.encode())
    for wrong in ("", "Bearer ", f"Bearer {token[:-1]}", f"Bearer {token} ", f"Basic {token}", "Bearer \udcff"):
        assert not bears(Asks(wrong), token), wrong


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
