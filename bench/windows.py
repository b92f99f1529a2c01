"""What one window costs: against its width, against one key that holds half of the log, in order and late; and memory.

    python -m bench.windows --events 200000

us of CPU an event on one core; each figure is the best of three runs over a state of its own.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from features.expr import Column
from features.query import Frame, WindowCall
from features.sheet import Ints, Layout, new_sheet
from features.types import BIGINT, DOUBLE, TIME, Type, decimal
from features.windows import WindowState, advance, plan_windows

MINUTE = 60_000_000
DAY = 1440 * MINUTE
WIDTHS = {"1 min": MINUTE, "1 h": 60 * MINUTE, "1 day": DAY, "7 days": 7 * DAY, "90 days": 90 * DAY}
RESULTS = {"count_star": BIGINT, "sum": decimal(38, 0), "avg": DOUBLE, "stddev_samp": DOUBLE}
BATCH = 4096


def calls(width_us: int) -> list[WindowCall]:
    """count, sum, avg and stddev_samp over one window a key."""
    amount, key = Column(decimal(18, 0), "amount"), Column(BIGINT, "key")
    return [
        WindowCall(name, name, None if name == "count_star" else amount, None, (key,), Frame("range", width_us), result)
        for name, result in RESULTS.items()
    ]


def cost(times: Ints, keys: Ints, width_us: int, lateness_us: int) -> float:
    """us of CPU an event."""
    layout = Layout()
    columns: dict[str, Type] = {"event_time": TIME, "amount": decimal(18, 0), "key": BIGINT}
    for name, type in columns.items():
        layout.add(name, type)
    plan = plan_windows(calls(width_us), layout, lateness_us)
    amounts = np.random.default_rng(1).lognormal(8, 1, len(times)).astype(np.int64)
    marks = np.concatenate([[-(2**62)], np.maximum.accumulate(times)[:-1]])
    best = np.inf
    for _ in range(3):
        state, spent = WindowState.empty(plan), 0.0
        for start in range(0, len(times), BATCH):
            part = slice(start, start + BATCH)
            sheet = new_sheet(layout, len(times[part]))
            for name, values in (("event_time", times), ("amount", amounts), ("key", keys)):
                sheet.ints(name)[:], sheet.validity(name)[:] = values[part], 1
            begin = time.thread_time()
            advance(plan, state, sheet, np.zeros(sheet.n, np.uint8), marks[part], layout["event_time"])
            spent += time.thread_time() - begin
        best = min(best, spent)
    return float(1e6 * best / len(times))


def held(keys: Ints) -> tuple[int, int, int]:
    """Keys, rows and bytes of a store with five windows after one event of each key in turn, nothing being too old."""
    layout = Layout()
    columns: dict[str, Type] = {"event_time": TIME, "amount": decimal(18, 0), "key": BIGINT}
    for name, type in columns.items():
        layout.add(name, type)
    plan = plan_windows(
        [replace(call, name=f"{call.name} {name}") for name, width in WIDTHS.items() for call in calls(width)],
        layout,
        DAY,
    )
    state, n = WindowState.empty(plan), len(keys)
    for start in range(0, n, BATCH):
        sheet = new_sheet(layout, len(keys[start : start + BATCH]))
        times = np.arange(start, start + sheet.n)
        for name, values in (("event_time", times), ("amount", times), ("key", keys[start : start + BATCH])):
            sheet.ints(name)[:], sheet.validity(name)[:] = values, 1
        advance(plan, state, sheet, np.zeros(sheet.n, np.uint8), times - 1, layout["event_time"])
    [report] = state.report()
    return report.keys, report.rows, report.bytes


def memory(n: int) -> None:
    """Print the bytes of a key with one event, and of each further event of a key."""
    keys, rows, quiet = held(np.arange(n))
    print(f"memory: a quiet key    {quiet / keys:6.0f} bytes (8 bytes of id, five windows, one event)")
    for each in (16, 256):
        many = np.tile(np.arange(n // each), each)
        keys, rows, size = held(many)
        print(f"memory: a live event   {(size - keys * quiet / n) / (rows - keys):6.0f} bytes, {each} to a key")


def main() -> None:
    """Print the figures and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    n = parser.parse_args().events
    draw = np.random.default_rng(7)
    times = np.sort(draw.integers(0, 100 * DAY, n)) + 1_700_000_000_000_000
    keys = draw.integers(0, n // 10, n)
    cost(times[:1000], keys[:1000], MINUTE, DAY)
    base = 0.0
    for name, width in WIDTHS.items():
        spent = cost(times, keys, width, DAY)
        base = base or spent
        print(f"width {name:8s} {spent:6.3f} us  {spent / base:5.2f}x")
    times = np.sort(draw.integers(0, 10 * DAY, n)) + 1_700_000_000_000_000
    hot = np.where(draw.random(n) < 0.5, -1, keys)
    spread = cost(times, keys, DAY, DAY)
    in_order = cost(times, hot, DAY, DAY)
    late = np.where((hot == -1) & (draw.random(n) < 0.05), times - draw.integers(0, DAY, n), times)
    print(f"spread keys    {spread:6.3f} us")
    print(f"half one key   {in_order:6.3f} us  {in_order / spread:5.2f}x")
    spent = cost(late, hot, DAY, DAY)
    print(f"5 % of it late {spent:6.3f} us  {spent / spread:5.2f}x")
    memory(n)


if __name__ == "__main__":
    main()
