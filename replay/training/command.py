"""`sekisho train`: a model and its card from a log."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.options import CONFIG, DURATION, SOURCE, reads_a_log
from sekisho.options import MOMENT

if TYPE_CHECKING:
    from rich.console import Console

    from models.measures import Ranking
    from replay.training.table import Fold
    from replay.training.train import Trained

_PATH = click.Path(path_type=Path)
_MOST_TRIALS = 5
TYPED = "sekisho.train.typed"


class _Parameter(click.ParamType):
    """key=value, a parameter of LightGBM."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """(key, value); what LightGBM would not take as it stands is wrong usage."""
        from features.refusal import Refusal
        from models.training import read_parameter

        try:
            return value if isinstance(value, tuple) else read_parameter(value)
        except Refusal as wrong:
            self.fail(f"{wrong.what}; {wrong.fix}", param, ctx)


class _Names(click.ParamType):
    """Names with commas between them, or a file of them."""

    name = "file|list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names. A file holds one a line; what follows a # is a comment."""
        if isinstance(value, tuple):
            return value
        file = Path(value)
        lines = file.read_text("utf-8").splitlines() if file.is_file() else value.split(",")
        names = tuple(name for line in lines if (name := line.partition("#")[0].strip()))
        if not names:
            self.fail(f"{value} names no feature", param, ctx)
        return names


class _Remembering(click.Command):
    """Keeps the words of its command line, for the card."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse them, and keep them in the context."""
        ctx.meta[TYPED] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Remembering)
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
    help="From which age on an unlabelled payment is presumed good. [default: the pack's, else --delay]",
)  # fmt: skip
@click.option(
    "--folds", type=click.IntRange(1, 100), default=4, show_default=True,
    help="Earlier windows of the same shape, which validate and calibrate.",
)  # fmt: skip
@click.option(
    "--features", type=_Names(), default=(), help="Learn from these features only. [default: all of the pack's]",
)  # fmt: skip
@click.option(
    "--param", "params", type=_Parameter(), multiple=True,
    help="A parameter of LightGBM instead of the default, as num_leaves=8; may be given several times.",
)  # fmt: skip
@click.option(
    "--search", "tries", type=click.IntRange(0, 200), default=0, show_default=True,
    help="Try so many configurations on the earlier folds, and take the best by average precision.",
)  # fmt: skip
@click.option(
    "--out", type=_PATH, required=True,
    help="The model's file, a .txt; beside it are put its card, a .toml, and a page to look at, a .html.",
)  # fmt: skip
@click.option("--lang", type=click.Choice(("en", "ja")), default="en", show_default=True, help="Of the page.")
@click.option("--name", default="fraud", show_default=True, help="The model's name, after which scores are named.")
@click.option("--owner", required=True, help="Who answers for the model, for its card.")
@click.option("--use", "intended_use", required=True, help="What it is to be used for, for its card.")
@click.option("--limits", default="", help="What it must not be used for, for its card.")
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d"]), help="The day from which on it has to be looked at anew.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the training's draws.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads for the windows.")
def train(out: Path, lang: str, **asked: Any) -> None:
    """Train a scorer for PACK on the log SOURCE, and judge it on later payments.

    Features are those that PACK's engine computes at each payment's arrival. A label counts from when it entered the
    log. Payments that are too young to be known, that never settled, or of other classes are left out and counted.
    """
    from rich.console import Console

    from models.card_toml import write_card
    from replay.outputs import check_outputs
    from replay.pages.model_page import model_page
    from replay.training.make import make
    from sekisho.errors import SekishoError

    if out.suffix != ".txt" or not out.parent.is_dir():
        raise SekishoError(f"{out}: a model cannot be written here", "name a .txt file in a folder that is there")
    check_outputs((), [out])
    console = Console(highlight=False)
    made = make(shlex.join(["sekisho", "train", *click.get_current_context().meta[TYPED]]), console, **asked)
    out.write_bytes(made.trained.model)
    out.with_suffix(".toml").write_text(write_card(made.trained.card), "utf-8")
    out.with_suffix(".html").write_text(model_page(made, lang), "utf-8")
    _show(made.trained, out, console)


