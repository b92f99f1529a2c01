"""The training table: every payment's features as they were decided, and what was known of it at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.sheet import SKIPPED, Ints
from features.types import Kind
from replay.backtest.database import Db, arrays, one, sql_list
from replay.backtest.roles import Roles
from replay.backtest.rows import RowFiles, followup_rows, kinds_of, payment_rows
from replay.backtest.sweep import Told
from replay.backtest.truth import GOOD_CLASSES, lost, make_happened, make_verdicts
from replay.run import run
from replay.sources import Input, read_log
from replay.topic_input import TopicInput
from sekisho.compile import Engine
from sekisho.state import new_state
from sekisho.step import Decided
from sekisho.wire.arrow import to_arrow

_LEARNABLE = (Kind.INT, Kind.DECIMAL, Kind.DOUBLE, Kind.BOOL, Kind.TEXT)


class Truth(IntEnum):
    """What is known of a payment at a moment; only GOOD and FRAUD are learnt from and judged by.

    UNSETTLED: nobody knows what it would have been.   OTHER: of a class that is neither fraud nor good.
    YOUNG: younger than the maturity. A verdict does not help it in: the quick ones are frauds above all.
    """

    GOOD = 0
    FRAUD = 1
    YOUNG = 2
    UNSETTLED = 3
    OTHER = 4


@dataclass(frozen=True)
class Span:
    """Payments of these event times are wanted, microseconds UTC, [from_us, to_us)."""

    from_us: int
    to_us: int


def learnable(engine: Engine) -> tuple[list[str], list[str]]:
    """The pack's features that a model can read, and those that it cannot: times and intervals."""
    names = [name for name, _ in engine.pack.query.features]
    good = [name for name in names if engine.layout[name].type.kind in _LEARNABLE]
    return good, [name for name in names if name not in good]


def write_rows(
    engine: Engine,
    roles: Roles,
    inputs: Sequence[Input | TopicInput],
    span: Span,
    folder: Path,
    told: Told,
    threads: int,
) -> int:
    """Replay the log once and write `payments`, `features` and `followups` to the folder; event_time of the newest."""
    names, first, newest = learnable(engine)[0], 0, -(2**63)
    with RowFiles(folder) as files:
        for part in run(engine, new_state(engine), read_log(engine, inputs), 16_384, threads):
            if part.decided is None:
                continue
            decided = part.decided
            _write(files, engine, roles, decided, first, span, names)
            first += decided.sheet.n
            newest = max(newest, int(decided.sheet.ints("event_time").max()))
            told(part.read, first)
    return newest


def _write(
    files: RowFiles, engine: Engine, roles: Roles, decided: Decided, first: int, span: Span, names: list[str]
) -> None:
    batch, labels = replace(decided.batch, sheet=decided.sheet), engine.pack.labels
    at_us = decided.sheet.ints("event_time")[decided.rows]
    fresh = decided.admission.fate[decided.rows] != SKIPPED
    rows = decided.rows[fresh & (at_us >= span.from_us) & (at_us < span.to_us)]
    files.write("payments", payment_rows(roles, batch, rows, first))
    champions = [f"{scorer.scorer.name}_{part}" for scorer in engine.scorers for part in ("raw", "score")]
    table = to_arrow(decided.sheet, [(name, engine.layout[name]) for name in (*names, *champions)], rows)
    files.write("features", table)
    files.write("followups", followup_rows(roles, labels.kind if labels else "", batch, kinds_of(batch), first))


def truth_at(db: Db, roles: Roles, fraud: tuple[str, ...], at_us: int, maturity_us: int) -> Ints:
    """int64[payments], the Truth of each payment, in their order, by what the log held before `at_us`."""
    make_verdicts(db, roles, f"at_us < {at_us}")
    make_happened(db, at_us - 1)
    outcomes = bool(one(db, "SELECT count(*) FROM followups WHERE NOT is_label AND status IS NOT NULL"))
    found = arrays(
        db,
        f"""SELECT p.n, CASE WHEN p.at_us >= {at_us - maturity_us} THEN {Truth.YOUNG}
                   WHEN v.reversed OR v.class IN {sql_list(GOOD_CLASSES)} THEN {Truth.GOOD}
                   WHEN v.class IN {sql_list(fraud)} THEN {Truth.FRAUD} WHEN v.class IS NOT NULL THEN {Truth.OTHER}
                   WHEN {outcomes} AND NOT coalesce(h.settled, false) THEN {Truth.UNSETTLED}
                   ELSE {Truth.GOOD} END AS truth
            FROM payments p LEFT JOIN verdicts v USING (payment_id) LEFT JOIN happened h USING (payment_id)
            ORDER BY p.n""",
    )
    return found["truth"].astype(np.int64)


def undated(db: Db) -> int:
    """Labels that name a card or an account and not when the fraud occurred: they mean no payment."""
    condition = "is_label AND payment_id IS NULL AND occurred_us IS NULL"
    return int(one(db, f"SELECT count(*) FROM followups WHERE {condition}"))


def settled_of(db: Db) -> Ints:
    """int64[payments], what settled of each when truth_at() was asked last; all of it in a log without outcomes."""
    outcomes = bool(one(db, "SELECT count(*) FROM followups WHERE NOT is_label AND status IS NOT NULL"))
    query = f"""SELECT coalesce(gross_minor, 0) AS settled FROM (SELECT p.n, {lost(outcomes)} FROM payments p
                LEFT JOIN happened h USING (payment_id)) ORDER BY n"""
    return arrays(db, query)["settled"].astype(np.int64)


def counts(truth: Ints) -> dict[str, int]:
    """How many payments are of each Truth, by its name in small letters."""
    return {each.name.lower(): int((truth == each).sum()) for each in Truth}


def read_features(folder: Path) -> pa.Table:
    """The features of every payment, in the order of `payments`."""
    return pq.read_table(folder / "features.parquet")
