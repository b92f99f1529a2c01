"""`sekisho replay backtest`: what a candidate strategy would have done, in money."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from replay.options import CONFIG, DURATION, SOURCE, reads_a_log
from sekisho.options import MOMENT

if TYPE_CHECKING:
    from replay.backtest.records import Asked

_PATH = click.Path(path_type=Path)
_SHARE = click.FloatRange(0, 1)


class _Budget(click.IntRange):
    """Alerts a day, as 200 or 200/day."""

    name = "alerts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; anything else is wrong usage."""
        try:
            return int(super().convert(str(value).removesuffix("/day"), param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is no number of alerts a day; write 200, or 0 for no budget", param, ctx)


@click.command("backtest")
@click.argument("current", type=_PATH)
@click.argument("candidate", type=_PATH)
@click.argument("source", type=SOURCE, nargs=-1, required=True)
@CONFIG
@reads_a_log
@click.option("--from", "from_us", type=MOMENT, help="Count payments from this event time on; before it is history.")
@click.option("--to", "to_us", type=MOMENT, help="Count payments before this event time.")
@click.option("--as-known", "as_known_us", type=MOMENT, help="Use what was known by then. [default: all of the log]")
@click.option(
    "--maturity",
    "maturity_us",
    type=DURATION,
    default=None,
    help="From this age on an unlabelled payment is presumed good. [default: the pack's, else when 95 % are in]",
)
@click.option("--accept-cold", is_flag=True, help="Count payments with less history than their longest window, too.")
@click.option("--budget", type=_Budget(0), default=100, show_default=True, help="Alerts a day; 0 for no budget.")
@click.option(
    "--act-by",
    "act_by_us",
    type=DURATION,
    default=None,
    help="How long an alert is worth looking at. [default: the pack's]",
)
@click.option("--zone", default="Asia/Tokyo", show_default=True, help="The time zone of days and hours.")
@click.option("--feedback", is_flag=True, help="Let decisions edit the log: what is declined never settles.")
@click.option("--collapse", is_flag=True, help="Count only the first of each attempt_group; both counts are shown.")
@click.option(
    "--settle-after",
    "settle_after_us",
    type=DURATION,
    default="1d",
    show_default=True,
    help="With --feedback: how long after a payment that is now approved its settlement comes.",
)
@click.option(
    "--pass-fraud",
    type=_SHARE,
    default=0.1,
    show_default=True,
    help="Challenges that frauds pass: with --feedback, and in what a challenger's arm would have lost.",
)
@click.option(
    "--pass-good",
    type=_SHARE,
    default=0.95,
    show_default=True,
    help="With --feedback: challenges that other payments pass.",
)
@click.option(
    "--confirm-declined",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="With --feedback: declined frauds that are labelled all the same.",
)
@click.option(
    "--propensity",
    metavar="FIELD",
    default="",
    help="Estimate what refused payments hold from those let through for learning: the field or column with the "
    "probability of being let through.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the draws and the bootstrap.")
@click.option(
    "--report", "report_file", type=_PATH, help="Write the report to this file: one HTML page, nothing fetched."
)
@click.option("--json", "json_file", type=_PATH, help="Write facts and figures to this file.")
@click.option("--csv", "csv_file", type=_PATH, help="Write every flip to this file: CSV, or Parquet.")
@click.option(
    "--lang",
    type=click.Choice(["en", "ja"]),
    default="en",
    show_default=True,
    help="The language of summary and report.",
)
def backtest_command(
    current: Path,
    candidate: Path,
    source: tuple[Any, ...],
    file: Path | None,
    labels: Path | None,
    label_column: str | None,
    label_delay_us: int,
    label_class: str,
    arrived_at: str,
    events: Path | None,
    report_file: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
    lang: str,
    **asked: Any,
) -> None:
    """Replay SOURCE through the packs CURRENT and CANDIDATE, and compare what they do, in money.

    Both are run whole over the same log in one pass: features, rules, lists, models. What came out is judged by the
    labels that were known; what nobody knows stays unknown and is shown as a range.
    """
    from rich.console import Console

    from replay.backtest.records import Asked
    from replay.backtest.run import run_backtest
    from replay.backtest.view import show, watched
    from replay.first_start import FirstStart
    from replay.outputs import check_outputs
    from replay.pages.backtest_page import backtest_page
    from replay.report import inputs_of
    from replay.topic_input import TopicInput
    from sekisho.compile import compile_pack
    from sekisho.errors import SekishoError
    from sekisho.load import load_pack

    question: Asked = Asked(**{name: value for name, value in asked.items() if value is not None})
    if question.from_us is not None and question.to_us is not None and question.from_us >= question.to_us:
        raise click.UsageError("--from is not before --to, so nothing would be counted")
    _check_feedback(question.feedback)
    inputs = inputs_of(source, labels, label_column, label_delay_us, label_class, arrived_at, events, file)
    for topics in inputs:
        if isinstance(topics, TopicInput) and any(part.end is None for part in topics.ranges):
            raise SekishoError(f"{topics}: a back-test reads its log twice, and a topic grows", "bound it with to=..")
    check_outputs([file for each in inputs for file in each.files()], [report_file, json_file, csv_file])
    start = FirstStart()
    engines = [compile_pack(load_pack(pack), hash_key=os.urandom(16)) for pack in (current, candidate)]
    for engine in engines:
        start.finish(engine, inputs, 1)
    console = Console(highlight=False)
    with watched(console) as told:
        result = run_backtest(engines[0], engines[1], inputs, question, told)
    show(result, console, lang)
    if report_file:
        report_file.write_text(backtest_page(result, lang), "utf-8")
    if json_file:
        json_file.write_text(result.to_json(), "utf-8")
    if csv_file:
        result.write_flips(csv_file)


def _check_feedback(feedback: bool) -> None:
    """Refuse options that would be without effect."""
    typed, of_feedback = click.get_current_context(), ("settle_after_us", "pass_good", "confirm_declined")
    for param in typed.command.params:
        given = typed.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
        if param.name in of_feedback and given and not feedback:
            raise click.UsageError(f"{param.opts[0]} means nothing without --feedback")
