"""Arrow tables, from Parquet or from CSV read as text, to a sheet: column by column, dead letters row by row."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from features.kernel import kernel
from features.refusal import Refusal
from features.sheet import HANDLE_BITS, NULL, VALID, Bytes, Doubles, Ints, Sheet, new_sheet, take
from features.shims import Int
from sekisho.wire.arrow import booleans, numbers
from sekisho.wire.complete import complete_row, fill_clocks
from sekisho.wire.dead_letters import DeadLetters
from sekisho.wire.json_decode import Decoded
from sekisho.wire.json_scan import utf8_width
from sekisho.wire.plan import HOW, PARAM, ROW, WirePlan, json_path
from sekisho.wire.reasons import (
    ABSURD_TIME,
    BOOLEAN,
    DECIMALS,
    NOT_FINITE,
    NUL,
    OK,
    PENDING,
    TIME_DIGITS,
    TOO_BIG,
    TOO_LARGE,
    UTF8,
)
from sekisho.wire.scalars import (
    AS_BOOL,
    AS_CATEGORY,
    AS_DECIMAL,
    AS_DOUBLE,
    AS_EPOCH,
    AS_ID,
    AS_TEXT,
    AS_TIME,
    MAX_TIME_US,
    MAX_UNITS,
    in_range,
    read_scalar,
)
from sekisho.wire.zones import Zone, to_utc

_NEAR = 1e-6  # a double is money if it is so near to a whole unit, or is the double nearest to one
_UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass
class _Reading:
    """A table on its way into a sheet. codes, culprits: int64[n], the first reason of each row and its field."""

    sheet: Sheet
    plan: WirePlan
    codes: Ints
    culprits: Ints
    texts: list[Bytes] = field(default_factory=list)
    used: int = 0

    def append(self, data: Bytes) -> int:
        """Put bytes behind the sheet's text; where they begin."""
        self.texts.append(data)
        self.used += len(data)
        return self.used - len(data)


def decode_table(table: pa.Table | pa.RecordBatch, plan: WirePlan, record_time: Ints | None = None) -> Decoded:
    """Decode every row. A field without a column is NULL in all of them; see `missing`.

    record_time: as in decode_json.   Raises Refusal where a column can never hold its field.
    """
    n = table.num_rows
    literals = np.frombuffer(bytes(plan.layout.literals), np.uint8)
    reading = _Reading(new_sheet(plan.layout, n), plan, np.zeros(n, np.int64), np.full(n, -1, np.int64))
    reading.append(literals)
    for f in range(len(plan.fields)):
        column = _column(table, plan, f)
        if column is not None:
            _read_column(reading, plan, f, column)
    sheet = reading.sheet
    sheet.text = np.concatenate(reading.texts)
    _complete(sheet.cells, sheet.valid, sheet.text, plan.fields, plan.kind, plan.kinds, reading.codes, reading.culprits)
    good, bad = np.flatnonzero(reading.codes == OK), np.flatnonzero(reading.codes)
    if len(bad):
        sheet = take(sheet, good)
    fill_clocks(plan, sheet, None if record_time is None else record_time[good])
    nowhere = np.full(len(bad), -1, np.int64)
    dead = DeadLetters(bad, reading.codes[bad], nowhere, reading.culprits[bad], plan.names)
    return Decoded(sheet, good, dead)


def missing(table: pa.Table | pa.RecordBatch, plan: WirePlan) -> tuple[str, ...]:
    """The fields that have no column in the table."""
    return tuple(name for f, name in enumerate(plan.names) if _column(table, plan, f) is None)


def row_bytes(table: pa.Table | pa.RecordBatch, i: int) -> bytes:
    """Row i as one JSON object, values of other types than JSON's as text: the raw bytes of its dead letter."""
    row = {name: _plain(table.column(k)[i]) for k, name in enumerate(table.schema.names)}
    return json.dumps(row, ensure_ascii=False, default=str, separators=(",", ":")).encode(errors="surrogateescape")


def _plain(cell: pa.Scalar) -> object:
    """A cell's value; where Python has none (bytes that are no UTF-8, a time after year 9999) what it holds."""
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        if isinstance(cell, pa.StringScalar | pa.LargeStringScalar):
            return cell.as_buffer().to_pybytes().decode(errors="surrogateescape")
        return getattr(cell, "value", None)


