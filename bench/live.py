"""The live path on a real broker: latency at a rate, or how fast a backlog is decided, and the worker's CPU.

python -m bench.live --rate 5000 --seconds 20                 # from producing to a read_committed reader
python -m bench.live --rate 0 --payments 100000               # a backlog, as fast as it goes
python -m bench.live --rate 5000 --delivery at-least-once --inputs 1 --pack standard

Broker, worker, producer and reader are processes of their own. A decision keeps its event's key, and the key is the
time at which the event was handed to the producer, so a decision tells its own latency.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.measure import Spent
from bench.report import ROOT
from bench.workload import PARTITIONS, standard
from sekisho.packs import shipped_pack
from sekisho.settings import load_settings
from sekisho.testing.kafka import MEASURED, KafkaBroker
from sekisho.testing.worker import WorkerProcess, cpu_s
from sekisho.testing.world import world_of
from streams.topics import create_topics

WARM_S = 30.0  # not measured: a broker that has just started compiles itself
TICK_S = 0.001
SETTINGS = """\
pack = "{pack}"
state = "state-{name}"
[kafka]
bootstrap = "{bootstrap}"
[topics]
input = ["payments"]
decisions = "{name}-decisions"
alerts = "{name}-alerts"
dead_letters = "{name}-dead-letters"
journal = "{name}-journal"
control = "{name}-control"
packs = "{name}-packs"
events = "{name}-events"
replication = 1
input_partitions = {inputs}
output_partitions = {outputs}
input_retention_days = 3650
[lane]
name = "{name}"
delivery = "{delivery}"
"""

Payments = Sequence[tuple[bytes, int]]  # JSON, and when the log took it: milliseconds, 0 for now


def demo_payments(n: int, folder: Path, fraud: float = 1.0) -> Payments:
    """Payments for the demo pack, at most those among two million events: about 640,000. fraud: more campaigns."""
    file, made = folder / "world.jsonl", min(n * 4, 2_000_000)
    replace(world_of(made), fraud=fraud).write_jsonl(file, made)
    return [(line, 0) for line in file.read_bytes().splitlines() if b'"type":"payment"' in line][:n]


def produce(bootstrap: str, payments: Payments, rate: float, topic: str = "payments", across: int = PARTITIONS) -> None:
    """Each payment at its moment, or all at once. The key is the moment: nanoseconds, monotonic."""
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 2_000_000})
    started, sent, n = time.monotonic(), 0, len(payments)
    while sent < n:
        due = min(n, int((time.monotonic() - started) * rate)) if rate else min(n, sent + 10_000)
        for k in range(sent, due):
            value, taken_ms = payments[k]
            key = struct.pack("<q", time.monotonic_ns())
            producer.produce(topic, value, key, partition=k % across, timestamp=taken_ms)
        sent = due
        producer.poll(TICK_S if rate else 0)
    producer.flush(60)


def read(bootstrap: str, topic: str, count: int, across: int, pipe: Connection) -> None:
    """Latencies of `count` decisions, in the order in which they come."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-reader",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(topic, k, 0) for k in range(across)])
    latencies: list[int] = []
    while len(latencies) < count:
        if (first := consumer.poll(1.0)) is None:
            continue
        raw, now = [first, *consumer.consume(10_000, 0)], time.monotonic_ns()
        latencies += [now - struct.unpack("<q", each.key())[0] for each in raw if each.error() is None]
    pipe.send(np.array(latencies) / 1e6)
    consumer.close()


def worker_on(
    broker: KafkaBroker, folder: Path, name: str, pack: Path, delivery: str, inputs: int = PARTITIONS, outputs: int = 1
) -> WorkerProcess:
    """A worker that has not started yet, and its topics: `payments`, and those with its name."""
    counts = {"inputs": inputs, "outputs": outputs}
    text = SETTINGS.format(pack=pack, name=name, bootstrap=broker.bootstrap, delivery=delivery, **counts)
    worker = WorkerProcess(folder, name, text)
    create_topics(load_settings(worker.config), log_append=False)
    return worker


