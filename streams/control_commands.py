"""`sekisho list`, `rule` and `alert`: what people change while workers run. Each is an event of the log."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from rules.controls import ACKNOWLEDGE, CLOSE, DISPOSITION, SNOOZE, AlertMark, Control, ListChange, RuleMute
from rules.lists import OPEN_ENDS
from rules.times import TIME_FIX, format_time, parse_time
from sekisho.errors import SekishoError
from sekisho.settings import load_settings
from streams.commands import CONFIG

if TYPE_CHECKING:
    from sekisho.labels import LabelEvent
    from sekisho.pack import Pack
    from streams.events import EventDesk


class _Time(click.ParamType):
    """An RFC 3339 time with its zone, in microseconds UTC; or, as 90m, 12h or 7d, so long from now."""

    name = "time|12h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Microseconds; what is no time is wrong usage."""
        text = str(value)
        units = {"m": 60, "h": 3600, "d": 86_400}
        if text[:-1].isdecimal() and len(text) < 7 and text[-1] in units:
            return (int(time.time()) + int(text[:-1]) * units[text[-1]]) * 1_000_000
        if (at := parse_time(text)) is None:
            self.fail(f"{text!r} is no time; {TIME_FIX}, or 90m, 12h, 7d from now", param, ctx)
        return at


_BY = click.option("--by", required=True, help="Who says so.")
_WHY = click.option("--why", required=True, help="Why, for whoever looks later.")
_NOTE = click.option("--note", default="", help="For whoever looks later.")
_GROUP = click.argument("group", callback=lambda ctx, param, value: _group(value))


@click.group("list")
def lists() -> None:
    """Entries of lists, added and removed while workers run."""


@lists.command("add")
@click.argument("name")
@click.argument("value")
@click.option("--starts", type=_Time(), help="The first event time at which it counts. [default: any]")
@click.option("--expires", type=_Time(), help="The event time from which it counts no more. [default: never]")
@_BY
@_WHY
@CONFIG
def add(name: str, value: str, starts: int | None, expires: int | None, by: str, why: str, file: Path) -> None:
    """Put VALUE on the list NAME, beside what the pack says of it. It counts for every event behind this in the log."""
    ends = (OPEN_ENDS[0] if starts is None else starts, OPEN_ENDS[1] if expires is None else expires)
    if ends[0] >= ends[1]:
        raise click.UsageError("--starts is not before --expires, so the entry would never count")
    with open_desk(file) as desk:
        _known(name, running_pack(desk).rules.lists, "list")
        _tell(desk, ListChange(*_head(by, why), name, value, *ends), f"added to {name}")


@lists.command("remove")
@click.argument("name")
@click.argument("value")
@_BY
@_WHY
@CONFIG
def remove(name: str, value: str, by: str, why: str, file: Path) -> None:
    """Take every entry of VALUE off the list NAME, the pack's own too, until it is added again."""
    with open_desk(file) as desk:
        _known(name, running_pack(desk).rules.lists, "list")
        _tell(desk, ListChange(*_head(by, why), name, value, *OPEN_ENDS, remove=True), f"removed from {name}")


