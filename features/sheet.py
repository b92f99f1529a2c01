"""A batch of events as a sheet: one row of cells a column, one column of cells an event.

Every room writes to and reads from the same sheet, so a value is stored once on its way from bytes to decision:
the decoder fills the fields, the window engine its values, the programs theirs, the scorer the scores.

A cell is 64 bits: int64 units or microseconds, float64 bits, 0 or 1, or a text handle (see `text_handle`).
A wide value (128 bits) takes two rows: the low half, unsigned, then the high half, signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.kernel import kernel
from features.types import Kind, Type

# What stands in `valid`, one byte a cell.
NULL = 0  # missing, unknown, late
VALID = 1
ERROR = 2  # NULL because a computation overflowed: flagged and counted (law L7)

# How a condition turns out, one byte in `valid` of a row whose cells mean nothing.
ANSWERS = FALSE, TRUE, UNKNOWN, FAILED = 0, 1, 2, 3

# How an event meets the windows (written by step(), read by the window engine).
ENTERS = 0  # accepted: sees its windows, and is seen by later events
DEGRADED = 1  # too late or from the future: all window values NULL, enters no state
SKIPPED = 2  # a duplicate: no window, no state

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

HANDLE_BITS = 24  # a text is at most 16 MiB - 1


def text_handle(start: int, length: int) -> int:
    """A text's cell: where its UTF-8 bytes begin in the sheet's text, and how many there are."""
    return (start << HANDLE_BITS) | length


@dataclass(frozen=True)
class Slot:
    """Where a column stands: its first row in the sheet, and its type."""

    row: int
    type: Type


@dataclass
class Layout:
    """Which column stands in which row. Built once when a pack is compiled."""

    slots: dict[str, Slot] = field(default_factory=dict)
    rows: int = 0
    literals: bytearray = field(default_factory=bytearray)
    _handles: dict[bytes, int] = field(default_factory=dict)

    def add(self, name: str, type: Type) -> Slot:
        """A new named column. KeyError if the name is taken."""
        if name in self.slots:
            raise KeyError(name)
        self.slots[name] = slot = self.temporary(type)
        return slot

    def alias(self, name: str, slot: Slot) -> None:
        """Another name for a column. KeyError if the name is taken."""
        if name in self.slots:
            raise KeyError(name)
        self.slots[name] = slot

    def temporary(self, type: Type) -> Slot:
        """A new column without a name."""
        slot = Slot(self.rows, type)
        self.rows += 2 if type.wide else 1
        return slot

    def __getitem__(self, name: str) -> Slot:
        return self.slots[name]

    def __contains__(self, name: str) -> bool:
        return name in self.slots

    def beginning(self) -> Layout:
        """The columns so far as a layout of their own, with the same constants: now and to come."""
        return Layout(dict(self.slots), self.rows, self.literals, self._handles)

    def literal(self, text: str) -> int:
        """The handle of a constant text: constants stand at the front of every sheet's text."""
        raw = text.encode()
        if raw not in self._handles:
            self._handles[raw] = text_handle(len(self.literals), len(raw))
            self.literals += raw
        return self._handles[raw]


@dataclass
class Sheet:
    """A batch. cells: int64[rows, n], valid: uint8[rows, n], text: uint8[...] that begins with the literals."""

    layout: Layout
    cells: Ints
    valid: Bytes
    text: Bytes

    @property
    def n(self) -> int:
        return int(self.cells.shape[1])

    def ints(self, slot: Slot | str) -> Ints:
        """The column's cells, int64[n]."""
        row: Ints = self.cells[self._row(slot)]
        return row

    def doubles(self, slot: Slot | str) -> Doubles:
        """The column's cells seen as float64[n]; writing through it is allowed."""
        row: Doubles = self.cells[self._row(slot)].view(np.float64)
        return row

    def validity(self, slot: Slot | str) -> Bytes:
        row: Bytes = self.valid[self._row(slot)]
        return row

    def _row(self, slot: Slot | str) -> int:
        return (self.layout[slot] if isinstance(slot, str) else slot).row

    def value(self, slot: Slot | str, i: int) -> int | float | bool | str | None:
        """One value as Python sees it: exact types as int units, times as microseconds."""
        slot = self.layout[slot] if isinstance(slot, str) else slot
        if self.valid[slot.row, i] != VALID:
            return None
        cell = int(self.cells[slot.row, i])
        match slot.type.kind:
            case Kind.DOUBLE:
                return float(self.doubles(slot)[i])
            case Kind.BOOL:
                return bool(cell)
            case Kind.TEXT:
                start, length = cell >> HANDLE_BITS, cell & ((1 << HANDLE_BITS) - 1)
                return self.text[start : start + length].tobytes().decode()
            case _ if slot.type.wide:
                return (int(self.cells[slot.row + 1, i]) << 64) | (cell & (2**64 - 1))
            case _:
                return cell


