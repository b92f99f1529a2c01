"""The first act of step(): clocks, duplicates, inherited fields, label verdicts. Event by event, in arrival order.

For each event, with W the greatest event_time among the accepted events before it:
  1. It is *future* when event_time > record_time + max_clock_skew, *too late* when event_time < W - lateness.
  2. If its event_id was seen within dedup_horizon of W with the same content, it is a *duplicate*, whatever its clocks
     say; with other content it is flagged *id_conflict*. The first record of an id is the one remembered.
  3. A duplicate, a future and a too late event enter no window and never move W. All others enter.
  4. A follow-up that enters takes the `inherit` fields that it lacks from the payment that it names.
  5. A label that enters gets its label_delta.
  6. If it entered, W becomes max(W, event_time). What is remembered is stamped with W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.hashing import KNOWN_KEY, secret_of
from features.kernel import bare, inner
from features.sheet import DEGRADED, ENTERS, HANDLE_BITS, NULL, SKIPPED, VALID, Bytes, Ints, Layout, Sheet
from features.types import Kind
from sekisho.batch import Batch
from sekisho.ledger import HEADER, NEVER, Ledger, append, expire, fetch, find, new_ledger, record_words
from sekisho.pack import Pack
from sekisho.wire.ids import content_hash

# Bits of an event's flags.
TOO_LATE, FUTURE, CONFLICT, ORPHAN = 1, 2, 4, 8
FLAG_NAMES = {TOO_LATE: "too_late", FUTURE: "future", CONFLICT: "id_conflict", ORPHAN: "payment_unknown"}

_TEXTS = ("id", "category", "text")  # types of fields
_SEEN_WORDS = 5  # content hash (2), topic, partition, offset
_LENGTH = (1 << HANDLE_BITS) - 1
_AHEAD = 16  # events: so much earlier is memory asked for what a look-up will need


@dataclass(frozen=True)
class IntakePlan:
    """The pack's part of the intake as arrays: rows of the sheet, kinds, horizons."""

    event_id: int
    event_time: int
    record_time: int
    kind: int
    payment_id: int
    label_delta: int
    label_class: int
    label_reversal: int
    kinds: Ints  # text handles of the kinds
    decided: Bytes  # by kind
    label_kind: int  # index into kinds, or -1
    fraud: Ints  # text handles of the classes that map to 1
    names: Ints  # rows of the fields that may say what a label names
    inherit: Ints  # rows
    inherit_text: Bytes  # 1 where the inherited field is text
    fields: Ints  # rows of the schema's fields: the content of an event
    field_text: Bytes  # 1 where the field is text
    seen_texts: Ints  # rows of the texts that each ledger keeps
    payment_texts: Ints
    verdict_texts: Ints
    horizons: Ints  # lateness, max_clock_skew, dedup, inherit (microseconds)


def plan_intake(pack: Pack, layout: Layout) -> IntakePlan:
    """Resolve the pack's policies to rows and handles."""
    policy, labels, schema = pack.policy, pack.labels, pack.schema

    def row(name: str) -> int:
        return layout[name].row if name and name in schema.by_name else -1

    def rows(*names: str) -> Ints:
        return np.array([row(name) for name in names if row(name) >= 0], np.int64)

    kinds, texts = schema.kinds, [name for name in policy.inherit if schema.by_name[name].type in _TEXTS]
    return IntakePlan(
        event_id=row("event_id"),
        event_time=row("event_time"),
        record_time=layout["record_time"].row,
        kind=row("kind"),
        payment_id=row("payment_id"),
        label_delta=layout["label_delta"].row,
        label_class=row(labels.class_field) if labels else -1,
        label_reversal=row(labels.reversal_field) if labels else -1,
        kinds=np.array([layout.literal(kind) for kind in kinds], np.int64),
        decided=np.array([kind in policy.decide for kind in kinds], np.uint8),
        label_kind=kinds.index(labels.kind) if labels and labels.kind in kinds else -1,
        fraud=np.array([layout.literal(name) for name in (labels.fraud if labels else ())], np.int64),
        names=np.array([row(name) for name in (labels.names if labels else ())], np.int64),
        inherit=np.array([row(name) for name in policy.inherit], np.int64),
        inherit_text=np.array([name in texts for name in policy.inherit], np.uint8),
        fields=np.array([layout[field.name].row for field in schema.fields], np.int64),
        field_text=np.array([layout[field.name].type.kind is Kind.TEXT for field in schema.fields], np.uint8),
        seen_texts=rows("event_id"),
        payment_texts=rows("payment_id", *texts),
        verdict_texts=rows(*(labels.names if labels else ())),
        horizons=np.array(
            [policy.lateness_us, policy.max_clock_skew_us, policy.dedup_horizon_us, policy.inherit_horizon_us], np.int64
        ),
    )


