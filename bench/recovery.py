"""A worker whose state is of five million events: the broker bounces, the worker is killed, its snapshots are lost.

python -m bench.recovery                     # on a real broker, with packs/card_payments; 10 to 20 minutes
python -m bench.recovery --events 500000

Payments come all the time. Printed are: how fast the backlog was decided; after each bounce, how long until a payment
that came meanwhile is decided, from when the broker took payments again; from SIGKILL and from the start of the next
process until it is active, by the newest snapshot and by the log alone; latencies before and while another pack's
windows are warmed.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Event, Thread

import numpy as np
from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, Producer, TopicPartition

from bench.live import SETTINGS
from bench.workload import PARTITIONS
from sekisho.packs import shipped_pack
from sekisho.settings import load_settings
from sekisho.testing.kafka import MEASURED, KafkaBroker
from sekisho.testing.worker import WorkerProcess
from sekisho.testing.world import world_of
from streams.topics import create_topics

NAME = "recovery"
PATIENCE_S = 1800.0
SNAPSHOT_EVERY_S = 20  # the active worker takes twice as long
SOON = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 50, "log_level": 0}  # what is measured is the worker


class Stream:
    """Payments at a rate, and their decisions: `seen` holds when each was sent and when it was read (monotonic)."""

    def __init__(self, bootstrap: str, payments: Iterator[bytes], rate: float) -> None:
        self.bootstrap, self.payments, self.rate = bootstrap, payments, rate
        self.seen: list[tuple[float, float]] = []
        self.taken_at = 0.0  # when the broker acknowledged a payment last
        self.ends = Event()
        self.threads = [Thread(target=self._send), Thread(target=self._read)]

    def __enter__(self) -> Stream:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        for thread in self.threads:
            thread.join()

    def first(self, sent_after: float) -> float:
        """When the first decision was read of a payment that was sent later than that; waits for it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := [read for sent, read in self.seen[-2000:] if sent > sent_after]:
                return found[0]
            time.sleep(0.001)
        raise SystemExit("no more decisions")

    def latencies(self, since: float, until: float) -> str:
        """Of the payments that were sent in that time, as a text."""
        found = np.array([read - sent for sent, read in self.seen if since <= sent < until]) * 1000
        p50, p99 = np.percentile(found, [50, 99])
        return f"p50 {p50:.0f}   p99 {p99:.0f}   longest {found.max():,.0f} ms   of {len(found):,} payments"

    def _send(self) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 2, **SOON})
        began = time.monotonic()
        for k, value in enumerate(self.payments):
            while (left := began + k / self.rate - time.monotonic()) > 0 and not self.ends.is_set():
                producer.poll(min(left, 0.01))
            if self.ends.is_set():
                break
            producer.produce(
                "payments", value, struct.pack("<d", time.monotonic()), k % PARTITIONS, on_delivery=self._taken
            )
        producer.flush(60)

    def _taken(self, error: KafkaError | None, message: Message) -> None:
        self.taken_at = time.monotonic()

    def _read(self) -> None:
        config = {"group.id": "bench", "isolation.level": "read_committed", "fetch.wait.max.ms": 10}
        consumer = Consumer({"bootstrap.servers": self.bootstrap, **config, **SOON})
        consumer.assign([TopicPartition(f"{NAME}-decisions", 0, OFFSET_END)])
        while not self.ends.is_set():
            raw = consumer.consume(1000, 0.005)
            now = time.monotonic()
            self.seen += [
                (struct.unpack("<d", each.key())[0], now) for each in raw if each.error() is None and each.key()
            ]
        consumer.close()


