"""A worker for a quarter of an hour in which a half year passes: its state and its memory must come to rest.

python -m bench.soak                    # 15 minutes; event time is twice the longest frame and the lateness
python -m bench.soak --minutes 5 --rate 200

At the end the rows that the worker's last snapshot holds equal, store by store, those that the specification's intake
says must be kept, taking the payments in the journal's order; in the second half, when as many rows go as come, memory
grows by at most 1 %, and file descriptors do not. Ends with 1 where one of them fails.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from features.arena import Store
from features.intern import REF, SLOT, record_in
from features.kernel import bare
from features.rows import evict
from features.window_plan import KEEP_ROWS, KEEP_US, Program, StorePlan
from replay.topic import TopicReader
from sekisho.compile import Engine, compile_pack, longest_reach
from sekisho.errors import SekishoError
from sekisho.journal import decode
from sekisho.load import load_pack
from sekisho.log import merge_order
from sekisho.pack import Pack
from sekisho.packs import shipped_pack
from sekisho.settings import load_settings
from sekisho.state import load_state
from sekisho.testing.kafka import MEASURED, KafkaBroker
from sekisho.testing.reference.expressions import evaluate
from sekisho.testing.reference.intake import IntakeState, admit, derive
from sekisho.testing.worker import WorkerProcess
from sekisho.testing.world import World, world_of
from streams.topics import create_topics

SETTINGS = """\
pack = "{pack}"
state = "state"
[kafka]
bootstrap = "{bootstrap}"
[topics]
input = ["payments"]
journal = "{journal}"
replication = 1
input_partitions = 4
input_retention_days = 3650
[lane]
snapshot_every_s = 15
"""
JOURNAL = "journal"
SAMPLE_S = 5.0
PARTITIONS = 4
DAY_US = 86_400_000_000
SLOPE, DESCRIPTORS = 0.01, 2  # a snapshot's child and a page's socket come and go
Times = dict[tuple[int, tuple[Any, ...]], list[int]]


def produce(bootstrap: str, file: Path, minutes: float, count: int, worker: WorkerProcess) -> list[tuple[int, int]]:
    """Send the file's lines evenly over so many minutes; RSS in bytes and file descriptors, every five seconds."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 2, "enable.idempotence": True})
    started, base_ms, samples = time.monotonic(), int(time.time() * 1000) - count, []
    with file.open("rb") as lines:
        for k, line in enumerate(lines):
            due = started + minutes * 60 * k / count
            while (left := due - time.monotonic()) > 0:
                producer.poll(min(left, 0.01))
            # A millisecond an event: the partitions merge to the file's order.
            producer.produce("payments", line.rstrip(b"\n"), None, k % PARTITIONS, timestamp=base_ms + k)
            if time.monotonic() - started > SAMPLE_S * len(samples):
                samples.append(sample(worker))
    if producer.flush(60):
        raise SystemExit("the broker does not take the last payments")
    return samples


def sample(worker: WorkerProcess) -> tuple[int, int]:
    """Resident memory and open file descriptors of the worker (Linux)."""
    assert worker.process is not None
    folder = Path(f"/proc/{worker.process.pid}")
    resident = int(folder.joinpath("statm").read_text().split()[1]) * 4096
    return resident, sum(1 for _ in folder.joinpath("fd").iterdir())


def slope(values: list[int]) -> float:
    """How much a line through them rises from the first to the last, of their mean."""
    places = np.arange(len(values))
    return float(np.polyfit(places, values, 1)[0] * len(values) / np.mean(values))


@bare
def evict_all(plan: Program, store: Store, reach: int) -> None:
    """Drop what no later event can see; the kernel does it key by key, when it comes by."""
    for at in range(0, len(store.table), SLOT):
        if store.table[at + REF] != 0:
            evict(plan, store, record_in(store.table, at), reach)


def rows_held(engine: Engine, snapshot: Path) -> tuple[list[int], list[int], int]:
    """Of each store the rows in the snapshot, and those of them that later events can see; W."""
    state, _ = load_state(engine, snapshot)
    watermark = int(state.intake.watermark[0])
    before, after = [], []
    for stage, windows in zip(engine.stages, state.windows, strict=True):
        before += [report.rows for report in windows.report()]
        for plan, store in zip(stage.windows.stores, windows.stores, strict=True):
            evict_all(plan.program, store, watermark - engine.pack.policy.lateness_us)
        after += [report.rows for report in windows.report()]
    return before, after, watermark


def rows_to_keep(pack: Pack, stores: list[StorePlan], events: Iterator[dict[str, Any]]) -> tuple[list[int], int]:
    """Of each store the rows that the specification keeps, one event at a time in plain Python; W."""
    intake, times = IntakeState(), Times()
    for event in events:
        admission = admit(pack, intake, event)
        if admission.degraded or admission.duplicate_of:
            continue
        for row in (admission.row, *derive(pack, admission.row, {})):
            for number, store in enumerate(stores):
                key = tuple(evaluate(part, row, {}) for part in store.partition)
                if None not in key:
                    times.setdefault((number, key), []).append(row["event_time"])
    watermark, kept = int(intake.watermark), [0] * len(stores)
    for (number, _), found in times.items():
        shape = stores[number].program.shape
        kept[number] += seen_later(sorted(found), watermark - pack.policy.lateness_us, shape[KEEP_US], shape[KEEP_ROWS])
    return kept, watermark


