"""What both decoders do once an event's fields are read: defaults, required fields, the kind, the clocks."""

from __future__ import annotations

from features.kernel import inlined, inner
from features.sheet import HANDLE_BITS, NULL, VALID, Bytes, Ints, Sheet
from features.shims import Int
from sekisho.wire.plan import DEFAULT, REQUIRED, ROW, WirePlan
from sekisho.wire.reasons import KIND, MISSING, OK

_LENGTH = (1 << HANDLE_BITS) - 1


@inner
def complete_row(
    cells: Ints, valid: Bytes, text: Bytes, i: Int, fields: Ints, kind: Int, kinds: Ints
) -> tuple[Int, Int]:
    """Put defaults into event i and check it: (code, the field at fault or -1)."""
    of_kind = -1
    for f in range(len(fields)):
        row = fields[f, ROW]
        if row == kind:
            of_kind = f
        if valid[row, i] == NULL:
            if fields[f, DEFAULT] >= 0:
                cells[row, i], valid[row, i] = fields[f, DEFAULT], VALID
            elif fields[f, REQUIRED] == 1:
                return MISSING, f
    for k in range(len(kinds)):
        if valid[kind, i] == VALID and _same(text, cells[kind, i], kinds[k]):
            return OK, -1
    return KIND, of_kind


@inlined
def _same(text: Bytes, a: Int, b: Int) -> bool:
    """Do two handles name the same bytes?"""
    length = a & _LENGTH
    if length != b & _LENGTH:
        return False
    at, other = a >> HANDLE_BITS, b >> HANDLE_BITS
    for k in range(length):  # noqa: SIM110
        if text[at + k] != text[other + k]:
            return False
    return True


def fill_clocks(plan: WirePlan, sheet: Sheet, record_time: Ints | None) -> None:
    """Fill record_time (int64[n], unless a field has filled it) and arrival_lag, both in microseconds."""
    if record_time is not None and not plan.ingests:
        sheet.cells[plan.record_time] = record_time
        sheet.valid[plan.record_time] = VALID
    sheet.cells[plan.arrival_lag] = sheet.cells[plan.record_time] - sheet.cells[plan.event_time]
    sheet.valid[plan.arrival_lag] = sheet.valid[plan.record_time] & sheet.valid[plan.event_time]