def new_sheet(layout: Layout, n: int, text: Bytes | None = None) -> Sheet:
    """A sheet of n events: all NULL, cells unset. `text`, if given, already begins with the literals."""
    if text is None:
        text = np.frombuffer(bytearray(layout.literals), np.uint8)
    return Sheet(layout, np.empty((layout.rows, n), np.int64), np.zeros((layout.rows, n), np.uint8), text)


def sheet_of(layout: Layout, columns: Mapping[str, Iterable[int | float | bool | str | None]]) -> Sheet:
    """A sheet from Python values: for tests and tools, not for the hot path. See `Sheet.value` for the units."""
    lists = {name: list(values) for name, values in columns.items()}
    text = bytearray(layout.literals)
    sheet = new_sheet(layout, len(next(iter(lists.values()))))
    for name, values in lists.items():
        slot = layout[name]
        for i, value in enumerate(values):
            if value is None:
                continue
            sheet.valid[slot.row, i] = VALID
            if isinstance(value, str):
                raw = value.encode()
                sheet.cells[slot.row, i] = text_handle(len(text), len(raw))
                text += raw
            elif slot.type.kind is Kind.DOUBLE:
                sheet.doubles(slot)[i] = value
            elif slot.type.wide:
                low = int(value) & (2**64 - 1)
                sheet.cells[slot.row, i] = low - 2**64 if low >= 2**63 else low
                sheet.cells[slot.row + 1, i] = int(value) >> 64
            else:
                sheet.cells[slot.row, i] = int(value)
    sheet.text = np.frombuffer(text, np.uint8)
    return sheet


def take(sheet: Sheet, index: Ints) -> Sheet:
    """The events at `index` (int64[k], repeats allowed), in that order, over the same text."""
    return Sheet(sheet.layout, np.take(sheet.cells, index, axis=1), np.take(sheet.valid, index, axis=1), sheet.text)


def concat(sheets: Sequence[Sheet]) -> Sheet:
    """The events of several sheets of one layout, one after the other, over a text of just what they need."""
    layout = sheets[0].layout
    cells = np.concatenate([sheet.cells for sheet in sheets], axis=1)
    valid = np.concatenate([sheet.valid for sheet in sheets], axis=1)
    rows = np.array(sorted({slot.row for slot in layout.slots.values() if slot.type.kind is Kind.TEXT}), np.int64)
    lengths = np.where(valid[rows] == VALID, cells[rows] & ((1 << HANDLE_BITS) - 1), 0)
    text = np.empty(len(layout.literals) + int(lengths.sum()), np.uint8)
    text[: len(layout.literals)] = np.frombuffer(bytes(layout.literals), np.uint8)
    used, start = len(layout.literals), 0
    for sheet in sheets:
        used = _move_text(cells, valid, rows, start, start + sheet.n, np.ascontiguousarray(sheet.text), text, used)
        start += sheet.n
    return Sheet(layout, cells, valid, text)


@kernel
def _move_text(
    cells: Ints, valid: Bytes, rows: Ints, start: int, stop: int, source: Bytes, target: Bytes, used: int
) -> int:
    """Copy the texts of the events [start, stop) to `target` and turn their handles; the bytes used so far."""
    for i in range(start, stop):
        for row in rows:
            if valid[row, i] == VALID:
                at, length = cells[row, i] >> HANDLE_BITS, cells[row, i] & ((1 << HANDLE_BITS) - 1)
                for k in range(length):
                    target[used + k] = source[at + k]
                cells[row, i] = (used << HANDLE_BITS) | length
                used += length
    return used


def widen(sheet: Sheet, layout: Layout) -> Sheet:
    """The same events in a longer layout whose first rows are those of the sheet; the new columns are NULL."""
    wide = new_sheet(layout, sheet.n, sheet.text)
    wide.cells[: sheet.layout.rows] = sheet.cells
    wide.valid[: sheet.layout.rows] = sheet.valid
    return wide
