"""The router under seeded schedules of crashes, lost requests, lost answers and rebalances; sequences found again."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from sekisho.settings import TopicSettings
from streams.broker import BrokerError, Send
from streams.simulated import Cluster, SimulatedBroker
from streams.webhooks.archive import Archive, redeliver
from streams.webhooks.deliveries import Assembler
from streams.webhooks.outbox import Outbox
from streams.webhooks.records import decode_delivery
from streams.webhooks.router import ROUTING, Router
from tests.streams.webhooks.hooks_world import make_alert, raw_alert, webhook

TOPICS = TopicSettings(("payments",), control="control")
SEEDS = int(os.environ.get("SEKISHO_SCHEDULES", "150"))
HOOKS = (
    webhook(id="all"),
    webhook(id="large", filter="amount >= 50", batch=4),
    webhook(id="none", filter="amount < 0"),
)


class Killed(BaseException):
    """SIGKILL."""


class Deaf:
    """An office that delivers nothing and saves that it has begun."""

    def __init__(self) -> None:
        self.outboxes: list[Outbox] = []

    def open(self, outboxes: Sequence[Outbox]) -> None:
        self.outboxes = list(outboxes)

    def shut(self) -> None:
        self.outboxes = []

    def collect(self):
        changed = [outbox for outbox in self.outboxes if outbox.changed]
        for outbox in changed:
            outbox.changed = False
        return [(outbox.webhook.id, outbox.to_json()) for outbox in changed], []


def cluster_of() -> Cluster:
    return Cluster({"alerts": 3, TOPICS.deliveries: 1, TOPICS.webhooks: 1, TOPICS.undelivered: 1})


def deliveries(cluster: Cluster):
    return [decode_delivery(record) for record in cluster.committed(TOPICS.deliveries)[0]]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_sequences_have_no_gaps_whatever_crashes(seed: int) -> None:
    """Two routers, faults everywhere: each committed alert is routed once to each subscriber that wants it, each
    subscriber's sequence is 1, 2, 3 ..., aborted alerts are never seen, and batches are whole."""
    draw, cluster, calm = Random(seed), cluster_of(), False
    rates = {fault: draw.choice([0.0, 0.01, 0.05]) for fault in ("kill", "lose", "expire", "late")}

    def trouble(op: str) -> None:
        if calm:
            return
        if draw.random() < rates["kill"]:
            raise Killed
        if draw.random() < rates["lose"]:
            raise BrokerError(op)
        if draw.random() < rates["expire"] and cluster.members:
            cluster.members.pop(0)

    def late() -> bool:
        return not calm and draw.random() < rates["late"]

    routers: dict[str, Router] = {}

    def turn(name: str) -> None:
        if name not in routers:
            routers[name] = Router(SimulatedBroker(cluster, "webhooks", trouble, late), TOPICS, HOOKS, Deaf())
        try:
            routers[name].turn()
        except Killed:
            leadership = routers.pop(name)._leadership
            if leadership is not None and draw.random() < 0.7:
                leadership.close()

    written = 0
    for _ in range(120):
        if draw.random() < 0.4:
            good, running = draw.random() < 0.8, cluster.begin("lane")
            for _ in range(draw.randrange(1, 5)):
                value = raw_alert(written, amount=written % 100) if good else b'{"aborted":1}'
                cluster.produce(Send("alerts", draw.randrange(3), None, value), running)
                written += good
            cluster.end("lane", commit=good)
            cluster.settle("lane")
        turn(draw.choice("ab"))
    calm = True
    cluster.members = [m for m in cluster.members if m in [router._leadership for router in routers.values()]]
    for _ in range(60):
        turn("a")
        turn("b")
    found = deliveries(cluster)
    wanted = {"all": set(range(written)), "large": {k for k in range(written) if k % 100 >= 50}, "none": set()}
    for name, alerts in wanted.items():
        mine = [delivery for delivery in found if name in delivery.to]
        assert [delivery.to[name][0] for delivery in mine] == list(range(1, len(alerts) + 1)), (seed, name)
        assert {d.alert["id"] for d in mine} == {make_alert(k)["id"] for k in alerts}, (seed, name)
    raw = cluster.committed(TOPICS.deliveries)[0]
    batches = [item for item, _ in Assembler(HOOKS[1]).add(raw)]
    assert sum(item.last - item.first + 1 for item in batches) == len(wanted["large"])
    assert all(item.last - item.first < 4 for item in batches)


def test_a_record_that_is_no_alert_is_passed_over_and_told() -> None:
    """Somebody else writes to the alerts topic: it is counted and logged, and the rest goes on."""
    cluster, told = cluster_of(), list[str]()
    for value in (b"not JSON", b"[]", raw_alert(1)):
        cluster.produce(Send("alerts", 0, None, value))
    router = Router(SimulatedBroker(cluster, "w", lambda op: None, lambda: False), TOPICS, HOOKS, Deaf(), told.append)
    for _ in range(5):
        router.turn()
    assert router.status.phase == ROUTING and router.status.not_alerts == 2 and len(deliveries(cluster)) == 1
    assert told[0] == "alerts[0], offset 0: not an alert, passed over"


