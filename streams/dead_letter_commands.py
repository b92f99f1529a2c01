"""`sekisho dead-letters`: what could not be read, and sending it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sekisho.errors import SekishoError
from sekisho.options import MOMENT
from sekisho.settings import Settings, load_settings
from sekisho.wire.reasons import REASONS
from streams.commands import CONFIG

if TYPE_CHECKING:
    from streams.dead_letters import Chosen, Letter, LetterDesk

_CHOICE = (
    CONFIG,
    click.option("--from", "from_us", type=MOMENT, help="Those that were written at this time or later."),
    click.option("--to", "to_us", type=MOMENT, help="Those that were written before this time."),
    click.option(
        "--reason", "codes", multiple=True, help="Only this reason, as `list` names it; several may be given."
    ),
    click.option("--at", "places", multiple=True, help="Only that of this place, as in payments[0]:1200."),
)

_HOPELESS = {"empty": "has no bytes", "too_big": "is longer than a record may be"}  # whatever is mended


def _chooses(command: Callable[..., Any]) -> Callable[..., Any]:
    return reduce(lambda inner, option: option(inner), reversed(_CHOICE), command)


@click.group("dead-letters")
def dead_letters() -> None:
    """Events that could not be read."""


@dead_letters.command("list")
@_chooses
def list_letters(file: Path, **choice: Any) -> None:
    """Print dead letters: when, why, where, and a masked excerpt, with letters as a and digits as 0."""
    from rich.console import Console
    from rich.text import Text

    settings = load_settings(file)
    with _desk(settings) as desk:
        letters = desk.letters(_chosen(choice))
        sent = desk.sent(letters)
    console = Console(highlight=False, soft_wrap=True)
    for letter in letters:
        again = ", sent again" if str(letter.source) in sent else ""
        console.print(Text(f"{_time(letter.time_us)}  {letter.code}{again}  {letter.source}"), style="bold")
        console.print(Text(f"    {letter.reason}"))
        console.print(Text(f"    {letter.size:,} bytes: {letter.excerpt}"), style="dim")
    counts = Counter(letter.code for letter in letters)
    told = ", ".join(f"{code} {count:,}" for code, count in counts.most_common())
    click.echo(f"{len(letters):,} dead letters{': ' + told if told else ''}")


@dead_letters.command("replay")
@_chooses
@click.option("--yes", is_flag=True, help="Do not ask.")
def replay_letters(file: Path, yes: bool, **choice: Any) -> None:
    """Send chosen dead letters to their input topic again, after the pack or whoever sent them was mended.

    Each keeps its key and partition, and is sent once, however often this is run: what was sent is marked. An event
    that was accepted meanwhile becomes a duplicate; one that arrives too late now is decided as such.
    """
    settings = load_settings(file)
    with _desk(settings) as desk:
        letters = desk.letters(_chosen(choice))
        _refuse_strangers(letters, settings)
        sent = desk.sent(letters)
        ready, lost = [], []
        for letter in letters:
            if str(letter.source) in sent:
                continue
            record = None if letter.code == "too_big" else desk.record(letter)
            if record:
                ready.append((letter, record))
            else:
                lost.append(letter)
        if ready and not yes:
            topics = ", ".join(sorted({letter.source.topic for letter, _ in ready}))
            click.confirm(f"Send {len(ready):,} records to {topics} again?", abort=True)
        desk.send(ready)
    for letter in lost:
        click.echo(f"not sent: {letter.source} {_HOPELESS.get(letter.code, 'is gone from its topic')}")
    before = len(letters) - len(ready) - len(lost)
    click.echo(f"{len(ready):,} sent again, {before:,} were sent before, {len(lost):,} cannot be sent")


def _chosen(choice: dict[str, Any]) -> Chosen:
    from streams.dead_letters import Chosen

    known = {reason.name for reason in REASONS.values()}
    if unknown := [code for code in choice["codes"] if code not in known]:
        raise click.UsageError(f"there is no reason {unknown[0]!r}; reasons are {', '.join(sorted(known))}")
    return Chosen(**choice)


def _refuse_strangers(letters: list[Letter], settings: Settings) -> None:
    """A dead letter of a topic that nobody reads would be sent into the void."""
    strangers = {letter.source.topic for letter in letters} - set(settings.topics.consumed)
    if strangers:
        raise SekishoError(
            f"dead letters come from {', '.join(sorted(strangers))}, which [topics] input does not name",
            "choose others with --from, --to, --reason or --at, or add the topic to the input",
        )


def _desk(settings: Settings) -> LetterDesk:
    from streams.dead_letters import LetterDesk

    return LetterDesk(settings)


def _time(us: int) -> str:
    from rules.times import format_time

    return format_time(us)
