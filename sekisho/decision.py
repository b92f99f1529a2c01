"""Decisions as bytes: one JSON line each, keys in a fixed order, equal bytes for equal decisions (docs/wire.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from features.sheet import ERROR, SKIPPED, VALID, Bytes, Ints
from rules.evaluate import FAILED, HIT, UNKNOWN
from rules.records import OUTCOMES, Rule
from sekisho.compile import Engine
from sekisho.intake import CONFLICT, FUTURE, TOO_LATE
from sekisho.step import Decided
from sekisho.wire.encode import CHOICE, HEX, INT, MASK, RAW, TEXT, TIME, Columns, Piece, double_texts, encode_rows
from sekisho.wire.ids import record_ids

_FLAGS = ("too_late", "future", "id_conflict", "overflow")
_HEAD = (
    b'{"v":1,"id":', Piece("id", HEX), b',"event_id":', Piece("event_id", TEXT), b',"payment_id":',
    Piece("payment_id", TEXT), b',"event_time":', Piece("event_time", TIME), b',"source":{"topic":',
    Piece("topic", CHOICE), b',"partition":', Piece("partition", INT), b',"offset":', Piece("offset", INT), b"}",
)  # fmt: skip
_LISTS = (
    b',"rules":', Piece("rules", MASK), b',"lifted":', Piece("lifted", MASK), b',"muted":', Piece("muted", MASK),
    b',"unknown":', Piece("unknown", MASK), b',"errors":', Piece("errors", MASK), b',"shadow":', Piece("shadow", MASK),
    b',"flags":', Piece("flags", MASK),
)  # fmt: skip


def encode_decisions(engine: Engine, decided: Decided, rows: Ints | None = None) -> tuple[Bytes, Ints]:
    """The records of `rows` (default: all that get one) as lines, in order: (blob, offsets int64[k + 1])."""
    rows = decided.rows if rows is None else rows
    copies = decided.admission.fate[rows] == SKIPPED
    blob, offsets = _decisions(engine, decided, rows[~copies])
    if not copies.any():
        return blob, offsets
    other, ends = _duplicates(engine, decided, rows[copies])
    parts, fresh, again = [], 0, 0
    for copy in copies:
        if copy:
            parts.append(other[ends[again] : ends[again + 1]])
            again += 1
        else:
            parts.append(blob[offsets[fresh] : offsets[fresh + 1]])
            fresh += 1
    return np.concatenate(parts), np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)


def _head(decided: Decided, rows: Ints) -> Columns:
    sheet, batch = decided.sheet, decided.batch
    columns = Columns(len(rows), sheet.text)
    columns.hexes("id", decided.ids[np.searchsorted(decided.rows, rows)])
    for name in ("event_id", "payment_id", "event_time"):
        if name in sheet.layout:
            columns.ints(name, sheet.ints(name)[rows], sheet.validity(name)[rows])
        else:
            columns.ints(name, np.zeros(len(rows), np.int64), np.zeros(len(rows), np.uint8))
    columns.choices("topic", batch.topic[rows], [_json(topic) for topic in batch.topics])
    columns.ints("partition", batch.partition[rows])
    columns.ints("offset", batch.offset[rows])
    return columns


def _tail(engine: Engine) -> bytes:
    return b',"pack":' + _json(engine.pack.hash) + b"}\n"


def _duplicates(engine: Engine, decided: Decided, rows: Ints) -> tuple[Bytes, Ints]:
    """Records that name the first decision of the same event."""
    columns = _head(decided, rows)
    columns.hexes("first", first_ids(decided, rows))
    return encode_rows((*_HEAD, b',"duplicate_of":', Piece("first", HEX), _tail(engine)), columns)


def first_ids(decided: Decided, rows: Ints) -> Ints:
    """int64[k, 2]: the ids of the first records of duplicates."""
    topic, partition, offset = (np.ascontiguousarray(part) for part in decided.admission.first[rows].T)
    return record_ids(decided.admission.topics, topic, partition, offset)


def _decisions(engine: Engine, decided: Decided, rows: Ints) -> tuple[Bytes, Ints]:
    columns = _head(decided, rows)
    columns.choices("outcome", decided.results.outcome[rows].astype(np.int64), [_json(name) for name in OUTCOMES])
    columns.ints("score", *headline(engine, decided, rows))
    models: list[bytes | Piece] = []
    for scorer in engine.scorers:
        name = scorer.scorer.name
        columns.ints(f"{name}_score", decided.sheet.ints(scorer.score)[rows])
        for part, slot in (("raw", scorer.raw), ("probability", scorer.probability)):
            values = decided.sheet.doubles(slot)[rows]
            columns.strings(f"{name}_{part}", double_texts(values, np.full(len(rows), VALID, np.uint8)))
        model = b'{"name":' + _json(name) + b',"sha256":' + _json(scorer.scorer.sha256) + b',"score":'
        models += [b"," if models else b"", model, Piece(f"{name}_score", INT)]
        models += [b',"raw":', Piece(f"{name}_raw", RAW), b',"probability":', Piece(f"{name}_probability", RAW), b"}"]
    _answers(engine, decided, rows, columns)
    template = (
        *_HEAD, b',"outcome":', Piece("outcome", CHOICE), b',"score":', Piece("score", INT), b',"models":[', *models,
        b"]", *_LISTS, _tail(engine),
    )  # fmt: skip
    return encode_rows(template, columns)


def headline(engine: Engine, decided: Decided, rows: Ints) -> tuple[Ints, Bytes]:
    """The highest score of the models, and where there is one."""
    scores = [decided.sheet.ints(scorer.score)[rows] for scorer in engine.scorers]
    if not scores:
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.uint8)
    return np.max(scores, axis=0), np.full(len(rows), VALID, np.uint8)


def _answers(engine: Engine, decided: Decided, rows: Ints, columns: Columns) -> None:
    results = decided.results
    status, lifted, muted = results.status[:, rows], results.lifted[:, rows], results.muted[:, rows]
    names = [_json(rule.id) for rule in results.rules]
    hit = status == HIT
    columns.flags("rules", (hit & (lifted == 0) & (muted == 0)).view(np.uint8), [_rule(rule) for rule in results.rules])
    columns.flags("lifted", (hit & (lifted == 1)).view(np.uint8), names)
    columns.flags("muted", (hit & (muted == 1)).view(np.uint8), names)
    columns.flags("unknown", (status == UNKNOWN).view(np.uint8), names)
    columns.flags("errors", (status == FAILED).view(np.uint8), names)
    shadows = [_json(rule.id) for rule in results.shadows]
    columns.flags("shadow", (results.shadow_status[:, rows] == HIT).view(np.uint8), shadows)
    flags = decided.admission.flags[rows]
    features = np.array([engine.layout[name].row for name, _ in engine.pack.query.features], np.int64)
    overflow = (decided.sheet.valid[features] == ERROR).any(axis=0)[rows]
    matrix = np.stack([(flags & bit) > 0 for bit in (TOO_LATE, FUTURE, CONFLICT)] + [overflow]).astype(np.uint8)
    columns.flags("flags", matrix, [_json(name) for name in _FLAGS])


def _rule(rule: Rule) -> bytes:
    reason: Mapping[str, str] = {"en": rule.reasons.en, "ja": rule.reasons.ja}
    return _json({"id": rule.id, "outcome": rule.outcome, "reason": reason})


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
