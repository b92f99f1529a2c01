"""Every stage and the whole, on the standard workload: what an event costs, and where."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.measure import Measured, Spent, Stopwatch, in_turns, ratio, spread
from bench.report import Table
from bench.workload import Workload
from features.backend import Cpu
from models.scorer import score
from replay.run import Recorder, run
from replay.sources import Input, read_log
from rules.evaluate import evaluate
from sekisho.compile import Engine, compile_pack
from sekisho.decider import Decider
from sekisho.decision import encode_decisions
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.records import read_records
from sekisho.state import new_state
from sekisho.step import step

BATCH = 4096
WARM = (
    4  # the first quarter of the log is not timed: the state is still small, and memory is touched for the first time
)
SIZES = {4096: 4, 1024: 4, 256: 8, 64: 16, 1: 250}  # a turn takes so many batches of each size
WITHIN = ("windows", "expressions", "score", "rules")  # parts of step()
STAGES = ("decode", *WITHIN, "the rest of step", "encode")


def stages_job(workload: Workload, repeats: int) -> list[Table]:
    """The tables of the job."""
    engine = compile_pack(load_pack(workload.pack))
    messages = workload.messages()
    Decider(engine).warm()
    return [
        whole(engine, workload, messages, repeats),
        by_stage(engine, messages),
        by_size(engine, messages),
    ]


def whole(engine: Engine, workload: Workload, messages: Sequence[Message], repeats: int) -> Table:
    """Bytes to decision bytes in memory, and Parquet to a file of decisions, on one thread and on two."""
    digests: dict[str, str] = {}

    def in_memory(threads: int) -> Spent:
        decider, digest, watch = Decider(engine, threads), sha256(), Stopwatch()
        for k, start in enumerate(range(0, len(messages), BATCH)):
            part = messages[start : start + BATCH]
            with watch.time("timed" if start >= len(messages) // WARM else "warm", len(part)):
                verdicts = decider.decide(part)
            if k % 8 == 0:
                digest.update(b"\n".join(placed.value for placed in verdicts.decisions))
        digests[f"{threads}"] = digest.hexdigest()
        return watch.spent["timed"]

    def from_parquet(threads: int) -> Spent:
        watch = Stopwatch()
        with tempfile.TemporaryDirectory() as folder:
            recorder = Recorder(engine, Path(folder) / "decisions.jsonl")
            with recorder, watch.time("timed", workload.n):
                log = read_log(engine, [Input(workload.parquet)])
                for part in run(engine, new_state(engine), log, BATCH, threads):
                    recorder.record(part)
        digests[f"parquet {threads}"] = recorder.totals.digest
        return watch.spent["timed"]

    contenders: dict[str, Callable[[], Spent]] = {
        "bytes to decisions in memory, 1 thread": lambda: in_memory(1),
        "the same, 2 threads": lambda: in_memory(2),
        "Parquet to a file of decisions, 1 thread": lambda: from_parquet(1),
        "the same, 2 threads ": lambda: from_parquet(2),
    }
    found = in_turns(contenders, repeats)
    if digests["1"] != digests["2"] or digests["parquet 1"] != digests["parquet 2"]:
        raise SystemExit("two threads decide otherwise than one")
    table = Table(f"The whole: {workload.n:,} payments in batches of {BATCH:,}", ("", "us CPU", "us wall", "events/s"))
    for name, one in found.items():
        table.rows.append((name.strip(), str(one.cpu_us), str(one.wall_us), str(one.per_s)))
    one, two, file_one, file_two = found.values()
    gains = [str(ratio(a, b, lambda spent: spent.wall_s)) for a, b in ((one, two), (file_one, file_two))]
    table.notes.append(f"Two threads are {gains[0]}x as fast as one in memory, {gains[1]}x from Parquet; equal bytes.")
    return table


class _Timed(Cpu):
    """The CPU's windows, with a stopwatch."""

    def __init__(self, watch: Callable[[], tuple[Stopwatch, str]]) -> None:
        self.watch = watch

    def advance(self, *args: Any) -> None:  # type: ignore[override]
        watch, size = self.watch()
        with watch.time(f"windows {size}", args[2].n):
            Cpu.advance(*args)


def turns(messages: Sequence[Message]) -> Iterator[tuple[int, int, Sequence[Message]]]:
    """The log cut into (turn, batch size, records): turn 0 warms, then each takes some batches of every size."""
    at, turn = 0, 0
    while at < len(messages) // WARM:
        yield turn, BATCH, messages[at : at + BATCH]
        at += BATCH
    needed = sum(size * count for size, count in SIZES.items())
    while at + needed <= len(messages):
        turn += 1
        for size, count in SIZES.items():
            for _ in range(count):
                yield turn, size, messages[at : at + size]
                at += size


