"""What a run shows on a terminal: progress while it lasts, a table when it ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from replay.run import Recorder, Totals, run
from replay.sources import Input, LabelColumn, read_log
from rules.records import OUTCOMES
from sekisho.compile import Engine, compile_pack
from sekisho.load import load_pack
from sekisho.state import new_state


def inputs_of(
    sources: Sequence[Path],
    labels: Path | None,
    label_column: str | None,
    label_delay_us: int,
    label_class: str,
    arrived_at: str,
) -> list[Input]:
    """The inputs of a replay; labels come first, as they precede payments of an equal arrival."""
    payments = [Input(source, arrived_at) for source in sources]
    first = [Input(labels, arrived_at, kind="label")] if labels else []
    if label_column:
        column = LabelColumn(label_column, label_delay_us, label_class)
        first += [replace(source, labels=column) for source in payments]
    return first + payments


def run_and_show(
    pack: Path,
    sources: Sequence[Path],
    out: Path | None = None,
    features: Path | None = None,
    dead_letters: Path | None = None,
    labels: Path | None = None,
    label_column: str | None = None,
    label_delay_us: int = 0,
    label_class: str = "fraud",
    arrived_at: str = "",
    assume_in_order: bool = False,
    from_us: int | None = None,
    to_us: int | None = None,
    batch: int = 4096,
    threads: int = 1,
) -> Totals:
    """`sekisho replay run`: drive the log through the pack, write what is asked for, and print the summary."""
    console = Console()
    engine = compile_pack(load_pack(pack))
    inputs = inputs_of(sources, labels, label_column, label_delay_us, label_class, arrived_at)
    dead = dead_letters or (out.with_name(out.stem + ".dead-letters.jsonl") if out else None)
    with Recorder(engine, out, features, dead, from_us, to_us) as recorder:
        seconds = drive(engine, inputs, recorder, console, batch, threads)
    show_summary(engine, recorder.totals, seconds, console)
    if not arrived_at and not assume_in_order:
        console.print(
            "Arrival order was assumed to be the files' own order; name it with --arrived-at.", style="yellow"
        )
    return recorder.totals


def drive(
    engine: Engine, inputs: Sequence[Input], recorder: Recorder, console: Console, batch: int, threads: int
) -> float:
    """Run to the end or to Ctrl-C, with a progress bar; the seconds that it took."""
    started = time.perf_counter()
    with _progress(console) as progress:
        bar = progress.add_task("replaying", total=1.0, rate="")
        try:
            for part in run(engine, new_state(engine), read_log(engine, inputs), batch, threads):
                recorder.record(part)
                rate = recorder.totals.events / max(1e-9, time.perf_counter() - started)
                progress.update(bar, completed=part.read, rate=f"{rate:,.0f} events/s")
        except KeyboardInterrupt:
            recorder.totals.complete = False
    return time.perf_counter() - started


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip


def show_summary(engine: Engine, totals: Totals, seconds: float, console: Console) -> None:
    """A table of what happened; every event is accounted for."""
    if not totals.complete:
        console.print("Stopped by Ctrl-C: the decisions written so far are complete and in order.", style="yellow")
    table = Table(title=f"{engine.pack.name}  {engine.pack.hash[:12]}", title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    rate = totals.events / max(seconds, 1e-9)
    table.add_row("events read", f"{totals.events + totals.dead:,}")
    table.add_row("decisions", f"{totals.decisions:,}")
    for name in OUTCOMES:
        share = totals.outcomes[name] / max(1, totals.decisions)
        table.add_row(f"  {name}", f"{totals.outcomes[name]:,}  {share:7.3%}")
    table.add_row("duplicates", f"{totals.duplicates:,}")
    table.add_row("dead letters", f"{totals.dead:,}")
    for name, count in totals.flags.items():
        if count:
            table.add_row(f"flagged {name}", f"{count:,}")
    table.add_row("alerts sent", f"{totals.alerts:,}")
    if totals.first_us is not None and totals.last_us is not None:
        table.add_row("event time", f"{_day(totals.first_us)} to {_day(totals.last_us)}")
    table.add_row("time", f"{seconds:.1f} s, {rate:,.0f} events/s")
    table.add_row("sha256 of the decisions", totals.digest[:32])
    console.print(table)


def _day(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
