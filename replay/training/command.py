"""`sekisho train`: a model and its card from a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.options import CONFIG, DURATION, SOURCE, reads_a_log
from sekisho.options import MOMENT

if TYPE_CHECKING:
    from rich.console import Console

    from replay.topic_input import TopicInput
    from replay.training.train import Trained

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("pack", type=_PATH)
@click.argument("source", type=SOURCE, nargs=-1, required=True)
@reads_a_log
@CONFIG
@click.option("--train-from", "train_from_us", type=MOMENT, required=True, help="Learn from this event time on.")
@click.option("--train-to", "train_to_us", type=MOMENT, required=True, help="Learn from what is before this time.")
@click.option(
    "--delay", "delay_us", type=DURATION, default="7d", show_default=True,
    help="How long to wait for labels; then the model is made and its test begins.",
)  # fmt: skip
@click.option("--test-to", "test_to_us", type=MOMENT, required=True, help="Test on what is before this event time.")
@click.option(
    "--maturity", "maturity_us", type=DURATION, default=None,
    help="From which age on an unlabelled payment is presumed good. [default: --delay]",
)  # fmt: skip
@click.option(
    "--folds", type=click.IntRange(1, 100), default=4, show_default=True,
    help="Earlier windows of the same shape, which validate and calibrate.",
)  # fmt: skip
@click.option("--out", type=_PATH, required=True, help="The model's file, a .txt; its card is put beside it, a .toml.")
@click.option("--name", default="fraud", show_default=True, help="The model's name, after which scores are named.")
@click.option("--owner", required=True, help="Who answers for the model, for its card.")
@click.option("--use", "intended_use", required=True, help="What it is to be used for, for its card.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the training's draws.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads for the windows.")
def train(
    pack: Path,
    source: tuple[Path | TopicInput, ...],
    train_from_us: int,
    train_to_us: int,
    delay_us: int,
    test_to_us: int,
    maturity_us: int | None,
    folds: int,
    out: Path,
    name: str,
    owner: str,
    intended_use: str,
    seed: int,
    threads: int,
    file: Path | None,
    **log: Any,
) -> None:
    """Train a scorer for PACK on the log SOURCE, and judge it on later payments.

    Features are those that PACK's engine computes at each payment's arrival. A label counts from when it entered the
    log. Payments that are too young to be known, that never settled, or of other classes are left out and counted.
    """
    from rich.console import Console

    from models.card import write_card
    from models.prequential import Window
    from models.training import Purpose
    from replay.backtest.view import watched
    from replay.report import inputs_of
    from replay.training.rows import learnable
    from replay.training.train import Plan, train_on_log
    from sekisho.compile import compile_pack
    from sekisho.errors import SekishoError
    from sekisho.load import load_pack

    if not train_from_us < train_to_us < train_to_us + delay_us + 1 <= test_to_us:
        raise click.UsageError("give --train-from, --train-to, and --test-to behind --train-to plus --delay, in order")
    if out.suffix != ".txt" or not out.parent.is_dir():
        raise SekishoError(f"{out}: a model cannot be written here", "name a .txt file in a folder that is there")
    console, engine = Console(highlight=False), compile_pack(load_pack(pack), hash_key=os.urandom(16))
    for feature in learnable(engine)[1]:
        console.print(f"! {feature} is a time or an interval: the model does not see it", style="yellow")
    window = Window(train_from_us, train_to_us, delay_us, test_to_us)
    plan = Plan(window, folds, delay_us if maturity_us is None else maturity_us, seed)
    inputs, purpose = inputs_of(source, settings=file, **log), Purpose(name, owner, intended_use)
    with watched(console) as told:
        trained = train_on_log(engine, inputs, plan, purpose, told, threads)
    out.write_bytes(trained.model)
    out.with_suffix(".toml").write_text(write_card(trained.card), "utf-8")
    _show(trained, out, console)


def _show(trained: Trained, out: Path, console: Console) -> None:
    """A row a fold, what was left out, and where the model lies."""
    from datetime import UTC, datetime

    from rich.table import Table

    table = Table(title=f"model {trained.card.name}", title_justify="left", title_style="bold")
    for heading in ("test from", "trained", "frauds", "tested", "frauds", "left out", "AUC", "AP"):
        table.add_column(heading, justify="right", no_wrap=True)
    for k, fold in enumerate(trained.folds):
        day = datetime.fromtimestamp(fold.window.known_us / 1e6, UTC).strftime("%Y-%m-%d")
        left = sum(sum(found[each] for each in ("young", "unsettled", "other")) for found in (fold.known, fold.later))
        table.add_row(
            day, f"{len(fold.learn):,}", f"{int(fold.learn_labels.sum()):,}", f"{len(fold.labels):,}",
            f"{int(fold.labels.sum()):,}", f"{left:,}", f"{fold.roc_auc:.3f}", f"{fold.average_precision:.3f}",
            style="" if k else "bold", end_section=not k,
        )  # fmt: skip
    console.print(table)
    metrics = trained.card.metrics
    console.print("  The first row is the model itself; those below validate and calibrate it.", style="dim")
    console.print(f"  expected to observed frauds  {metrics['expected_to_observed']:.2f}")
    for why in ("young", "unsettled", "other"):
        console.print(f"  left out of training, {why:<9}  {metrics[f'left_out_{why}']:,.0f}")
    console.print(f"  {out}, sha256 {trained.card.sha256}")
