"""What the decoders need to know of a schema, as arrays: how each field is read, and where from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from features.refusal import Refusal
from features.schema import Field, Schema
from features.sheet import HANDLE_BITS, Bytes, Ints, Layout
from sekisho.wire.scalars import AS_BOOL, AS_CATEGORY, AS_DECIMAL, AS_DOUBLE, AS_EPOCH, AS_ID, AS_TEXT, AS_TIME
from sekisho.wire.zones import Zone, zone

MAX_DEPTH = 32  # objects and arrays inside each other

# Columns of `fields`: how and with which param it is read, its row, the next field of the same JSON path or -1,
# 1 if required, the handle of its default or -1.
HOW, PARAM, ROW, NEXT, REQUIRED, DEFAULT = range(6)
# Columns of `entries`: the key's place in `keys`, the node below it or -1, the first field read from it or -1.
KEY, LENGTH, NODE, FIELD = range(4)

_HOW = {"id": AS_ID, "category": AS_CATEGORY, "text": AS_TEXT, "money": AS_DECIMAL, "number": AS_DECIMAL,
        "double": AS_DOUBLE, "bool": AS_BOOL}  # fmt: skip
_EPOCH_DECIMALS = {"epoch_s": 6, "epoch_ms": 3, "epoch_us": 0}


@dataclass(frozen=True)
class WirePlan:
    """A schema made ready for decoding into sheets of one layout.

    names: the fields, by their index in `fields` and in dead letters; the ingest field, if any, is the last.
    nodes: int64[m, 2], the entries [first, last) of each JSON object on the path of a field; node 0 is the record.
    entries, fields: int64[k, 4] and int64[f, 6], see the constants above.   keys: uint8, all key bytes.
    kinds: handles of the kinds.   kind, event_time, record_time, arrival_lag: rows.
    """

    sources: tuple[Field, ...]
    layout: Layout
    zone: Zone
    max_record_bytes: int
    nodes: Ints
    entries: Ints
    fields: Ints
    keys: Bytes
    kinds: Ints
    kind: int
    event_time: int
    record_time: int
    arrival_lag: int
    ingests: bool

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.sources)


def plan_wire(
    schema: Schema,
    layout: Layout,
    default_zone: str = "UTC",
    ingest: Field | None = None,
    max_record_bytes: int = 2**20,
) -> WirePlan:
    """The plan of a schema whose columns stand in `layout`.

    ingest: a time field that fills record_time, where the log itself does not say it.
    Raises Refusal for encodings and paths that make no sense.
    """
    sources = schema.fields if ingest is None else (*schema.fields, ingest)
    rows = [layout[source.name].row for source in schema.fields]
    if ingest is not None:
        rows.append(layout["record_time"].row)
    root = _Node()
    following = [_enter(root, source, k) for k, source in enumerate(sources)]
    nodes, entries, keys = _flatten(root)
    return WirePlan(
        sources, layout, zone(default_zone), min(max_record_bytes, 2**HANDLE_BITS - 1), nodes, entries,
        np.array([_field(*parts, layout) for parts in zip(sources, rows, following, strict=True)], np.int64),
        np.frombuffer(keys, np.uint8), np.array([layout.literal(kind) for kind in schema.kinds], np.int64),
        layout["kind"].row, layout["event_time"].row, layout["record_time"].row, layout["arrival_lag"].row,
        ingest is not None,
    )  # fmt: skip


def column_names(field: Field) -> tuple[str, ...]:
    """The columns of a table that a field may be read from: its source, `a.b` of `$.a.b`, its own name, a struct a."""
    path = json_path(field)
    return field.source, ".".join(path), field.name, path[0]


def json_path(source: Field) -> tuple[str, ...]:
    """The keys that lead to a field: `$.a.b` or one plain key."""
    text = source.source or source.name
    return tuple(text[2:].split(".")) if text.startswith("$.") else (text,)


def _field(source: Field, row: int, following: int, layout: Layout) -> list[int]:
    default = layout.literal(source.default) if source.default else -1
    return [*_reader(source), row, following, int(source.required), default]


def _reader(source: Field) -> tuple[int, int]:
    """How the field is read, and with which param."""
    match source.type, source.encoding:
        case "time", "":
            return AS_TIME, 0
        case "time", ("epoch_s" | "epoch_ms" | "epoch_us") as unit:
            return AS_EPOCH, _EPOCH_DECIMALS[unit]
        case "money", "minor":
            return AS_DECIMAL, 0
        case type, "" if type in _HOW:
            return _HOW[type], source.exponent
    raise Refusal(
        f"field {source.name!r}: a {source.type} has no encoding {source.encoding!r}",
        'times take "", "epoch_s", "epoch_ms", "epoch_us"; money takes "" or "minor"; all others take none',
    )


@dataclass
class _Node:
    """One key on the way to fields."""

    children: dict[str, _Node] = field(default_factory=dict)
    readers: list[int] = field(default_factory=list)


def _enter(root: _Node, source: Field, k: int) -> int:
    """Put field k at the end of its path; the field there that was entered before it, or -1."""
    node = root
    for key in json_path(source):
        if not key or any(c in '"\\' or ord(c) < 32 for c in key):
            raise Refusal(
                f"field {source.name!r}: {source.source!r} is not a path",
                "write $.key.key, without quotes, backslashes or empty keys",
            )
        if node.readers:
            raise _both(source)
        node = node.children.setdefault(key, _Node())
    if node.children:
        raise _both(source)
    node.readers.append(k)
    return node.readers[-2] if len(node.readers) > 1 else -1


def _both(source: Field) -> Refusal:
    return Refusal(
        f"field {source.name!r}: {source.source!r} would be a value and an object at once",
        "give one of the two fields another path",
    )


def _flatten(root: _Node) -> tuple[Ints, Ints, bytes]:
    """The tree, breadth first: nodes, entries, key bytes."""
    nodes: list[tuple[int, int]] = []
    entries: list[tuple[int, int, int, int]] = []
    keys, queue, known = b"", [root], 1
    for node in queue:  # grows while it is walked
        nodes.append((len(entries), len(entries) + len(node.children)))
        for key, child in node.children.items():
            raw = key.encode()
            below = -1
            if child.children:
                below, known = known, known + 1
                queue.append(child)
            entries.append((len(keys), len(raw), below, child.readers[-1] if child.readers else -1))
            keys += raw
    return np.array(nodes, np.int64), np.array(entries, np.int64), keys
