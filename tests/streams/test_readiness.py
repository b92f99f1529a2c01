"""Whether a standby tells that nobody leads: in a simulation, and on a real broker with a lane that hangs."""

import time
from collections.abc import Callable

from sekisho.settings import LaneSettings
from sekisho.testing.kafka import KafkaBroker
from streams.broker import Send
from streams.lane import ACTIVE, FOLLOWING, Lane
from streams.metrics import render_metrics
from streams.readiness import why_not_ready
from streams.simulated import Cluster, SimulatedBroker, SimulatedLeadership
from streams.topics import create_topics
from tests.streams.standins import Kept, Offered
from tests.streams.test_bounce import Turning, longer, not_ready, until
from tests.streams.test_lane import check, lane_of, produce, settings_for
from tests.streams.test_simulation import TOPICS

SESSION_S = 6.0


class Pair:
    """An active lane and a standby on a simulated cluster."""

    def __init__(self) -> None:
        self.cluster = Cluster({"payments": 2, "decisions": 2, "alerts": 1, "dead": 1, "journal": 1})
        self.active, self.standby = self.lane(), self.lane()
        for _ in range(10):
            self.active.turn()
            self.standby.turn()
        assert (self.active.status.phase, self.standby.status.phase) == (ACTIVE, FOLLOWING)

    def lane(self) -> Lane:
        kept = Kept()
        broker = SimulatedBroker(self.cluster, "lane", lambda op: None, lambda: False)
        return Lane(broker, Offered(kept), kept, TOPICS, LaneSettings())

    def why(self) -> str:
        return why_not_ready(self.standby.status, self.cluster.clock, SESSION_S)

    def follow(self, seconds: float, also: Callable[[], None] = lambda: None) -> str:
        """Only the standby turns for so long; what it says then."""
        end = self.cluster.clock + seconds
        while self.cluster.clock < end:
            also()
            self.standby.turn()
            self.cluster.clock += 0.01
        return self.why()


def test_payments_that_nobody_decides_are_told_after_a_takeover_is_due() -> None:
    """The active lane stops and its session goes on: whoever asks the standby hears of it, until it has taken over."""
    pair = Pair()
    assert pair.follow(60) == "", "nothing waits, so nobody is missed"
    pair.cluster.produce(Send("payments", 0, None, b"payment"))
    assert pair.follow(SESSION_S + 1.9) == "", "the session and a takeover are waited for"
    assert pair.follow(0.3).startswith("waiting for a leader: payments have been at hand for 8.")
    assert "sekisho_leaderless_seconds 8." in render_metrics(pair.standby)
    pair.cluster.members.pop(0)
    pair.follow(1)
    assert (pair.standby.status.phase, pair.standby.status.decisions, pair.why()) == (ACTIVE, 1, "")
    assert "sekisho_leaderless_seconds 0" in render_metrics(pair.standby)


def test_a_leader_that_decides_is_not_missed() -> None:
    """Payments come all the time and the active lane decides them: the standby stays ready."""
    pair = Pair()

    def on() -> None:
        pair.cluster.produce(Send("payments", 0, None, b"payment"))
        pair.active.turn()

    for _ in range(20):
        assert pair.follow(1, on) == ""


def test_a_group_that_does_not_meet_is_told(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Without any payment, too: then nobody can be known to lead, whichever clients ask."""
    pair = Pair()
    monkeypatch.setattr(SimulatedLeadership, "has_met", lambda self: False)
    assert pair.follow(SESSION_S + 1.9) == ""
    pair.standby._leave()  # a client made anew has not met the group either
    assert pair.follow(0.3) == "waiting for a leader: the workers' group has not met for 8.2 s"
    monkeypatch.undo()
    assert pair.follow(0.1) == ""


def test_a_lane_that_hangs_is_missed_by_its_standby(broker: KafkaBroker, prefix: str) -> None:
    """On a real broker, whose clients keep the session of a lane that does nothing: the standby is not ready."""
    settings = longer(settings_for(broker.bootstrap, prefix))
    create_topics(settings)
    produce(settings, 100)
    one = lane_of(settings, prefix)
    with Turning(one) as hanging:
        hanging.wait(100)
        with Turning(lane_of(settings, prefix)) as standby:
            standby.wait(100)
            until(lambda: standby.lane.status.phase == FOLLOWING and not not_ready(standby.lane))
            hanging.stop.set()
            hanging.thread.join()
            produce(settings, 100)
            started = time.monotonic()
            until(lambda: not_ready(standby.lane).startswith("waiting for a leader: payments have been at hand"))
            took = time.monotonic() - started
            one.close()
            standby.wait(200)
            until(lambda: not not_ready(standby.lane))
            print(f"told after {took:.1f} s")
    check(settings, prefix)