def _show(trained: Trained, out: Path, console: Console) -> None:
    """A row a fold, what was left out, and where the model lies."""
    from rich.table import Table

    counts, ranks = (
        Table(*headings, title=title, title_justify="left", title_style="bold")
        for title, headings in (
            (f"model {trained.card.name}", ("test from", "trained", "frauds", "tested", "frauds", "left out")),
            ("how it ranks", ("test from", "cards", "AUC", "AP", "CP@100")),
        )
    )
    for k, fold in enumerate(trained.folds):
        style = "" if k else "bold"
        counts.add_row(*_counts(fold), style=style, end_section=not k)
        ranks.add_row(_day(fold), "all", *_measures(fold.ranking()), style=style)
        ranks.add_row("", "not yet known", *_measures(fold.ranking(fresh=True)), style=style, end_section=True)
    for table in (counts, ranks):
        for column in table.columns[1 if table is counts else 2 :]:
            column.justify = "right"
        console.print(table)
    metrics = trained.card.metrics
    console.print("  The first row is the model itself; those below validate and calibrate it.", style="dim")
    console.print("  Not yet known: without the cards whose fraud was known before that day.", style="dim")
    if "card_precision_100" not in metrics:
        console.print('! no field of the pack is marked pii = "account": nothing says whose card it is', style="yellow")
    if lost := metrics.get("labels_of_no_payment"):
        fix = "give the field `occurred_at`, or labels of payments"
        console.print(f"! {lost:,.0f} labels name no payment, nor when the fraud occurred, and mean none: {fix}",
                      style="yellow")  # fmt: skip
    console.print(f"  expected to observed frauds  {metrics['expected_to_observed']:.2f}")
    for why in ("young", "unsettled", "other"):
        console.print(f"  left out of training, {why:<9}  {metrics[f'left_out_{why}']:,.0f}")
    _show_bands(trained, console)
    if trained.card.thresholds:
        from sekisho.thresholds import show_thresholds

        show_thresholds(trained.card.thresholds, console)
    _show_trials(trained, console)
    console.print(f"  {out}, sha256 {trained.card.sha256}")
    console.print(f"  Look at it: {out.with_suffix('.html')}")


def _show_bands(trained: Trained, console: Console) -> None:
    """Whether probabilities are what they say, by hundreds of the score."""
    from rich.table import Table

    table = Table("score", "payments", "frauds", "expected", "observed / expected", title="calibration on the test",
                  title_justify="left", title_style="bold")  # fmt: skip
    for band in trained.bands:
        row = f"{band.rows:,}", f"{band.frauds:,}", f"{band.expected:,.1f}", f"{band.observed_to_expected:.2f}"
        table.add_row(f"{band.low} - {band.low + 99}", *row)
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)


def _show_trials(trained: Trained, console: Console) -> None:
    """What was tried, the best first."""
    from rich.table import Table

    if not trained.trials:
        return
    table = Table("AP on the earlier folds", "parameters", title="tried", title_justify="left", title_style="bold")
    for trial in trained.trials[:_MOST_TRIALS]:
        said = " ".join(f"{name}={value}" for name, value in trial.params.items())
        table.add_row(f"{trial.average_precision:.4f} +/- {trial.spread:.4f}", said)
    console.print(table)


def _day(fold: Fold) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(fold.split.window.known_us / 1e6, UTC).strftime("%Y-%m-%d")


def _counts(fold: Fold) -> list[str]:
    split = fold.split
    left = sum(sum(found[each] for each in ("young", "unsettled", "other")) for found in (split.known, split.later))
    said = [len(split.learn), int(split.learn_labels.sum()), len(split.test), int(split.test_labels.sum()), left]
    return [_day(fold), *(f"{count:,}" for count in said)]


def _measures(found: Ranking) -> list[str]:
    from dataclasses import astuple

    return [f"{value:.3f}" for value in astuple(found)]