@lists.command("show")
@click.argument("name", required=False)
@CONFIG
def show(name: str | None, file: Path) -> None:
    """What was said of the lists, or of NAME, since the log began; the pack's own entries are only counted."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    with open_desk(file) as desk:
        own, said = running_pack(desk).rules.lists, desk.said()
    if name is not None:
        _known(name, own.keys() | {other for other, _ in said.entries}, "list")
    for each, entries in own.items():
        if name in (None, each):
            console.print(f"{each}: {len(entries):,} entries in the pack")
    table = Table("list", "value", "", "starts", "expires", "by", "at", "why", box=None)
    for (each, value), changes in sorted(said.entries.items()):
        for change in changes if name in (None, each) else ():
            word = "removed" if change.remove else "added"
            ends = (_end(change.starts_us), _end(change.expires_us))
            table.add_row(each, value, word, *ends, change.by, format_time(change.time_us), change.why)
    console.print(table if table.row_count else "nothing was said of them since")


@click.group()
def rule() -> None:
    """Rules of the running pack, muted and heard again while workers run."""


@rule.command()
@click.argument("id")
@click.option("--until", type=_Time(), required=True, help="When it is heard again, by the log's clock W.")
@_BY
@_WHY
@CONFIG
def mute(id: str, until: int, by: str, why: str, file: Path) -> None:
    """Let hits of the rule ID have no outcome and no alert. It is still evaluated, counted and shown as muted."""
    with open_desk(file) as desk:
        what = f"{id}, whose outcome is {_rule(desk, id)}, is muted until {format_time(until)}"
        _tell(desk, RuleMute(*_head(by, why), id, until), what)


@rule.command()
@click.argument("id")
@_BY
@_WHY
@CONFIG
def unmute(id: str, by: str, why: str, file: Path) -> None:
    """Let the rule ID be heard again."""
    with open_desk(file) as desk:
        _rule(desk, id)
        _tell(desk, RuleMute(*_head(by, why), id, None), f"{id} is heard again")


@rule.command("list")
@CONFIG
def rules(file: Path) -> None:
    """The running pack's rules, and which of them are muted, until when, by whom and why."""
    from rich.console import Console
    from rich.table import Table

    with open_desk(file) as desk:
        pack, mutes = running_pack(desk), desk.said().mutes
    table = Table("rule", "stage", "outcome", "owner", "muted", box=None)
    for each in pack.rules.rules:
        table.add_row(each.id, each.stage, each.outcome, each.owner, _muted(mutes.get(each.id)))
    for shadow in pack.rules.shadows:
        table.add_row(shadow.id, shadow.stage, "shadow", shadow.owner, "")
    for id in sorted(mutes.keys() - {each.id for each in pack.rules.rules}):
        table.add_row(id, "", "not in this pack", "", _muted(mutes[id]))
    Console(highlight=False).print(f"pack {pack.name} {pack.hash[:12]}", table, sep="\n")


@click.group()
def alert() -> None:
    """What is done about groups of alerts; GROUP is an alert's group_id."""


@alert.command("ack")
@_GROUP
@_BY
@_NOTE
@CONFIG
def acknowledge(group: str, by: str, note: str, file: Path) -> None:
    """Somebody looks at it. Later notifications of the group say so."""
    _mark(file, by, note, ACKNOWLEDGE, group)


@alert.command()
@_GROUP
@click.option("--until", type=_Time(), required=True, help="By the log's clock W.")
@_BY
@_NOTE
@CONFIG
def snooze(group: str, until: int, by: str, note: str, file: Path) -> None:
    """Let escalations of the group wait until then. Its members are still gathered."""
    _mark(file, by, note, SNOOZE, group, until)


@alert.command()
@_GROUP
@click.option("--disposition", default="", help="What came of it, in the bank's own word.")
@_BY
@_NOTE
@CONFIG
def close(group: str, disposition: str, by: str, note: str, file: Path) -> None:
    """End the group: it is told closed, and the next alert of its key opens another.

    A disposition may label its payments, as of the command `disposition`.
    """
    _mark(file, by, note, CLOSE, group, None, disposition)


@alert.command()
@_GROUP
@click.argument("word")
@_BY
@_NOTE
@CONFIG
def disposition(group: str, word: str, by: str, note: str, file: Path) -> None:
    """Say with WORD what came of it: false_positive, unable_to_contact ...

    Where the pack's [labels] dispositions map WORD to a class, the payments that were alerted so far are labelled.
    """
    _mark(file, by, note, DISPOSITION, group, None, word)


def _group(value: str) -> str:
    """The id of a group. Raises BadParameter."""
    if not re.fullmatch("[0-9a-f]{32}", value):
        raise click.BadParameter("it is the group_id of an alert: 32 of 0-9 and a-f")
    return value


