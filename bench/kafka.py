"""The whole on a real broker: payments in, decisions out, exactly once, beside a plain Faust agent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.live import PARTITIONS, Payments, backlog, produce, worker_on
from bench.measure import Spent, in_turns, ratio
from bench.report import Table
from bench.workload import Workload
from sekisho.testing.kafka import MEASURED, KafkaBroker

FAUST = 20_000  # payments for Faust, in a topic of one partition
PATIENCE_S = 600.0
KEEP = {"retention.ms": "-1"}


def kafka_job(workload: Workload, repeats: int) -> list[Table]:
    """The table of the job. Exit status 1 where Faust's scores differ from ours."""
    payments = [(message.value or b"", message.time_us // 1000) for message in workload.messages()]
    few, rounds = payments[:FAUST], count()
    with tempfile.TemporaryDirectory() as name, KafkaBroker.start(Path(name) / "broker", java=MEASURED) as broker:
        folder = Path(name)
        make_topic(broker, "payments", PARTITIONS)
        make_topic(broker, "in-order", 1)
        produce(broker.bootstrap, payments, 0)
        produce(broker.bootstrap, few, 0, "in-order", 1)
        scores: dict[str, dict[str, float]] = {}

        def ours(delivery: str) -> Spent:
            worker = worker_on(broker, folder, f"sekisho-{next(rounds)}", workload.pack, delivery)
            try:
                spent = backlog(worker, len(payments))
            finally:
                worker.end(signal.SIGTERM)
            topic = f"{worker.name}-decisions"
            scores["ours"] = scores_in(broker, topic, len(payments), few)
            return spent

        def faust(style: str) -> Spent:
            report = folder / f"{style}-{next(rounds)}"
            spent = faust_agent(broker, style, len(few), workload.pack / "models" / "fraud.txt", report)
            scores[style] = scores_in(broker, f"{report.name}-decisions", len(few), few)
            return spent

        found = in_turns(
            {
                "sekisho worker, exactly once": lambda: ours("exactly-once"),
                "sekisho worker, at least once": lambda: ours("at-least-once"),
                "Faust agent, rows in tables": lambda: faust("plain"),
                "Faust agent, sums in the process, rows in a table": lambda: faust("lean"),
            },
            repeats,
        )
    table = Table("Kafka to Kafka on a real broker", ("", "payments", "us CPU", "payments/s", "CPU: times ours"))
    first = next(iter(found.values()))
    for name, one in found.items():
        times = str(ratio(one, first)) if one is not first else ""
        table.rows.append((name, f"{one.runs[0].events:,}", str(one.cpu_us), str(one.per_s), times))
    table.notes.append(
        "20 windows and the model for all; ours also 100 rules, alerts, duplicates, journal and full records, with"
        " four partitions to read, Faust at least once with one. CPU of the worker's process."
    )
    for style in ("plain", "lean"):
        same = sum(scores["ours"][key] == raw for key, raw in scores[style].items())
        table.notes.append(f"Faust {style}: {same:,} of {len(scores[style]):,} raw scores equal ours.")
    return [table]


def make_topic(broker: KafkaBroker, name: str, partitions: int) -> None:
    """A topic whose records keep their own times."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for made in admin.create_topics([NewTopic(name, partitions, 1, config=KEEP)]).values():
        made.result(30)


def faust_agent(broker: KafkaBroker, style: str, n: int, model: Path, report: Path) -> Spent:
    """Run the agent's process until it has decided n payments."""
    make_topic(broker, f"{report.name}-decisions", 1)
    command = [sys.executable, "-m", "bench.peers.faust_agent", broker.bootstrap, "in-order", style, str(n)]
    log = report.with_suffix(".log")
    with (
        log.open("wb") as out,
        subprocess.Popen([*command, str(model), str(report)], stdout=out, stderr=out) as process,
    ):
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    if not report.is_file():
        raise SystemExit(f"the Faust agent did not come to its end: {log.read_text()[-2000:]}")
    return Spent(**json.loads(report.read_text()))


def scores_in(broker: KafkaBroker, topic: str, n: int, asked: Payments) -> dict[str, float]:
    """Raw scores by event_id of the payments asked for, from a topic of n decisions of ours or of Faust's."""
    ids = {json.loads(value)["id"] for value, _ in asked}
    config = {"bootstrap.servers": broker.bootstrap, "group.id": "bench", "isolation.level": "read_committed"}
    consumer, found, seen = Consumer(config), dict[str, float](), 0
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline = time.monotonic() + PATIENCE_S
    while seen < n and len(found) < len(ids):
        if time.monotonic() > deadline:
            raise SystemExit(f"{topic} has {seen:,} of {n:,} decisions")
        for message in consumer.consume(10_000, 1.0):
            record, seen = json.loads(message.value()), seen + 1
            if record["event_id"] in ids:
                found[record["event_id"]] = record["raw"] if "raw" in record else record["models"][0]["raw"]
    consumer.close()
    return found
