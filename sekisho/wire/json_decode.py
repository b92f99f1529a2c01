"""JSON records to a sheet: one kernel, directed by the schema, with no Python per event.

Strict RFC 8259: the whole grammar and the UTF-8 of every record are checked, also where no field is read. NUL, raw or
escaped, is refused; so is a second value for a key on the path of a field. null and a missing key are NULL.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.kernel import inlined, inner, kernel
from features.sheet import HANDLE_BITS, NULL, VALID, Bytes, Ints, Sheet, new_sheet, take
from features.shims import Int
from features.threads import in_parts
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
_PENDING_DOUBLE = 3  # in `valid`, until Python has rounded the double
# Tokens.
_STRING, _INTEGER, _NUMBER, _BOOL = range(4)


class Decoded(NamedTuple):
    """The events that could be read, in order; good: int64[k], which records they are; and all others."""

    sheet: Sheet
    good: Ints
    dead: DeadLetters


def decode_json(
    blob: Bytes, offsets: Ints, plan: WirePlan, record_time: Ints | None = None, threads: int = 1
) -> Decoded:
    """Decode the records blob[offsets[i] : offsets[i + 1]].   blob: uint8[...], offsets: int64[n + 1].

    record_time: int64[n] in microseconds UTC, or None where the source has none or a field of the record says it.
    """
    n = len(offsets) - 1
    literals = np.frombuffer(bytes(plan.layout.literals), np.uint8)
    text = np.concatenate([literals, blob[offsets[0] : offsets[-1]]])
    sheet = new_sheet(plan.layout, n, text)
    good, bad = np.empty(n, np.int64), np.empty((n, 4), np.int64)
    ends = offsets + (len(literals) - offsets[0])

    def part(first: int, stop: int) -> tuple[int, int, int, int]:
        k, pending = _decode(
            first, stop, text, ends, plan.max_record_bytes, plan.nodes, plan.entries, plan.fields, plan.keys,
            plan.kind, plan.kinds, plan.zone.starts, plan.zone.offsets, sheet.cells, sheet.valid, good, bad,
        )  # fmt: skip
        return first, first + k, stop, pending

    parts = in_parts(threads, n, part)
    if all(end == stop for _, end, stop, _ in parts):
        bad = bad[:0]
    else:
        bad = np.concatenate([bad[first : first + stop - end] for first, end, stop, _ in parts])
        rows = np.concatenate([np.arange(first, end) for first, end, _, _ in parts])
        sheet, good = take(sheet, rows), good[rows]
    if any(pending for _, _, _, pending in parts):
        _round_long_doubles(sheet, plan)
    fill_clocks(plan, sheet, None if record_time is None else record_time[good])
    index, code, position, field = bad.T
    return Decoded(sheet, good, DeadLetters(index, code, position, field, plan.names))


def _round_long_doubles(sheet: Sheet, plan: WirePlan) -> None:
    """Doubles of more than 18 digits, or far from 1, are rounded by Python. Their cells hold their texts."""
    for row in plan.fields[:, ROW]:
        for i in np.flatnonzero(sheet.valid[row] == _PENDING_DOUBLE):
            start, length = divmod(int(sheet.cells[row, i]), 1 << HANDLE_BITS)
            value = float(sheet.text[start : start + length].tobytes())
            sheet.cells[row].view(np.float64)[i] = value + 0.0  # -0 is 0
            sheet.valid[row, i] = VALID


@kernel
def _decode(
    first: Int, last: Int, text: Bytes, offsets: Ints, limit: Int, nodes: Ints, entries: Ints, fields: Ints,
    keys: Bytes, kind: Int, kinds: Ints, starts: Ints, zone: Ints, cells: Ints, valid: Bytes, good: Ints, bad: Ints,
) -> tuple[Int, Int]:  # fmt: skip
    """Decode the records [first, last): (good ones, doubles left to Python). They fill the sheet from event `first` on.

    A bad record leaves no trace in the sheet.
    """
    after = np.full(len(entries) + len(nodes), -1, np.int64)  # the entry that last followed an entry or opened a node
    seen = np.full(len(entries), -1, np.int64)  # the last record that had the key
    inside = np.empty(MAX_DEPTH + 1, np.int64)  # what each open container is
    previous = np.empty(MAX_DEPTH + 1, np.int64)  # the last known key of each open object
    n_good, n_bad, pending = np.int64(first), np.int64(first), np.int64(0)  # typed: a literal would be compiled twice
    for i in range(first, last):
        start, end = offsets[i], offsets[i + 1]
        if end - start > limit:
            code, position, field = TOO_BIG, start + limit, -1
        else:
            code, position, field, later = _record(
                i, text, start, end, nodes, entries, fields, keys, starts, zone, cells, valid, n_good, after, seen,
                inside, previous,
            )  # fmt: skip
            pending += later
        if code == OK:
            code, field = complete_row(cells, valid, text, n_good, fields, kind, kinds)
        if code == OK:
            good[n_good] = i
            n_good += 1
        else:
            bad[n_bad, 0], bad[n_bad, 1], bad[n_bad, 2], bad[n_bad, 3] = i, code, position - start, field
            n_bad += 1
            for f in range(len(fields)):
                valid[fields[f, ROW], n_good] = NULL
    return n_good - first, pending


@inner
def _record(
    i: Int, text: Bytes, start: Int, end: Int, nodes: Ints, entries: Ints, fields: Ints, keys: Bytes, starts: Ints,
    zone: Ints, cells: Ints, valid: Bytes, row: Int, after: Ints, seen: Ints, inside: Ints, previous: Ints,
) -> tuple[Int, Int, Int, Int]:  # fmt: skip
    """Read one record into event `row`: (code, position, field, doubles left to Python).

    The position of a good record is its last brace: there it is known that a field is missing.
    """
    later = 0
    at = skip_space(text, start, end)
    if at >= end:
        return EMPTY, start, -1, later
    if text[at] != OPEN_OBJECT:
        return NOT_AN_OBJECT, at, -1, later
    depth, first = np.int64(1), True
    inside[1], previous[1] = 0, len(entries)
    at += 1
    while depth > 0:
        at = skip_space(text, at, end)
        if at >= end:
            return TRUNCATED, end, -1, later
        c, here = text[at], inside[depth]
        if c == (CLOSE_ARRAY if here == _ARRAY else CLOSE_OBJECT):
            depth -= 1
            first = False
            at += 1
            continue
        if not first:
            if c != COMMA:
                return SYNTAX, at, -1, later
            at = skip_space(text, at + 1, end)
            if at >= end:
                return TRUNCATED, end, -1, later
            c = text[at]
        entry = -1
        if here != _ARRAY:
            if c != QUOTE:
                return SYNTAX, at, -1, later
            at, entry, code = _key(i, text, at + 1, end, here, nodes, entries, keys, after, seen, previous, depth)
            if code != OK:
                return code, at, _a_field(nodes, entries, entry), later
            at = skip_space(text, at, end)
            if at < end and text[at] != COLON:
                return SYNTAX, at, -1, later
            at = skip_space(text, at + 1, end)
            if at >= end:
                return TRUNCATED, end, -1, later
            c = text[at]
        if c in (OPEN_OBJECT, OPEN_ARRAY):
            if entry >= 0 and (c == OPEN_ARRAY or entries[entry, NODE] < 0):
                return WRONG_TYPE, at, _a_field(nodes, entries, entry), later
            if depth == MAX_DEPTH:
                return TOO_DEEP, at, -1, later
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
            at, escaped, code = scan_string(text, begin, end)
            stop = at
            at += 1
        elif c == MINUS or 48 <= c <= 57:
            at, integer, code = scan_number(text, at, end)
            token = _INTEGER if integer else _NUMBER
            stop = at
        elif c in (LETTER_T, LETTER_F, LETTER_N):
            at, code = scan_word(text, at, end)
            token, stop = _BOOL, at
        else:
            return SYNTAX, at, -1, later
        if code != OK:
            return code, stop, -1, later
        if entry >= 0 and c != LETTER_N:
            f = entries[entry, FIELD]
            if f < 0:
                return WRONG_TYPE, begin, _a_field(nodes, entries, entry), later
            if escaped:
                stop = unescape(text, begin, stop)
            while f >= 0:
                how, target = fields[f, HOW], fields[f, ROW]
                if token != _STRING and _misfits(how, token):
                    return WRONG_TYPE, begin, f, later
                if how <= AS_ID:
                    cells[target, row] = (begin << HANDLE_BITS) | (stop - begin)
                    valid[target, row] = NULL if how == AS_ID and begin == stop else VALID
                else:
                    cell, code = read_scalar(how, fields[f, PARAM], text, begin, stop, starts, zone)
                    if code == PENDING:
                        cells[target, row] = (begin << HANDLE_BITS) | (stop - begin)
                        valid[target, row] = _PENDING_DOUBLE
                        later += 1
                    elif code != OK:
                        return code, begin, f, later
                    else:
                        cells[target, row], valid[target, row] = cell, VALID
                f = fields[f, NEXT]
    last = at - 1
    at = skip_space(text, at, end)
    if at < end:
        return TRAILING, at, -1, later
    return OK, last, -1, later


@inner
def _a_field(nodes: Ints, entries: Ints, entry: Int) -> Int:
    """A field that is read at the entry or below it, or -1."""
    if entry < 0:
        return -1
    while entries[entry, FIELD] < 0:
        entry = nodes[entries[entry, NODE], 0]
    return entries[entry, FIELD]


@inner
def _key(
    i: Int, text: Bytes, at: Int, end: Int, here: Int, nodes: Ints, entries: Ints, keys: Bytes, after: Ints,
    seen: Ints, previous: Ints, depth: Int,
) -> tuple[Int, Int, Int]:  # fmt: skip
    """Read a key from behind its quote: (behind its closing quote or the bad byte, its entry or -1, code)."""
    if here < 0:
        stop, _, code = scan_string(text, at, end)
        return stop + (code == OK), -1, code
    entry = after[previous[depth]]  # most records have their keys in the order of the record before
    stop = at + (entries[entry, LENGTH] if entry >= 0 else 0)
    if entry < 0 or stop >= end or text[stop] != QUOTE or not _equal(text, at, keys, entries, entry):
        stop, escaped, code = scan_string(text, at, end)
        if code != OK:
            return stop, -1, code
        length = (unescape(text, at, stop) if escaped else stop) - at
        entry = _find(text, at, length, nodes, entries, keys, here)
        if entry < 0:
            return stop + 1, -1, OK
        after[previous[depth]] = entry
    if seen[entry] == i:
        return at, entry, DUPLICATE_KEY
    seen[entry] = i
    previous[depth] = entry
    return stop + 1, entry, OK


@inlined
def _equal(text: Bytes, at: Int, keys: Bytes, entries: Ints, entry: Int) -> bool:
    """Does the entry's key stand at `at`? The room for it was checked."""
    key = entries[entry, KEY]
    for k in range(entries[entry, LENGTH]):  # noqa: SIM110
        if text[at + k] != keys[key + k]:
            return False
    return True


@inner
def _find(text: Bytes, at: Int, length: Int, nodes: Ints, entries: Ints, keys: Bytes, node: Int) -> Int:
    """The entry of a key in a node, or -1."""
    for entry in range(nodes[node, 0], nodes[node, 1]):
        if entries[entry, LENGTH] == length and _equal(text, at, keys, entries, entry):
            return entry
    return -1


@inlined
def _misfits(how: Int, token: Int) -> bool:
    """Can a field that is read so not be written as such a token?"""
    if how in (AS_TEXT, AS_TIME):
        return True
    if how in (AS_CATEGORY, AS_ID):
        return token != _INTEGER
    return token == _BOOL and how != AS_BOOL
