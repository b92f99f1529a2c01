"""The outbox by itself: retries, breaker, pauses, rate, limits, what is kept; and what customers are given."""

import json
from dataclasses import replace
from random import Random

import pytest

from streams.webhooks.message import message_of
from streams.webhooks.outbox import WINDOW, Item, Outbox
from streams.webhooks.policy import DELIVERED, GONE, RETRY, Answer, delay_s, pause_s
from tests.streams.webhooks.hooks_world import make_alert, webhook

NOW = 1_790_000_000.0
OK, BUSY, BROKEN = Answer(200), Answer(429, retry_after="30"), Answer(500)


def outbox(count: int = 0, **values: object) -> Outbox:
    box = Outbox(webhook(**values), 0)
    for k in range(1, count + 1):
        give(box, k)
    return box


def give(box: Outbox, k: int, at_s: float = NOW) -> None:
    box.take(Item(k, k, k, at_s, message=message_of("case-tool", "internal", k, [make_alert(k)])), k + 1)


def test_a_message_is_tried_with_doubling_delays_and_jitter() -> None:
    """5 s, 10 s, 20 s ... four hours; chance takes away up to a half, and never adds."""
    assert [delay_s(k, 0.0) for k in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert delay_s(40, 0.0) == 4 * 3600 and delay_s(1, 0.999) == pytest.approx(2.5, abs=0.01)
    tries = 0
    at = 0.0
    while at < 72 * 3600:
        tries += 1
        at += delay_s(tries, 0.5)
    assert 20 < tries < 60


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, DELIVERED), (204, DELIVERED), (299, DELIVERED), (301, RETRY), (304, RETRY), (404, RETRY), (410, GONE)],
)
def test_2xx_alone_is_a_delivery(status: int, verdict: str) -> None:
    """A redirect is not followed, so nobody has the alert yet; 410 asks for no more calls."""
    assert Answer(status).verdict == verdict


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30), ("0", 0), ("-5", 0), ("1e9", 0), ("999999999", 86_400), ("soon", 0), ("", 0),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60), ("Mon, 21 Sep 2020 14:14:20 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    """What makes no sense asks for nothing; nobody is waited for longer than a day."""
    assert pause_s(header, 1_790_000_000.0) == pytest.approx(seconds, abs=1)


def test_a_message_that_fails_alone_holds_up_no_other() -> None:
    """One poisoned alert: the others pass, the breaker stays closed, and it is given up after its hours."""
    box, now = outbox(1, give_up_after_h=1), NOW
    for k in range(2, 200):
        now += 20
        if now < NOW + 3600:
            give(box, k, now)
        for item in box.ready(now):
            box.landed(item, BROKEN if item.offset == 1 else OK, now, 0.0)
        assert not box.breaker.open
    assert [each.item.first for each in box.given_up] == [1] and not box.items
    assert box.given_up[0].reason == "not delivered within 1 h; the last try: status 500"
    assert box.given_up[0].item.tries == 10  # 5 s doubled until the hour is over, in steps of 20 s


def test_the_breaker_probes_one_by_one() -> None:
    """Five failures in a row open it; then one call at a time, less and less often; one success opens the gate."""
    box = outbox(50)
    for item in box.ready(NOW):
        box.landed(item, BROKEN, NOW, 0.0)
    assert box.breaker.open and box.ready(NOW) == []
    now, probes = NOW, 0
    while now < NOW + 3600:
        now += 5
        sent = box.ready(now)
        assert len(sent) <= 1
        probes += len(sent)
        for item in sent:
            assert box.ready(now) == []
            box.landed(item, BROKEN, now, 0.0)
    assert 8 <= probes <= 12
    (probe,) = box.ready(now + 600)
    box.landed(probe, OK, now + 600, 0.0)
    assert len(box.ready(now + 600)) == box.webhook.parallel


def test_the_rate_is_kept() -> None:
    """Ten a second, whatever is waiting and however often it is asked."""
    box, now, sent = outbox(150, rate_per_s=10, parallel=64), NOW, 0
    for _ in range(1000):
        now += 0.01
        for item in box.ready(now):
            sent += 1
            box.landed(item, OK, now, 0.0)
    assert 95 <= sent <= 112


def test_parallel_calls_are_limited_and_a_pause_holds_all() -> None:
    """No more than `parallel` in flight; 429 with Retry-After pauses the subscriber."""
    box = outbox(50, parallel=3)
    sent = box.ready(NOW)
    assert len(sent) == 3 and box.ready(NOW) == []
    box.landed(sent[0], BUSY, NOW, 0.0)
    assert box.ready(NOW + 29) == [] and len(box.ready(NOW + 30)) == 1
    assert not box.breaker.open


def test_a_url_that_is_gone_stays_gone_until_it_changes_or_answers() -> None:
    """410 gives up what is owed; one that a person asks for is tried, and a success ends it; so does another URL."""
    box = outbox(1)
    (item,) = box.ready(NOW)
    box.landed(item, Answer(410), NOW, 0.0)
    assert box.is_gone and len(box.given_up) == 1
    assert not Outbox.from_json(webhook("https://new.example/"), box.to_json()).is_gone
    box.take(Item(7, 1, 1, NOW, again=True, message=item.message), 8)
    (again,) = box.ready(NOW)
    box.landed(again, OK, NOW, 0.0)
    assert not box.is_gone and not box.items


@pytest.mark.parametrize("seed", range(20))
def test_a_crash_at_any_point_loses_nothing(seed: int) -> None:
    """At random points the outbox is what was last saved: each message is delivered at least once, or given up."""
    draw = Random(seed)
    saved, on_topic, delivered, lost = json.dumps(Outbox(webhook(), 0).to_json()), 0, set[int](), set[int]()
    box, now = Outbox(webhook(give_up_after_h=1), 0), NOW
    for turn in range(600):
        now += draw.uniform(0, 40)
        on_topic += draw.randrange(3) if turn < 400 else 0
        while box.next_offset < on_topic and box.has_room:
            give(box, box.next_offset, now)
        for item in box.ready(now):
            answer = Answer(draw.choice((200, 200, 500, 429, None)), "broken")
            if answer.status == 200:
                delivered.add(item.offset)
            if draw.random() < 0.97:
                box.landed(item, answer, now, draw.random())
        if draw.random() < 0.5:
            saved = json.dumps(box.to_json())
            lost |= {each.item.offset for each in box.given_up}
            box.given_up.clear()
        if draw.random() < 0.05:
            box = Outbox.from_json(webhook(give_up_after_h=1), json.loads(saved))
            assert box.ready(now) == [] and all(item.message is None for item in box.items.values())
            for offset, item in box.items.items():
                box.take(replace(item, message=message_of("case-tool", "internal", offset, [make_alert(offset)])), 0)
    assert delivered | lost | set(box.items) | set(range(box.next_offset, on_topic)) == set(range(on_topic))
    assert len(delivered) > 300


def test_the_window_bounds_memory() -> None:
    """A receiver that is away holds WINDOW messages in memory; the rest waits on the topic."""
    box = outbox(WINDOW)
    assert not box.has_room
    box.landed(box.ready(NOW)[0], OK, NOW, 0.0)
    assert box.has_room


def test_a_customers_subscriber_is_given_no_reason() -> None:
    """Tipping off is illegal: rules, scores, internal reasons, queues and entities are not in the body."""
    body = json.loads(message_of("app", "customer", 3, [make_alert(3)]).body)
    assert body["data"]["customer_reasons"] and body["sequence"] == 3
    assert not {"reasons", "rules", "typologies", "score", "queue", "owner", "entities", "members"} & set(body["data"])


def test_a_batch_is_one_message_with_a_stable_id() -> None:
    """The same alerts under the same numbers are the same bytes under the same id."""
    alerts = [make_alert(k) for k in range(3)]
    one, two = (message_of("case-tool", "internal", 5, alerts) for _ in range(2))
    assert one == two and one.id != message_of("case-tool", "internal", 6, alerts).id
    body = json.loads(one.body)
    assert (body["first_sequence"], body["sequence"]) == (5, 7)
    assert [item["sequence"] for item in body["data"]] == [5, 6, 7]
