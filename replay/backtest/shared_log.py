"""One reading of the log for two packs: decoded once, and handed to each in its own layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from features.schema import Field, Schema
from features.sheet import HANDLE_BITS, Ints, Layout, Sheet
from features.types import Kind
from replay.decoder import Decoder
from replay.merge import Chunk
from replay.sources import Input, read_decoded
from replay.topic_input import TopicInput
from sekisho.batch import Batch
from sekisho.compile import Engine, plan_events
from sekisho.errors import SekishoError
from sekisho.pack import Pack


@dataclass(frozen=True)
class SharedLog:
    """Reads events with the fields of both packs. pack: CURRENT's, with them; layout: of the sheets `read` gives."""

    pack: Pack
    layout: Layout

    def read(self, inputs: Sequence[Input | TopicInput]) -> Iterator[Chunk]:
        """The log from its beginning."""
        return read_decoded(self._decoder, inputs)

    def _decoder(self, arrived_at: str) -> Decoder:
        plan = plan_events(self.pack, self.layout, arrived_at)
        return Decoder(self.pack, plan, arrived_at or self.pack.policy.ingest)


@dataclass(frozen=True)
class Projection:
    """Takes what a pack reads out of a shared sheet. rows: int64[r] of the shared sheet; texts: the text rows."""

    layout: Layout
    rows: Ints
    texts: Ints

    def batch(self, batch: Batch) -> Batch:
        """The same events in the pack's own layout."""
        literals = np.frombuffer(bytes(self.layout.literals), np.uint8)
        cells, valid = batch.sheet.cells[self.rows], batch.sheet.valid[self.rows]
        cells[self.texts] += len(literals) << HANDLE_BITS
        sheet = Sheet(self.layout, cells, valid, np.concatenate([literals, batch.sheet.text]))
        return replace(batch, sheet=sheet)


def share_log(current: Engine, candidate: Engine) -> SharedLog:
    """What reads the log for both packs. Raises SekishoError where one event would mean two things to them."""
    ours, theirs = current.pack, candidate.pack
    known = ours.schema.by_name
    differing = [field for field in theirs.schema.fields if known.get(field.name, field) != field]
    if differing:
        raise SekishoError(
            f"CANDIDATE ({theirs.name}) reads {', '.join(field.name for field in differing)} otherwise than CURRENT "
            f"({ours.name}): {_difference(known[differing[0].name], differing[0])}",
            "give both packs the same [fields] for what they share; new fields may be added",
        )
    for what, a, b in (
        ("[events] kinds", ours.schema.kinds, theirs.schema.kinds),
        ("[events] decide", ours.policy.decide, theirs.policy.decide),
        ("[events] record_time", ours.policy.ingest, theirs.policy.ingest),
        ("[events] record_time_encoding", ours.policy.record_time_encoding, theirs.policy.record_time_encoding),
        ("[events] default_zone", ours.policy.default_zone, theirs.policy.default_zone),
    ):
        if a != b:
            fix = f"CURRENT ({ours.name}) has {_said(a)}, CANDIDATE ({theirs.name}) has {_said(b)}: make them equal"
            raise SekishoError(f"the packs do not read one log: they differ in {what}", fix)
    return _with_fields(ours, tuple(theirs.schema.by_name[name] for name in added(current, candidate)))


def added(current: Engine, candidate: Engine) -> tuple[str, ...]:
    """The fields that only CANDIDATE reads."""
    known = current.pack.schema.by_name
    return tuple(field.name for field in candidate.pack.schema.fields if field.name not in known)


def _difference(a: Field, b: Field) -> str:
    """What of a field two packs say otherwise."""
    pairs = ((name, getattr(a, name), getattr(b, name)) for name in (each.name for each in fields(Field)))
    told = (f"{what.replace('source', 'from')} {_said(y)}, not {_said(x)}" for what, x, y in pairs if x != y)
    return f"{a.name} has " + ", ".join(told)


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return repr(value) if value or isinstance(value, int) else "none"


def with_field(log: SharedLog, field: Field) -> SharedLog:
    """The log with a field that neither pack has; the same log where one has it."""
    return log if field.name in log.pack.schema.by_name else _with_fields(log.pack, (field,))


def _with_fields(pack: Pack, added: tuple[Field, ...]) -> SharedLog:
    schema, layout = Schema((*pack.schema.fields, *added), pack.schema.kinds), Layout()
    for name, type in schema.columns().items():
        layout.add(name, type)
    return SharedLog(replace(pack, schema=schema), layout)


def project(log: SharedLog, engine: Engine) -> Projection:
    """How the pack's own sheets come out of the shared ones."""
    slots = engine.inputs.slots
    rows = np.array([log.layout[name].row for name in slots], np.int64)
    texts = np.array([slot.row for slot in slots.values() if slot.type.kind is Kind.TEXT], np.int64)
    return Projection(engine.inputs, rows, texts)
