"""The window engine on a device: the same values as features.windows, from rows in sorted runs.

What a frame holds is the sum of what it holds of each run: of the runs of earlier batches, and of the batch's own
chains. Runs are merged as they grow, so there are few. Nothing walks the rows of a key, however many these are.
Calls that are no sums over RANGE frames stay with the CPU's engine, store by store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from features import windows as cpu
from features.gpu import kernels
from features.gpu.device import Array, Device
from features.gpu.keys import KeyTable
from features.gpu.plan import DevicePlan, fits, plan_device
from features.gpu.runs import Run, chains, merge, run_of
from features.hashing import KNOWN_KEY, secret_of
from features.sheet import NULL, Bytes, Ints, Sheet, Slot
from features.window_plan import (
    CALL_FUNCTION,
    CALL_OUT,
    FREES,
    KEEP_US,
    LATENESS_US,
    STAGE_ROWS,
    SUM,
    Program,
    WindowPlan,
)

_DAWN = -(2**62)  # a watermark before the first event
_GROWTH = 4  # a run is merged into the one before it once that is less than so many times as long


@dataclass
class DeviceStore:
    """The rows of one store: runs from old to new, each of its own rows."""

    plan: DevicePlan
    keys: KeyTable
    runs: list[Run] = field(default_factory=list)

    def report(self) -> cpu.StoreReport:
        """Keys, rows, and the bytes of both on host and device."""
        arrays = [array for run in self.runs for array in (run.keys, run.times, run.prefix)]
        held = sum(int(array.nbytes) for array in arrays) + self.keys.words.nbytes + self.keys.table.nbytes
        return cpu.StoreReport(self.keys.count, sum(map(len, self.runs)), 0, held)


@dataclass
class WindowState:
    """What the windows of a plan remember: on the device, and on the host for the stores that stay there."""

    device: Device
    stores: dict[int, DeviceStore]
    rest: cpu.WindowState

    @classmethod
    def empty(cls, plan: WindowPlan, device: Device, key: bytes = KNOWN_KEY) -> WindowState:
        """The state before the first event; key: of its hash tables, see features.hashing."""
        programs = {k: store.program for k, store in enumerate(plan.stores) if fits(store.program)}
        stores = {k: _new_store(program, device, key) for k, program in programs.items()}
        return cls(device, stores, cpu.WindowState.empty(_others(plan, stores), key))

    @classmethod
    def restore(cls, plan: WindowPlan, device: Device, arrays: Mapping[str, np.ndarray]) -> WindowState:
        """The state that `arrays` was taken from, under the same plan. KeyError if an array is missing."""
        state = cls.empty(plan, device)
        for number, store in state.stores.items():
            part = f"gpu{number}."
            store.keys = KeyTable.restore(store.keys.parts, arrays[part + "words"], arrays[part + "meta"])
            for k in range(int(arrays[part + "runs"][0])):
                keys, times, prefix = (device.up(arrays[f"{part}{k}.{name}"]) for name in ("keys", "times", "prefix"))
                store.runs.append(Run(keys, times, device.xp.zeros(0, device.xp.int64), prefix))
        state.rest = cpu.WindowState.restore(_others(plan, state.stores), arrays)
        return state

    def arrays(self) -> dict[str, np.ndarray]:
        """The whole state as int64 arrays on the host."""
        found: dict[str, np.ndarray] = dict(self.rest.arrays())
        for number, store in self.stores.items():
            part = f"gpu{number}."
            found |= {part + name: array for name, array in store.keys.arrays().items()}
            found[part + "runs"] = np.array([len(store.runs)], np.int64)
            for k, run in enumerate(store.runs):
                for name, array in (("keys", run.keys), ("times", run.times), ("prefix", run.prefix)):
                    found[f"{part}{k}.{name}"] = self.device.down(array)
        return found

    def report(self) -> list[cpu.StoreReport]:
        """What each store holds, those of the device first."""
        return [store.report() for store in self.stores.values()] + self.rest.report()


def _others(plan: WindowPlan, stores: Mapping[int, DeviceStore]) -> WindowPlan:
    return WindowPlan(tuple(store for k, store in enumerate(plan.stores) if k not in stores), plan.inputs)


def _new_store(program: Program, device: Device, key: bytes) -> DeviceStore:
    return DeviceStore(plan_device(program, device), KeyTable(program.parts, secret_of(key)))


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
    """As features.windows.advance."""
    if sheet.n == 0:
        return
    cpu.advance(_others(plan, state.stores), state.rest, sheet, fate, watermark, event_time, threads, wanted)
    for store in state.stores.values():
        _take_in(state.device, store, sheet, fate, watermark, event_time, wanted)


def _take_in(
    device: Device,
    store: DeviceStore,
    sheet: Sheet,
    fate: Bytes,
    watermark: Ints,
    event_time: Slot,
    wanted: Bytes | None,
) -> None:
    """One store over the batch: each event's frames over the runs and the chains, then the batch becomes a run."""
    xp, plan = device.xp, store.plan
    numbers = store.keys.number(sheet, fate)
    rows = np.flatnonzero(numbers >= 0)
    keys, times = device.up(numbers[rows]), device.up(sheet.ints(event_time)[rows])
    addends = _bring(device, plan, sheet, rows)
    batch = [run_of(xp, keys[at], times[at], addends[:, at], at) for at in chains(xp, keys, times)]
    found = _look_up(device, plan, [*store.runs, *batch], keys, times)
    _write(sheet, plan, rows, wanted, *map(device.down, found))
    if len(rows):
        order = xp.lexsort(xp.stack([times, keys]))
        store.runs.append(run_of(xp, keys[order], times[order], addends[:, order]))
        _tidy(device, store, int(watermark[-1]))