def fill(bootstrap: str, lines: Iterator[bytes], count: int) -> None:
    """Put so many events on the topic, a millisecond apart, so that the partitions merge to their order."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4"})
    base_ms = int(time.time() * 1000) - count
    for k, line in enumerate(islice(lines, count)):
        while True:
            try:
                producer.produce("payments", line, None, k % PARTITIONS, timestamp=base_ms + k)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(300):
        raise SystemExit("the broker does not take the payments")


def state_folder(worker: WorkerProcess) -> Path:
    return worker.config.parent / f"state-{NAME}"


def settled(worker: WorkerProcess) -> None:
    """Wait for a snapshot that is newer than now."""
    since, deadline = time.time(), time.monotonic() + PATIENCE_S
    while not any(p.parent.stat().st_mtime > since for p in state_folder(worker).glob("journal-*/manifest.json")):
        if time.monotonic() > deadline:
            raise SystemExit(f"no snapshot: {worker.status()}")
        time.sleep(0.2)


def bounce(broker: KafkaBroker, stream: Stream, crash: bool) -> None:
    """End the broker, start it, and tell when payments that came meanwhile are decided."""
    ended = time.monotonic()
    broker.kill() if crash else broker.stop()
    down = time.monotonic()
    broker.run()
    up = time.monotonic()
    while stream.taken_at < down + 0.1:
        time.sleep(0.001)
    taken, decided = stream.taken_at, stream.first(down)
    how = "killed" if crash else "stopped"
    print(
        f"broker {how}, started again after {up - ended:.1f} s: deciding {decided - taken:.2f} s after it took the "
        f"first payment, {decided - up:.2f} s after it said that it had started",
        flush=True,
    )


def restart(worker: WorkerProcess, what: str) -> None:
    """SIGKILL, another process, and how long it takes until it is active."""
    killed = time.monotonic()
    worker.end(signal.SIGKILL)
    if what == "the log alone":
        state_folder(worker).rename(worker.config.parent / "lost")  # a child may still write there
    started = time.monotonic()
    worker.start()
    first = worker.wait(lambda status: status.get("folded", 0) > 0 or status.get("phase") == "active", PATIENCE_S)
    began = time.monotonic()
    status = worker.wait(lambda status: status.get("phase") == "active", PATIENCE_S)
    active = time.monotonic()
    print(
        f"killed, {what}: active {active - killed:.1f} s after it, {active - started:.1f} s after the start; "
        f"{status['folded'] - first['folded']:,} batches folded in {active - began:.1f} s of it",
        flush=True,
    )


def other_pack(folder: Path) -> Path:
    """The same pack with one window of another width."""
    pack = shutil.copytree(shipped_pack("card_payments"), folder / "other")
    file = pack / "features.sql"
    text = file.read_text("utf-8")
    window = "merchant_7d AS (merchant RANGE BETWEEN INTERVAL "
    changed = text.replace(f"{window}7 DAY", f"{window}8 DAY")
    if changed == text:
        raise SystemExit(f"{file}: there is no window merchant_7d any more")
    file.write_text(changed, "utf-8")
    return pack


def publish(worker: WorkerProcess, stream: Stream, folder: Path) -> None:
    """Another pack is asked for while payments come: latencies before, and until it decides."""
    began = time.monotonic()
    time.sleep(30)
    asked = time.monotonic()
    command = [sys.executable, "-m", "sekisho", "pack", "publish", str(other_pack(folder))]
    subprocess.run([*command, "--config", str(worker.config), "--wait", str(PATIENCE_S)], check=True)
    decides = time.monotonic()
    time.sleep(2)
    print(f"latency before: {stream.latencies(began, asked)}")
    print(f"latency while another pack is warmed, {decides - asked:.0f} s: {stream.latencies(asked, decides)}")


def run(folder: Path, events: int, rate: float) -> None:
    world = world_of(events)
    world.write_jsonl(folder / "world.jsonl", events + events // 5 + 500_000)
    with KafkaBroker.start(folder / "broker", java=MEASURED) as broker, (folder / "world.jsonl").open("rb") as file:
        lines = (line.rstrip(b"\n") for line in file)
        pack = shipped_pack("card_payments")
        named = {"name": NAME, "inputs": PARTITIONS, "outputs": 1, "delivery": "exactly-once"}
        text = SETTINGS.format(pack=pack, bootstrap=broker.bootstrap, **named)
        worker = WorkerProcess(folder, NAME, f"{text}snapshot_every_s = {SNAPSHOT_EVERY_S}\n")
        create_topics(load_settings(worker.config), log_append=False)
        fill(broker.bootstrap, lines, events)
        payments = (line for line in lines if b'"type":"payment"' in line)
        try:
            worker.start()
            first = worker.wait(lambda status: status.get("events", 0) > 0)["events"]
            began = time.monotonic()
            worker.wait(lambda status: status["events"] >= events, PATIENCE_S)
            took = time.monotonic() - began
            print(f"{events:,} events decided, {(events - first) / took:,.0f}/s", flush=True)
            with Stream(broker.bootstrap, payments, rate) as stream:
                settled(worker)
                held = worker.status()["state"]
                print(f"state: {held['rows']:,} rows, {held['bytes'] / 1e9:.2f} GB", flush=True)
                for crash in (True, False, True, False):
                    time.sleep(5)
                    bounce(broker, stream, crash)
                settled(worker)
                time.sleep(10)
                restart(worker, "the newest snapshot")
                publish(worker, stream, folder)
                restart(worker, "the log alone")
        finally:
            worker.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rate", type=float, default=500, help="payments a second that come all the time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), options.events, options.rate)


if __name__ == "__main__":
    main()
