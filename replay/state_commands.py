"""`sekisho state build`: give a worker the history that its topics no longer hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from replay.options import CONFIG, reads_a_log


@click.group()
def state() -> None:
    """The state with which a worker begins."""


@state.command()
@click.argument("source", type=click.Path(path_type=Path), nargs=-1, required=True)
@CONFIG
@click.option("--pack", type=click.Path(path_type=Path), help="Another pack than the settings'.")
@reads_a_log
def build(source: tuple[Path, ...], file: Path | None, pack: Path | None, arrived_at: str, **labels: Any) -> None:
    """Fold SOURCE, the events before the first one on the topics, into the state folder of the settings.

    SOURCE is one or more files or folders of .parquet, .csv and .jsonl, merged in the order of arrival. Do it before
    the first start, in the folder of each worker, and again for each pack that is published later.
    """
    from rich.console import Console

    from replay.history import build_state
    from replay.report import files_of
    from sekisho.compile import compile_pack
    from sekisho.load import load_pack
    from sekisho.settings import load_settings
    from sekisho.tokens import token_key

    settings = load_settings(file or Path("sekisho.toml"))
    engine = compile_pack(load_pack(pack or settings.pack), token_key(), os.urandom(16))
    inputs = files_of(source, arrived_at=arrived_at, **labels)
    console = Console(stderr=True, highlight=False)
    with console.status("folding"):
        history = build_state(engine, inputs, settings.state, threads=settings.lane.threads)
    click.echo(f"{history.events:,} events, {history.dead:,} unreadable, into {history.folder}")
    click.echo(f"seed {history.seed}")
    if not engine.pack.policy.ingest and not arrived_at:
        console.print("Nothing says when events arrived: each file's own order was taken.", style="yellow")
