"""The machine that evaluates row expressions: one kernel, blocks of rows, one inner loop an operation.

A program is int64[n, 7], a row an operation: opcode, destination, arguments a, b, c, parameters p, q. Values stand in
registers, BLOCK rows wide; a wide value takes two, low half first. LOAD brings rows of the sheet in, STORE takes them
out. Validity (features.sheet: NULL, VALID, ERROR) goes beside the values and follows SQL's three-valued logic.
Opcodes are typed: nothing in a loop asks what a value is.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from features import civil
from features.kernel import bare, inner
from features.lists import is_listed
from features.sheet import ERROR, FAILED, NULL, UNKNOWN, VALID, Bytes, Doubles, Ints
from features.shims import (
    MIN_I64,
    POW10_HI,
    POW10_LO,
    Int,
    add128,
    compare128,
    decimal_to_double,
    divmod128,
    mul64,
    mul128,
    neg128,
    scale_down,
    scale_up,
    signed,
    sub128,
    within_digits,
)
from features.strings import code_points, compare_text, like, same_text

BLOCK = 256

# The opcodes, by family. Arguments are registers and parameters integers, unless the comment says otherwise.
(
    LOAD,  # a: row of the sheet; p: how many rows
    STORE,  # dst: row of the sheet; p: how many rows
    ANSWER,  # dst: row of the sheet's validity, where one byte says how a condition turned out, see features.sheet
    # logic; `rows` is 1, or 2 for wide values
    AND, OR, NOT, IS_NULL,
    SELECT,  # a: condition; b, c: values; p: rows
    COALESCE,  # p: rows
    NULLIF,  # a: value; b: equality; p: rows
    PREFER,  # a, b: values; c: whether a is preferred if both are there; p: rows
    DISTINCT,  # a, b: values; c: whether they differ
    UNMARK,  # a: a cast's result; b: what was cast; p: rows
    # int64: integers, narrow decimals, times, booleans; results outside p..q are errors
    ADD_I64, SUB_I64, MUL_I64,
    DIV_I64, MOD_I64,
    NEG_I64, ABS_I64,
    COMPARE_I64,  # p: outcomes that are true, the sum of 1 for less, 2 for equal, 4 for greater
    SCALE_UP_I64, SCALE_DOWN_I64,  # c: the power of ten itself
    FLOOR_I64,  # p: divisor
    # int128: HUGEINT and wide decimals; results of more than p digits are errors, p = 0 means the type's own bounds
    ADD_I128, SUB_I128, MUL_I128, DIV_I128, MOD_I128, NEG_I128, ABS_I128,
    COMPARE_I128,  # p as COMPARE_I64
    SCALE_UP_I128, SCALE_DOWN_I128, FLOOR_I128,  # c: digits
    WIDEN, NARROW,  # int64 to int128 and back; outside p..q is an error
    # float64; what is not finite is an error
    ADD_F64, SUB_F64, MUL_F64, DIV_F64, MOD_F64, NEG_F64, ABS_F64, FLOOR_F64, CEIL_F64,
    COMPARE_F64,  # p as COMPARE_I64
    ROUND_F64,  # b: the register of the power of ten; p: 1 to multiply by it, 0 to divide
    I64_TO_F64, I128_TO_F64,  # c: scale
    F64_TO_I128,  # c: scale; p: digits, 0 for HUGEINT; q: 1 rounds halves away from zero, 0 to even
    # text
    COMPARE_TEXT,  # p as COMPARE_I64
    SAME_TEXT,  # p: 1 for equal, 0 for different
    LIKE,  # p: the pattern's handle
    LENGTH,
    LISTED,  # b: event_time; p: the list's number
    # time
    LOCALIZE,  # p, q: first and last row (exclusive) of the zone's table
    CYCLE,  # (a // p + b) % q + c
    CIVIL,  # p: a part of features.civil
    BOUNDARIES,  # p: unit; how many of its boundaries lie between a and b
) = range(60)  # fmt: skip

_HUGE = 2.0**127
_LARGEST = 1.7976931348623157e308


@inner
def _strict(valid: Bytes, dst: int, a: int, b: int, m: int) -> None:
    """NULL if an argument is NULL, ERROR if one is ERROR."""
    for i in range(m):
        x, y = valid[a, i], valid[b, i]
        valid[dst, i] = (x & y & 1) | ((x | y) & 2)


@inner
def _fail(valid: Bytes, dst: int, i: int, how: int) -> None:
    if valid[dst, i] == VALID:
        valid[dst, i] = how


@inner
def _copy(
    cells: Ints, valid: Bytes, d: int, at: int, from_cells: Ints, from_valid: Bytes, a: int, from_at: int, m: int
) -> None:
    value, known = cells[d, at : at + m], valid[d, at : at + m]
    from_value, from_known = from_cells[a, from_at : from_at + m], from_valid[a, from_at : from_at + m]
    for i in range(m):
        value[i] = from_value[i]
    for i in range(m):
        known[i] = from_known[i]


@inner
def _answer(said: Bytes, cells: Ints, valid: Bytes, a: int, m: int) -> None:
    for i in range(m):
        known = valid[a, i]
        said[i] = np.uint8(cells[a, i] != 0) if known == VALID else UNKNOWN if known == NULL else FAILED


@inner
def _logic(op: int, d: int, a: int, b: int, c: int, p: int, m: int, cells: Ints, valid: Bytes) -> None:
    if op <= OR:
        decides = 0 if op == AND else 1  # an operand of this value decides, whatever the other is
        for i in range(m):
            x, y = valid[a, i], valid[b, i]
            decided = ((x == VALID) & (cells[a, i] == decides)) | ((y == VALID) & (cells[b, i] == decides))
            cells[d, i] = decides if decided else 1 - decides
            valid[d, i] = VALID if decided else (x & y & 1) | ((x | y) & 2)
    elif op == NOT:
        for i in range(m):
            cells[d, i] = 1 - cells[a, i]
            valid[d, i] = valid[a, i]
    elif op == IS_NULL:
        for i in range(m):
            cells[d, i] = valid[a, i] != VALID
            valid[d, i] = VALID
    elif op == SELECT:
        for i in range(m):
            valid[d, i] = valid[b, i] if valid[a, i] == VALID and cells[a, i] == 1 else valid[c, i]
        for k in range(p):
            for i in range(m):
                cells[d + k, i] = cells[b + k, i] if valid[a, i] == VALID and cells[a, i] == 1 else cells[c + k, i]
    elif op == COALESCE:
        for i in range(m):
            valid[d, i] = VALID if valid[a, i] == VALID else valid[b, i] | (valid[a, i] if valid[b, i] == NULL else 0)
        for k in range(p):
            for i in range(m):
                cells[d + k, i] = cells[a + k, i] if valid[a, i] == VALID else cells[b + k, i]
    elif op == NULLIF:
        for i in range(m):
            valid[d, i] = NULL if valid[b, i] == VALID and cells[b, i] == 1 else valid[a, i]
        for k in range(p):
            for i in range(m):
                cells[d + k, i] = cells[a + k, i]
    elif op == PREFER:
        for i in range(m):
            x, y = valid[a, i], valid[b, i]
            valid[d, i] = VALID if ((x | y) & VALID) != 0 else x | y
        for k in range(p):
            for i in range(m):
                first = valid[b, i] != VALID or (valid[a, i] == VALID and cells[c, i] == 1)
                cells[d + k, i] = cells[a + k, i] if first else cells[b + k, i]
    elif op == DISTINCT:
        for i in range(m):
            x, y = valid[a, i] == VALID, valid[b, i] == VALID
            cells[d, i] = cells[c, i] if x and y else x != y
            valid[d, i] = VALID
    else:  # UNMARK
        for i in range(m):
            valid[d, i] = NULL if valid[a, i] == ERROR and valid[b, i] == VALID else valid[a, i]
        for k in range(p):
            for i in range(m):
                cells[d + k, i] = cells[a + k, i]


@inner
def _int64(op: int, d: int, a: int, b: int, c: int, p: int, q: int, m: int, cells: Ints, valid: Bytes) -> None:
    _strict(valid, d, a, b, m)
    if op == COMPARE_I64:
        for i in range(m):
            x, y = cells[a, i], cells[b, i]
            cells[d, i] = (p >> (1 + (x > y) - (x < y))) & 1
    elif op == ADD_I64:
        for i in range(m):
            x, y = cells[a, i], cells[b, i]
            r = x + y
            bad = ((x ^ r) & (y ^ r)) < 0 or r < p or r > q
            cells[d, i] = r
            valid[d, i] += valid[d, i] & bad
    elif op == SUB_I64:
        for i in range(m):
            x, y = cells[a, i], cells[b, i]
            r = x - y
            bad = ((x ^ y) & (x ^ r)) < 0 or r < p or r > q
            cells[d, i] = r
            valid[d, i] += valid[d, i] & bad
    elif op == MUL_I64:
        for i in range(m):
            lo, hi = mul64(cells[a, i], cells[b, i])
            cells[d, i] = lo
            if hi != lo >> 63 or lo < p or lo > q:
                _fail(valid, d, i, ERROR)
    elif op <= MOD_I64:
        for i in range(m):
            x, y = cells[a, i], cells[b, i]
            if y == 0:
                _fail(valid, d, i, NULL)
            elif y == -1:  # the processor traps on the one quotient that does not fit
                cells[d, i] = -x if op == DIV_I64 else 0
                if op == DIV_I64 and x == MIN_I64:
                    _fail(valid, d, i, ERROR)
            else:
                quotient = x // y
                if quotient < 0 and quotient * y != x:
                    quotient += 1
                cells[d, i] = quotient if op == DIV_I64 else x - quotient * y
    elif op <= ABS_I64:
        for i in range(m):
            x = cells[a, i]
            cells[d, i] = -x if op == NEG_I64 or x < 0 else x
            if x == MIN_I64:
                _fail(valid, d, i, ERROR)
    elif op == SCALE_UP_I64:
        for i in range(m):
            lo, hi = mul64(cells[a, i], c)
            cells[d, i] = lo
            if hi != lo >> 63 or lo < p or lo > q:
                _fail(valid, d, i, ERROR)
    elif op == SCALE_DOWN_I64:
        for i in range(m):
            x = cells[a, i]
            quotient = x // c
            rest = x - quotient * c  # from 0 up, as // rounds down
            quotient += rest > c - rest or (rest == c - rest and x > 0)
            cells[d, i] = quotient
            if quotient < p or quotient > q:
                _fail(valid, d, i, ERROR)
    else:  # FLOOR_I64
        for i in range(m):
            cells[d, i] = cells[a, i] // p


@inner
def _put128(d: int, i: int, lo: Int, hi: Int, bad: bool, digits: int, cells: Ints, valid: Bytes) -> None:
    cells[d, i], cells[d + 1, i] = lo, hi
    if bad or (digits > 0 and not within_digits(lo, hi, digits)):
        _fail(valid, d, i, ERROR)


@inner
def _compute128(op: int, x: Int, xh: Int, y: Int, yh: Int, c: int) -> tuple[Int, Int, bool]:
    """(lo, hi, overflow) of one operation; y is not zero where it divides."""
    if op == ADD_I128:
        lo, hi = add128(x, xh, y, yh)
        return lo, hi, ((xh ^ hi) & (yh ^ hi)) < 0
    if op == SUB_I128:
        lo, hi = sub128(x, xh, y, yh)
        return lo, hi, ((xh ^ yh) & (xh ^ hi)) < 0
    if op == MUL_I128:
        return mul128(x, xh, y, yh)
    if op == SCALE_UP_I128:
        return scale_up(x, xh, c)
    if op == SCALE_DOWN_I128:
        lo, hi = scale_down(x, xh, c)
        return lo, hi, False
    if op == NEG_I128 or (op == ABS_I128 and xh < 0):
        lo, hi = neg128(x, xh)
        return lo, hi, bool(x == 0 and xh == MIN_I64)
    if op == ABS_I128:
        return x, xh, False
    if op == FLOOR_I128:
        y, yh = np.int64(POW10_LO[c]), np.int64(POW10_HI[c])
    lo, hi, rest, rest_hi, bad = divmod128(x, xh, y, yh)
    if op == MOD_I128:
        return rest, rest_hi, False
    if op == FLOOR_I128 and rest_hi < 0:
        lo, hi = sub128(lo, hi, np.int64(1), np.int64(0))
    return lo, hi, bad


@inner
def _int128(op: int, d: int, a: int, b: int, c: int, p: int, q: int, m: int, cells: Ints, valid: Bytes) -> None:
    _strict(valid, d, a, b, m)
    if op == WIDEN:
        for i in range(m):
            cells[d, i], cells[d + 1, i] = cells[a, i], cells[a, i] >> 63
    elif op == NARROW:
        for i in range(m):
            x, xh = cells[a, i], cells[a + 1, i]
            cells[d, i] = x
            if xh != x >> 63 or x < p or x > q:
                _fail(valid, d, i, ERROR)
    elif op == COMPARE_I128:
        for i in range(m):
            order = compare128(cells[a, i], cells[a + 1, i], cells[b, i], cells[b + 1, i])
            cells[d, i] = (p >> (1 + order)) & 1
    else:
        divides = op == DIV_I128 or op == MOD_I128  # noqa: PLR1714 - a kernel has no sets
        for i in range(m):
            y, yh = cells[b, i], cells[b + 1, i]
            if divides and y == 0 and yh == 0:
                _fail(valid, d, i, NULL)
            elif valid[d, i] == VALID:
                lo, hi, bad = _compute128(op, cells[a, i], cells[a + 1, i], y, yh, c)
                _put128(d, i, lo, hi, bad, p, cells, valid)


@inner
def _round_away(x: float) -> float:
    """The nearest integer, halves away from zero."""
    size = abs(x)
    below = np.floor(size)
    return math.copysign(below + 1.0 if size - below >= 0.5 else below, x)


@inner
def _round_decimal(x: float, ten: float, multiply: int) -> float:
    """As DuckDB's round(x, digits)."""
    if multiply == 1:
        rounded = _round_away(x * ten) / ten
        return rounded if abs(rounded) <= _LARGEST else x
    rounded = _round_away(x / ten) * ten
    return rounded if abs(rounded) <= _LARGEST else 0.0


