"""The windows job: 20 windows over 4 entities, ours on one core beside DuckDB's run of the same SQL on all cores.

python -m bench.features --events 2000000 --columns 60
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import duckdb
import numpy as np
import pyarrow as pa

from features.lists import build_lists
from features.program import compile_program, place_outputs
from features.schema import Field, Schema
from features.sheet import HANDLE_BITS, VALID, Layout, Sheet, new_sheet
from features.sql import parse_query
from features.window_plan import plan_windows
from features.windows import WindowState, advance
from sekisho.wire.arrow import to_arrow

ENTITIES = {"card_id": 800_000, "account_id": 755_000, "merchant_id": 45_000, "device_id": 1_000_000}
FRAMES = {"1m": "1 MINUTE", "10m": "10 MINUTE", "1h": "1 HOUR", "24h": "24 HOUR", "7d": "7 DAY"}
CALLS = {"count": "count(*)", "sum": "sum(amount)", "std": "stddev_samp(amount)", "avg": "avg(amount)"}
COLUMNS = (60, 80)
DAYS = 10
NO_LISTS = build_lists({})


def sql(columns_wanted: int) -> str:
    """count, sum and stddev_samp over every window, and avg for 80 columns."""
    columns, windows = [], []
    calls = list(CALLS.items())[: columns_wanted // (len(ENTITIES) * len(FRAMES))]
    for entity in ENTITIES:
        for name, width in FRAMES.items():
            window = f"{entity.removesuffix('_id')}_{name}"
            columns += [f"{call} OVER {window} AS {window}_{function}" for function, call in calls]
            windows.append(
                f"{window} AS (PARTITION BY {entity} ORDER BY event_time"
                f" RANGE BETWEEN INTERVAL {width} PRECEDING AND CURRENT ROW)"
            )
    return "SELECT event_id,\n" + ",\n".join(columns) + "\nFROM events\nWINDOW " + ",\n".join(windows)


SCHEMA = Schema(
    (
        Field("event_id", "id", required=True),
        Field("event_time", "time", required=True),
        Field("kind", "category", required=True),
        Field("amount", "money", required=True),
        *(Field(entity, "id", required=True) for entity in ENTITIES),
    )
)


def make_events(n: int, seed: int = 1, skew: float = 1.2) -> pa.Table:
    """n payments in order of time over ten days, mildly skewed keys, yen amounts. No two at the same microsecond."""
    draw = np.random.default_rng(seed)
    gaps = draw.integers(1, 2 * DAYS * 86_400_000_000 // n, n)
    columns: dict[str, pa.Array] = {
        "event_id": pa.array(np.arange(n)).cast(pa.string()),
        "event_time": pa.array(1_700_000_000_000_000 + np.cumsum(gaps), pa.timestamp("us", "UTC")),
        "kind": pa.array(["payment"] * n),
        "amount": pa.array(draw.lognormal(8, 1, n).astype(np.int64)).cast(pa.decimal128(19)).cast(pa.decimal128(18)),
    }
    for entity, count in ENTITIES.items():
        key = (count * draw.random(n) ** skew).astype(np.int64)
        columns[entity] = pa.array(np.char.add(entity[0], key.astype(str)))
    return pa.table(columns)


class Ours:
    """The engine's three steps for the SELECT."""

    def __init__(self, query: str) -> None:
        self.layout = Layout()
        for name, type in SCHEMA.columns().items():
            self.layout.add(name, type)
        stage = parse_query(query, SCHEMA).stages[0]
        self.plan = plan_windows(stage.windows, self.layout, 0)
        self.before = compile_program(self.plan.inputs, self.layout, {})
        self.names = [name for name, _ in stage.outputs if name != "event_id"]
        self.after = compile_program(place_outputs(stage, self.layout), self.layout, {})
        self.state = WindowState.empty(self.plan)
        self.watermark = -(2**62)

    def sheets(self, table: pa.Table, batch: int) -> Iterator[Sheet]:
        """The table cut into sheets."""
        for start in range(0, table.num_rows, batch):
            part = table.slice(start, batch).combine_chunks()
            sheet = new_sheet(self.layout, part.num_rows)
            texts = [sheet.text]
            for name in part.column_names:
                column, slot = part[name].combine_chunks(), self.layout[name]
                sheet.validity(slot)[:] = VALID
                if pa.types.is_string(column.type):
                    ends = np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1].astype(
                        np.int64
                    )
                    sheet.ints(slot)[:] = sum(map(len, texts)) + ends[:-1] - ends[0] << HANDLE_BITS | np.diff(ends)
                    texts.append(np.frombuffer(column.buffers()[2], np.uint8)[ends[0] : ends[-1]])
                else:
                    sheet.ints(slot)[:] = column.cast(pa.int64()).to_numpy()
            sheet.text = np.concatenate(texts)
            yield sheet

    def run(self, sheet: Sheet) -> None:
        """Arguments, windows, outputs."""
        time_slot = self.layout["event_time"]
        marks = np.maximum.accumulate(np.concatenate([[self.watermark], sheet.ints(time_slot)]))
        self.watermark = int(marks[-1])
        self.before.run(sheet, NO_LISTS)
        advance(self.plan, self.state, sheet, np.zeros(sheet.n, np.uint8), marks[:-1].copy(), time_slot)
        self.after.run(sheet, NO_LISTS)