@dataclass
class IntakeState:
    """What the intake remembers: W, the topics met, first events, payments, verdicts.   secret: of their hashes."""

    secret: Ints
    watermark: Ints
    topics: list[str]
    seen: Ledger
    payments: Ledger
    verdicts: Ledger


def new_intake_state(plan: IntakePlan, key: bytes = KNOWN_KEY) -> IntakeState:
    """Nothing seen yet."""
    return IntakeState(
        secret_of(key), np.array([NEVER], np.int64), [],
        new_ledger(_SEEN_WORDS), new_ledger(2 * len(plan.inherit)), new_ledger(1),
    )  # fmt: skip


@dataclass(frozen=True)
class Admission:
    """What the intake says of each event.

    fate: ENTERS, DEGRADED or SKIPPED.   flags: bits.   kind: index into the schema's kinds.   watermark: W before it.
    first: int64[n, 3], topic (an index into `topics`), partition and offset of the record that a duplicate repeats.
    """

    fate: Bytes
    flags: Bytes
    kind: Ints
    watermark: Ints
    first: Ints
    topics: tuple[str, ...]


def admit(plan: IntakePlan, state: IntakeState, sheet: Sheet, batch: Batch, threads: int = 1) -> Admission:
    """Run the intake over a batch. Fills inherited fields and label_delta in the sheet; `sheet.text` may grow."""
    n = sheet.n
    state.topics += [name for name in batch.topics if name not in state.topics]
    topic = np.array([state.topics.index(name) for name in batch.topics], np.int64)[batch.topic]
    _reserve(plan, state, sheet)
    out = Admission(
        np.zeros(n, np.uint8), np.zeros(n, np.uint8), np.zeros(n, np.int64), np.empty(n, np.int64),
        np.zeros((n, 3), np.int64), tuple(state.topics),
    )  # fmt: skip
    content = content_hash(sheet, plan.fields, plan.field_text, threads)
    extra, used, done = np.empty(4096, np.uint8), np.zeros(1, np.int64), 0
    while True:
        done = _admit(
            done, sheet.cells, sheet.valid, sheet.text, extra, used, content, topic, batch.partition, batch.offset,
            plan.event_id, plan.event_time, plan.record_time, plan.kind, plan.payment_id, plan.label_delta,
            plan.label_class, plan.label_reversal, plan.kinds, plan.decided, plan.label_kind, plan.fraud, plan.names,
            plan.inherit, plan.inherit_text, plan.horizons, state.watermark, state.secret,
            state.seen.heap, state.seen.table, state.seen.marks,
            state.payments.heap, state.payments.table, state.payments.marks,
            state.verdicts.heap, state.verdicts.table, state.verdicts.marks,
            out.fate, out.flags, out.kind, out.watermark, out.first,
        )  # fmt: skip
        if done == n:
            break
        extra = np.concatenate([extra, np.empty(max(len(extra), 1 << HANDLE_BITS >> 4), np.uint8)])
    if used[0]:
        sheet.text = np.concatenate([sheet.text, extra[: used[0]]])
    return out


def _reserve(plan: IntakePlan, state: IntakeState, sheet: Sheet) -> None:
    """Room for a whole batch in every ledger, so that the kernel never has to stop for it."""
    n, cells, valid = sheet.n, sheet.cells, sheet.valid
    state.seen.reserve(n * (HEADER + _SEEN_WORDS) + _words_of_texts(cells, valid, plan.seen_texts), n)
    if plan.payment_id >= 0 and len(plan.inherit):
        words = n * (HEADER + 1 + state.payments.words) + _words_of_texts(cells, valid, plan.payment_texts)
        state.payments.reserve(words, n)
    if plan.label_kind >= 0:
        state.verdicts.reserve(n * (HEADER + 2) + _words_of_texts(cells, valid, plan.verdict_texts), n)