def seen_later(times: list[int], reach: int, keep_us: int, keep_rows: int) -> int:
    """How many rows of a key some later event can see: by time, or as one of the newest before `reach`."""
    old = [time for time in times if time < reach]
    by_time = sum(time >= reach - keep_us for time in times)
    by_number = sum(time < reach - keep_us for time in old[len(old) - min(keep_rows, len(old)) :])
    return by_time + by_number


def decided(bootstrap: str) -> list[tuple[int, int]]:
    """Partition and offset of every payment, in the order in which the journal says that they were decided."""
    journal, payments = TopicReader(bootstrap, JOURNAL, {}), TopicReader(bootstrap, "payments", {})
    places: list[tuple[int, int]] = []
    while journal.peek(0) is not None:
        record = decode(journal.pop(0).value or b"")
        order, messages = merge_order([list(payments.take(each.partition, each.end)) for each in record.ranges])
        places += [(messages[at].partition, messages[at].offset) for at in order]
    journal.close()
    payments.close()
    return places


def events_of(pack: Pack, world: World, places: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """The world's events as the specification takes them, in the order of their places on the topic."""
    rows = enumerate(row for day in world.days() for row in day.to_pylist())
    waiting: dict[int, dict[str, Any]] = {}
    for partition, offset in places:
        number = offset * PARTITIONS + partition
        while number not in waiting:
            waiting.update([next(rows)])
        row = waiting.pop(number)
        event = {name.name: row.get(name.name) for name in pack.schema.fields}
        event |= {"event_time": _us(row["event_time"]), "record_time": _us(row["recorded_at"])}
        yield event | {"topic": "payments", "partition": partition, "offset": offset}


def _us(moment: Any) -> int:
    return round(moment.timestamp() * 1000) * 1000


def newest(folder: Path, sequence: int, seconds: float = 120.0) -> Path:
    """The snapshot behind that batch, once the worker has written it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for found in folder.glob(f"journal-{sequence:012d}-{'?' * 12}"):  # whole: no .partial
            return found
        time.sleep(1.0)
    raise SystemExit(f"{folder}: no snapshot of batch {sequence}")


def soak(folder: Path, minutes: float, rate: float) -> bool:
    """Run it; True when all three hold."""
    pack = load_pack(shipped_pack("card_payments"))
    engine = compile_pack(pack)
    reach = longest_reach(engine.stages)
    assert reach is not None
    days, count = 2 * (reach + pack.policy.lateness_us) // DAY_US, int(rate * minutes * 60)
    world = world_of(count, days=days)
    world.write_jsonl(folder / "world.jsonl", count)
    with KafkaBroker.start(folder / "broker", java=MEASURED) as broker:
        text = SETTINGS.format(pack=shipped_pack("card_payments"), bootstrap=broker.bootstrap, journal=JOURNAL)
        worker = WorkerProcess(folder, "soak", text)
        create_topics(load_settings(worker.config), log_append=False)
        worker.start()
        try:
            worker.wait(lambda status: status.get("phase") == "active", 600)
            print(f"{count:,} events of {days} days in {minutes:g} minutes", flush=True)
            samples = produce(broker.bootstrap, folder / "world.jsonl", minutes, count, worker)
            status = worker.wait(lambda status: sum(status.get("positions", {}).values()) >= count)
            before, after, watermark = rows_held(engine, newest(folder / "state", status["sequence"]))
            places = decided(broker.bootstrap)
            worker.end(signal.SIGTERM)
        except SekishoError:
            print(worker.status(), worker.log.read_text("utf-8")[-3000:], sep="\n")
            raise
        finally:
            worker.kill()
    stores = [store for stage in engine.stages for store in stage.windows.stores]
    kept, judged = rows_to_keep(pack, stores, events_of(pack, world, places))
    return report(samples[len(samples) // 2 :], before, after, kept, watermark == judged)


def report(samples: list[tuple[int, int]], before: list[int], after: list[int], kept: list[int], same: bool) -> bool:
    """Print what was seen; True when it is as it must be."""
    resident, descriptors = [memory for memory, _ in samples], [count for _, count in samples]
    rises, spread = slope(resident), max(descriptors) - min(descriptors)
    print(f"rows in {len(kept)} stores: {sum(after):,}; by the specification {sum(kept):,}; the same W: {same}")
    print(f"rows that wait for the sweep: {sum(before) - sum(after):,}")
    print(f"memory in the second half: {np.mean(resident) / 1e6:,.0f} MB, slope {rises:+.2%}")
    print(f"file descriptors: {min(descriptors)} to {max(descriptors)}")
    return same and after == kept and rises <= SLOPE and spread <= DESCRIPTORS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--rate", type=float, default=300, help="events a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        good = soak(Path(name), options.minutes, options.rate)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