def _column(table: pa.Table | pa.RecordBatch, plan: WirePlan, f: int) -> pa.Array | None:
    """The column of a field: its source's name; `$.a.b` is the column "a.b", else b in the struct a; else its name."""
    source = plan.sources[f]
    path = json_path(source)
    for name in (source.source, ".".join(path), source.name):
        if name in table.schema.names:
            return _one_array(table.column(name))
    if path[0] not in table.schema.names:
        return None
    column = _one_array(table.column(path[0]))
    for key in path[1:]:
        if not pt.is_struct(column.type) or column.type.get_field_index(key) < 0:
            return None
        column = pc.struct_field(column, key)
    return column


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.dictionary_decode() if pt.is_dictionary(column.type) else column


def _read_column(reading: _Reading, plan: WirePlan, f: int, column: pa.Array) -> None:
    """Fill the field's row of the sheet, and the reasons of the rows that cannot be read."""
    how, param, row = (int(plan.fields[f, k]) for k in (HOW, PARAM, ROW))
    type = column.type
    if pt.is_null(type):
        return
    present = numbers(pc.is_valid(column))
    reading.sheet.valid[row] = present
    cells = reading.sheet.cells[row]
    if pt.is_decimal(type) or (pt.is_integer(type) and how in (AS_ID, AS_CATEGORY)):
        column, type = _as_text(column), pa.large_string()
    if _is_text(type):
        codes = _read_text(reading, how, param, column, cells, reading.sheet.valid[row])
    elif pt.is_boolean(type) and how == AS_BOOL:
        cells[:] = numbers(column.fill_null(False))
        codes = np.zeros(len(cells), np.int64)
    elif pt.is_integer(type) and how not in (AS_TEXT, AS_TIME):
        codes = _read_integers(how, param, column, cells)
    elif pt.is_floating(type) and how in (AS_DECIMAL, AS_DOUBLE, AS_EPOCH):
        codes = np.empty(len(cells), np.int64)
        _read_doubles(how, param, numbers(column.cast(pa.float64()).fill_null(0.0)), cells, codes)
    elif (pt.is_timestamp(type) or pt.is_date(type)) and how in (AS_TIME, AS_EPOCH):
        codes = _read_times(reading.plan.zone, column, cells)
    else:
        raise Refusal(
            f"column of field {plan.names[f]!r}: {column.type} cannot be read as {plan.sources[f].type}",
            "cast the column at its source, or change the field's type or encoding in the schema",
        )
    codes = np.where(present == VALID, codes, OK)
    first = (codes != OK) & (reading.codes == OK)
    reading.codes[first], reading.culprits[first] = codes[first], f


def _is_text(type: pa.DataType) -> bool:
    return any(check(type) for check in (pt.is_string, pt.is_large_string, pt.is_string_view, pt.is_binary,
                                         pt.is_large_binary, pt.is_binary_view, pt.is_fixed_size_binary))  # fmt: skip


def _as_text(column: pa.Array) -> pa.Array:
    return pc.cast(column, pa.large_string())


def _read_text(reading: _Reading, how: int, param: int, column: pa.Array, cells: Ints, valid: Bytes) -> Ints:
    """Texts as they are, or the values that they spell."""
    column = column.cast(pa.large_binary())
    n = len(column)
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + n + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    data, offsets = data[offsets[0] : offsets[-1]].copy(), offsets - offsets[0]
    codes = np.zeros(n, np.int64)
    if how <= AS_ID:
        base, limit = reading.append(data), reading.plan.max_record_bytes
        _place_texts(data, offsets, base, limit, how == AS_ID, cells, valid, codes)
        return codes
    _read_scalars(how, param, data, offsets, reading.plan.zone.starts, reading.plan.zone.offsets, cells, valid, codes)
    for i in np.flatnonzero(codes == PENDING):
        cells.view(np.float64)[i] = float(data[offsets[i] : offsets[i + 1]].tobytes()) + 0.0
        codes[i] = OK
    return codes


@kernel
def _place_texts(
    data: Bytes, offsets: Ints, base: Int, limit: Int, empty_is_null: bool, cells: Ints, valid: Bytes, codes: Ints
) -> None:
    """Handles of valid UTF-8 without NUL."""
    for i in range(len(cells)):
        at, end = offsets[i], offsets[i + 1]
        if valid[i] != VALID:
            continue
        if at == end and empty_is_null:
            valid[i] = NULL
        if end - at > limit:
            codes[i] = TOO_BIG
            continue
        cells[i] = ((base + at) << HANDLE_BITS) | (end - at)
        while at < end and codes[i] == OK:
            width = utf8_width(data, at, end)
            if width == 0:
                codes[i] = UTF8
            elif data[at] == 0:
                codes[i] = NUL
            at += width


