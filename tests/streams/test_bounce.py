"""A broker that bounces, and one of three that is killed: the lane keeps its state and goes on by itself."""

import time
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

from sekisho.testing.kafka import KafkaBroker
from streams.lane import Lane
from streams.topics import create_topics
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