def test_a_new_subscriber_begins_with_one_and_with_what_comes() -> None:
    """Added later, it is not told of the past; the others count on."""
    cluster = cluster_of()
    broker = SimulatedBroker(cluster, "w", lambda op: None, lambda: False)
    for hooks, numbers in ((HOOKS[:1], range(5)), (HOOKS[:2], range(50, 55))):
        for k in numbers:
            cluster.produce(Send("alerts", 0, None, raw_alert(k, amount=k)))
        router = Router(broker, TOPICS, hooks, Deaf())
        for _ in range(5):
            router.turn()
        router.close()
    found = deliveries(cluster)
    assert [d.to["all"][0] for d in found] == list(range(1, 11))
    assert [d.to["large"][0] for d in found if "large" in d.to] == [1, 2, 3, 4, 5]


def archive_of(count: int) -> tuple[Cluster, SimulatedBroker, Archive]:
    """Deliveries of `count` alerts, a marker of a transaction behind every third."""
    cluster = cluster_of()
    broker = SimulatedBroker(cluster, "w", lambda op: None, lambda: False)
    router = Router(broker, TOPICS, HOOKS, Deaf())
    for k in range(count):
        cluster.produce(Send("alerts", 0, None, raw_alert(k, amount=k % 100)))
        if k % 3 == 0:
            router.turn()
    for _ in range(5):
        router.turn()
    router.close()
    return cluster, broker, Archive(broker, TOPICS.deliveries)


def test_what_was_missed_is_found_by_halving() -> None:
    """Any sequence of any subscriber, as a scan of the whole topic finds it."""
    cluster, broker, archive = archive_of(2600)
    redeliver(broker, TOPICS.deliveries, "all", 0, lambda delivery, sequence: sequence < 4)
    for name in ("all", "large"):
        scanned = [d.to[name][0] for d in deliveries(cluster) if name in d.to and d.sequences is not None]
        for after in (0, 1, 7, 499, 1250, scanned[-1] - 1, scanned[-1], scanned[-1] + 10):
            found = archive.after(name, after, 10)
            assert [sequence for sequence, _ in found] == [k for k in scanned if k > after][:10]
    assert archive.after("none", 0, 10) == [] and archive.after("nobody", 0, 10) == []


def test_a_redelivery_is_the_same_message() -> None:
    """By id or by sequence: same webhook-id, sequences and bytes; a batch goes whole."""
    cluster, broker, _ = archive_of(80)
    before = {item.first: item for item, _ in Assembler(HOOKS[1]).add(cluster.committed(TOPICS.deliveries)[0])}
    target = before[max(before)]
    count = redeliver(broker, TOPICS.deliveries, "large", 0, lambda d, sequence: sequence == target.last)
    assert count == target.last - target.first + 1
    *_, (again, _) = Assembler(HOOKS[1]).add(cluster.committed(TOPICS.deliveries)[0])
    assert again.again and again.message == target.message
    assert replace(again, again=False, offset=target.offset, since_s=target.since_s) == target


def test_the_kept_state_is_what_the_next_router_starts_from() -> None:
    """Positions and sequences of the webhooks topic's last records, whatever is in memory."""
    cluster, _, _ = archive_of(10)
    newest = {r.key: json.loads(r.value or b"") for r in cluster.committed(TOPICS.webhooks)[0]}
    assert newest[b"router"]["sequences"]["all"] == 10 and newest[b"router"]["positions"]["0"] == 10
    assert set(newest) == {b"router", *(f"subscriber {hook.id}".encode() for hook in HOOKS)}


def test_alerts_that_retention_has_removed_are_told_and_passed_over() -> None:
    """A worker that was away for longer than the alerts are kept goes on with what is left, and says what is not."""
    cluster, told = cluster_of(), list[str]()
    broker = SimulatedBroker(cluster, "w", lambda op: None, lambda: False)
    for k in range(3):
        cluster.produce(Send("alerts", 0, None, raw_alert(k)))
    router = Router(broker, TOPICS, HOOKS[:1], Deaf())
    for _ in range(4):
        router.turn()
    router.close()
    for k in range(3, 8):
        cluster.produce(Send("alerts", 0, None, raw_alert(k)))
    broker.bounds = lambda places: {place: (5 if place == ("alerts", 0) else 0, 8) for place in places}
    router = Router(broker, TOPICS, HOOKS[:1], Deaf(), told.append)
    for _ in range(4):
        router.turn()
    assert [d.alert["payment_id"] for d in deliveries(cluster)] == ["p0", "p1", "p2", "p5", "p6", "p7"]
    assert [d.to["all"][0] for d in deliveries(cluster)] == [1, 2, 3, 4, 5, 6]
    assert told == ["alerts[0]: offsets 3 to 4 are gone: retention; not routed"]
