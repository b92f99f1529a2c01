"""The window engine: what each event sees in its windows, exact, as of its arrival (laws L2 to L5).

`advance` takes a batch in arrival order and writes every window call's value into the sheet; `WindowState` is all that
it remembers. Equal events in equal order give equal values, however they are cut into batches and on however many
threads they run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np

from features.arena import (
    KEYS,
    META,
    NEED,
    ROWS,
    STOP,
    STOP_DISTINCTS,
    STOP_KEYS,
    STOP_TABLE,
    STOP_TEXT,
    STOP_VALUES,
    STOP_WORDS,
    TEXT_TOP,
    TOP,
)  # fmt: skip
from features.distincts import ENTRY, grow_distinct
from features.intern import SLOT, rehash
from features.sheet import HANDLE_BITS, VALID, Bytes, Ints, Sheet, Slot
from features.window_kernel import BLOCK, run_store, scratch_words
from features.window_plan import STAGE_ROWS, StorePlan, WindowPlan, plan_windows

__all__ = ["StoreReport", "WindowPlan", "WindowState", "advance", "plan_windows"]

_KEPT = ("words", "table", "values", "distinct", "meta")


@dataclass
class StoreState:
    """The keys of one store and their rows.

    words: the arena. table, values, distinct: hash tables of keys, texts and distinct values. meta: counters.
    out, key, scratch: buffers of a batch, nothing of which is remembered.
    """

    words: Ints
    table: Ints
    values: Ints
    distinct: Ints
    meta: Ints
    out: Bytes
    key: Ints
    scratch: Ints


@dataclass(frozen=True)
class StoreReport:
    """What a store holds: keys, rows retained, and the bytes that its arrays take."""

    keys: int
    rows: int
    bytes: int


@dataclass
class WindowState:
    """What the windows of a plan remember, a store each."""

    stores: list[StoreState]

    @classmethod
    def empty(cls, plan: WindowPlan) -> WindowState:
        """The state before the first event."""
        return cls([_new_store(store) for store in plan.stores])

    @classmethod
    def restore(cls, plan: WindowPlan, arrays: Mapping[str, np.ndarray]) -> WindowState:
        """The state that `arrays` was taken from, under the same plan. KeyError if an array is missing."""
        state = cls.empty(plan)
        for number, store in enumerate(state.stores):
            for name in _KEPT:
                setattr(store, name, np.array(arrays[f"{number}.{name}"], np.int64))
        return state

    def arrays(self) -> dict[str, np.ndarray]:
        """The whole state as int64 arrays: views that the next `advance` changes, to be written out before it."""
        views = {f"{number}.{name}": getattr(store, name) for number, store in enumerate(self.stores) for name in _KEPT}
        for number, store in enumerate(self.stores):
            views[f"{number}.words"] = store.words[: store.meta[TOP]]
        return views

    def report(self) -> list[StoreReport]:
        """What each store holds, in the plan's order."""
        return [
            StoreReport(
                int(store.meta[KEYS]), int(store.meta[ROWS]), sum(int(getattr(store, name).nbytes) for name in _KEPT)
            )
            for store in self.stores
        ]


def _new_store(plan: StorePlan) -> StoreState:
    meta = np.zeros(META, np.int64)
    meta[TOP] = 8  # offset 0 means "none"
    size = scratch_words(int(plan.shape[STAGE_ROWS]), len(plan.measures), len(plan.bounds), len(plan.frames))
    return StoreState(
        words=np.zeros(1 << 12, np.int64),
        table=np.zeros(64 * SLOT, np.int64),
        values=np.zeros(64 * SLOT, np.int64),
        distinct=np.zeros(64 * ENTRY, np.int64),
        meta=meta,
        out=np.zeros(1 << 12, np.uint8),
        key=np.zeros(BLOCK * 16, np.int64),
        scratch=np.zeros(size, np.int64),
    )