@inner
def _float64(
    op: int, d: int, a: int, b: int, c: int, p: int, q: int, m: int, cells: Ints, floats: Doubles, valid: Bytes
) -> None:
    _strict(valid, d, a, b, m)
    if op == COMPARE_F64:
        for i in range(m):
            x, y = floats[a, i], floats[b, i]
            cells[d, i] = (p >> (1 + (x > y) - (x < y))) & 1
        return
    if op == ADD_F64:
        for i in range(m):
            floats[d, i] = floats[a, i] + floats[b, i]
    elif op == SUB_F64:
        for i in range(m):
            floats[d, i] = floats[a, i] - floats[b, i]
    elif op == MUL_F64:
        for i in range(m):
            floats[d, i] = floats[a, i] * floats[b, i]
    elif op <= MOD_F64:
        for i in range(m):
            x, y = floats[a, i], floats[b, i]
            if y == 0.0:
                _fail(valid, d, i, NULL)
            else:
                floats[d, i] = x / y if op == DIV_F64 else np.fmod(x, y)
    elif op == NEG_F64:
        for i in range(m):
            floats[d, i] = -floats[a, i]
    elif op == ABS_F64:
        for i in range(m):
            floats[d, i] = abs(floats[a, i])
    elif op == FLOOR_F64:
        for i in range(m):
            floats[d, i] = np.floor(floats[a, i])
    elif op == CEIL_F64:
        for i in range(m):
            floats[d, i] = np.ceil(floats[a, i])
    elif op == ROUND_F64:
        for i in range(m):
            floats[d, i] = _round_decimal(floats[a, i], floats[b, i], p)
    elif op == I64_TO_F64 and c == 0:
        for i in range(m):
            floats[d, i] = cells[a, i]
    elif op <= I128_TO_F64:
        for i in range(m):
            high = cells[a + 1, i] if op == I128_TO_F64 else cells[a, i] >> 63
            floats[d, i] = decimal_to_double(cells[a, i], high, c)
    else:  # F64_TO_I128
        for i in range(m):
            x = floats[a, i] * floats[b, i]
            x = _round_away(x) if q == 1 else np.rint(x)
            if not abs(x) <= _HUGE:
                _fail(valid, d, i, ERROR)
                continue
            high = np.floor(abs(x) / 2.0**64)
            low = abs(x) - high * 2.0**64
            whole, whole_hi, bad = signed(x < 0.0, np.uint64(low), np.uint64(high))
            _put128(d, i, whole, whole_hi, bad, p, cells, valid)
        return
    for i in range(m):
        bad = not abs(floats[d, i]) <= _LARGEST
        valid[d, i] += valid[d, i] & bad


