"""The windows alone: 20 over 4 entities, 60 columns; ours on one core beside DuckDB, pandas and plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Spent, Stopwatch, in_turns, ratio
from bench.peers.plain import PlainWindows, widths_us
from bench.report import Table
from bench.standard_pack import ENTITIES, FEATURES, FRAMES, features_sql
from bench.workload import Workload
from features.sheet import ENTERS, Sheet, widen
from sekisho.compile import Engine, compile_pack, wire_plan
from sekisho.load import load_pack
from sekisho.state import new_state
from sekisho.wire.arrow import to_arrow
from sekisho.wire.plan import WirePlan
from sekisho.wire.table_decode import decode_table

BATCH = 4096
SLOW = 100_000  # payments for those who need long; their windows are the emptier for it
KEYS = [f"{entity}_id" for entity in ENTITIES]


def windows_job(workload: Workload, repeats: int) -> list[Table]:
    """The table of the job. Exit status 1 where a peer's values differ."""
    engine, log = compile_pack(load_pack(workload.pack)), pq.read_table(workload.parquet)
    few = log.slice(0, min(SLOW, log.num_rows))
    answers: dict[str, pa.Table] = {}

    def contender(name: str, run: Callable[[pa.Table], tuple[Spent, pa.Table]], rows: pa.Table) -> Callable[[], Spent]:
        def once() -> Spent:
            spent, answers[name] = run(rows)
            return spent

        return once

    ours(engine, log.slice(0, BATCH))  # compiles
    found = in_turns(
        {
            "sekisho": contender("sekisho", lambda rows: ours(engine, rows), log),
            "DuckDB, batch SQL on all cores": contender("duckdb", duckdb_sql, log),
            "plain Python, running sums": contender("plain", plain_python, few),
            f"pandas, micro-batches of {BATCH:,}": contender("pandas", pandas_loop, few),
        },
        repeats,
    )
    table = Table(
        "Windows: 20 over 4 entities, 60 columns",
        ("", "payments", "us CPU", "us wall", "CPU: times ours", "difference"),
    )
    for (name, one), answer in zip(found.items(), answers.values(), strict=True):
        times = str(ratio(one, found["sekisho"])) if name != "sekisho" else ""
        worst = "" if name == "sekisho" else f"{difference(answers['sekisho'], answer):.0e}"
        table.rows.append((name, f"{one.runs[0].events:,}", str(one.cpu_us), str(one.wall_us), times, worst))
    table.notes.append(
        "Keys, arguments, windows and output columns, from columns in memory to columns in memory. Difference: the"
        " greatest relative one over all columns and all rows that both have."
    )
    return [table]


def sheets(engine: Engine, plan: WirePlan, log: pa.Table) -> Iterator[Sheet]:
    """The log as wide sheets, cut into batches."""
    for start in range(0, log.num_rows, BATCH):
        yield widen(decode_table(log.slice(start, BATCH).combine_chunks(), plan).sheet, engine.layout)


def ours(engine: Engine, log: pa.Table) -> tuple[Spent, pa.Table]:
    """Arguments, windows, outputs of every batch, on one thread; the values of all rows."""
    plan, state, watch, parts = wire_plan(engine), new_state(engine), Stopwatch(), []
    clock, columns = engine.layout["event_time"], [(name, engine.layout[name]) for name in FEATURES]
    (stage,), mark = engine.stages, np.int64(-(2**62))
    for sheet in sheets(engine, plan, log):
        marks = np.maximum.accumulate(np.concatenate([[mark], sheet.ints(clock)]))
        mark, fate = marks[-1], np.full(sheet.n, ENTERS, np.uint8)
        with watch.time("all", sheet.n):
            stage.before.run(sheet, engine.lists)
            engine.backend.advance(stage.windows, state.windows[0], sheet, fate, marks[:-1].copy(), clock)
            stage.after.run(sheet, engine.lists)
        parts.append(to_arrow(sheet, columns, np.arange(sheet.n)))
    return watch.spent["all"], pa.concat_tables(parts)