def advance(
    plan: WindowPlan,
    state: WindowState,
    sheet: Sheet,
    fate: Bytes,
    watermark: Ints,
    event_time: Slot,
    threads: int = 1,
    wanted: Bytes | None = None,
) -> None:
    """Take in a batch: each event sees what arrived before it, then stands in the windows of later ones.

    fate: uint8[n]; DEGRADED and SKIPPED events get NULLs and enter nothing. watermark: int64[n], the greatest event
    time accepted before each event; it decides what may be forgotten, never what is seen. wanted: uint8[n], 0 for
    events whose values nobody reads. The plan's inputs must stand in the sheet; its text may become a longer one.
    """
    if sheet.n == 0:
        return
    sheet.cells, sheet.valid, text = (
        np.ascontiguousarray(sheet.cells),
        np.ascontiguousarray(sheet.valid),
        _owned(sheet.text),
    )
    seen = np.ones(sheet.n, np.uint8) if wanted is None else np.ascontiguousarray(wanted)
    fate, watermark = np.ascontiguousarray(fate), np.ascontiguousarray(watermark)

    def run(number: int) -> None:
        _run(plan.stores[number], state.stores[number], sheet, text, fate, seen, watermark, event_time.row)

    if threads > 1 and len(plan.stores) > 1:
        list(_pool(threads).map(run, range(len(plan.stores))))
    else:
        for number in range(len(plan.stores)):
            run(number)
    _append_texts(plan, state, sheet)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="windows")


def _owned(text: Bytes) -> Bytes:
    """The text as an array that kernels compiled for writable ones take; they only read it."""
    return text if text.flags.writeable and text.flags.c_contiguous else text.copy()


def _run(
    plan: StorePlan,
    state: StoreState,
    sheet: Sheet,
    text: Bytes,
    fate: Bytes,
    wanted: Bytes,
    watermark: Ints,
    time_row: int,
) -> None:
    """One store over the batch; whenever the kernel stops for want of room, make room and go on."""
    state.meta[TEXT_TOP] = 0
    start = 0
    while True:
        start = run_store(
            plan.shape, plan.parts, plan.measures, plan.bounds, plan.frames, plan.sums, plan.trees, plan.folds,
            plan.distincts, plan.picks, plan.calls,
            state.words, state.table, state.values, state.distinct, state.meta, state.out, state.key, state.scratch,
            sheet.cells, sheet.valid, text, fate, wanted, watermark, time_row, start,
        )  # fmt: skip
        if start == sheet.n:
            return
        _grow(state, int(state.meta[STOP]), int(state.meta[NEED]))


def _grow(state: StoreState, stop: int, need: int) -> None:
    """Make the array that the kernel named larger, by so many elements at least."""
    if stop == STOP_WORDS:
        state.words = _longer(state.words, need)
    elif stop == STOP_TABLE:
        state.table = _larger(state.table, len(state.table) + 1, rehash)
    elif stop == STOP_VALUES:
        state.values = _larger(state.values, len(state.values) + 1, rehash)
    elif stop == STOP_DISTINCTS:
        state.distinct = _larger(state.distinct, len(state.distinct) + 2 * ENTRY * need, grow_distinct)
    elif stop == STOP_KEYS:
        state.key = np.zeros(2 * max(len(state.key), need), np.int64)
    elif stop == STOP_TEXT:
        longer = np.zeros(2 * len(state.out) + need, np.uint8)
        longer[: len(state.out)] = state.out
        state.out = longer


def _longer(words: Ints, need: int) -> Ints:
    """The arena with room for `need` more words. Pages that are not used yet take no memory."""
    longer = np.zeros(2 * len(words) + need, np.int64)
    longer[: len(words)] = words
    return longer


def _larger(table: Ints, least: int, fill: Callable[[Ints, Ints], None]) -> Ints:
    """A hash table of the next power of two from `least` words on, with the same entries."""
    larger = np.zeros(1 << (least - 1).bit_length(), np.int64)
    fill(table, larger)
    return larger


def _append_texts(plan: WindowPlan, state: WindowState, sheet: Sheet) -> None:
    """Put the texts that calls returned behind the sheet's text, and let their handles point there."""
    parts, end = [sheet.text], len(sheet.text)
    for store, kept in zip(plan.stores, state.stores, strict=True):
        size = int(kept.meta[TEXT_TOP])
        for row in store.texts:
            sheet.cells[row][sheet.valid[row] == VALID] += end << HANDLE_BITS
        if size:
            parts.append(kept.out[:size].copy())
            end += size
    if len(parts) > 1:
        sheet.text = np.concatenate(parts)