@kernel
def _read_scalars(
    how: Int, param: Int, data: Bytes, offsets: Ints, starts: Ints, zone: Ints, cells: Ints, valid: Bytes, codes: Ints
) -> None:
    """Values spelled in text; PENDING doubles are left to Python."""
    for i in range(len(cells)):
        if valid[i] == VALID:
            cells[i], codes[i] = read_scalar(how, param, data, offsets[i], offsets[i + 1], starts, zone)


def _read_integers(how: int, param: int, column: pa.Array, cells: Ints) -> Ints:
    """int64 (uint64 beyond it is too large) as money, doubles, booleans or epochs."""
    column = column.fill_null(0)
    beyond = np.zeros(len(cells), bool)
    if pt.is_uint64(column.type):
        beyond = numbers(column) > np.uint64(2**63 - 1)
        column = pc.if_else(booleans(beyond), pa.scalar(0, pa.uint64()), column)
    values = numbers(column.cast(pa.int64()))
    codes = np.zeros(len(cells), np.int64)
    if how == AS_DOUBLE:
        cells.view(np.float64)[:] = numbers(column).astype(np.float64)
        codes[beyond] = TOO_LARGE
    elif how == AS_BOOL:
        cells[:] = values
        codes[(values != 0) & (values != 1) | beyond] = BOOLEAN
    else:
        limit = MAX_UNITS // 10**param if how == AS_DECIMAL else (MAX_TIME_US - 1) // 10**param
        low = -limit if how == AS_DECIMAL else 0
        bad = (values < low) | (values > limit) | beyond
        cells[:] = np.where(bad, 0, values) * 10**param
        codes[bad] = TOO_LARGE if how == AS_DECIMAL else ABSURD_TIME
    return codes


@kernel
def _read_doubles(how: Int, param: Int, values: Doubles, cells: Ints, codes: Ints) -> None:
    """Doubles as they are, or as int64 units of 10^-param where they are so near to one that no doubt is left."""
    power = 10.0**param
    limit = MAX_TIME_US if how == AS_EPOCH else MAX_UNITS
    for i in range(len(values)):
        value = values[i]
        codes[i] = OK
        if not np.isfinite(value):
            codes[i] = NOT_FINITE
        elif how == AS_DOUBLE:
            cells.view(np.float64)[i] = value + 0.0
            if abs(value) >= 1e308:
                codes[i] = TOO_LARGE
        else:
            scaled = value * power
            units = np.rint(scaled)
            if abs(units) > limit:
                codes[i] = ABSURD_TIME if how == AS_EPOCH else TOO_LARGE
            elif abs(scaled - units) > _NEAR and units / power != value:
                codes[i] = TIME_DIGITS if how == AS_EPOCH else DECIMALS
            else:
                cells[i] = np.int64(units)
                if how == AS_EPOCH:
                    cells[i], codes[i] = in_range(cells[i])


def _read_times(zone: Zone, column: pa.Array, cells: Ints) -> Ints:
    """Timestamps of any unit and dates; those without a zone are local to the default zone."""
    naive = pt.is_date(column.type) or column.type.tz is None
    if pt.is_date(column.type):
        column = column.cast(pa.timestamp("s") if pt.is_date32(column.type) else pa.timestamp("ms"))
    unit = column.type.unit
    values = numbers(column.cast(pa.int64()).fill_null(0))
    codes = np.zeros(len(cells), np.int64)
    if unit == "ns":
        codes[values % 1000 != 0] = TIME_DIGITS
        values = values // 1000
    else:
        limit = 2 * MAX_TIME_US // _UNIT_US[unit]
        values = np.clip(values, -limit, limit) * _UNIT_US[unit]  # what is clipped is absurd before and after
    _localise(values, naive, zone.starts, zone.offsets, cells, codes)
    return codes


@kernel
def _localise(values: Ints, naive: bool, starts: Ints, offsets: Ints, cells: Ints, codes: Ints) -> None:
    """Microseconds, naive ones in the zone, to UTC."""
    for i in range(len(values)):
        time_us, code = in_range(to_utc(values[i], starts, offsets) if naive else values[i])
        cells[i] = time_us
        if code != OK:
            codes[i] = code


@kernel
def _complete(
    cells: Ints, valid: Bytes, text: Bytes, fields: Ints, kind: Int, kinds: Ints, codes: Ints, culprits: Ints
) -> None:
    """Defaults, required fields and the kind, for the rows that are still good."""
    for i in range(len(codes)):
        if codes[i] == OK:
            codes[i], culprits[i] = complete_row(cells, valid, text, i, fields, kind, kinds)
