"""The windows job on a real broker: 4 entities by 4 windows, count and sum, no model; ours beside stream engines."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.kafka import make_topic
from bench.live import PARTITIONS, backlog, worker_on
from bench.measure import Measured, Spent, in_turns, ratio
from bench.peers.jvm import JavaPeer, java_peer
from bench.peers.plain import PlainWindows
from bench.report import Table
from bench.standard_pack import BARE, ENTITIES, features_sql
from bench.workload import Workload
from sekisho.testing.kafka import MEASURED, KafkaBroker

FRAMES = {"1m": "1 MINUTE", "1h": "1 HOUR", "24h": "24 HOUR", "7d": "7 DAY"}
FUNCTIONS = {"count": "count(*)", "sum": "sum(amount)"}
KEYS = [f"{entity}_id" for entity in ENTITIES]
PEERS = (
    ("KafkaStreamsWindows", "kafka-streams.xml"),
    ("FlinkWindows", "flink.xml"),
    ("FlinkSqlWindows", "flink.xml"),
)
SQL = 60_000  # payments that Flink SQL is waited for; its rows come out behind the watermark, the last ones never
QUIET_S = 5.0  # a topic that says nothing for so long is at its end


def streams_job(workload: Workload, repeats: int) -> list[Table]:
    """The table of the job."""
    log, rounds = pq.read_table(workload.parquet), count()
    kafka_streams, flink, flink_sql = (java_peer(*peer, workload.pack.parent / "java") for peer in PEERS)
    answers: dict[str, dict[str, Sequence[int]]] = {}
    with tempfile.TemporaryDirectory() as name, KafkaBroker.start(Path(name) / "broker", java=MEASURED) as broker:
        folder = Path(name)
        pack = windows_pack(folder)
        make_topic(broker, "payments", PARTITIONS)
        produce_by_card(broker, workload, log)

        def ours() -> Spent:
            worker = worker_on(broker, folder, f"sekisho-{next(rounds)}", pack, "exactly-once", outputs=PARTITIONS)
            try:
                return backlog(worker, log.num_rows)
            finally:
                worker.end(signal.SIGTERM)

        def theirs(name: str, peer: JavaPeer, between: Sequence[str] = (), payments: int = log.num_rows) -> Spent:
            report = folder / f"{peer.main}-{next(rounds)}"
            for topic in (*(f"{report.name}-by-{entity}" for entity in between), f"{report.name}-out"):
                make_topic(broker, topic, PARTITIONS)
            out, n = f"{report.name}-out", str(payments)
            spent = peer.run(report, broker.bootstrap, report.name, "payments", out, n, str(report))
            answers[name] = lines_in(broker, out)
            return spent

        found = in_turns(
            {
                "sekisho worker": ours,
                "Kafka Streams 4.1, by hand": lambda: theirs("Kafka Streams", kafka_streams, ENTITIES[1:]),
                "Flink 1.20 DataStream, by hand": lambda: theirs("Flink", flink),
                "Flink 1.20 SQL": lambda: theirs("Flink SQL", flink_sql, payments=min(SQL, log.num_rows * 9 // 10)),
            },
            repeats,
        )
    return [_table(found, answers, log)]


def _table(found: dict[str, Measured], answers: dict[str, dict[str, Sequence[int]]], log: pa.Table) -> Table:
    table = Table(
        "Windows job, Kafka to Kafka, exactly once", ("", "payments", "us CPU", "payments/s", "CPU: times ours")
    )
    first = next(iter(found.values()))
    for name, one in found.items():
        times = str(ratio(one, first)) if one is not first else ""
        table.rows.append((name, f"{one.runs[0].events:,}", str(one.cpu_us), str(one.per_s), times))
    for name, answer in answers.items():
        table.notes.append(f"{name}, counts equal to the truth: {_exactness(answer, log)}.")
    return table


def windows_pack(folder: Path) -> Path:
    """The pack of the job: windows, no rules, no model."""
    pack = folder / "windows-pack"
    pack.mkdir()
    (pack / "pack.toml").write_text(BARE, "utf-8")
    (pack / "features.sql").write_text(features_sql(FRAMES, FUNCTIONS), "utf-8")
    return pack


def produce_by_card(broker: KafkaBroker, workload: Workload, log: pa.Table) -> None:
    """The payments as a bank would key them for such engines: a card's stand in one partition."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "queue.buffering.max.messages": 2_000_000})
    times = log["event_time"].cast(pa.int64()).to_pylist()
    for raw, card, time_us in zip(workload.records(), log["card_id"].to_pylist(), times, strict=True):
        key = card.encode()
        producer.produce("payments", raw, key, partition=crc32(key) % PARTITIONS, timestamp=time_us // 1000 + 50)
    producer.flush(60)


def lines_in(broker: KafkaBroker, topic: str) -> dict[str, Sequence[int]]:
    """The values of a peer's lines, by the id of the payment."""
    config = {"bootstrap.servers": broker.bootstrap, "group.id": "bench", "isolation.level": "read_committed"}
    consumer, found = Consumer(config), dict[str, Sequence[int]]()
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    while messages := consumer.consume(10_000, QUIET_S):
        for message in messages:
            parts = message.value().decode().split(",")
            found[parts[0]] = [int(part) for part in parts[7:]]
    consumer.close()
    return found


def truths(log: pa.Table) -> Iterator[tuple[str, list[int]]]:
    """Each payment's id and its counts, by plain Python."""
    windows = PlainWindows(ENTITIES, (60_000_000, 3_600_000_000, 86_400_000_000, 604_800_000_000))
    columns = [log[name].cast(pa.int64()).to_pylist() for name in ("event_time", "amount")]
    keys = zip(*(log[name].to_pylist() for name in KEYS), strict=True)
    for id, key, at, amount in zip(log["event_id"].to_pylist(), keys, *columns, strict=True):
        yield id, [int(value or 0) for value in windows.add(key, at, amount)[::3]]


def _exactness(answer: dict[str, Sequence[int]], log: pa.Table) -> str:
    """For each entity the share of counts over 7 days that are those of the log's order."""
    same, seen = [0] * len(ENTITIES), 0
    for id, counts in truths(log):
        if id in answer:
            seen += 1
            for k in range(len(ENTITIES)):
                last = (k + 1) * len(FRAMES) - 1
                same[k] += answer[id][2 * last] == counts[last]
    shares = ", ".join(f"{entity} {right / max(1, seen):.1%}" for entity, right in zip(ENTITIES, same, strict=True))
    return f"{shares} over 7 days ({seen:,} payments compared)"
