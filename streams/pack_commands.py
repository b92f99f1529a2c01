"""`sekisho pack publish`, `rollback` and `list`: the part of `sekisho pack` that needs a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sekisho.commands import pack as pack_group
from sekisho.commands import today
from sekisho.settings import load_settings
from streams.commands import CONFIG

if TYPE_CHECKING:
    from streams.pack_requests import PackDesk

_WAIT = click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=60.0, show_default=True,
    help="Seconds to wait until it decides; 0: only ask.",
)  # fmt: skip


@pack_group.command()
@click.argument("pack", type=click.Path(path_type=Path))
@CONFIG
@click.option("--accept-cold", is_flag=True, help="Also where the topics hold too little: such windows are NULL.")
@_WAIT
def publish(pack: Path, file: Path, accept_cold: bool, wait_s: float) -> None:
    """Check PACK, store it on the topic of packs, and ask the workers to decide with it.

    They warm its windows beside the running pack and switch between two batches. A pack that they cannot run is
    refused, and the running one goes on.
    """
    from rich.console import Console

    from sekisho.check import check_pack, overdue
    from sekisho.compile import compile_pack
    from sekisho.thresholds import show_thresholds
    from streams.scoring import PackScorer

    settings = load_settings(file)
    summary = check_pack(pack)
    with _desk(file) as desk:
        id = desk.publish(PackScorer(compile_pack(summary.pack, hash_key=os.urandom(16)), settings.topics), accept_cold)
        click.echo(f"published {summary.name} {summary.hash[:12]} and asked for it")
        for text in overdue(summary.pack, today(summary.pack.policy.default_zone)):
            click.echo(f"! {text}", err=True)
        for model in summary.pack.models:
            if model.card.thresholds:
                show_thresholds(model.card.thresholds, Console(highlight=False))
        _tell(desk, id, summary.hash, wait_s)


@pack_group.command()
@CONFIG
@_WAIT
def rollback(file: Path, wait_s: float) -> None:
    """Ask the workers to decide with the pack that decided before this one."""
    from streams.pack_requests import before

    with _desk(file) as desk:
        wanted = before(desk.last())
        id = desk.ask(wanted, accept_cold=False)
        click.echo(f"asked for {wanted[:12]}")
        _tell(desk, id, wanted, wait_s)


@pack_group.command("list")
@CONFIG
def list_packs(file: Path) -> None:
    """The packs on the topic: which decides and since when, what was asked for, what was refused and why."""
    from rich.console import Console
    from rich.table import Table

    from streams.pack_requests import listed

    with _desk(file) as desk:
        rows = listed(desk.shelf(), desk.last())
    table = Table("pack", "name", "published", "by", "state", box=None)
    for row in rows:
        table.add_row(row.hash[:12], row.name, row.at, row.by, row.state)
    Console().print(table if rows else "no pack has been published")


def _tell(desk: PackDesk, id: str, pack: str, wait_s: float) -> None:
    if wait_s:
        click.echo(f"{pack[:12]} {desk.outcome(id, pack, wait_s)}")


def _desk(file: Path) -> PackDesk:
    from streams.pack_requests import PackDesk

    return PackDesk(load_settings(file))


pack = pack_group
