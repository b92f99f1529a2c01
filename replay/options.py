"""How times, durations and logs are written on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sekisho.options import MOMENT

if TYPE_CHECKING:
    from replay.topic_input import TopicInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Duration(click.ParamType):
    """ "90s", "10m", "24h" or "7d" in microseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Microseconds; what is no duration is wrong usage."""
        found = re.fullmatch(r"([0-9]{1,6})([smhd])", str(value).strip())
        if not found:
            self.fail(f"{value!r} is no duration; write 90s, 10m, 24h or 7d", param, ctx)
        return int(found[1]) * _UNITS[found[2]] * 1_000_000


class _BatchOrMoment(click.ParamType):
    """A batch's number, or a time: (number, None) or (None, microseconds)."""

    name = "batch|time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """What is neither is wrong usage."""
        text = str(value)
        return (int(text), None) if re.fullmatch(r"[0-9]{1,15}", text) else (None, MOMENT.convert(value, param, ctx))


class _Source(click.ParamType):
    """A file, a folder, or a topic's kafka:// address: a Path or a TopicInput."""

    name = "source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | TopicInput:
        """What is no address of a topic is taken for a path, unless it begins like one."""
        from replay.topic_input import SCHEME, TopicInput, parse_topics

        if isinstance(value, TopicInput) or not str(value).startswith(SCHEME):
            return value if isinstance(value, TopicInput) else Path(value)
        try:
            return parse_topics(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION, BATCH_OR_MOMENT, SOURCE = _Duration(), _BatchOrMoment(), _Source()
CONFIG = click.option(
    "--config", "file", type=click.Path(path_type=Path, dir_okay=False), envvar="SEKISHO_CONFIG",
    help="The settings' file: brokers, TLS, SASL.",
)  # fmt: skip

_Command = Callable[..., Any]

# How a log is read: `explain` and `backtest` must read it as `run` did.
_SOURCE = (
    click.option("--labels", type=click.Path(path_type=Path), help="Read label events from this file too."),
    click.option(
        "--label-column",
        help="Make labels from this column of SOURCE, a table: true where the payment turned out to be fraud.",
    ),
    click.option(
        "--label-delay", "label_delay_us", type=DURATION, default="7d", show_default=True,
        help="How long after its payment such a label arrives.",
    ),
    click.option("--label-class", default="fraud", show_default=True, help="The class that such a label gives."),
    click.option(
        "--events", type=click.Path(path_type=Path),
        help="Read this file of JSON lines as the events topic: list entries, mutes, marks on alerts, and labels.",
    ),
    click.option(
        "--arrived-at", default="", help="The column or JSON path that says when the log took an event.",
    ),
)  # fmt: skip


def reads_a_log(command: _Command) -> _Command:
    """Gives a command the options that say how a log is read."""
    return reduce(lambda inner, option: option(inner), reversed(_SOURCE), command)