def by_stage(engine: Engine, messages: Sequence[Message]) -> Table:
    """us of CPU an event and stage, by batch size. Stages without memory are run once more on the same sheet."""
    watches: list[Stopwatch] = []
    size = 0
    timed = replace(engine, backend=_Timed(lambda: (watches[-1], str(size))))
    decider, log_clock = Decider(timed), engine.pack.policy.record_time == "log"
    last = -1
    for turn, size, part in turns(messages):
        if turn != last:
            watches.append(Stopwatch())
        last, watch, n = turn, watches[-1], len(part)
        with watch.time(f"decode {size}", n):
            batch = read_records(part, decider.plan, log_clock, "").batch
        with watch.time(f"step {size}", n):
            decider.state, decided = step(timed, decider.state, batch)
        with watch.time(f"encode {size}", n):
            encode_decisions(timed, decided)
        sheet, lists, nobody = decided.sheet, engine.lists, np.zeros(decided.sheet.n, np.uint8)
        with watch.time(f"expressions {size}", n):
            for stage in engine.stages:
                stage.before.run(sheet, lists)
                stage.after.run(sheet, lists)
        with watch.time(f"score {size}", n):
            for scorer in engine.scorers:
                score(scorer, sheet, None, engine.predict)
        with watch.time(f"rules {size}", n):
            evaluate(engine.rules, sheet, lists, nobody)
    return _stage_table(watches[1:])


def _stage_table(watches: Sequence[Stopwatch]) -> Table:
    def cost(watch: Stopwatch, stage: str, size: int) -> float:
        if stage == "the rest of step":
            return cost(watch, "step", size) - sum(cost(watch, part, size) for part in WITHIN)
        spent = watch.spent[f"{stage} {size}"]
        return 1e6 * spent.cpu_s / spent.events

    table = Table("Each stage, us of CPU an event by batch size", ("", *(f"{size:,}" for size in SIZES)))
    for stage in STAGES:
        table.rows.append((stage, *(str(spread(cost(watch, stage, size) for watch in watches)) for size in SIZES)))
    sums = ["decode", "step", "encode"]
    total = [spread(sum(cost(watch, stage, size) for stage in sums) for watch in watches) for size in SIZES]
    table.rows.append(("all", *map(str, total)))
    table.notes.append(f"Medians of {len(watches)} turns (least to greatest). Windows include the interning of keys.")
    return table


def by_size(engine: Engine, messages: Sequence[Message]) -> Table:
    """The whole by batch size, and how long one event alone waits for its decision."""
    decider, watches, last = Decider(engine), list[Stopwatch](), -1
    waits: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn, size, part in turns(messages):
        if turn != last:
            watches.append(Stopwatch())
        last, began = turn, time.perf_counter()
        with watches[-1].time(str(size), len(part)):
            decider.decide(part)
        if turn:
            waits[size].append(1e6 * (time.perf_counter() - began))
    table = Table(
        "Bytes to decisions in memory by batch size", ("batch", "us CPU an event", "p50 us a batch", "p99 us")
    )
    for size, took in waits.items():
        measured = Measured(str(size), tuple(watch.spent[str(size)] for watch in watches[1:]))
        p50, p99 = np.percentile(took, [50, 99])
        table.rows.append((f"{size:,}", str(measured.cpu_us), f"{p50:,.0f}", f"{p99:,.0f}"))
    return table


def profile_job(workload: Workload, console: Console) -> None:
    """Where the time of the whole goes, function by function; a kernel's is that of the function that calls it."""
    engine = compile_pack(load_pack(workload.pack))
    messages, decider = workload.messages(), Decider(engine)
    decider.warm()
    profile, warm = cProfile.Profile(time.thread_time, builtins=False), len(messages) // WARM
    for start in range(0, len(messages), BATCH):
        if start >= warm:
            profile.enable()
        decider.decide(messages[start : start + BATCH])
        profile.disable()
    events = len(messages) - warm
    found: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    table = Table(f"us of CPU an event, {events:,} events in batches of {BATCH:,}", ("function", "own", "with callees"))
    for (file, line, name), (_, _, own, whole_s, _) in sorted(found.items(), key=lambda each: -each[1][2])[:40]:
        place = "/".join(Path(file).parts[-2:])
        table.rows.append((f"{place}:{line} {name}", f"{1e6 * own / events:.3f}", f"{1e6 * whole_s / events:.3f}"))
    table.show(console)
