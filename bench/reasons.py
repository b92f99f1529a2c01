"""Are reasons true, and do they matter? The facts of a thousand alerts by DuckDB, and the score without the first.

    python -m bench.reasons

The demo pack decides a seeded world. DuckDB computes features.sql over the same events, and from its values the
specification writes each reason's words anew: they must be equal. Then the features of an alert's first reason are set
to what is usual (the median of payments that did not alert, the commonest category), and the raw score must fall.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.sheet import SKIPPED, Doubles
from features.types import Type
from models.contributions import contributions
from models.matrix import gather
from models.scorer import predict_raw
from replay.sources import Input, read_log
from rules.reasons import GivenReason
from rules.records import OUTCOMES
from sekisho.compile import Engine, compile_pack
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import new_state
from sekisho.step import Decided, fold
from sekisho.testing.reference.reasons import filled
from sekisho.testing.world import World
from sekisho.wire.arrow import to_arrow

WARM_DAYS, DAY_US = 30, 86_400_000_000


@dataclass(frozen=True)
class Explained:
    """An alert with reasons. values: float64[features], as the model read them."""

    event_id: str
    given: tuple[GivenReason, ...]
    values: Doubles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=77)
    asked = parser.parse_args()
    engine = compile_pack(load_pack(shipped_pack("card_payments")))
    with tempfile.TemporaryDirectory(prefix="sekisho-reasons-") as folder:
        log = Path(folder) / "log.parquet"
        write_in_order(World(asked.seed, cards=6_000, payments_per_day=3_000, fraud=4.0), asked.days, log)
        events, alerts, usual = decide(engine, log)
    alerts = alerts[: asked.alerts]
    said, wrong = check_facts(engine, events, alerts)
    lower = lowered(engine, alerts, usual)
    print(f"{len(alerts):,} alerts with {said:,} reasons; {wrong} whose words or condition DuckDB's values do not give")
    print(f"first reason set to what is usual: the raw score falls in {lower.mean():.1%} of {len(lower):,}")
    print(f"{explain_us(engine, alerts):.0f} us CPU an explained decision")


def write_in_order(world: World, days: int, log: Path) -> None:
    """The world's log with nothing late and no two events at once, so that features.sql as it stands judges it."""
    tables = world.days()
    table = pa.concat_tables([next(tables) for _ in range(days)]).unify_dictionaries().sort_by("event_time")
    at_us = pc.cast(table["event_time"], pa.int64()).to_numpy() + np.arange(len(table))
    times = pa.array(at_us).cast(pa.timestamp("us", "UTC"))
    for name in ("event_time", "recorded_at"):
        table = table.set_column(table.column_names.index(name), name, times)
    pq.write_table(table, log, store_schema=False)


def decide(engine: Engine, log: Path) -> tuple[pa.Table, list[Explained], Doubles]:
    """Every event as the windows saw it, the alerts with reasons, and the usual value of each feature."""
    scorer, tables, alerts, others = engine.scorers[0], list[pa.Table](), list[Explained](), list[Doubles]()
    slots = [(name, engine.layout[name]) for name in engine.pack.schema.columns()]
    for decided in _decided(engine, log):
        kept = np.flatnonzero(decided.admission.fate != SKIPPED)
        tables.append(to_arrow(decided.sheet, slots, kept))
        rows = decided.rows[decided.sheet.ints("event_time")[decided.rows] >= _warm_us(tables[0])]
        values = gather(scorer.compiled.inputs, decided.sheet, rows)
        alerting = np.isin(decided.results.outcome[rows], [OUTCOMES.index(o) for o in engine.pack.alert.outcomes])  # type: ignore[union-attr]
        others.append(values[:, ~alerting])
        for k in np.flatnonzero(alerting).tolist():
            if given := decided.reasons.get(int(rows[k]), ()):
                alerts.append(Explained(str(decided.sheet.value("event_id", int(rows[k]))), given, values[:, k]))
    return pa.concat_tables(tables), alerts, _usual(engine, np.concatenate(others, axis=1))