@bare
def _words_of_texts(cells: Ints, valid: Bytes, rows: Ints) -> int:
    """The most words that the texts of some rows take."""
    words = 0
    for row in rows:
        for i in range(cells.shape[1]):
            if valid[row, i] == VALID:
                words += (cells[row, i] & _LENGTH) // 8 + 1
    return words


@inner
def _same_text(text: Bytes, a: int, b: int) -> bool:
    length = a & _LENGTH
    if length != b & _LENGTH:
        return False
    start, other = a >> HANDLE_BITS, b >> HANDLE_BITS
    for k in range(length):  # noqa: SIM110 - Numba compiles no generators
        if text[start + k] != text[other + k]:
            return False
    return True


@inner
def _index_of(text: Bytes, handle: int, handles: Ints) -> int:
    for k in range(len(handles)):
        if _same_text(text, handle, handles[k]):
            return k
    return -1


@bare
def _admit(
    done: int, cells: Ints, valid: Bytes, text: Bytes, extra: Bytes, used: Ints, content: Ints, topic: Ints,
    partition: Ints, offset: Ints,
    id_row: int, time_row: int, record_row: int, kind_row: int, payment_row: int, delta_row: int,
    class_row: int, reversal_row: int, kinds: Ints, decided: Bytes, label_kind: int, fraud: Ints, names: Ints,
    inherit: Ints, inherit_text: Bytes, horizons: Ints, mark: Ints, secret: Ints,
    seen: Ints, seen_table: Ints, seen_marks: Ints,
    payments: Ints, payment_table: Ints, payment_marks: Ints,
    verdicts: Ints, verdict_table: Ints, verdict_marks: Ints,
    fate: Bytes, flags: Bytes, kind_out: Ints, watermark: Ints, first: Ints,
) -> int:  # fmt: skip
    """Admit the events from `done` on; the index at which the room for inherited text ran out, or n."""
    lateness, skew, dedup_horizon, inherit_horizon = horizons[0], horizons[1], horizons[2], horizons[3]
    n = cells.shape[1]
    for i in range(done, n):
        if i + _AHEAD < n:
            later = cells[id_row, i + _AHEAD]
            fetch(secret, seen_table, text, later >> HANDLE_BITS, later & _LENGTH, 0)
        w, t = mark[0], cells[time_row, i]
        kind = _index_of(text, cells[kind_row, i], kinds)
        expire(seen, seen_table, seen_marks, w - dedup_horizon)
        expire(payments, payment_table, payment_marks, w - inherit_horizon)
        # 1. the clocks
        flag = 0
        if valid[record_row, i] == VALID and t > cells[record_row, i] + skew:
            flag = FUTURE
        elif t < w - lateness:
            flag = TOO_LATE
        outcome = DEGRADED if flag else ENTERS
        after = max(w, t) if outcome == ENTERS else w
        # 2. duplicates
        start, length = cells[id_row, i] >> HANDLE_BITS, cells[id_row, i] & _LENGTH
        at = find(secret, seen, seen_table, _SEEN_WORDS, text, start, length, 0)
        if at >= 0:
            record = at + HEADER
            if seen[record] == content[i, 0] and seen[record + 1] == content[i, 1]:
                outcome, flag, after = SKIPPED, 0, w
                first[i, 0], first[i, 1], first[i, 2] = seen[record + 2], seen[record + 3], seen[record + 4]
            else:
                flag |= CONFLICT
        # 4. what a follow-up inherits, while nothing has been written yet: this event may have to be taken up again
        payment = -1
        if outcome == ENTERS and payment_row >= 0 and valid[payment_row, i] == VALID and not decided[kind]:
            handle = cells[payment_row, i]
            payment = find(
                secret, payments, payment_table, 2 * len(inherit), text, handle >> HANDLE_BITS, handle & _LENGTH, 0
            )
            if payment < 0:
                for k in range(len(inherit)):
                    if valid[inherit[k], i] != VALID:
                        flag |= ORPHAN
            if payment >= 0:
                room = 0
                for k in range(len(inherit)):
                    if inherit_text[k]:
                        room += payments[payment + HEADER + 2 * k] & _LENGTH
                if used[0] + room > len(extra):
                    return i
                octets = payments.view(np.uint8)
                for k in range(len(inherit)):
                    row, stored = inherit[k], payment + HEADER + 2 * k
                    if valid[row, i] == VALID or payments[stored + 1] != VALID:
                        continue
                    cell = payments[stored]
                    if inherit_text[k]:
                        source, size = 8 * payment + (cell >> HANDLE_BITS), cell & _LENGTH
                        for j in range(size):
                            extra[used[0] + j] = octets[source + j]
                        cell = ((len(text) + used[0]) << HANDLE_BITS) | size
                        used[0] += size
                    cells[row, i], valid[row, i] = cell, VALID
        # 2. and 4.: remember the id's first record, and the payment
        if at < 0:
            record = HEADER + append(
                secret, seen, seen_table, seen_marks, _SEEN_WORDS, text, start, length, 0, after, 0
            )
            seen[record], seen[record + 1] = content[i, 0], content[i, 1]
            seen[record + 2], seen[record + 3], seen[record + 4] = topic[i], partition[i], offset[i]
        if outcome == ENTERS and payment_row >= 0 and len(inherit) and valid[payment_row, i] == VALID and decided[kind]:
            _remember_payment(
                i, cells, valid, text, payment_row, inherit, inherit_text, secret,
                payments, payment_table, payment_marks, after,
            )  # fmt: skip
        # 5. the verdict
        if outcome == ENTERS and kind == label_kind:
            cells[delta_row, i] = _verdict(
                i, cells, valid, text, class_row, reversal_row, fraud, names, secret,
                verdicts, verdict_table, verdict_marks,
            )  # fmt: skip
            valid[delta_row, i] = VALID
        fate[i], flags[i], kind_out[i], watermark[i] = outcome, flag, kind, w
        mark[0] = after
    return n


