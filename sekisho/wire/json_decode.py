"""JSON records to a sheet: one kernel, directed by the schema, with no Python per event.

Strict RFC 8259: the whole grammar and the UTF-8 of every record are checked, also where no field is read. NUL, raw or
escaped, is refused; so is a second value for a key on the path of a field. null and a missing key are NULL.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.kernel import kernel
from features.sheet import HANDLE_BITS, NULL, VALID, Bytes, Ints, Sheet, new_sheet
from sekisho.wire.complete import complete_row, fill_clocks
from sekisho.wire.dead_letters import DeadLetters
from sekisho.wire.json_scan import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    LETTER_F,
    LETTER_N,
    LETTER_T,
    MINUS,
    OPEN_ARRAY,
    OPEN_OBJECT,
    QUOTE,
    scan_number,
    scan_string,
    scan_word,
    skip_space,
    unescape,
)
from sekisho.wire.plan import FIELD, HOW, KEY, LENGTH, MAX_DEPTH, NEXT, NODE, PARAM, ROW, WirePlan
from sekisho.wire.reasons import (
    DUPLICATE_KEY,
    EMPTY,
    NOT_AN_OBJECT,
    OK,
    PENDING,
    SYNTAX,
    TOO_BIG,
    TOO_DEEP,
    TRAILING,
    TRUNCATED,
    WRONG_TYPE,
)
from sekisho.wire.scalars import AS_BOOL, AS_CATEGORY, AS_ID, AS_TEXT, AS_TIME, read_scalar

# What stands in a container: a node of the plan, or one of these.
_SKIPPED, _ARRAY = -1, -2
# Tokens.
_STRING, _INTEGER, _NUMBER, _BOOL = range(4)
# What stands in `marks`.
_USED, _GOOD, _BAD, _PENDING = range(4)


class Decoded(NamedTuple):
    """The events that could be read, in order; good: int64[k], which records they are; and all others."""

    sheet: Sheet
    good: Ints
    dead: DeadLetters


def decode_json(blob: Bytes, offsets: Ints, plan: WirePlan, record_time: Ints | None = None) -> Decoded:
    """Decode the records blob[offsets[i] : offsets[i + 1]].   blob: uint8[...], offsets: int64[n + 1].

    record_time: int64[n] in microseconds UTC, or None where the source has none or a field of the record says it.
    """
    n = len(offsets) - 1
    literals = np.frombuffer(bytes(plan.layout.literals), np.uint8)
    text = np.empty(len(literals) + plan.widest * int(offsets[-1] - offsets[0]), np.uint8)
    text[: len(literals)] = literals
    sheet = new_sheet(plan.layout, n, text)
    good, bad = np.empty(n, np.int64), np.empty((n, 4), np.int64)
    marks = np.array([len(literals), 0, 0, 0], np.int64)
    _decode(
        blob, offsets, plan.max_record_bytes, plan.nodes, plan.entries, plan.fields, plan.keys, plan.kind, plan.kinds,
        plan.zone.starts, plan.zone.offsets, sheet.cells, sheet.valid, text, good, bad, marks,
    )  # fmt: skip
    used, k, dead, pending = marks.tolist()
    if k < n:
        sheet = Sheet(plan.layout, sheet.cells[:, :k].copy(), sheet.valid[:, :k].copy(), text)
    sheet.text = text[:used]
    good = good[:k]
    if pending:
        _round_long_doubles(sheet, plan)
    fill_clocks(plan, sheet, None if record_time is None else record_time[good])
    index, code, position, field = np.ascontiguousarray(bad[:dead].T)
    return Decoded(sheet, good, DeadLetters(index, code, position, field, plan.names))


def _round_long_doubles(sheet: Sheet, plan: WirePlan) -> None:
    """Doubles of more than 18 digits, or far from 1, are rounded by Python. Their cells hold their texts."""
    for row in plan.fields[:, ROW]:
        for i in np.flatnonzero(sheet.valid[row] == PENDING_DOUBLE):
            start, length = divmod(int(sheet.cells[row, i]), 1 << HANDLE_BITS)
            value = float(sheet.text[start : start + length].tobytes())
            sheet.cells[row].view(np.float64)[i] = value + 0.0  # -0 is 0
            sheet.valid[row, i] = VALID


PENDING_DOUBLE = 3  # in `valid`, until Python has rounded the double


@kernel
def _decode(
    blob: Bytes, offsets: Ints, limit: int, nodes: Ints, entries: Ints, fields: Ints, keys: Bytes, kind: int,
    kinds: Ints, starts: Ints, zone: Ints, cells: Ints, valid: Bytes, text: Bytes, good: Ints, bad: Ints, marks: Ints,
) -> None:  # fmt: skip
    """Decode every record. Good ones stand side by side in the sheet: a bad one leaves no trace there."""
    after = np.full(len(entries) + len(nodes), -1, np.int64)  # the entry that last followed an entry or opened a node
    seen = np.full(len(entries), -1, np.int64)  # the last record that had the key
    for i in range(len(offsets) - 1):
        start, end, row = offsets[i], offsets[i + 1], marks[_GOOD]
        used = marks[_USED]
        if end - start > limit:
            code, position, field = TOO_BIG, start + limit, -1
        else:
            code, position, field = _record(
                i, blob, start, end, nodes, entries, fields, keys, starts, zone, cells, valid, text, row, marks, after,
                seen,
            )  # fmt: skip
        if code == OK:
            code, field = complete_row(cells, valid, text, row, fields, kind, kinds)
        if code == OK:
            good[row] = i
            marks[_GOOD] += 1
        else:
            b = marks[_BAD]
            bad[b, 0], bad[b, 1], bad[b, 2], bad[b, 3] = i, code, position - start, field
            marks[_BAD] += 1
            marks[_USED] = used
            for f in range(len(fields)):
                valid[fields[f, ROW], row] = NULL


@kernel
def _record(
    i: int, blob: Bytes, start: int, end: int, nodes: Ints, entries: Ints, fields: Ints, keys: Bytes, starts: Ints,
    zone: Ints, cells: Ints, valid: Bytes, text: Bytes, row: int, marks: Ints, after: Ints, seen: Ints,
) -> tuple[int, int, int]:  # fmt: skip
    """Read one record into event `row`: (code, position, field). The position of a good record is its last brace."""
    inside = np.empty(MAX_DEPTH + 1, np.int64)  # what each open container is
    previous = np.empty(MAX_DEPTH + 1, np.int64)  # the last known key of each open object
    at = skip_space(blob, start, end)
    if at >= end:
        return EMPTY, start, -1
    if blob[at] != OPEN_OBJECT:
        return NOT_AN_OBJECT, at, -1
    depth, first = 1, True
    inside[1], previous[1] = 0, len(entries)
    at += 1
    while depth > 0:
        at = skip_space(blob, at, end)
        if at >= end:
            return TRUNCATED, end, -1
        c, here = blob[at], inside[depth]
        if c == (CLOSE_ARRAY if here == _ARRAY else CLOSE_OBJECT):
            depth -= 1
            first = False
            at += 1
            continue
        if not first:
            if c != COMMA:
                return SYNTAX, at, -1
            at = skip_space(blob, at + 1, end)
            if at >= end:
                return TRUNCATED, end, -1
            c = blob[at]
        entry = -1
        if here != _ARRAY:
            if c != QUOTE:
                return SYNTAX, at, -1
            at, entry, code = _key(i, blob, at + 1, end, here, nodes, entries, keys, text, marks, after, seen,
                                   previous, depth)  # fmt: skip
            if code != OK:
                return code, at, _a_field(nodes, entries, entry)
            at = skip_space(blob, at, end)
            if at < end and blob[at] != COLON:
                return SYNTAX, at, -1
            at = skip_space(blob, at + 1, end)
            if at >= end:
                return TRUNCATED, end, -1
            c = blob[at]
        if c == OPEN_OBJECT or c == OPEN_ARRAY:
            if entry >= 0 and (c == OPEN_ARRAY or entries[entry, NODE] < 0):
                return WRONG_TYPE, at, _a_field(nodes, entries, entry)
            if depth == MAX_DEPTH:
                return TOO_DEEP, at, -1
            depth += 1
            inside[depth] = _ARRAY if c == OPEN_ARRAY else (entries[entry, NODE] if entry >= 0 else _SKIPPED)
            previous[depth] = len(entries) + inside[depth]
            first = True
            at += 1
            continue
        first = False
        begin, token, escaped = at, _STRING, False
        if c == QUOTE:
            begin += 1
            at, escaped, code = scan_string(blob, begin, end)
            stop = at
            at += 1
        elif c == MINUS or 48 <= c <= 57:
            at, integer, code = scan_number(blob, at, end)
            token = _INTEGER if integer else _NUMBER
            stop = at
        elif c == LETTER_T or c == LETTER_F or c == LETTER_N:
            at, code = scan_word(blob, at, end)
            token, stop = _BOOL, at
        else:
            return SYNTAX, at, -1
        if code != OK:
            return code, stop, -1
        if entry >= 0 and c != LETTER_N:
            f = entries[entry, FIELD]
            if f < 0:
                return WRONG_TYPE, begin, _a_field(nodes, entries, entry)
            while f >= 0:
                code = _store(
                    fields[f, HOW], fields[f, PARAM], fields[f, ROW], token, blob, begin, stop, escaped, starts, zone,
                    cells, valid, text, row, marks,
                )  # fmt: skip
                if code != OK:
                    return code, begin, f
                f = fields[f, NEXT]
    last = at - 1
    at = skip_space(blob, at, end)
    if at < end:
        return TRAILING, at, -1
    return OK, last, -1


@kernel
def _a_field(nodes: Ints, entries: Ints, entry: int) -> int:
    """A field that is read at the entry or below it, or -1."""
    if entry < 0:
        return -1
    while entries[entry, FIELD] < 0:
        entry = nodes[entries[entry, NODE], 0]
    return entries[entry, FIELD]


@kernel
def _key(
    i: int, blob: Bytes, at: int, end: int, here: int, nodes: Ints, entries: Ints, keys: Bytes, text: Bytes,
    marks: Ints, after: Ints, seen: Ints, previous: Ints, depth: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Read a key from behind its quote: (behind its closing quote or the bad byte, its entry or -1, code)."""
    if here < 0:
        stop, _, code = scan_string(blob, at, end)
        return stop + (code == OK), -1, code
    entry = after[previous[depth]]  # most records have their keys in the order of the record before
    stop = at + (entries[entry, LENGTH] if entry >= 0 else 0)
    if entry < 0 or stop >= end or blob[stop] != QUOTE or not _equal(blob, at, keys, entries, entry):
        stop, escaped, code = scan_string(blob, at, end)
        if code != OK:
            return stop, -1, code
        if escaped:
            length = unescape(blob, at, stop, text, marks[_USED]) - marks[_USED]
            entry = _find(text, marks[_USED], length, nodes, entries, keys, here)
        else:
            entry = _find(blob, at, stop - at, nodes, entries, keys, here)
        if entry < 0:
            return stop + 1, -1, OK
        after[previous[depth]] = entry
    if seen[entry] == i:
        return at, entry, DUPLICATE_KEY
    seen[entry] = i
    previous[depth] = entry
    return stop + 1, entry, OK


