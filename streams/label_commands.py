"""`sekisho label import`: verdicts from a file become label events of the log."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sekisho.errors import SekishoError, SourceError
from streams.commands import CONFIG
from streams.control_commands import open_desk, running_pack

if TYPE_CHECKING:
    from sekisho.labels import LabelEvent
    from sekisho.log import Message

_SHOWN = 10
_PAYMENT = re.compile(rb'"payment_id":("(?:[^"\\]|\\.)*")')


@click.group()
def label() -> None:
    """Verdicts that come back: what turned out to be fraud, and what did not."""


@label.command("import")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--check/--no-check", default=True, help="Look on the decisions' topic for the payments that it names.")
@CONFIG
def import_labels(source: Path, check: bool, file: Path) -> None:
    """Send the labels of SOURCE, a .csv, .jsonl or .parquet whose columns have the names of the pack's fields.

    A row's id follows from its content, so importing a file again sends nothing twice. Where a verdict may come again
    (fraud, taken back, fraud), give each row its event_id or its times. A label of an unknown payment is sent and told.
    """
    from sekisho.compile import compile_pack, wire_plan
    from sekisho.labels import label_events

    rows = read_rows(source)
    with open_desk(file) as desk:
        pack, topics = running_pack(desk), desk.settings.topics
        events, refused = label_events(
            pack, wire_plan(compile_pack(pack, hash_key=os.urandom(16))), rows, time.time_ns() // 1000
        )
        there = {message.key for message in desk.read([topics.events])}
        fresh = {event.id: event for event in events if event.id.encode() not in there}
        desk.send((id.encode(), event.raw) for id, event in fresh.items())
        unknown = _unknown(desk.read([topics.decisions]), list(fresh.values())) if check else []
    for each in refused[:_SHOWN]:
        click.echo(f"row {each.row + 1}: {each.why}", err=True)
    click.echo(f"sent {len(fresh):,} labels to {topics.events}; {len(events) - len(fresh):,} were there already")
    if unknown:
        named = ", ".join([*unknown[:_SHOWN], *(["..."] if len(unknown) > _SHOWN else [])])
        click.echo(f"kept, though no decision on {topics.decisions} names these {len(unknown):,} payments: {named}")
    if refused:
        raise SekishoError(f"{source}: {len(refused):,} rows are no labels, and were not sent", "mend the rows above")


def read_rows(source: Path) -> list[dict[str, Any]]:
    """The rows of a file. Raises SourceError."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if source.suffix == ".jsonl":
            lines = source.read_text("utf-8").splitlines()
            return [_object(source, number, line) for number, line in enumerate(lines, 1) if line.strip()]
        if source.suffix == ".parquet":
            return list(pa.parquet.read_table(source).to_pylist())
        if source.suffix == ".csv":
            names = source.read_text("utf-8-sig").partition("\n")[0].rstrip("\r").split(",")
            texts = pa.csv.ConvertOptions(column_types={name.strip('"'): pa.string() for name in names})
            return list(pa.csv.read_csv(source, convert_options=texts).to_pylist())
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise SourceError(f"{source}: not readable ({_why(error)})", "look at the path and the file") from error
    raise SourceError(f"{source}: unknown kind of file", "use one of .csv, .jsonl, .parquet")


def _why(error: Exception) -> str:
    """What is wrong with a file, without a value of it."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"no UTF-8 at byte {error.start}"
    known = re.search(r"Expected \d+ columns, got \d+|Empty CSV file", str(error))
    return known[0] if known else type(error).__name__


def _object(source: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SourceError(f"{source}, line {number}: this is no JSON object", "write one object a line")
    return found


def _unknown(decisions: Iterable[Message], labels: Sequence[LabelEvent]) -> list[str]:
    """The payments that the labels name and no decision does, in order."""
    wanted = dict.fromkeys(value for field, value in (each.names for each in labels) if field == "payment_id")
    for payment in _payments(decisions) if wanted else ():
        wanted.pop(payment, None)
        if not wanted:
            break
    return list(wanted)


def _payments(decisions: Iterable[Message]) -> Iterator[str]:
    for message in decisions:
        if found := _PAYMENT.search(message.value or b""):
            yield json.loads(found[1])