def latency(
    worker: WorkerProcess, broker: KafkaBroker, payments: Payments, rate: float, inputs: int, outputs: int
) -> None:
    """Produce at a rate; print the latencies of all but the first seconds."""
    worker.start()
    worker.wait(lambda status: status.get("phase") == "active")
    n, spawn = len(payments), multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    reader = spawn.Process(target=read, args=(broker.bootstrap, f"{worker.name}-decisions", n, outputs, theirs))
    producer = spawn.Process(target=produce, args=(broker.bootstrap, payments, rate, "payments", inputs))
    reader.start()
    time.sleep(1.0)
    assert broker.process is not None
    before, brokers = worker.cpu_s(), cpu_s(broker.process.pid)
    producer.start()
    if not mine.poll(n / rate + 60):
        raise SystemExit(f"decisions are missing: {worker.status()}")
    found = mine.recv()[int(WARM_S * rate) :]
    used, brokers = worker.cpu_s() - before, cpu_s(broker.process.pid) - brokers
    p50, p90, p99, p999 = np.percentile(found, [50, 90, 99, 99.9])
    print(f"latency, ms: p50 {p50:.1f}   p90 {p90:.1f}   p99 {p99:.1f}   p99.9 {p999:.1f}   of {len(found):,} payments")
    batches = worker.status()["batches"]
    print(f"CPU, us a payment: worker {used / n * 1e6:.1f}, broker {brokers / n * 1e6:.1f}")
    print(f"{batches:,} batches of {n / batches:.0f}")
    reader.join()
    producer.join()


def backlog(worker: WorkerProcess, n: int) -> Spent:
    """Decide n payments that wait in the topic; measured from the first batches that are seen to the last."""
    worker.start()
    first = worker.wait(lambda status: status.get("events", 0) > 0)["events"]
    before, began = worker.cpu_s(), time.monotonic()
    worker.wait(lambda status: status["events"] >= n)
    return Spent(n - first, time.monotonic() - began, worker.cpu_s() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5_000, help="payments a second; 0: a backlog")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--payments", type=int, default=100_000, help="of a backlog")
    parser.add_argument("--delivery", default="exactly-once", choices=["exactly-once", "at-least-once"])
    parser.add_argument("--inputs", type=int, default=PARTITIONS, help="partitions of the payments' topic")
    parser.add_argument("--outputs", type=int, default=1, help="partitions of decisions, alerts and dead letters")
    parser.add_argument("--pack", default="card_payments", choices=["card_payments", "standard"])
    options = parser.parse_args()
    count = int(options.rate * (options.seconds + WARM_S)) if options.rate else options.payments
    with tempfile.TemporaryDirectory() as name, KafkaBroker.start(Path(name) / "broker", java=MEASURED) as broker:
        folder = Path(name)
        pack, payments = workload_of(options.pack, count, folder)
        size = sum(len(value) for value, _ in payments) / len(payments)
        across = f"partitions: {options.inputs} in, {options.outputs} out"
        what = f"{len(payments):,} payments of {size:.0f} bytes, {across}"
        print(f"{options.delivery}, {what}", flush=True)
        worker = worker_on(broker, folder, "bench", pack, options.delivery, options.inputs, options.outputs)
        try:
            if options.rate:
                latency(worker, broker, payments, options.rate, options.inputs, options.outputs)
            else:
                produce(broker.bootstrap, payments, 0, across=options.inputs)
                spent = backlog(worker, len(payments))
                cpu_us = 1e6 * spent.cpu_s / spent.events
                print(f"throughput: {spent.events / spent.wall_s:,.0f} payments/s; CPU {cpu_us:.1f} us a payment")
        finally:
            if worker.process is not None and worker.end(signal.SIGTERM):
                print(worker.log.read_text()[-600:], end="")


def workload_of(pack: str, n: int, folder: Path) -> tuple[Path, Payments]:
    """A pack by its name, and payments for it."""
    if pack != "standard":
        return shipped_pack(pack), demo_payments(n, folder)
    workload = standard(n, ROOT / "out" / "bench")
    return workload.pack, [(message.value or b"", message.time_us // 1000) for message in workload.messages()]


if __name__ == "__main__":
    main()