@inner
def _text(op: int, d: int, a: int, b: int, p: int, m: int, cells: Ints, valid: Bytes, text: Bytes) -> None:
    _strict(valid, d, a, b, m)
    for i in range(m):
        if valid[d, i] != VALID:  # the handle of a NULL points nowhere
            continue
        x, y = cells[a, i], cells[b, i]
        if op == SAME_TEXT:
            cells[d, i] = same_text(text, x, y) == (p == 1)
        elif op == COMPARE_TEXT:
            cells[d, i] = (p >> (1 + compare_text(text, x, y))) & 1
        elif op == LIKE:
            cells[d, i] = like(text, x, p)
        else:  # LENGTH
            cells[d, i] = code_points(text, x)


@inner
def _time(
    op: int, d: int, a: int, b: int, c: int, p: int, q: int, m: int, cells: Ints, valid: Bytes, zones: Ints
) -> None:
    if op == BOUNDARIES:
        _strict(valid, d, a, b, m)
        for i in range(m):
            cells[d, i] = cells[b, i] // p - cells[a, i] // p
        return
    _strict(valid, d, a, a, m)
    if op == CYCLE:
        for i in range(m):
            cells[d, i] = (cells[a, i] // p + b) % q + c
    elif op == CIVIL:
        for i in range(m):
            cells[d, i] = civil.civil_part(cells[a, i], p)
    else:  # LOCALIZE
        for i in range(m):
            cells[d, i] = cells[a, i] + civil.zone_offset(cells[a, i], zones[0], zones[1], p, q)


@bare
def run(
    start: int,
    stop: int,
    code: npt.NDArray[np.int64],
    constants: Ints,
    constant_valid: Bytes,
    zones: Ints,
    cells: Ints,
    valid: Bytes,
    text: Bytes,
    registers: Ints,
    floats: Doubles,
    known: Bytes,
    secret: Ints,
    slots: Ints,
    keys: Ints,
    spans: Ints,
    values: Bytes,
) -> None:
    """Run a program over the rows [start, stop) of a sheet (cells, valid, text).

    constants: int64[k], which stand in the first k registers.   registers: int64[r, up to BLOCK], floats: that
    memory as float64, known: its validity.   zones: int64[2, z].   secret, slots, keys, spans, values: the lists.
    """
    width = registers.shape[1]
    for k in range(constants.size):
        for i in range(width):
            registers[k, i], known[k, i] = constants[k], constant_valid[k]
    for first in range(start, stop, width):
        m = min(width, stop - first)
        for k in range(code.shape[0]):
            op, d, a, b, c, p, q = code[k, 0], code[k, 1], code[k, 2], code[k, 3], code[k, 4], code[k, 5], code[k, 6]
            if op == LOAD:
                for j in range(p):
                    _copy(registers, known, d + j, 0, cells, valid, a + j, first, m)
            elif op == STORE:
                for j in range(p):
                    _copy(cells, valid, d + j, first, registers, known, a + j, 0, m)
            elif op == ANSWER:
                _answer(valid[d, first : first + m], registers, known, a, m)
            elif op <= UNMARK:
                _logic(op, d, a, b, c, p, m, registers, known)
            elif op <= FLOOR_I64:
                _int64(op, d, a, b, c, p, q, m, registers, known)
            elif op <= NARROW:
                _int128(op, d, a, b, c, p, q, m, registers, known)
            elif op <= F64_TO_I128:
                _float64(op, d, a, b, c, p, q, m, registers, floats, known)
            elif op == LISTED:
                _strict(known, d, a, b, m)
                for i in range(m):
                    if known[d, i] == VALID:
                        registers[d, i] = is_listed(
                            secret, p, text, registers[a, i], registers[b, i], slots, keys, spans, values
                        )
            elif op <= LENGTH:
                _text(op, d, a, b, p, m, registers, known, text)
            else:
                _time(op, d, a, b, c, p, q, m, registers, known, zones)