@kernel
def _equal(data: Bytes, at: int, keys: Bytes, entries: Ints, entry: int) -> bool:
    """Does the entry's key stand at `at`? The room for it was checked."""
    key = entries[entry, KEY]
    for k in range(entries[entry, LENGTH]):
        if data[at + k] != keys[key + k]:
            return False
    return True


@kernel
def _find(data: Bytes, at: int, length: int, nodes: Ints, entries: Ints, keys: Bytes, node: int) -> int:
    """The entry of a key in a node, or -1."""
    for entry in range(nodes[node, 0], nodes[node, 1]):
        if entries[entry, LENGTH] == length and _equal(data, at, keys, entries, entry):
            return entry
    return -1


@kernel
def _store(
    how: int, param: int, target: int, token: int, blob: Bytes, begin: int, stop: int, escaped: bool, starts: Ints,
    zone: Ints, cells: Ints, valid: Bytes, text: Bytes, row: int, marks: Ints,
) -> int:  # fmt: skip
    """Put one value into cells[target, row]; the code. Its text goes to text[marks[_USED]:]."""
    if token != _STRING and _misfits(how, token):
        return WRONG_TYPE
    used = marks[_USED]
    source, end_text = blob, used
    if escaped:
        end_text = unescape(blob, begin, stop, text, used)
        source, begin, stop = text, used, end_text
    if how <= AS_ID:
        if how == AS_ID and begin == stop:
            return OK
        if not escaped:
            end_text = _copy(blob, begin, stop, text, used)
        cells[target, row], valid[target, row] = (used << HANDLE_BITS) | (end_text - used), VALID
        marks[_USED] = end_text
        return OK
    code = read_scalar(how, param, source, begin, stop, starts, zone, cells[target, row : row + 1])
    if code == PENDING:
        end_text = _copy(source, begin, stop, text, used)
        cells[target, row], valid[target, row] = (used << HANDLE_BITS) | (end_text - used), PENDING_DOUBLE
        marks[_USED] = end_text
        marks[_PENDING] += 1
        return OK
    valid[target, row] = VALID
    return code


@kernel
def _misfits(how: int, token: int) -> bool:
    """Can a field that is read so not be written as such a token?"""
    if how == AS_TEXT or how == AS_TIME:
        return True
    if how == AS_CATEGORY or how == AS_ID:
        return token != _INTEGER
    if token == _BOOL:
        return how != AS_BOOL
    return False


@kernel
def _copy(source: Bytes, begin: int, stop: int, text: Bytes, used: int) -> int:
    """Copy source[begin : stop] to text[used:]; the end of the copy."""
    for k in range(stop - begin):
        text[used + k] = source[begin + k]
    return used + stop - begin