def timed(job: Callable[..., object], *args: object) -> np.ndarray:
    """Wall and CPU seconds of the process."""
    wall, cpu = time.perf_counter(), time.process_time()
    job(*args)
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def replay(query: str, table: pa.Table, batch: int) -> tuple[np.ndarray, pa.Table]:
    """us of wall and CPU an event, and the values of the last batch."""
    ours, spent = Ours(query), np.zeros(2)
    for sheet in ours.sheets(table, batch):
        spent += timed(ours.run, sheet)
    values = to_arrow(sheet, [(name, ours.layout[name]) for name in ours.names], np.arange(sheet.n))
    return 1e6 * spent / table.num_rows, values


def peer(query: str, table: pa.Table, last: int) -> tuple[np.ndarray, pa.Table]:
    """The same of DuckDB on all cores, its table in memory."""
    link = duckdb.connect()
    link.execute("SET TimeZone = 'UTC'")
    link.register("arrived", table)
    link.execute("CREATE TABLE events AS SELECT * FROM arrived")
    spent = timed(link.execute, f"CREATE TABLE answer AS {query}")
    link.register("last", table.select(["event_id"]).slice(table.num_rows - last))
    values = link.execute(
        "SELECT answer.* EXCLUDE event_id FROM answer JOIN last USING (event_id) ORDER BY event_id::BIGINT"
    )
    return 1e6 * spent / table.num_rows, values.to_arrow_table()


def difference(one: pa.Table, other: pa.Table) -> float:
    """The greatest relative difference of two tables, by position."""
    worst = 0.0
    for left, right in zip(one.columns, other.columns, strict=True):
        a, b = (np.nan_to_num(x.cast(pa.float64()).to_numpy(), nan=-1.0) for x in (left, right))
        worst = max(worst, float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)))))
    return worst


def compare(columns: int, table: pa.Table, batch: int, beside_peer: bool) -> float:
    """Print one shape's figures; the greatest relative difference to the peer."""
    query = sql(columns)
    replay(query, table.slice(0, 1000), 100)  # compiles
    spent, ours = replay(query, table, batch)
    print(f"sekisho  {spent[1]:6.2f} us CPU  {spent[0]:6.2f} us wall an event; {table.num_rows:,} x {columns}")
    if not beside_peer:
        return 0.0
    theirs, truth = peer(query, table, ours.num_rows)
    print(f"duckdb   {theirs[1]:6.2f} us CPU  {theirs[0]:6.2f} us wall")
    print(f"ratio    {theirs[1] / spent[1]:6.1f}x        {theirs[0] / spent[0]:6.1f}x")
    worst = difference(ours, truth)
    print(f"the last {ours.num_rows} rows: greatest relative difference {worst:.1e}")
    return worst


def main() -> None:
    """Print the figures and their ratios; exit status 1 if the two disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--columns", type=int, nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    table = make_events(options.events)
    worst = [compare(columns, table, options.batch, not options.no_peer) for columns in options.columns]
    raise SystemExit(max(worst) > 1e-6)


if __name__ == "__main__":
    main()
