"""`sekisho demo`, `sekisho replay` and `sekisho explain`."""

from __future__ import annotations

from pathlib import Path

import click

from replay.options import parse_duration, parse_moment

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--events", default=450_000, show_default=True, help="How many events the seeded bank makes.")
@click.option("--seed", default=1, show_default=True, help="Of the seeded bank.")
def demo(events: int, seed: int) -> None:
    """Decide a seeded bank's payments in this process, with no broker, and prove the result by deciding them again."""
    from replay.demo import run_demo

    run_demo(events, seed)


@click.group()
def replay() -> None:
    """Drive the engine over a log in files: Parquet, CSV, JSON lines."""


@replay.command()
@click.argument("pack", type=_PATH)
@click.argument("source", type=_PATH, nargs=-1, required=True)
@click.option("--out", type=_PATH, help="Where the decisions go, as JSON lines.")
@click.option("--features", type=_PATH, help="Where every feature of every decision goes, as Parquet.")
@click.option("--dead-letters", type=_PATH, help="Where refused events go, as JSON lines. [default: beside --out]")
@click.option("--labels", type=_PATH, help="A file of label events of its own.")
@click.option("--label-column", help="Make labels from this column of SOURCE: true where the payment was fraud.")
@click.option("--label-delay", default="7d", show_default=True, help="How long after the payment such a label arrives.")
@click.option("--label-class", default="fraud", show_default=True, help="The class of such labels.")
@click.option("--arrived-at", default="", help="The column or JSON path that says when the log took an event.")
@click.option("--assume-in-order", is_flag=True, help="Take each file's own order for the arrival order.")
@click.option("--from", "start", help="Decide from this event time on; what came before is folded in.")
@click.option("--to", "stop", help="Decide up to this event time.")
@click.option("--batch", default=4096, show_default=True, help="Events a batch. It changes the speed and nothing else.")
@click.option("--threads", default=1, show_default=True, help="Threads for the windows. They change nothing else.")
def run(pack: Path, source: tuple[Path, ...], start: str | None, stop: str | None, **options: object) -> None:
    """Replay SOURCE through PACK: the decisions that live would have made, to the byte."""
    from replay.report import run_and_show

    run_and_show(
        pack,
        source,
        from_us=parse_moment(start) if start else None,
        to_us=parse_moment(stop) if stop else None,
        label_delay_us=parse_duration(str(options.pop("label_delay"))),
        **options,  # type: ignore[arg-type]
    )


@click.command()
@click.argument("pack", type=_PATH)
@click.argument("source", type=_PATH, nargs=-1, required=True)
@click.option("--decisions", type=_PATH, required=True, help="The decisions, as JSON lines, that hold the record.")
@click.option("--id", "wanted", required=True, help="The decision's id, or the event_id.")
@click.option("--labels", type=_PATH, help="A file of label events of its own.")
@click.option("--arrived-at", default="", help="The column or JSON path that says when the log took an event.")
def explain(pack: Path, source: tuple[Path, ...], decisions: Path, wanted: str, **options: object) -> None:
    """Recompute one decision of PACK from the record and the log SOURCE, and show why it is what it is."""
    from replay.explain import explain_decision

    explain_decision(pack, source, decisions, wanted, **options)  # type: ignore[arg-type]
