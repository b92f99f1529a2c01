"""Compile the windows' kernels, which take as long as all others together."""

from __future__ import annotations

import numpy as np

from features.distincts import ENTRY, grow_distinct
from features.expr import Column
from features.intern import SLOT, rehash
from features.query import Frame, WindowCall
from features.sheet import ENTERS, Layout, sheet_of
from features.types import BIGINT, TEXT, TIME
from features.windows import WindowState, advance, plan_windows


def warm() -> None:
    """Take one event into one window, and grow tables: the kernels are generic, so every plan's are then compiled."""
    layout = Layout()
    for name, type in (("key", TEXT), ("event_time", TIME)):
        layout.add(name, type)
    frame = Frame("range", 1)
    plan = plan_windows([WindowCall("n", "count_star", None, None, (Column(TEXT, "key"),), frame, BIGINT)], layout, 0)
    sheet = sheet_of(layout, {"key": ["a"], "event_time": [0]})
    fate, watermark = np.full(1, ENTERS, np.uint8), np.zeros(1, np.int64)
    advance(plan, WindowState.empty(plan), sheet, fate, watermark, layout["event_time"])
    rehash(np.zeros(SLOT, np.int64), np.zeros(2 * SLOT, np.int64))
    grow_distinct(np.zeros(2, np.int64), np.zeros(ENTRY, np.int64), np.zeros(2 * ENTRY, np.int64))
