"""The windows job: 20 windows over 4 entities, ours on one core beside DuckDB's run of the same SQL on all cores.

    python -m bench.features --events 2000000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa

from features.program import compile_program
from features.schema import Field, Schema
from features.sheet import Layout, new_sheet, text_handle
from features.sql import parse_query
from features.window_plan import plan_windows
from features.windows import WindowState, advance
from sekisho.wire.arrow import to_arrow

ENTITIES = {"card_id": 800_000, "account_id": 755_000, "merchant_id": 45_000, "device_id": 1_000_000}
FRAMES = {"1m": "1 MINUTE", "10m": "10 MINUTE", "1h": "1 HOUR", "24h": "24 HOUR", "7d": "7 DAY"}
DAYS = 10


def sql(entities: tuple[str, ...] = tuple(ENTITIES), frames: dict[str, str] = FRAMES) -> str:
    """count, sum, avg and stddev_samp over every window."""
    columns, windows = [], []
    for entity in entities:
        for name, width in frames.items():
            window = f"{entity.removesuffix('_id')}_{name}"
            for function, call in (
                ("count", "count(*)"), ("sum", "sum(amount)"), ("avg", "avg(amount)"), ("std", "stddev_samp(amount)"),
            ):  # fmt: skip
                columns.append(f"{call} OVER {window} AS {window}_{function}")
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
        "amount": pa.array(draw.lognormal(8, 1, n).astype(np.int64)).cast(pa.decimal128(18, 0)),
    }
    for entity, count in ENTITIES.items():
        key = (count * draw.random(n) ** skew).astype(np.int64)
        columns[entity] = pa.array(np.char.add(entity[0], key.astype(str)))
    return pa.table(columns)


class Ours:
    """The engine's three steps for the SELECT, over sheets cut from the table."""

    def __init__(self, query: str) -> None:
        self.layout = Layout()
        for name, type in SCHEMA.columns().items():
            self.layout.add(name, type)
        stage = parse_query(query, SCHEMA).stages[0]
        self.plan = plan_windows(stage.windows, self.layout, 0)
        self.before = compile_program(self.plan.inputs, self.layout, {})
        self.names = [name for name, _ in stage.outputs if name != "event_id"]
        outputs = [(e, self.layout.add(name, e.type)) for name, e in stage.outputs if name != "event_id"]
        self.after = compile_program(outputs, self.layout, {})
        self.state = WindowState.empty(self.plan)

    def sheets(self, table: pa.Table, batch: int) -> list[object]:
        sheets = []
        for start in range(0, table.num_rows, batch):
            part = table.slice(start, batch).combine_chunks()
            sheet = new_sheet(self.layout, part.num_rows)
            text, used = [sheet.text], len(sheet.text)
            for name in part.column_names:
                slot, column = self.layout[name], part[name].combine_chunks()
                sheet.validity(slot)[:] = 1
                if pa.types.is_string(column.type):
                    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1].astype(int)
                    sheet.ints(slot)[:] = text_handle(used, 0) + (
                        ((offsets[:-1] - offsets[0]) << 24) | np.diff(offsets)
                    )
                    text.append(np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]])
                    used += len(text[-1])
                else:
                    as_int = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column.cast(pa.int64())
                    sheet.ints(slot)[:] = as_int.to_numpy()
            sheet.text = np.concatenate(text)
            sheets.append(sheet)
        return sheets

    def run(self, sheets: list[object]) -> None:
        time_slot = self.layout["event_time"]
        watermark = np.int64(-(2**62))
        for sheet in sheets:
            times = sheet.ints(time_slot)  # type: ignore[attr-defined]
            n = len(times)
            marks = np.maximum.accumulate(np.concatenate([[watermark], times[:-1]]))
            watermark = max(watermark, int(times.max()))
            self.before.run(sheet, None)  # type: ignore[arg-type]
            advance(self.plan, self.state, sheet, np.zeros(n, np.uint8), marks, time_slot)  # type: ignore[arg-type]
            self.after.run(sheet, None)  # type: ignore[arg-type]


def timed(job: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of the process."""
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    query, table = sql(), make_events(options.events)
    warm = Ours(query)
    warm.run(warm.sheets(table.slice(0, 1000), 100))
    ours = Ours(query)
    sheets = ours.sheets(table, options.batch)
    wall, cpu = timed(lambda: ours.run(sheets))
    n = options.events
    print(f"sekisho  {n:,} events, {len(ours.names)} columns: {1e6 * cpu / n:.2f} us CPU, {1e6 * wall / n:.2f} us wall an event")
    if options.no_peer:
        return
    link = duckdb.connect()
    link.execute("SET TimeZone = 'UTC'")
    link.register("arrived", table)
    link.execute("CREATE TABLE events AS SELECT * FROM arrived")
    their_wall, their_cpu = timed(lambda: link.execute(f"CREATE TABLE answer AS {query}"))
    print(f"duckdb   {1e6 * their_cpu / n:.2f} us CPU, {1e6 * their_wall / n:.2f} us wall an event")
    print(f"ratio    {their_cpu / cpu:.1f}x CPU, {their_wall / wall:.1f}x wall")
    last = to_arrow(sheets[-1], [(name, ours.layout[name]) for name in ours.names], np.arange(sheets[-1].n))  # type: ignore
    ids = table["event_id"].slice(n - last.num_rows)
    link.register("last_ids", pa.table({"event_id": ids}))
    truth = link.execute("SELECT a.* EXCLUDE event_id FROM answer a JOIN last_ids USING (event_id) ORDER BY event_id::BIGINT")
    worst = 0.0
    for name, want, got in zip(ours.names, truth.to_arrow_table().columns, last.columns, strict=True):
        a, b = (np.nan_to_num(x.cast(pa.float64()).to_numpy(), nan=-1.0) for x in (want, got))
        worst = max(worst, float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)))))
        assert worst < 1e-6, (name, worst)
    print(f"the last {last.num_rows} rows agree, greatest relative difference {worst:.1e}")


if __name__ == "__main__":
    main()
