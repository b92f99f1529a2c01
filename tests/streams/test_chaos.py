"""Chaos on a real broker: kills at armed points and at random, zombies, broker crashes, while payments come.

`make chaos` runs 200 kills, 30 zombies and 20 broker crashes; a plain run each kind once, for both deliveries.
SEKISHO_CHAOS="kills,zombies,brokers" sets the numbers, SEKISHO_CHAOS_SEED the seed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from sekisho.journal import decode
from sekisho.settings import Settings
from sekisho.testing.kafka import KafkaBroker
from streams.topics import create_topics
from tests.streams.test_lane import SESSION_MS, check, produce, read_all, settings_for

ROOT = Path(__file__).parents[2]
STEADY_S = 0.3
ARMED = {
    "exactly-once": (
        "begin before", "send within", "journal before", "commit before", "commit within", "commit after", "takeover",
        "snapshot",
    ),
    "at-least-once": (
        "append before", "append within", "append after", "send within", "flush before", "takeover", "snapshot",
    ),
}  # fmt: skip


def acts(delivery: str) -> list[tuple[str, bool]]:
    """What befalls the workers, one after the other, each with a standby (True) or without."""
    wanted = os.environ.get("SEKISHO_CHAOS", "")
    if not wanted or delivery != "exactly-once":
        names = [*ARMED[delivery], "kill", "zombie", "broker", "standby"]
        return [(name, k % 3 < 2 or name in ("takeover", "standby")) for k, name in enumerate(names)]
    kills, zombies, brokers = map(int, wanted.split(","))
    points = [*ARMED[delivery], "kill", "kill"]
    names = [points[k % len(points)] for k in range(kills)] + ["zombie"] * zombies + ["broker"] * brokers
    draw = Random(int(os.environ.get("SEKISHO_CHAOS_SEED", "1")))
    draw.shuffle(names)
    return [(name, name == "takeover" or draw.random() < 0.6) for name in names]


class Workers:
    """Lanes in processes of their own, by name, each with a log of its phases."""

    def __init__(self, settings: Settings, prefix: str, folder: Path) -> None:
        self.command = [sys.executable, "-m", "tests.streams.standin_worker", settings.kafka.bootstrap, prefix]
        self.command += [settings.lane.delivery, str(folder)]
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log)

    def arm(self, point: str) -> None:
        """The next worker that comes to this point kills itself: see ARMED."""
        (self.folder / "armed.new").write_text(point)
        (self.folder / "armed.new").rename(self.folder / "armed")

    def phase(self, name: str) -> str:
        """What the worker said last of itself, or "dead"."""
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        phases = [line.removeprefix("phase ") for line in lines if line.startswith("phase ")]
        status = self.running[name].poll()
        assert status in (None, -signal.SIGKILL), f"worker {name} ended with {status}: {lines[-20:]}"
        return "dead" if status is not None else phases[-1] if phases else ""

    def wait(self, phase: str, seconds: float = 240.0) -> str:
        """The name of a worker that is in this phase. A busy machine may leave a worker without CPU for a minute."""
        deadline = time.monotonic() + seconds
        while True:
            for name in self.running:
                if self.phase(name) == phase:
                    return name
            assert time.monotonic() < deadline, {name: self.phase(name) for name in self.running}
            time.sleep(0.02)

    def only_active(self) -> str:
        """The worker that is active, once no other says so: a zombie does, until it looks."""
        since = time.monotonic()
        while time.monotonic() < since + STEADY_S:
            name = self.wait("active")
            if any(self.phase(other) == "active" for other in self.running.keys() - {name}):
                since = time.monotonic()
            time.sleep(0.02)
        return name

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running.pop(name).wait()

    def pause(self, name: str, seconds: float) -> None:
        self.running[name].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.running[name].send_signal(signal.SIGCONT)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.running):
            self.kill(name)


@pytest.mark.parametrize("delivery", list(ARMED))
def test_kills_zombies_and_broker_crashes(tmp_path: Path, broker: KafkaBroker, prefix: str, delivery: str) -> None:
    """L10: whatever befalls workers and broker, nothing is lost, doubled (exactly once) or changed, and the journal's
    chain is whole."""
    settings = settings_for(broker.bootstrap, prefix, delivery)
    create_topics(settings)
    draw, started, done = Random(7), time.monotonic(), acts(delivery)
    with Workers(settings, prefix, tmp_path) as workers:
        for name in "ab":
            workers.start(name)
        for act, accompanied in done:
            active = workers.only_active()
            other = "b" if active == "a" else "a"
            if not accompanied:
                workers.kill(other)
            with _payments(settings):
                time.sleep(draw.random() * 0.3)
                since = _act(act, workers, active, broker)
                workers.wait("active")
            print(
                f"{delivery}: {act}{'' if accompanied else ', alone'}: active within {time.monotonic() - since:.2f} s"
            )
            for name in {"a", "b"} - workers.running.keys():
                workers.start(name)
        _drain(settings)
    check(settings, prefix, exactly=delivery == "exactly-once")
    print(f"{delivery}: {len(done)} runs in {time.monotonic() - started:.0f} s")


@contextmanager
def _payments(settings: Settings) -> Iterator[None]:
    """600 payments come during the block, at 1,000 a second."""
    upstream = Thread(target=produce, args=(settings, 600, 1000.0))
    upstream.start()
    yield
    upstream.join()


def _act(act: str, workers: Workers, active: str, broker: KafkaBroker) -> float:
    """Let it happen; since when the workers could be active again."""
    since = time.monotonic()
    match act:
        case "kill":
            workers.kill(active)
            workers.start(active)
        case "standby":
            workers.kill("b" if active == "a" else "a")
        case "zombie":
            workers.pause(active, SESSION_MS / 1000 + 1.5)
        case "broker":
            broker.restart()
            since = time.monotonic()
        case "takeover":
            workers.arm(act)
            workers.kill(active)
            workers.start(workers.wait("dead"))
        case _:
            workers.arm(act)
            workers.start(workers.wait("dead"))
    return since


def _drain(settings: Settings, seconds: float = 60.0) -> None:
    """Wait until the journal reaches the inputs' ends."""
    topics, deadline = settings.topics, time.monotonic() + seconds
    ends = {(m.topic, m.partition): m.offset + 1 for m in read_all(settings, topics.input[0])}
    done: dict[tuple[str, int], int] = {}
    while done != ends:
        assert time.monotonic() < deadline, (done, ends)
        time.sleep(0.5)
        records = [decode(m.value or b"") for m in read_all(settings, topics.journal)]
        done = {(r.topic, r.partition): r.end for record in records for r in record.ranges}
