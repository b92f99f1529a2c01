"""Decisions as bytes: one JSON line each, keys in a fixed order, equal bytes for equal decisions (docs/wire.md)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from features.kernel import bare, inlined
from features.sheet import ERROR, SKIPPED, VALID, Bytes, Ints
from features.shims import Int
from rules.evaluate import FAILED, HIT, NO_HIT, UNKNOWN
from rules.reasons import GivenReason
from sekisho.compile import Engine
from sekisho.decision_form import FLAGS, to_json
from sekisho.intake import CONFLICT, FUTURE, TOO_LATE
from sekisho.step import Decided
from sekisho.wire.encode import Columns, Words, encode_rows, mask_words
from sekisho.wire.ids import record_ids

Mask = npt.NDArray[np.bool_]
_OVERFLOW = np.uint64(1 << FLAGS.index("overflow"))  # the others are the intake's bits
_BLOCK = 64  # events that are asked at once whether a rule says anything


def encode_decisions(
    engine: Engine, decided: Decided, rows: Ints | None = None, threads: int = 1
) -> tuple[Bytes, Ints]:
    """The records of `rows` (default: all that get one) as lines, in order: (blob, offsets int64[k + 1])."""
    ids, batch = decided.ids, decided.batch
    if rows is None:
        rows = decided.rows
    else:
        ids = ids[np.searchsorted(decided.rows, rows)]
    copies = decided.admission.fate[rows] == SKIPPED
    columns = Columns(decided.sheet, rows)
    columns.hexes("id", ids)
    columns.choices("topic", batch.topic[rows], _quoted(batch.topics))
    columns.ints("partition", batch.partition[rows])
    columns.ints("offset", batch.offset[rows])
    columns.ints("outcome", decided.results.outcome[rows])
    columns.ints("score", *headline(engine, decided, rows))
    if engine.reasons:
        _reasons(decided, rows, columns)
    columns.hexes("first", _first_ids(decided, rows, copies))
    return encode_rows(engine.templates, columns, _masks(engine, decided), copies.astype(np.int64), threads)


def headline(engine: Engine, decided: Decided, rows: Ints) -> tuple[Ints, Bytes]:
    """The highest score of the models, and where there is one."""
    best, scored = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.uint8)
    for scorer in engine.scorers:
        _raise(decided.sheet.ints(scorer.score), decided.sheet.validity(scorer.score), rows, best, scored)
    return best, scored


@bare
def _raise(scores: Ints, valid: Bytes, rows: Ints, best: Ints, scored: Bytes) -> None:
    """Take another model's scores into the highest ones."""
    for k in range(len(rows)):
        if valid[rows[k]] == VALID:
            best[k], scored[k] = max(best[k], scores[rows[k]]), VALID


@lru_cache
def _quoted(names: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(map(to_json, names))


def _reasons(decided: Decided, rows: Ints, columns: Columns) -> None:
    """The two lists of reasons of each row; most are empty."""
    index, inside, customers = np.zeros(len(rows), np.int64), [b"[]"], [b"[]"]
    for row, given in decided.reasons.items():
        at = int(np.searchsorted(rows, row))
        if at < len(rows) and rows[at] == row:
            index[at] = len(inside)
            inside.append(to_json([_reason(each) for each in given]))
            texts = [each.texts for each in given if each.texts.customer_en]
            customers.append(to_json([{"en": each.customer_en, "ja": each.customer_ja} for each in texts]))
    columns.choices("reasons", index, inside)
    columns.choices("customer_reasons", index, customers)


def _reason(each: GivenReason) -> dict[str, object]:
    texts = {"en": each.texts.en, "ja": each.texts.ja}
    return {"id": each.id, "model": each.model, "points": each.points, **texts}


def _first_ids(decided: Decided, rows: Ints, copies: Mask) -> Ints:
    """int64[k, 2]: the ids of the first records of duplicates, zeros for other rows."""
    ids = np.zeros((len(rows), 2), np.int64)
    if np.count_nonzero(copies):
        topic, partition, offset = (np.ascontiguousarray(part) for part in decided.admission.first[rows[copies]].T)
        ids[copies] = record_ids(decided.admission.topics, topic, partition, offset)
    return ids


def _masks(engine: Engine, decided: Decided) -> Words:
    """uint64[n, words]: the masks of the decision's template, in its order, for every event of the sheet."""
    results, sheet, flags = decided.results, decided.sheet, decided.admission.flags
    live, shadow = mask_words(len(results.rules)), mask_words(len(results.shadows))
    masks = np.zeros((sheet.n, 5 * live + shadow + 1), np.uint64)
    _mark_rules(results.status, results.lifted, results.muted, live, masks)
    if shadow:
        _mark_hits(results.shadow_status, 5 * live, masks)
    _mark_flags(sheet.valid, engine.feature_rows, flags, masks)
    return masks


@inlined
def _says_nothing(status: Bytes, r: Int, first: Int, stop: Int) -> bool:
    """True where rule r says NO_HIT on all of these events, as most rules do."""
    some = np.uint8(0)
    for i in range(first, stop):
        some |= status[r, i]
    return some == NO_HIT


@bare
def _mark_rules(status: Bytes, lifted: Bytes, muted: Bytes, words: Int, masks: Words) -> None:
    """The masks of live rules: hits that count, lifted and muted ones, unknown, errors; so many words each."""
    m, n = status.shape
    for first in range(0, n, _BLOCK):
        stop = min(first + _BLOCK, n)
        for r in range(m):
            if _says_nothing(status, r, first, stop):
                continue
            word, bit = r >> 6, np.uint64(1) << np.uint64(r & 63)
            for i in range(first, stop):
                answer = status[r, i]
                if answer == HIT:
                    if lifted[r, i] == 0 and muted[r, i] == 0:
                        masks[i, word] |= bit
                    if lifted[r, i] == 1:
                        masks[i, words + word] |= bit
                    if muted[r, i] == 1:
                        masks[i, 2 * words + word] |= bit
                elif answer == UNKNOWN:
                    masks[i, 3 * words + word] |= bit
                elif answer == FAILED:
                    masks[i, 4 * words + word] |= bit


@bare
def _mark_hits(status: Bytes, first_word: Int, masks: Words) -> None:
    """The mask of shadow rules, which begins at `first_word`."""
    m, n = status.shape
    for first in range(0, n, _BLOCK):
        stop = min(first + _BLOCK, n)
        for r in range(m):
            if _says_nothing(status, r, first, stop):
                continue
            for i in range(first, stop):
                if status[r, i] == HIT:
                    masks[i, first_word + (r >> 6)] |= np.uint64(1) << np.uint64(r & 63)


@bare
def _mark_flags(valid: Bytes, features: Ints, flags: Bytes, masks: Words) -> None:
    """The last word: what the intake says, and whether a feature overflowed."""
    last = masks.shape[1] - 1
    for i in range(len(flags)):
        masks[i, last] = np.uint64(flags[i] & (TOO_LATE | FUTURE | CONFLICT))
    for row in features:
        for first in range(0, len(flags), _BLOCK):
            some = np.uint8(0)
            for i in range(first, min(first + _BLOCK, len(flags))):
                some |= valid[row, i]
            if some & ERROR:
                for i in range(first, min(first + _BLOCK, len(flags))):
                    if valid[row, i] == ERROR:
                        masks[i, last] |= _OVERFLOW
