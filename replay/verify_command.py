"""`sekisho replay verify`: prove that live decided what a replay decides."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from replay.verify import Report


@click.command("verify")
@click.argument("pack", type=click.Path(path_type=Path))
@click.option("--bootstrap", required=True, help="The brokers: host:port,host:port.")
@click.option("--journal", default="sekisho-journal", show_default=True, help="The journal's topic.")
@click.option("--decisions", default="decisions", show_default=True, help="The decisions' topic.")
@click.option("--alerts", default="alerts", show_default=True, help="The alerts' topic.")
@click.option("--dead-letters", default="dead-letters", show_default=True, help="The dead letters' topic.")
def verify_command(pack: Path, bootstrap: str, journal: str, decisions: str, alerts: str, dead_letters: str) -> None:
    """Decide again with PACK all that the journal names, and compare it with the topics, byte for byte.

    Ends with 0 and MATCH, or with 1 and the first difference.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from replay.verify import Topics, verify
    from sekisho.compile import compile_pack
    from sekisho.decider import Decider
    from sekisho.load import load_pack
    from sekisho.tokens import token_key

    topics = Topics(bootstrap, journal, decisions, alerts, dead_letters)
    decider = Decider(compile_pack(load_pack(pack), token_key()))
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading the journal")

        def told(report: Report) -> None:
            progress.update(task, description=f"batch {report.batches:,}, {report.events:,} events")

        report = verify(decider, topics, told)
    click.echo(_summary(report))
    sys.exit(1 if report.difference else 0)


def _summary(report: Report) -> str:
    if report.difference:
        from replay.verify import describe

        return f"DIFFERENCE in {describe(report.difference)}"
    counts = ", ".join(f"{count:,} {topic}" for topic, count in report.counts.items())
    again = f"; {report.repeated:,} stand twice" if report.repeated else ""
    return f"MATCH: {report.batches:,} batches, {report.events:,} events, {counts}{again}\nchain {report.chain.hex()}"