def _decided(engine: Engine, log: Path) -> Iterator[Decided]:
    state = new_state(engine)
    for chunk in read_log(engine, [Input(log)]):
        for start in range(0, chunk.batch.n, 16_384):
            part = chunk.batch.cut(start, min(start + 16_384, chunk.batch.n))
            yield from (decided for _, decided in fold(engine, state, part) if decided is not None)


def _warm_us(first: pa.Table) -> int:
    return int(pc.min(pc.cast(first["event_time"], pa.int64())).as_py()) + WARM_DAYS * DAY_US


def _usual(engine: Engine, values: Doubles) -> Doubles:
    """The median of what is known of each feature; of a category the commonest."""
    usual = []
    for feature, row in zip(engine.pack.models[0].card.features, values, strict=True):
        known = row[~np.isnan(row)]
        commonest = np.bincount(known.astype(int)).argmax() if feature.categories and len(known) else 0
        usual.append(float(commonest) if feature.categories else float(np.median(known)) if len(known) else np.nan)
    return np.array(usual)


def check_facts(engine: Engine, events: pa.Table, alerts: list[Explained]) -> tuple[int, int]:
    """(reasons, those whose words or condition are others by DuckDB's values)."""
    pack = engine.pack
    assert pack.reasons is not None
    codes = {code.id: code for code in pack.reasons.codes}
    types: Mapping[str, Type] = pack.schema.columns() | dict(pack.query.features)
    features = ", ".join(name for name, _ in pack.query.features)
    holds = ", ".join(f"({code.when_sql}) AS holds_{code.id}" for code in codes.values())
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.register("events", events)
        database.register("alerts", pa.table({"event_id": [alert.event_id for alert in alerts]}))
        database.execute(f"CREATE TABLE features AS {pack.query.sql}")
        only_fields = ", ".join(name for name in pack.schema.columns() if name not in dict(pack.query.features))
        found = database.execute(
            f"""SELECT *, {holds} FROM (SELECT {only_fields}, {features}
                FROM (SELECT {only_fields} FROM events WHERE kind = 'payment') JOIN features USING (event_id)
                JOIN alerts USING (event_id))"""
        )
        names = [column[0] for column in found.description]
        rows = {row[names.index("event_id")]: dict(zip(names, row, strict=True)) for row in found.fetchall()}
    said = wrong = 0
    for alert in alerts:
        row = rows[alert.event_id]
        units = {name: _units(value, types[name]) for name, value in row.items() if name in types}
        for reason in alert.given:
            texts = {key: filled(text, units, types) for key, text in vars(codes[reason.id].texts).items()}
            said, wrong = said + 1, wrong + (texts != vars(reason.texts) or row[f"holds_{reason.id}"] is not True)
    return said, wrong


def _units(value: Any, type: Type) -> Any:
    return int(value.scaleb(type.scale)) if isinstance(value, Decimal) else value


def lowered(engine: Engine, alerts: list[Explained], usual: Doubles) -> np.ndarray:
    """bool[alerts]: whether the raw score falls when the features of the first reason are usual."""
    scorer, pack = engine.scorers[0], engine.pack
    assert pack.reasons is not None
    groups = {code.id: np.isin(pack.models[0].features, code.features) for code in pack.reasons.codes}
    before = np.stack([alert.values for alert in alerts], axis=1)
    after = before.copy()
    for k, alert in enumerate(alerts):
        group = groups[alert.given[0].id]
        after[group, k] = usual[group]
    return predict_raw(scorer.compiled.plan, after) < predict_raw(scorer.compiled.plan, before)


def explain_us(engine: Engine, alerts: list[Explained]) -> float:
    """CPU of the contributions alone."""
    assert engine.reasons is not None
    speaker = engine.reasons.speakers[engine.pack.models[0].name]
    values = np.stack([alert.values for alert in alerts], axis=1)
    started = time.process_time()
    contributions(speaker.paths, values, speaker.group, len(engine.reasons.book.codes))
    return 1e6 * (time.process_time() - started) / len(alerts)


if __name__ == "__main__":
    main()
