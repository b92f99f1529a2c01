"""What a run shows on a terminal: progress while it lasts, a table when it ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event, current_thread, main_thread

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from models.drift import LARGE
from replay.first_start import FirstStart
from replay.label_files import check_labels
from replay.outputs import check_outputs
from replay.run import Recorder, Totals, run
from replay.sources import Input, LabelColumn, read_log
from replay.topic_input import TopicInput, on_cluster
from rules.records import OUTCOMES
from sekisho.backends import on_backend, on_faster_backend
from sekisho.compile import Engine, compile_pack
from sekisho.drift import SAMPLED, DriftCounts
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.state import new_state
from sekisho.tokens import token_key


def inputs_of(
    sources: Sequence[Path | TopicInput],
    labels: Path | None,
    label_column: str | None,
    label_delay_us: int,
    label_class: str,
    arrived_at: str,
    events: Path | None = None,
    settings: Path | None = None,
) -> list[Input | TopicInput]:
    """The inputs of a replay: files, then topics. settings: the file that says how topics are reached."""
    paths = [source for source in sources if isinstance(source, Path)]
    topics = on_cluster([source for source in sources if isinstance(source, TopicInput)], settings)
    if label_column and topics:
        raise SekishoError("labels come from a column of a table", "give the labels of a topic in a file with --labels")
    return [*files_of(paths, labels, label_column, label_delay_us, label_class, arrived_at, events), *topics]


def files_of(
    sources: Sequence[Path],
    labels: Path | None,
    label_column: str | None,
    label_delay_us: int,
    label_class: str,
    arrived_at: str,
    events: Path | None = None,
) -> list[Input]:
    """The inputs of a replay; control events and labels come first: they precede payments of an equal arrival."""
    if events and events.suffix != ".jsonl":
        raise SekishoError(f"{events}: control events are JSON lines", "name a .jsonl file, see docs/wire.md")
    payments = [Input(source, arrived_at) for source in sources]
    first = [Input(events, arrived_at, controls=True)] if events else []
    first += [Input(labels, arrived_at, kind="label")] if labels else []
    if label_column:
        column = LabelColumn(label_column, label_delay_us, label_class)
        first += [replace(source, labels=column) for source in payments]
    return first + payments


def run_and_show(
    pack: Path,
    sources: Sequence[Path | TopicInput],
    out: Path | None = None,
    features: Path | None = None,
    dead_letters: Path | None = None,
    alerts: Path | None = None,
    labels: Path | None = None,
    label_column: str | None = None,
    label_delay_us: int = 0,
    label_class: str = "fraud",
    arrived_at: str = "",
    events: Path | None = None,
    assume_in_order: bool = False,
    from_us: int | None = None,
    to_us: int | None = None,
    batch: int = 4096,
    threads: int = 1,
    backend: str = "cpu",
    file: Path | None = None,
) -> Totals:
    """`sekisho replay run`: drive the log through the pack, write what is asked for, and print the summary.

    Raises KeyboardInterrupt after the summary of a run that Ctrl-C stopped.
    """
    console = Console(highlight=False)
    inputs = inputs_of(sources, labels, label_column, label_delay_us, label_class, arrived_at, events, file)
    dead = dead_letters or (out.with_name(out.stem + ".dead-letters.jsonl") if out else None)
    check_outputs([file for source in inputs for file in source.files()], [out, features, dead, alerts])
    start = FirstStart()
    engine = compile_pack(load_pack(pack), token_key(), os.urandom(16))
    start.finish(engine, inputs, threads)
    check_labels(engine.pack, partial(read_log, engine), inputs)
    engine = _placed(engine, backend, inputs, console)
    with Recorder(engine, out, features, dead, from_us, to_us, alerts) as recorder:
        seconds = drive(engine, inputs, recorder, console, batch, threads)
    show_summary(engine, recorder.totals, seconds, console)
    if recorder.totals.events and not recorder.totals.decisions:
        between = "" if from_us is None and to_us is None else " between --from and --to"
        kinds = " or ".join(engine.pack.policy.decide)
        console.print(f"Nothing was decided: the log has no {kinds}{between}.", style="yellow")
    show_drift(recorder.drift, console)
    if recorder.totals.dead and not dead:
        console.print("See why events were refused: --dead-letters FILE", style="yellow")
    unordered = any(isinstance(source, Input) for source in inputs) and not engine.pack.policy.ingest
    if unordered and not arrived_at and not assume_in_order:
        console.print("Nothing says when events arrived: each file's own order was taken.", style="yellow")
        console.print("Name the column with --arrived-at, or confirm with --assume-in-order.", style="yellow")
    if not recorder.totals.complete:
        raise KeyboardInterrupt
    return recorder.totals


def _placed(engine: Engine, backend: str, inputs: Sequence[Input | TopicInput], console: Console) -> Engine:
    """The engine on its backend; "auto" tries both on the beginning of the log."""
    if backend != "auto":
        return on_backend(engine, backend)
    chunks = (chunk.batch for chunk in read_log(engine, inputs))
    sample = next((batch for batch in chunks if batch.n), None)
    if sample is None:
        return engine
    return on_faster_backend(engine, sample, time.perf_counter, lambda said: console.print(said, style="dim"))


def drive(
    engine: Engine, inputs: Sequence[Input | TopicInput], recorder: Recorder, console: Console, batch: int, threads: int
) -> float:
    """Run to the end or to Ctrl-C, with a progress bar; the seconds that it took."""
    started, state = time.perf_counter(), new_state(engine)
    with _progress(console) as progress, _ctrl_c() as asked:
        bar = progress.add_task("replaying", total=1.0, rate="")
        for part in run(engine, state, read_log(engine, inputs), batch, threads):
            recorder.record(part)
            rate = recorder.totals.events / max(1e-9, time.perf_counter() - started)
            progress.update(bar, completed=part.read, rate=f"{rate:,.0f} events/s")
            if asked.is_set():
                recorder.totals.complete = False
                break
    recorder.totals.held = state.report()
    return time.perf_counter() - started


@contextmanager
def _ctrl_c() -> Iterator[Event]:
    """Set by Ctrl-C and looked at between batches, so that none is half recorded; a second Ctrl-C stops at once."""
    asked = Event()

    def ask(*_: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if current_thread() is not main_thread():  # signals are the main thread's
        yield asked
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip


def show_summary(engine: Engine, totals: Totals, seconds: float, console: Console) -> None:
    """A table of what happened; every event is accounted for."""
    if not totals.complete:
        console.print("Stopped by Ctrl-C: the decisions written so far are complete and in order.", style="yellow")
    title = f"pack {engine.pack.name}, hash {engine.pack.hash[:12]}"
    console.print(title, style="bold")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    table.add_row("events read", f"{totals.events + totals.dead:,}")
    table.add_row("  dead letters", f"{totals.dead:,}")
    table.add_row("  duplicates", f"{totals.duplicates:,}")
    table.add_row("decisions", f"{totals.decisions:,}")
    for name in OUTCOMES:
        share = totals.outcomes[name] / max(1, totals.decisions)
        table.add_row(f"  {name}", f"{totals.outcomes[name]:,}", f"{share:.2%}")
    for name, count in totals.flags.items():
        if count:
            table.add_row(f"  flagged {name}", f"{count:,}")
    table.add_row("alert notifications", f"{totals.alerts:,}")
    console.print(table)
    if totals.first_us is not None and totals.last_us is not None:
        console.print(f"  event time  {_minute(totals.first_us)} to {_minute(totals.last_us)} UTC")
    console.print(f"  took        {seconds:.1f} s, {totals.events / max(seconds, 1e-9):,.0f} events/s")
    held = totals.held
    if held:
        windows = f"{held['keys']:,} keys, {held['rows']:,} rows, {held['bytes'] / 1e6:,.1f} MB"
        ledgers = sum(size for name, size in held.items() if name.endswith("_bytes"))
        console.print(f"  state       windows {windows}; ledgers {ledgers / 1e6:,.1f} MB")
    console.print(f"  sha256      {totals.digest}")


def show_drift(drift: DriftCounts, console: Console) -> None:
    """A line a model whose card has a reference: its scores, and the columns that moved farthest."""
    shifts = drift.shifts()
    for model in dict.fromkeys(each.model for each in shifts):
        mine = {each.column: each for each in shifts if each.model == model}
        score = mine.pop(f"{model}_score")
        said = ", ".join(f"{each.column} {each.psi:.2f}" for each in (score, *list(mine.values())[:3]))
        far = sum(each.psi - each.by_chance > LARGE for each in mine.values())
        chance = max(each.by_chance for each in (score, *mine.values()))
        console.print(
            f"  drift       {said}: PSI against the card of {model}, {far} of {len(mine)} features above {LARGE}"
        )
        console.print(
            f"              by chance up to {chance:.2f}; one decision in {SAMPLED} is looked at", style="dim"
        )


def _minute(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
