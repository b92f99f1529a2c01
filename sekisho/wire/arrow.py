"""Sheet columns as Arrow arrays, with the types that DuckDB gives to the same columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kernel import kernel
from features.sheet import HANDLE_BITS, VALID, Bytes, Doubles, Ints, Sheet, Slot
from features.types import Kind, Type

_LENGTH = (1 << HANDLE_BITS) - 1


def arrow_type(type: Type) -> pa.DataType:
    """The Arrow type of a SQL type; HUGEINT is decimal128(38, 0)."""
    match type.kind:
        case Kind.INT:
            return pa.decimal128(38, 0) if type.wide else pa.int64()
        case Kind.DECIMAL:
            return pa.decimal128(type.width, type.scale)
        case Kind.DOUBLE:
            return pa.float64()
        case Kind.BOOL:
            return pa.bool_()
        case Kind.TEXT:
            return pa.string()
        case Kind.TIME:
            return pa.timestamp("us", "UTC")
        case Kind.LOCAL:
            return pa.timestamp("us")
        case _:
            return pa.duration("us")


def to_arrow(sheet: Sheet, slots: Iterable[tuple[str, Slot]], rows: Ints) -> pa.Table:
    """The named columns of the events at `rows`. NULL and ERROR cells are nulls."""
    pairs = list(slots)
    arrays = [_array(sheet, slot, rows) for _, slot in pairs]
    return pa.table(arrays, names=[name for name, _ in pairs])


def numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Numbers without nulls as a read-only NumPy array, booleans as uint8 0 and 1.

    `numpy.asarray` would import pandas first, just to ask whether it is needed; so would `pa.array` for the next two.
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.from_dlpack(whole.cast(pa.uint8()) if pa.types.is_boolean(whole.type) else whole)


def doubles(values: Doubles, valid: Bytes) -> pa.Array:
    """float64[n] as an Arrow array."""
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.float64(), len(values), [_bitmap(valid == VALID), data])


def booleans(values: npt.NDArray[np.bool_]) -> pa.Array:
    """bool[n] as an Arrow array."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bitmap(values)])


def _bitmap(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _array(sheet: Sheet, slot: Slot, rows: Ints) -> pa.Array:
    type, n = arrow_type(slot.type), len(rows)
    valid = sheet.validity(slot)[rows] == VALID
    bitmap = _bitmap(valid)
    cells = sheet.ints(slot)[rows]
    if slot.type.kind is Kind.TEXT:
        offsets = np.zeros(n + 1, np.int64)
        np.cumsum(np.where(valid, cells & _LENGTH, 0), out=offsets[1:])
        octets = np.empty(offsets[-1], np.uint8)
        _gather(sheet.text, cells, offsets, octets)
        return pa.Array.from_buffers(pa.large_string(), n, [bitmap, pa.py_buffer(offsets), pa.py_buffer(octets)]).cast(
            type
        )
    data = cells
    if slot.type.kind is Kind.BOOL:
        return pa.Array.from_buffers(type, n, [bitmap, _bitmap(cells == 1)])
    if pa.types.is_decimal(type):
        high = sheet.cells[slot.row + 1, rows] if slot.type.wide else cells >> 63
        data = np.stack([cells, high], axis=1)
    return pa.Array.from_buffers(type, n, [bitmap, pa.py_buffer(np.ascontiguousarray(data))])


@kernel
def _gather(text: Bytes, cells: Ints, offsets: Ints, data: Bytes) -> None:
    for i in range(len(cells)):
        start = cells[i] >> HANDLE_BITS
        for k in range(offsets[i + 1] - offsets[i]):
            data[offsets[i] + k] = text[start + k]
