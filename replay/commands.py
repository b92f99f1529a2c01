"""`sekisho demo`, `sekisho replay` and `sekisho explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.backtest.command import backtest_command
from replay.diff_command import diff_command
from replay.options import CONFIG, SOURCE, reads_a_log
from replay.verify_command import verify_command
from sekisho.options import MOMENT

_PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "--events", type=click.IntRange(min=1), default=650_000, show_default=True,
    help="How many events the seeded bank makes.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Which bank is made.")
def demo(events: int, seed: int) -> None:
    """Decide a seeded bank's payments in this process, with no broker, and prove the result.

    A log of payments, outcomes, labels and logins is made, decided by the shipped pack card_payments, and decided again
    in batches of another size: the same bytes must come out.
    """
    from replay.demo import run_demo

    run_demo(events, seed)


@click.group()
def replay() -> None:
    """Drive the engine over a log: files of Parquet, CSV or JSON lines, or what a worker read from Kafka."""


replay.add_command(backtest_command)
replay.add_command(diff_command)
replay.add_command(verify_command)


@replay.command()
@click.argument("pack", type=_PATH)
@click.argument("source", type=SOURCE, nargs=-1, required=True)
@click.option("--out", type=_PATH, help="Write the decisions to this file: JSON lines, or Parquet if it is a .parquet.")
@click.option("--features", type=_PATH, help="Write every feature of every decision to this file, as Parquet.")
@click.option(
    "--dead-letters", type=_PATH, help="Write refused events to this file, as JSON lines. [default: beside --out]"
)
@click.option("--alerts", type=_PATH, help="Write the alerts' notifications to this file, as JSON lines, as live does.")
@reads_a_log
@CONFIG
@click.option("--assume-in-order", is_flag=True, help="Take each file's own order for the arrival order.")
@click.option(
    "--from", "from_us", type=MOMENT, help="Decide from this event time on; events before it are folded in undecided."
)
@click.option("--to", "to_us", type=MOMENT, help="Decide what is before this event time.")
@click.option(
    "--batch", type=click.IntRange(1, 1 << 20), default=4096, show_default=True,
    help="Events in a batch. It changes the speed and nothing else.",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True,
    help="Threads for the windows. They change the speed and nothing else.",
)  # fmt: skip
@click.option(
    "--backend", type=click.Choice(["cpu", "gpu", "auto"]), default="cpu", show_default=True,
    help="Where windows are computed: auto measures both. The decisions are the same.",
)  # fmt: skip
def run(pack: Path, source: tuple[Any, ...], from_us: int | None, to_us: int | None, **options: Any) -> None:
    """Decide every event of SOURCE with PACK, as live would have, to the byte.

    SOURCE is one or more files or folders of .parquet, .csv and .jsonl, or topics, as in
    "kafka://host:port/payments?from=2026-01-31T00:00:00Z&to=2026-02-01" with record times or offsets, merged in the
    order of arrival. A log that begins late begins with empty windows.
    """
    from replay.report import run_and_show

    if from_us is not None and to_us is not None and from_us >= to_us:
        raise click.UsageError("--from is not before --to, so nothing would be decided")
    run_and_show(pack, source, from_us=from_us, to_us=to_us, **options)


@click.command()
@click.argument("pack", type=_PATH, required=False)
@click.argument("source", type=SOURCE, nargs=-1)
@click.option("--decisions", type=SOURCE, help="The decisions among which the record is: JSON lines, or a topic.")
@click.option("--id", "wanted", help="The record's id, or its event_id.")
@click.option("--bundle", "bundled", type=_PATH, help="Write a zip with all that this one decision needs.")
@click.option("--from-bundle", type=_PATH, help="Explain the decision in such a zip, instead of PACK and SOURCE.")
@click.option("--page", type=_PATH, help="Write the explanation as one HTML page.")
@click.option("--lang", type=click.Choice(["en", "ja"]), default="en", show_default=True, help="The page's language.")
@click.option("--unmask", is_flag=True, help="Show account numbers and names on the page.")
@reads_a_log
@CONFIG
def explain(
    pack: Path | None, source: tuple[Any, ...], decisions: Any, wanted: str | None, bundled: Path | None,
    from_bundle: Path | None, page: Path | None, lang: str, unmask: bool, **options: Any,
) -> None:  # fmt: skip
    """Recompute one decision of PACK from the log SOURCE, and show why it is what it is.

    Prints MATCH where the log gives the record on file byte for byte, else what differs, and fails.
    """
    from replay.explain import Page, explain_bundle, explain_decision
    from replay.outputs import check_outputs

    told = Page(page, lang, unmask) if page else None
    read = [path for path in (decisions, from_bundle, *source) if isinstance(path, Path)]
    check_outputs(read, [page, bundled])
    if from_bundle:
        if pack or decisions or wanted or bundled:
            raise click.UsageError("--from-bundle stands alone: the bundle has the pack, the log and the record")
        explain_bundle(from_bundle, told)
    elif pack and source and decisions and wanted:
        explain_decision(pack, source, decisions, wanted, bundled=bundled, page=told, **options)
    else:
        raise click.UsageError("name PACK, SOURCE, --decisions and --id, or a bundle with --from-bundle")
