"""The window engine: what each event sees in its windows, exact, as of its arrival (laws L2 to L5).

`advance` takes a batch in arrival order and writes every window call's value into the sheet; `WindowState` is all that
it remembers. Equal events in equal order give equal values, however they are cut into batches and on however many
threads they run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from features import arena
from features.arena import KEYS, META, NEED, ROWS, SECRET, STOP, TEXT_TOP, TOP, VALUES, Store
from features.distincts import ENTRY, grow_distinct
from features.hashing import KNOWN_KEY, secret_of
from features.intern import FOREVER, NEWEST, SLOT, rehash
from features.sheet import HANDLE_BITS, VALID, Bytes, Ints, Sheet, Slot
from features.threads import side_by_side
from features.window_kernel import BLOCK, Events, run_store, scratch_words
from features.window_plan import Program, StorePlan, WindowPlan, plan_windows

__all__ = ["StoreReport", "WindowPlan", "WindowState", "advance", "plan_windows"]

_RESERVED = 1 << 25  # words of an arena; address space costs nothing, memory is taken as words are used
_LINE = 8  # words of a cache line
_STEP = 1 << 20  # words by which an arena grows then: what is new is touched at once, and nobody is to wait for it
_KEPT = ("words", "table", "values", "distinct", "meta")


@dataclass(frozen=True)
class StoreReport:
    """What a store holds: keys, rows and texts retained, and the bytes that its arrays use."""

    keys: int
    rows: int
    texts: int
    bytes: int


@dataclass
class WindowState:
    """What the windows of a plan remember, a store each."""

    stores: list[Store]

    @classmethod
    def empty(cls, plan: WindowPlan, key: bytes = KNOWN_KEY) -> WindowState:
        """The state before the first event; key: of its hash tables, see features.hashing."""
        return cls([_new_store(store, key) for store in plan.stores])

    @classmethod
    def restore(cls, plan: WindowPlan, arrays: Mapping[str, np.ndarray]) -> WindowState:
        """The state that `arrays` was taken from, under the same plan. KeyError if an array is missing."""
        state = cls.empty(plan)
        for number, store in enumerate(state.stores):
            words, table, values, distinct, meta = (_copy(arrays[f"{number}.{name}"]) for name in _KEPT)
            state.stores[number] = store._replace(
                words=words, halves=words.view(np.int32), table=table, values=values, distinct=distinct, meta=meta
            )
        return state

    def arrays(self) -> dict[str, np.ndarray]:
        """The whole state as int64 arrays: views that the next `advance` changes, to be written out before it."""
        return {
            f"{number}.{name}": view for number, store in enumerate(self.stores) for name, view in _views(store).items()
        }

    def report(self) -> list[StoreReport]:
        """What each store holds, in the plan's order."""
        return [
            StoreReport(
                keys=int(store.meta[KEYS]),
                rows=int(store.meta[ROWS]),
                texts=int(store.meta[VALUES]),
                bytes=sum(int(view.nbytes) for view in _views(store).values()),
            )
            for store in self.stores
        ]


def _views(store: Store) -> dict[str, Ints]:
    """What a store remembers: its arrays, the arena as far as it is used."""
    return {name: getattr(store, name) for name in _KEPT} | {"words": store.words[: store.meta[TOP]]}


def _new_store(plan: StorePlan, key: bytes) -> Store:
    meta, words = np.zeros(META, np.int64), _aligned(_RESERVED)
    meta[SECRET:] = secret_of(key)
    meta[TOP] = 8  # offset 0 means "none"
    words[: meta[TOP]] = 0
    return Store(
        words=words,
        halves=words.view(np.int32),
        table=_empty_slots(64 * SLOT),
        values=_empty_slots(64 * SLOT),
        distinct=_zeros(64 * ENTRY),
        meta=meta,
        out=np.zeros(1 << 12, np.uint8),
        key=np.zeros(BLOCK * 16, np.int64),
        scratch=np.zeros(scratch_words(plan.program), np.int64),
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
    sheet.cells, sheet.valid = np.ascontiguousarray(sheet.cells), np.ascontiguousarray(sheet.valid)
    seen = np.ones(sheet.n, np.uint8) if wanted is None else wanted
    events = Events(sheet.cells, sheet.valid, *(_owned(part) for part in (sheet.text, fate, seen, watermark)))

    def run(number: int) -> None:
        state.stores[number] = _run(plan.stores[number].program, state.stores[number], events, event_time.row)

    side_by_side(threads, sheet.n, [partial(run, number) for number in range(len(plan.stores))])
    _append_texts(plan, state, sheet)


def _owned(array: np.ndarray) -> np.ndarray:
    """The array as kernels compiled for writable ones take it; they only read it."""
    return array if array.flags.writeable and array.flags.c_contiguous else array.copy()


def _run(plan: Program, store: Store, events: Events, time_row: int) -> Store:
    """One store over the batch; whenever the kernel stops for want of room, make room and go on."""
    store.meta[TEXT_TOP] = 0
    start, n = 0, events.cells.shape[1]
    while True:
        start = run_store(plan, store, events, time_row, start)
        if start == n:
            return store
        store = _grow(store, int(store.meta[STOP]), int(store.meta[NEED]))


def _grow(store: Store, stop: int, need: int) -> Store:
    """Make the array that the kernel named larger, by so many elements at least."""
    match stop:
        case arena.STOP_WORDS:
            words = _lengthened(store.words, max(need, _STEP))
            return store._replace(words=words, halves=words.view(np.int32))
        case arena.STOP_TABLE:
            return store._replace(table=_larger_slots(store.table))
        case arena.STOP_VALUES:
            return store._replace(values=_larger_slots(store.values))
        case arena.STOP_DISTINCTS:
            least = len(store.distinct) + 2 * ENTRY * need
            distinct = _zeros(1 << (least - 1).bit_length())
            grow_distinct(store.meta[SECRET:], store.distinct, distinct)
            return store._replace(distinct=distinct)
        case arena.STOP_KEYS:
            return store._replace(key=np.zeros(2 * max(len(store.key), need), np.int64))
        case arena.STOP_TEXT:
            out = np.empty(4 * len(store.out) + need, np.uint8)
            out[: len(store.out)] = store.out
            return store._replace(out=out)
    raise AssertionError(f"a kernel stopped for no reason: {stop}")


def _larger_slots(table: Ints) -> Ints:
    """The same entries in a hash table twice as long."""
    larger = _empty_slots(2 * len(table))
    rehash(table, larger)
    return larger


def _empty_slots(size: int) -> Ints:
    slots = _zeros(size)
    slots[NEWEST::SLOT] = FOREVER
    return slots


def _zeros(size: int) -> Ints:
    words = _aligned(size)
    words[:] = 0  # np.zeros would not get huge pages: many more page faults and TLB misses
    return words


def _copy(array: np.ndarray) -> Ints:
    copy = _aligned(len(array))
    copy[:] = array
    return copy


def _aligned(size: int) -> Ints:
    """Words from the beginning of a cache line on: a slot lies in one line, a header and a short key in one more."""
    room = np.empty(size + _LINE - 1, np.int64)
    start = -(room.ctypes.data // 8) % _LINE
    return room[start : start + size]


def _lengthened(words: Ints, more: int) -> Ints:
    """The same words and more. Their pages move and are not copied; no view of the old ones may be used again."""
    room = words.base
    assert room is not None
    start = (words.ctypes.data - room.ctypes.data) // words.itemsize
    room.resize(len(room) + more, refcheck=False)
    return room[start : start + len(words) + more]


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
