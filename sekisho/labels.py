"""Labels on their way in: rows with a pack's field names become label events, with ids that follow from their content.

A label's event_time is when it enters the log, so that no feature sees it early; when the fraud was and when the bank
learned of it are fields of their own, if the pack has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import numpy as np

from features.schema import Field
from rules.times import format_time
from sekisho.errors import SekishoError
from sekisho.pack import LabelPolicy, Pack
from sekisho.wire.json_decode import decode_json
from sekisho.wire.plan import WirePlan, json_path

Row = Mapping[str, object]
_WORDS = {"true": True, "1": True, "false": False, "0": False}
KEYED = len("label-") + 16  # how many characters all ids of one request with a key have in common
_EPOCH = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}


class NoLabelsError(SekishoError):
    """A pack that knows no labels."""


@dataclass(frozen=True)
class LabelEvent:
    """A label as it goes onto the events topic. row: the row's number.   names: what it is about, field and value."""

    row: int
    id: str
    raw: bytes
    names: tuple[str, str]


@dataclass(frozen=True)
class RefusedLabel:
    """A row that is no label: why. It never quotes a value."""

    row: int
    why: str


def label_events(
    pack: Pack, plan: WirePlan, rows: Sequence[Row], now_us: int, key: str = ""
) -> tuple[list[LabelEvent], list[RefusedLabel]]:
    """The rows as label events, and those that are none. Keys are the pack's fields, by name or as they are read.

    now_us: the event time of rows without one.   key: of the request; equal rows of two requests are two labels.
    Equal rows of one request, or of two without a key, have one id. All ids of a key begin alike, see `request_of`.
    Raises NoLabelsError.
    """
    if pack.labels is None or pack.labels.kind not in pack.schema.kinds:
        raise NoLabelsError(f"pack {pack.name}: it has no labels", "add a [labels] table and its kind to pack.toml")
    events: list[LabelEvent] = []
    refused: list[RefusedLabel] = []
    for number, row in enumerate(rows):
        given = _given(pack, row)
        names = next(((name, str(given[name])) for name in pack.labels.names if name in given), None)
        if why := _lacks(pack.labels, given, names is None):
            refused.append(RefusedLabel(number, why))
            continue
        id = str(given.get("event_id") or _id(given, key))
        raw = _record(pack, {**given, "event_id": id, "kind": pack.labels.kind}, now_us)
        events.append(LabelEvent(number, id, raw, names or ("", "")))
    return _readable(plan, events, refused)


def _given(pack: Pack, row: Row) -> dict[str, Any]:
    """The row's values by field, without NULLs and empty texts."""
    found: dict[str, Any] = {}
    for field in pack.schema.fields:
        names = (field.name, field.source, ".".join(json_path(field)))
        value = next((row[name] for name in names if name in row), _inner(row, json_path(field)))
        if value is not None and value != "":
            found[field.name] = _plain(field, value)
    return found


def _inner(row: object, path: Sequence[str]) -> object:
    for key in path:
        row = row.get(key) if isinstance(row, Mapping) else None
    return row


def _plain(field: Field, value: object) -> Any:
    """A value as JSON and the wire have it, the same whichever kind of file it came from."""
    if field.type == "bool":
        return _WORDS.get(str(value).lower(), value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date | Decimal):
        return str(value)
    if field.type in ("id", "category", "text", "money", "number") and isinstance(value, int):
        return str(value)
    return value


def _lacks(labels: LabelPolicy, given: Mapping[str, Any], nameless: bool) -> str:
    """Why it says nothing, or ""."""
    if nameless:
        return f"it names nothing; give one of {', '.join(labels.names)}"
    if labels.class_field in given or given.get(labels.reversal_field) is True:
        return ""
    return f"it has no class; give {labels.class_field}" + f", or {labels.reversal_field}" * bool(labels.reversal_field)


def _id(given: Mapping[str, Any], key: str) -> str:
    content = json.dumps(sorted((name, str(value)) for name, value in given.items()), ensure_ascii=False)
    return f"{request_of(key)}-{_digest(content)[:16]}" if key else f"label-{_digest(content)}"


def request_of(key: str) -> str:
    """How the ids of a request with this key begin, but for those that its rows bring."""
    return f"label-{_digest(key)}"[:KEYED]


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _record(pack: Pack, given: Mapping[str, Any], now_us: int) -> bytes:
    """The event in the pack's own form; its times are now where it says none."""
    record: dict[str, Any] = {}
    for name, value in {"event_time": _moment(pack.schema.by_name["event_time"], now_us), **given}.items():
        _put(record, json_path(pack.schema.by_name[name]), value)
    if pack.policy.ingest:
        _put(record, json_path(Field("record_time", "time", source=pack.policy.ingest)), format_time(now_us))
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _moment(field: Field, at_us: int) -> object:
    return at_us // _EPOCH[field.encoding] if field.encoding else format_time(at_us)


def _put(record: dict[str, Any], path: Sequence[str], value: object) -> None:
    *outer, last = path
    for key in outer:
        record = record.setdefault(key, {})
    record.setdefault(last, value)


def _readable(
    plan: WirePlan, events: list[LabelEvent], refused: list[RefusedLabel]
) -> tuple[list[LabelEvent], list[RefusedLabel]]:
    """Refuse what would be a dead letter to a worker."""
    ends = np.cumsum([0, *(len(event.raw) for event in events)], dtype=np.int64)
    blob = np.frombuffer(b"".join(event.raw for event in events), np.uint8)
    _, good, dead = decode_json(blob, ends, plan, np.zeros(len(events), np.int64))
    bad = [RefusedLabel(events[i].row, dead.reason(k)) for k, i in enumerate(dead.index.tolist())]
    return [events[i] for i in good.tolist()], sorted([*refused, *bad], key=lambda each: each.row)
