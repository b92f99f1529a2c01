"""Where the rows of a back-test lie while it runs: Parquet files, so that a log of any length takes the same memory."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.sheet import VALID, Ints
from replay.backtest.records import SIDES
from replay.backtest.roles import Roles
from replay.backtest.track import Answers
from sekisho.batch import Batch
from sekisho.wire.arrow import to_arrow


class RowFiles:
    """Writers of `payments`, `followups`, `sample` and `flips`, made when the first row comes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.writers, self.stack = folder, dict[str, Any](), ExitStack()

    def __enter__(self) -> RowFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def write(self, name: str, table: pa.Table) -> None:
        """Append rows to a file."""
        if name not in self.writers:
            writer = pq.ParquetWriter(self.folder / f"{name}.parquet", table.schema, compression="lz4")
            self.writers[name] = self.stack.enter_context(writer)
        self.writers[name].write_table(table)


def kinds_of(batch: Batch) -> pa.Array:
    """The events' kinds, as a dictionary of few words."""
    kind = batch.sheet.layout["kind"]
    return to_arrow(batch.sheet, [("kind", kind)], np.arange(batch.n))["kind"].combine_chunks().dictionary_encode()


def rows_of_kind(kinds: pa.Array, wanted: tuple[str, ...]) -> Ints:
    """The events of some kinds."""
    mask = pc.is_in(kinds, pa.array(wanted, pa.string()))
    return np.flatnonzero(np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False)))


def payment_rows(roles: Roles, batch: Batch, rows: Ints, first: int) -> pa.Table:
    """What the log says of the payments at `rows`; `first` is the number of the batch's first event."""
    sheet = batch.sheet
    named = {
        "event_id": "event_id", "payment_id": roles.payment, "payee": roles.payee, "attempts": roles.attempts,
    }  # fmt: skip
    columns: dict[str, pa.Array] = {"n": pa.array(rows + first)}
    for name, source in named.items():
        columns[name] = text_of(batch, source, rows)
    columns["entity"] = pc.coalesce(
        *(text_of(batch, name, rows) for name in roles.entities), pa.nulls(len(rows), pa.string())
    )
    for name in roles.names:
        columns[f"name_{name}"] = text_of(batch, name, rows)
    for name in roles.drawn:
        columns[f"drawn_{name}"] = text_of(batch, name, rows)
    if roles.propensity:
        columns["propensity"] = real_of(batch, roles.propensity, rows)
    columns["at_us"] = pa.array(sheet.ints("event_time")[rows])
    for name, source in (
        ("arrived_us", "record_time"),
        ("amount_minor", roles.amount),
        ("balance_minor", roles.balance),
    ):
        columns[name] = number_of(batch, source, rows)
    return pa.table(columns)


def answer_rows(answers: tuple[Answers, Answers]) -> pa.Table:
    """What both packs say of the same payments."""
    columns: dict[str, Any] = {"clock_us": answers[0].clock, "fate": answers[0].fate}
    columns |= {"id_high": answers[0].ids[:, 0].copy(), "id_low": answers[0].ids[:, 1].copy()}
    for side, said in zip(SIDES, answers, strict=True):
        columns[side] = said.outcome
        columns[f"{side}_score"] = said.score.astype(np.int16)
        columns[f"{side}_raw"] = said.raw
        for name in ("hits", "shadows", "unknown", "failed", "without"):
            columns[f"{side}_{name}"] = getattr(said, name)
        for j in range(said.arms.shape[1]):
            columns[f"{side}_arm{j}"] = said.arms[:, j].copy()
    return pa.table(columns)


def followup_rows(roles: Roles, label_kind: str, batch: Batch, kinds: pa.Array, first: int) -> pa.Table:
    """Outcomes and labels: what they name and what they say."""
    rows = rows_of_kind(kinds, ("outcome", label_kind))
    columns: dict[str, pa.Array] = {"n": pa.array(rows + first), "is_label": pc.equal(kinds.take(rows), label_kind)}
    for name, source in (("payment_id", roles.payment), ("status", roles.outcome), ("class", roles.label_class)):
        columns[name] = text_of(batch, source, rows)
    for name in roles.names:
        columns[f"name_{name}"] = text_of(batch, name, rows)
    columns["at_us"] = pa.array(batch.sheet.ints("event_time")[rows])
    numbers = {"known_us": roles.known_at, "occurred_us": roles.occurred_at, "reversal": roles.reversal,
               "outcome_minor": roles.outcome_amount}  # fmt: skip
    for name, source in numbers.items():
        columns[name] = number_of(batch, source, rows)
    if roles.propensity:
        columns["propensity"] = real_of(batch, roles.propensity, rows)
    return pa.table(columns)


def text_of(batch: Batch, name: str, rows: Ints) -> pa.Array:
    """A column of text; all null where the pack has none."""
    if not name:
        return pa.nulls(len(rows), pa.string())
    return to_arrow(batch.sheet, [(name, batch.sheet.layout[name])], rows)[name].combine_chunks()


def number_of(batch: Batch, name: str, rows: Ints) -> pa.Array:
    """A column's cells as int64: units, microseconds, 0 or 1."""
    if not name:
        return pa.nulls(len(rows), pa.int64())
    known = batch.sheet.validity(name)[rows] == VALID
    return pa.array(batch.sheet.ints(name)[rows], mask=~known)


def real_of(batch: Batch, name: str, rows: Ints) -> pa.Array:
    """A column of doubles, or of exact numbers with a scale, as float64."""
    return to_arrow(batch.sheet, [(name, batch.sheet.layout[name])], rows)[name].combine_chunks().cast(pa.float64())