@inner
def _remember_payment(
    i: int, cells: Ints, valid: Bytes, text: Bytes, payment_row: int, inherit: Ints, inherit_text: Bytes,
    secret: Ints, heap: Ints, table: Ints, marks: Ints, stamp: int,
) -> None:  # fmt: skip
    """Write what follow-ups will inherit; a payment_id that is known already keeps its first payment."""
    start, length = cells[payment_row, i] >> HANDLE_BITS, cells[payment_row, i] & _LENGTH
    words = 2 * len(inherit)
    if find(secret, heap, table, words, text, start, length, 0) >= 0:
        return
    size = 0
    for k in range(len(inherit)):
        if inherit_text[k] and valid[inherit[k], i] == VALID:
            size += cells[inherit[k], i] & _LENGTH
    at = append(secret, heap, table, marks, words, text, start, length, 0, stamp, size)
    octets = heap.view(np.uint8)
    write = 8 * record_words(words, length, 0)
    for k in range(len(inherit)):
        cell, known = cells[inherit[k], i], valid[inherit[k], i]
        heap[at + HEADER + 2 * k + 1] = VALID if known == VALID else NULL
        if inherit_text[k]:
            size = cell & _LENGTH if known == VALID else 0
            source = cell >> HANDLE_BITS
            for j in range(size):
                octets[8 * at + write + j] = text[source + j]
            cell = (write << HANDLE_BITS) | size
            write += size
        heap[at + HEADER + 2 * k] = cell


@inner
def _verdict(
    i: int, cells: Ints, valid: Bytes, text: Bytes, class_row: int, reversal_row: int, fraud: Ints, names: Ints,
    secret: Ints, heap: Ints, table: Ints, marks: Ints,
) -> int:  # fmt: skip
    """+1 a new fraud verdict on what the label names, -1 the end of one, 0 a repetition.

    A label that names nothing, or that has no class and is no reversal, says nothing: 0, and a verdict stands.
    """
    which = -1
    for k in range(len(names)):
        if names[k] >= 0 and valid[names[k], i] == VALID:
            which = k
            break
    classed = class_row >= 0 and valid[class_row, i] == VALID
    reversal = reversal_row >= 0 and valid[reversal_row, i] == VALID and cells[reversal_row, i] == 1
    if which < 0 or not (classed or reversal):
        return 0
    says = classed and not reversal and _index_of(text, cells[class_row, i], fraud) >= 0
    handle = cells[names[which], i]
    start, length = handle >> HANDLE_BITS, handle & _LENGTH
    # The field is the key's space, so that a card and an account of one name never meet.
    at = find(secret, heap, table, 1, text, start, length, which)
    if at < 0:
        at = append(secret, heap, table, marks, 1, text, start, length, which, NEVER, 0)
        heap[at + HEADER] = 0
    before = heap[at + HEADER]
    heap[at + HEADER] = 1 if says else 0
    return heap[at + HEADER] - before
