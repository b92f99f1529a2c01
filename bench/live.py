"""The live path on a real broker: latency at a rate, or how fast a backlog is decided, and the worker's CPU.

python -m bench.live --rate 5000 --seconds 20                 # from producing to a read_committed reader
python -m bench.live --rate 0 --payments 100000               # a backlog, as fast as it goes
python -m bench.live --rate 5000 --delivery at-least-once

Broker, worker, producer and reader are processes of their own. A decision keeps its event's key, and the key is the
time at which the event was handed to the producer, so a decision tells its own latency.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from sekisho.packs import shipped_pack
from sekisho.settings import load_settings
from sekisho.testing.kafka import KafkaBroker, free_ports
from sekisho.testing.world import world_of
from streams.topics import create_topics

PARTITIONS = 4
WARM_S = 20.0  # not measured: a broker that has just started compiles itself
TICK_S = 0.001
SETTINGS = """\
pack = "{pack}"
state = "state"
[kafka]
bootstrap = "{bootstrap}"
[topics]
input = ["payments"]
replication = 1
partitions = {partitions}
[lane]
delivery = "{delivery}"
[web]
port = {port}
"""


def payments(n: int, folder: Path) -> list[bytes]:
    """Payments of the made-up bank, at most those among 400,000 events: about 129,000."""
    file, made = folder / "world.jsonl", min(n * 4, 400_000)
    world_of(made).write_jsonl(file, made)
    return [line for line in file.read_bytes().splitlines() if b'"type":"payment"' in line][:n]


def produce(bootstrap: str, lines: list[bytes], rate: float) -> None:
    """Each line at its moment, or all at once. The key is the moment: nanoseconds, monotonic."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 2, "queue.buffering.max.messages": 2_000_000})
    started, sent = time.monotonic(), 0
    while sent < len(lines):
        due = min(len(lines), int((time.monotonic() - started) * rate)) if rate else min(len(lines), sent + 10_000)
        for k in range(sent, due):
            key = struct.pack("<q", time.monotonic_ns())
            producer.produce("payments", lines[k], key, partition=k % PARTITIONS)
        sent = due
        producer.poll(TICK_S if rate else 0)
    producer.flush(60)


def read(bootstrap: str, count: int, pipe: Connection) -> None:
    """Latencies of `count` decisions, in the order in which they come."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-reader",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition("decisions", k, 0) for k in range(PARTITIONS)])
    latencies: list[int] = []
    while len(latencies) < count:
        if (first := consumer.poll(1.0)) is None:
            continue
        raw, now = [first, *consumer.consume(10_000, 0)], time.monotonic_ns()
        latencies += [now - struct.unpack("<q", each.key())[0] for each in raw if each.error() is None]
    pipe.send(np.array(latencies) / 1e6)
    consumer.close()


class Worker:
    """A worker's process, what its web side says, and the CPU that it has used."""

    def __init__(self, folder: Path, broker: KafkaBroker, delivery: str) -> None:
        self.config, self.port = folder / "sekisho.toml", free_ports(1)[0]
        text = SETTINGS.format(
            pack=shipped_pack("card_payments"), bootstrap=broker.bootstrap, partitions=PARTITIONS, delivery=delivery,
            port=self.port,
        )  # fmt: skip
        self.config.write_text(text, "utf-8")
        create_topics(load_settings(self.config), log_append=False)
        self.log = folder / "worker.log"

    def start(self) -> None:
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "sekisho", "worker", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def status(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
        except (urllib.error.URLError, OSError):
            return {}
        return found

    def wait(self, good: Callable[[dict[str, Any]], bool], seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        while not good(self.status()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the worker does not come along: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def cpu_s(self) -> float:
        return cpu_s(self.process.pid)


def cpu_s(pid: int) -> float:
    """User and system CPU of a process (Linux), seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def latency(worker: Worker, broker: KafkaBroker, lines: list[bytes], rate: float) -> None:
    """Produce at a rate; print the latencies of all but the first seconds."""
    worker.start()
    worker.wait(lambda status: status.get("phase") == "active")
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    reader = spawn.Process(target=read, args=(broker.bootstrap, len(lines), theirs))
    producer = spawn.Process(target=produce, args=(broker.bootstrap, lines, rate))
    reader.start()
    time.sleep(1.0)
    assert broker.process is not None
    before, brokers = worker.cpu_s(), cpu_s(broker.process.pid)
    producer.start()
    if not mine.poll(len(lines) / rate + 60):
        raise SystemExit(f"decisions are missing: {worker.status()}")
    found = mine.recv()[int(WARM_S * rate) :]
    used, brokers = worker.cpu_s() - before, cpu_s(broker.process.pid) - brokers
    p50, p90, p99, p999 = np.percentile(found, [50, 90, 99, 99.9])
    print(f"latency, ms: p50 {p50:.1f}   p90 {p90:.1f}   p99 {p99:.1f}   p99.9 {p999:.1f}   of {len(found):,} payments")
    batches = worker.status()["batches"]
    print(f"CPU, us a payment: worker {used / len(lines) * 1e6:.1f}, broker {brokers / len(lines) * 1e6:.1f}")
    print(f"{batches:,} batches of {len(lines) / batches:.0f}")
    reader.join()
    producer.join()


def throughput(worker: Worker, broker: KafkaBroker, lines: list[bytes]) -> None:
    """A backlog, then the worker: payments a second from the first batch that is seen to the last."""
    produce(broker.bootstrap, lines, 0)
    worker.start()
    worker.wait(lambda status: status.get("events", 0) > 0)
    before, began, first = worker.cpu_s(), time.monotonic(), worker.status()["events"]
    worker.wait(lambda status: status["events"] >= len(lines))
    used, took, events = worker.cpu_s() - before, time.monotonic() - began, len(lines) - first
    print(f"throughput: {events / took:,.0f} payments/s; CPU {used / events * 1e6:.1f} us a payment in the worker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5_000, help="payments a second; 0: a backlog")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--payments", type=int, default=100_000, help="of a backlog")
    parser.add_argument("--delivery", default="exactly-once", choices=["exactly-once", "at-least-once"])
    options = parser.parse_args()
    count = int(options.rate * (options.seconds + WARM_S)) if options.rate else options.payments
    with tempfile.TemporaryDirectory() as name, KafkaBroker.start(Path(name) / "broker") as broker:
        folder = Path(name)
        lines = payments(count, folder)
        size = sum(map(len, lines)) / len(lines)
        print(f"{options.delivery}, {len(lines):,} payments of {size:.0f} bytes, {PARTITIONS} partitions", flush=True)
        worker = Worker(folder, broker, options.delivery)
        try:
            if options.rate:
                latency(worker, broker, lines, options.rate)
            else:
                throughput(worker, broker, lines)
        finally:
            worker.process.send_signal(signal.SIGTERM)
            worker.process.wait(60)
            print(worker.log.read_text()[-600:] if worker.process.returncode else "", end="")


if __name__ == "__main__":
    main()