def _bring(device: Device, plan: DevicePlan, sheet: Sheet, rows: Ints) -> Array:
    """int64[limbs, events]: what each event adds to running totals."""
    at = np.ix_(plan.inputs, rows)
    addends = device.xp.zeros((plan.rows, len(rows)), np.int64)
    cells, valid = device.up(sheet.cells[at]), device.up(sheet.valid[at])
    device.run(kernels.bring, len(rows), plan.tables.measures, plan.tables.limbs, cells, valid, addends)
    return addends


def _look_up(device: Device, plan: DevicePlan, runs: list[Run], keys: Array, times: Array) -> tuple[Array, Array]:
    """The calls' values: int64[2 calls, events] and uint8[calls, events]."""
    xp, n, tables = device.xp, len(keys), plan.tables
    totals = xp.zeros((plan.width, n), np.int64)
    for run in runs:
        device.run(
            kernels.add_run, n, tables.frames, tables.bounds, tables.sums, tables.limbs, tables.totals,
            run.keys, run.times, run.arrivals, run.prefix, keys, times, totals,
        )  # fmt: skip
    stage = xp.zeros((int(plan.program.shape[STAGE_ROWS]), n), np.int64)
    device.run(kernels.to_stage, n, tables.measures, tables.sums, tables.limbs, tables.totals, totals, stage)
    calls = len(plan.program.calls)
    cells, valid = xp.zeros((2 * calls, n), np.int64), xp.zeros((calls, n), np.uint8)
    device.run(kernels.finish, n, tables.calls, stage, cells, valid)
    return cells, valid


def _write(sheet: Sheet, plan: DevicePlan, rows: Ints, wanted: Bytes | None, cells: Ints, valid: Bytes) -> None:
    """Put the values into the sheet; events without windows, or unwanted, get NULLs."""
    at = rows if wanted is None else rows[wanted[rows] != 0]
    chosen = slice(None) if wanted is None else np.flatnonzero(wanted[rows])
    for c, call in enumerate(plan.program.calls):
        out, width = int(call[CALL_OUT]), 2 if call[CALL_FUNCTION] == SUM else 1
        sheet.valid[out], sheet.cells[out : out + width] = NULL, 0
        sheet.valid[out, at] = valid[c, chosen]
        for k in range(width):
            sheet.cells[out + k, at] = cells[2 * c + k, chosen]


def _tidy(device: Device, store: DeviceStore, watermark: int) -> None:
    """Merge runs until each is far longer than the next; forget rows that no event can see, and keys without any."""
    xp, shape, runs = device.xp, store.plan.program.shape, store.runs
    since = max(watermark, _DAWN) - int(shape[LATENESS_US]) - int(shape[KEEP_US])
    forgets = bool(shape[FREES])
    while len(runs) > 1 and len(runs[-2]) < _GROWTH * len(runs[-1]):
        newer, older = runs.pop(), runs.pop()
        runs.append(merge(xp, older, newer, since, forgets))
    if len(runs) == 1 and forgets:
        alive = xp.unique(runs[0].keys)
        if 2 * len(alive) < store.keys.count:
            store.keys.keep(device.down(alive))
            runs[0] = replace(runs[0], keys=xp.searchsorted(alive, runs[0].keys))
