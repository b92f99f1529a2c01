"""What happened to each payment in history, from one reading of the log: what feedback needs to edit it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.sheet import Bytes, Doubles, Ints
from replay.backtest.records import Asked
from replay.backtest.roles import Roles
from replay.backtest.rows import kinds_of, number_of, rows_of_kind, text_of
from replay.merge import Chunk
from rules.records import OUTCOMES
from sekisho.pack import Pack

OTHER, PAYMENT, OUTCOME, LABEL = 0, 1, 2, 3
_REFUSED = OUTCOMES.index("decline")
_BLOCK = 65_536  # names that are Python objects at a time


@dataclass(frozen=True)
class History:
    """The log's n events and the p payments that they are or name.

    kind: uint8[n], OTHER to LABEL.   payment: int32[n], -1 for none; a payment's index is its first event's turn.
    at: int64[p], the number of its first event, -1 if the log has no payment of that id.
    first: bool[p], the first of its attempt group, or of none.
    settled, refused: bool[p].   edits: bool[p], it stands in the range that feedback may edit.
    passes, confirmed: bool[p], a challenge is passed; a declined fraud is labelled all the same.
    """

    kind: Bytes
    payment: npt.NDArray[np.int32]
    at: Ints
    first: npt.NDArray[np.bool_]
    settled: npt.NDArray[np.bool_]
    refused: npt.NDArray[np.bool_]
    edits: npt.NDArray[np.bool_]
    passes: npt.NDArray[np.bool_]
    confirmed: npt.NDArray[np.bool_]


def history_of(log: Iterator[Chunk], pack: Pack, roles: Roles, asked: Asked) -> History:
    """Read the log once. Draws are hashes of the seed and payment_id, so that they do not depend on the log's order."""
    columns = _columns(log, pack, roles)
    codes = columns["payment_id"].dictionary_encode().combine_chunks()
    payment = pc.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    names, kind = codes.dictionary, columns["kind"].to_numpy().astype(np.uint8)
    p = len(names)
    status, code = columns["status"].to_numpy(), np.full(p, -1, np.int64)
    said = np.flatnonzero((kind == OUTCOME) & (status >= 0) & (payment >= 0))
    code[payment[said]] = status[said]  # the last one stands
    settles = np.flatnonzero((kind == OUTCOME) & (columns["settles"].to_numpy() == 1) & (payment >= 0))
    settled = np.zeros(p, bool)
    settled[payment[settles]] = True
    if not (kind == OUTCOME).any():
        settled[:] = True
    paid = np.flatnonzero((kind == PAYMENT) & (payment >= 0))
    fraud, when = np.zeros(p, bool), np.full(p, -(2**63), np.int64)
    verdicts = np.flatnonzero((kind == LABEL) & (payment >= 0))
    fraud[payment[verdicts]] = columns["says_fraud"].to_numpy()[verdicts] == 1
    when[payment[paid[::-1]]] = columns["at_us"].to_numpy()[paid[::-1]]
    at = np.full(p, -1, np.int64)
    at[payment[paid[::-1]]] = paid[::-1]
    pass_rate = np.where(fraud, asked.pass_fraud, asked.pass_good)
    return History(
        kind, payment, at, _first_attempts(columns, paid, payment, p), settled,
        (code == _REFUSED) & ~settled, when >= (asked.from_us if asked.from_us is not None else -(2**63)),
        draws(names, asked.seed, "challenge") < pass_rate, draws(names, asked.seed, "confirm") < asked.confirm_declined,
    )  # fmt: skip


def draws(names: pa.Array, seed: int, purpose: str) -> Doubles:
    """float64[p] in [0, 1): a seeded hash of each name."""
    key, found = f"{purpose}:{seed}".encode()[:64], np.empty(len(names))
    for at in range(0, len(names), _BLOCK):
        part = names.slice(at, _BLOCK).to_pylist()
        words = b"".join(blake2b(str(name).encode(), digest_size=8, key=key).digest() for name in part)
        found[at : at + _BLOCK] = np.frombuffer(words, np.uint64) / 2.0**64
    return found


def _columns(log: Iterator[Chunk], pack: Pack, roles: Roles) -> pa.Table:
    labels = pack.labels
    fraud = pa.array(labels.fraud if labels else (), pa.string())
    parts = []
    for chunk in log:
        if not chunk.batch.n:
            continue
        every, kinds = np.arange(chunk.batch.n), kinds_of(chunk.batch)
        kind = np.zeros(chunk.batch.n, np.uint8)
        wanted = ((PAYMENT, pack.policy.decide), (OUTCOME, ("outcome",)), (LABEL, (labels.kind,) if labels else ()))
        for code, names in wanted:
            kind[rows_of_kind(kinds, names)] = code
        status, classes = (text_of(chunk.batch, name, every) for name in (roles.outcome, roles.label_class))
        settles = pc.is_in(status, pa.array(["settled", "partial"]))
        parts.append(pa.table({
            "kind": kind,
            "payment_id": text_of(chunk.batch, roles.payment, every),
            "attempts": text_of(chunk.batch, roles.attempts, every),
            "status": pc.fill_null(pc.index_in(status, pa.array(OUTCOMES)), -1).cast(pa.int8()),
            "settles": pc.fill_null(settles, False).cast(pa.int8()),
            "says_fraud": pc.and_(pc.is_in(classes, fraud),
                                  pc.not_equal(pc.fill_null(number_of(chunk.batch, roles.reversal, every), 0), 1)
                                  ).cast(pa.int8()),
            "at_us": chunk.batch.sheet.ints("event_time"),
        }))  # fmt: skip
    return pa.concat_tables(parts)


def _first_attempts(columns: pa.Table, paid: Ints, payment: npt.NDArray[np.int32], p: int) -> npt.NDArray[np.bool_]:
    first = np.ones(p, bool)
    groups = columns["attempts"].take(pa.array(paid)).combine_chunks().dictionary_encode().indices
    codes = pc.fill_null(groups, -1).to_numpy(zero_copy_only=False)
    known = np.flatnonzero(codes >= 0)
    _, at = np.unique(codes[known], return_index=True)
    first[payment[paid[known]]] = False
    first[payment[paid[known[at]]]] = True
    return first


def collapse(log: Iterator[Chunk], history: History) -> Iterator[Chunk]:
    """The log with one attempt of each group: the others and what followed them never happened."""
    kept, first = _kept(history), 0
    for chunk in log:
        index = np.flatnonzero(kept[first : first + chunk.batch.n])
        first += chunk.batch.n
        yield replace(chunk, batch=chunk.batch.take(index))


def collapsed(history: History) -> History:
    """The history of the log that `collapse` gives."""
    kept = _kept(history)
    number = np.cumsum(kept) - 1
    at = np.where(history.at >= 0, number[history.at], -1)
    return replace(history, kind=history.kind[kept], payment=history.payment[kept], at=at)


def _kept(history: History) -> npt.NDArray[np.bool_]:
    return (history.payment < 0) | history.first[history.payment]