def _mark(file: Path, by: str, note: str, *what: Any) -> None:
    with open_desk(file) as desk:
        mark = AlertMark(*_head(by, note), *what)
        labels, told = _meant(desk, mark) if mark.disposition else ([], "")
        _tell(desk, mark, f"{mark.action} of {mark.group}", labels)
        if told:
            click.echo(told)


def _meant(desk: EventDesk, mark: AlertMark) -> tuple[list[LabelEvent], str]:
    """The labels that a disposition means in the running pack, and what is said of them."""
    from sekisho.compile import compile_pack, wire_plan
    from streams.dispositions import labels_of, members_of

    pack, topics = running_pack(desk), desk.settings.topics
    words = pack.labels.dispositions if pack.labels else {}
    if mark.disposition not in words:
        known = ", ".join(f"{word} means {label_class}" for word, label_class in words.items())
        return [], f"{mark.disposition} labels nothing; in pack {pack.name} {known or 'no disposition does'}"
    members = members_of(mark.group, desk.read([topics.alerts]))
    if not members.payments and not members.nameless:
        return [], f"nothing is labelled: no alert of the group is left on {topics.alerts}"
    labels = labels_of(pack, wire_plan(compile_pack(pack, hash_key=os.urandom(16))), mark, list(members.payments))
    nameless = f"; {len(members.nameless):,} members have no payment_id" if members.nameless else ""
    return labels, f"{len(labels):,} payments are labelled {words[mark.disposition]}{nameless}"


def _tell(desk: EventDesk, control: Control, what: str, labels: Sequence[LabelEvent] = ()) -> None:
    """Send it, once it is known to be a good one, and the labels behind it."""
    from sekisho.wire.controls import Fault, decode_control, encode_control
    from sekisho.wire.reasons import REASONS

    found = decode_control(encode_control(control))
    if isinstance(found, Fault):
        raise click.UsageError(f"{found.key}: {REASONS[found.code].what}; {REASONS[found.code].fix}")
    desk.send([(control.id.encode(), encode_control(control)), *((each.id.encode(), each.raw) for each in labels)])
    click.echo(f"{what}; event {control.id} on {desk.settings.topics.events}")


def _head(by: str, why: str) -> tuple[str, int, str, str]:
    return uuid4().hex, _now_us(), by.strip(), why.strip()


def _now_us() -> int:
    return time.time_ns() // 1000


def _rule(desk: EventDesk, id: str) -> str:
    """The outcome of a live rule. Raises SekishoError for any other."""
    pack = running_pack(desk)
    if id in {shadow.id for shadow in pack.rules.shadows}:
        raise SekishoError(f"{id} is a shadow rule: it has no outcome that could be muted", "mute a live rule")
    outcomes = {each.id: each.outcome for each in pack.rules.rules}
    _known(id, outcomes, "rule")
    return outcomes[id]


def _known(name: str, names: Collection[str], what: str) -> None:
    from features.refusal import suggest

    if name not in names:
        raise SekishoError(f"the running pack has no {what} {name!r}", suggest(name, names))


def running_pack(desk: EventDesk) -> Pack:
    """The pack that decides now: what the journal names, else the settings' own."""
    import tempfile

    from sekisho.load import load_pack
    from sekisho.pack_records import write_files
    from streams.desk import patiently
    from streams.pack_requests import PackDesk

    own = load_pack(desk.settings.pack)
    with PackDesk(desk.settings) as packs:
        last = patiently(packs.last)
        files = patiently(packs.shelf).files(last.pack) if last is not None and last.pack != own.hash else None
    if last is None or files is None:
        return own
    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder) / last.pack)
        return load_pack(Path(folder) / last.pack)


def _end(at_us: int) -> str:
    return "" if at_us in OPEN_ENDS else format_time(at_us)


def _muted(mute: RuleMute | None) -> str:
    if mute is None or mute.until_us is None:
        return ""
    return f"until {format_time(mute.until_us)} by {mute.by}: {mute.why}"


def open_desk(file: Path) -> EventDesk:
    """The events topic of the settings' cluster. Raises SekishoError where it does not answer."""
    from streams.events import EventDesk

    return EventDesk(load_settings(file))
