"""`sekisho replay verify`: prove that live decided what a replay decides."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.options import BATCH_OR_MOMENT, CONFIG

if TYPE_CHECKING:
    from replay.verify import Part, Report, Topics

_TOPICS = ("bootstrap", "journal", "decisions", "alerts", "dead_letters", "packs", "events")


@click.command("verify")
@click.argument("pack", type=click.Path(path_type=Path), required=False)
@CONFIG
@click.option("--bootstrap", help="The brokers: host:port,host:port.")
@click.option("--journal", help="The journal's topic. [default: sekisho-journal]")
@click.option("--decisions", help="The decisions' topic. [default: decisions]")
@click.option("--alerts", help="The alerts' topic. [default: alerts]")
@click.option("--dead-letters", help="The dead letters' topic. [default: dead-letters]")
@click.option("--packs", help="The packs' topic. [default: sekisho-packs]")
@click.option("--events", help="The topic of labels and control events. [default: sekisho-events]")
@click.option("--from", "first", type=BATCH_OR_MOMENT, help="The first batch to compare, or when it was journalled.")
@click.option("--to", "last", type=BATCH_OR_MOMENT, help="The last batch to compare, or the end of its time.")
@click.option(
    "--seed", "seeds", type=click.Path(path_type=Path), multiple=True,
    help="A folder that `sekisho state build` made: the history before batch 0.",
)  # fmt: skip
def verify_command(pack: Path | None, file: Path | None, first: Any, last: Any, seeds: tuple[Path, ...],
                   **named: str | None) -> None:  # fmt: skip
    """Decide again all that the journal names, and compare it with the topics, byte for byte.

    The packs are read by their hashes from their topic; PACK stands in for one that is not there. Brokers, topics, TLS
    and SASL come from the settings, or are named one by one. Ends with 0 and MATCH, or with 1 and the first difference.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from replay.packs import TopicPacks
    from replay.verify import verify

    topics, part = _topics(file, named), _part(first, last)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading the journal")

        def told(report: Report) -> None:
            progress.update(task, description=f"batch {report.batches:,}, {report.events:,} events")

        report = verify(TopicPacks(topics, pack, seeds).decider, topics, part, told)
    click.echo(_summary(report))
    sys.exit(1 if report.difference else 0)


def _topics(file: Path | None, named: Mapping[str, str | None]) -> Topics:
    """What the settings say, and above it what is named."""
    from replay.verify import Topics
    from sekisho.settings import TopicSettings, load_settings

    settings = load_settings(file) if file else None
    if settings is None and not named["bootstrap"]:
        raise click.UsageError("name the settings with --config, or the brokers with --bootstrap")
    topics = settings.topics if settings else TopicSettings(("payments",))
    client = settings.kafka.python_client if settings else {}
    bootstrap = settings.kafka.bootstrap if settings else ""
    plain = (topics.journal, topics.decisions, topics.alerts, topics.dead_letters, topics.packs, topics.events)
    given: dict[str, Any] = {key: value for key in _TOPICS if (value := named[key])}
    return replace(Topics(bootstrap, *plain, client), **given)


def _part(first: tuple[int | None, int | None] | None, last: tuple[int | None, int | None] | None) -> Part:
    from replay.verify import Part

    (sequence, from_us), (end, to_us) = first or (None, None), last or (None, None)
    return Part(sequence or 0, end, from_us, to_us)


def _summary(report: Report) -> str:
    if report.difference:
        from replay.verify import describe

        return f"DIFFERENCE in {describe(report.difference)}"
    counts = ", ".join(f"{count:,} {topic}" for topic, count in report.counts.items())
    again = f"; {report.repeated:,} stand twice" if report.repeated else ""
    packs = f" by {len(report.packs)} packs" if len(report.packs) > 1 else ""
    match = f"MATCH: {report.batches:,} batches{packs}, {report.events:,} events, {counts}{again}"
    return f"{match}\nchain {report.chain.hex()}"
