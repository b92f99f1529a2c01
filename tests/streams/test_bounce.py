"""A broker that bounces, and one of three that is killed: the lane keeps its state and goes on by itself."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from sekisho.settings import Settings
from sekisho.testing.kafka import KafkaBroker
from streams.client import KafkaBroker as Clients
from streams.lane import ACTIVE, FOLLOWING, Lane
from streams.readiness import why_not_ready
from streams.topics import create_topics
from tests.streams.standins import Kept, Offered
from tests.streams.test_lane import check, lane_of, produce, settings_for


class Turning:
    """A lane that turns in a thread of its own."""

    def __init__(self, lane: Lane) -> None:
        self.lane, self.stop = lane, Event()
        self.thread = Thread(target=self._run)

    def _run(self) -> None:
        while not self.stop.is_set():
            self.lane.turn()

    def wait(self, decided: int, seconds: float = 60.0) -> float:
        """Seconds until so many payments are decided."""
        started = time.monotonic()
        while sum(self.lane.status.positions.values()) < decided:
            assert time.monotonic() < started + seconds, self.lane.status
            time.sleep(0.005)
        return time.monotonic() - started

    def __enter__(self) -> "Turning":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.lane.close()


def test_a_lane_keeps_its_state_when_the_broker_bounces(broker: KafkaBroker, prefix: str) -> None:
    """L10: the broker is killed and comes back; the lane goes on with its state, nothing is lost."""
    settings = settings_for(broker.bootstrap, prefix)
    create_topics(settings)
    produce(settings, 1_000)
    with Turning(lane_of(settings, prefix)) as turning:
        turning.wait(1_000)
        started = time.monotonic()
        broker.restart()
        restarted = time.monotonic()
        produce(settings, 1_000)
        produced = time.monotonic()
        turning.wait(2_000)
        print(
            f"broker away {restarted - started:.1f} s; writable {produced - restarted:.2f} s later; "
            f"decided {time.monotonic() - produced:.2f} s after that; {turning.lane.status.errors} errors"
        )
        assert turning.lane.fold.status.rebuilds == 1
    check(settings, prefix)


def test_one_of_three_brokers_is_killed(tmp_path: Path, broker: KafkaBroker, prefix: str) -> None:
    """L10: with replication 3 the lane goes on when any broker dies, and nothing is lost."""
    with KafkaBroker.cluster(tmp_path) as brokers:
        settings = settings_for(",".join(each.bootstrap for each in brokers), prefix)
        settings = replace(settings, topics=replace(settings.topics, replication=3))
        create_topics(settings)
        produce(settings, 1_000)
        with Turning(lane_of(settings, prefix)) as turning:
            turning.wait(1_000)
            brokers[0].kill()
            killed = time.monotonic()
            produce(settings, 1_000)
            turning.wait(2_000)
            print(f"one of three killed; 1,000 more payments decided {time.monotonic() - killed:.1f} s later")
        check(settings, prefix)


SESSION_S = 3.0


def until(good: Callable[[], bool], seconds: float = 60.0) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not good():
        assert time.monotonic() < started + seconds
        time.sleep(0.005)
    return time.monotonic() - started


def not_ready(lane: Lane) -> str:
    return why_not_ready(lane.status, lane.broker.now(), SESSION_S)


def longer(settings: Settings) -> Settings:
    return replace(settings, lane=replace(settings.lane, session_timeout_ms=int(SESSION_S * 1000)))


@pytest.mark.parametrize("fault", ["killed", "hangs"])
def test_a_broker_that_is_silent_is_told_within_the_session(broker: KafkaBroker, prefix: str, fault: str) -> None:
    """With no payment on its way, an active worker and a standby are not ready before their session would end, and
    ready again by themselves."""
    settings = longer(settings_for(broker.bootstrap, prefix))
    create_topics(settings)
    produce(settings, 100)
    with Turning(lane_of(settings, prefix)) as one:
        one.wait(100)
        with Turning(lane_of(settings, prefix)) as two:
            two.wait(100)
            both = one.lane, two.lane
            until(lambda: not any(map(not_ready, both)))
            assert {lane.status.phase for lane in both} == {ACTIVE, FOLLOWING}
            broker.kill() if fault == "killed" else broker.pause()
            took = until(lambda: all(map(not_ready, both)))
            said = not_ready(one.lane)
            assert took < SESSION_S and said.startswith("waiting: no word from the brokers")
            broker.run() if fault == "killed" else broker.resume()
            produce(settings, 100)
            back = one.wait(200)
            until(lambda: not any(map(not_ready, both)))
            print(
                f"{fault}: not ready after {took:.2f} s ({said}); decided {back:.2f} s after the broker took payments"
            )
    check(settings, prefix)


def test_another_cluster_at_the_same_address_is_left_alone(tmp_path: Path, broker: KafkaBroker, prefix: str) -> None:
    """A lane whose state is of one cluster neither reads nor writes another, says so, and goes on with its own."""
    settings = replace(settings_for(broker.bootstrap, prefix), state=tmp_path)
    create_topics(settings)
    produce(settings, 500)
    kept, lines = Kept(prefix=prefix), list[str]()
    lane = Lane(Clients(settings, owner=True), Offered(kept), kept, settings.topics, settings.lane, lines.append)
    with Turning(lane) as turning:
        turning.wait(500)
        broker.kill()
        try:
            fields = {"port": broker.port, "cluster_id": "b3RoZXItdGVzdHM"}
            with KafkaBroker.start(tmp_path / "other", **fields) as other:
                create_topics(settings_for(other.bootstrap, prefix))
                until(lambda: "b3RoZXItdGVzdHM" in not_ready(lane))
                time.sleep(1.0)
                said, errors = not_ready(lane), lane.status.errors
                assert "c2VraXNoby10ZXN0cw" in said and str(tmp_path) in said
                time.sleep(2.0)
                assert lane.status.errors - errors <= 12 and sum("of cluster" in line for line in lines) <= 3
                ends = Clients(settings_for(other.bootstrap, prefix)).bounds([(settings.topics.journal, 0)])
                assert set(ends.values()) == {(0, 0)}
        finally:
            broker.run()
        produce(settings, 500)
        turning.wait(1000)
        until(lambda: not not_ready(lane))
        assert lane.fold.status.rebuilds == 1
    check(settings, prefix)