def duckdb_sql(log: pa.Table) -> tuple[Spent, pa.Table]:
    """The same features.sql over a table in memory."""
    watch = Stopwatch()
    with duckdb.connect() as link:
        link.execute("SET TimeZone = 'UTC'")
        link.register("arrived", log)
        link.execute("CREATE TABLE events AS SELECT * FROM arrived")
        with watch.time("all", log.num_rows):
            link.execute(f"CREATE TABLE answer AS {features_sql()}")
        values = link.sql("SELECT * EXCLUDE event_id FROM answer ORDER BY event_id").to_arrow_table()
    return watch.spent["all"], values


def plain_python(log: pa.Table) -> tuple[Spent, pa.Table]:
    """A loop over events."""
    windows, watch, rows = PlainWindows(ENTITIES, widths_us(FRAMES)), Stopwatch(), []
    times, amounts = (log[name].cast(pa.int64()).to_pylist() for name in ("event_time", "amount"))
    keys = list(zip(*(log[name].to_pylist() for name in KEYS), strict=True))
    with watch.time("all", log.num_rows):
        for key, time_us, amount in zip(keys, times, amounts, strict=True):
            rows.append(windows.add(key, time_us, amount))
    return watch.spent["all"], pa.table(dict(zip(FEATURES, map(pa.array, zip(*rows, strict=True)), strict=True)))


def pandas_loop(log: pa.Table) -> tuple[Spent, pa.Table]:
    """Micro-batches, each over what the seven days before hold of its keys."""
    frame, watch, parts = log.select(["amount", *KEYS]).to_pandas(), Stopwatch(), []
    frame["time_us"] = log["event_time"].cast(pa.int64()).to_numpy()
    widths, history = widths_us(FRAMES), frame.iloc[:0]
    for start in range(0, len(frame), BATCH):
        batch = frame.iloc[start : start + BATCH]
        with watch.time("all", len(batch)):
            recent = history[history.time_us >= batch.time_us.iloc[0] - widths[-1]]
            history = pd.concat([recent, batch])
            parts.append(np.concatenate([_rolled(history, batch, key, widths) for key in KEYS]))
    whole = np.concatenate(parts, axis=1)
    return watch.spent["all"], pa.table(dict(zip(FEATURES, map(pa.array, whole), strict=True)))


def _rolled(history: pd.DataFrame, batch: pd.DataFrame, key: str, widths: Sequence[int]) -> np.ndarray:
    """float64[3 widths, n]: rows sorted by key and time, frames found by bisection, sums as differences of prefixes."""
    asked = history[history[key].isin(batch[key])]
    code = pd.factorize(asked[key])[0].astype(np.int64)
    order = np.argsort(code, kind="stable")
    place = (code << 42) + asked.time_us.to_numpy() - history.time_us.iloc[0]
    place, amount = place[order], asked.amount.to_numpy()[order]
    sums, squares = (np.concatenate([[0], np.cumsum(part)]) for part in (amount, amount * amount))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    last = rank[-len(batch) :]
    out = []
    for width in widths:
        first = np.searchsorted(place, place[last] - width)
        n, total, square = last + 1 - first, sums[last + 1] - sums[first], squares[last + 1] - squares[first]
        with np.errstate(invalid="ignore"):
            out += [n, total, np.sqrt((n * square - total * total) / (n * (n - 1)))]
    return np.stack(out)


def difference(one: pa.Table, other: pa.Table) -> float:
    """The greatest relative difference of the rows that both have."""
    worst, n = 0.0, min(one.num_rows, other.num_rows)
    for name in FEATURES:
        a, b = (
            np.nan_to_num(table[name].slice(0, n).cast(pa.float64()).to_numpy(), nan=-1.0) for table in (one, other)
        )
        worst = max(worst, float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)))))
    return worst
