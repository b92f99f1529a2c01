"""L11: a duplicate is not a second payment. L4: what is late, too late, and from the future."""

from __future__ import annotations

from dataclasses import replace

import pytest

from features.expr import Call, Column, Expr, Literal
from features.query import Frame, Query, Stage, WindowCall
from features.schema import Field, Schema
from features.types import BIGINT, BOOL, TEXT
from rules.records import RuleSet
from sekisho.compile import compile_pack
from sekisho.pack import EventPolicy, LabelPolicy, Leg, Pack
from sekisho.state import new_state
from sekisho.step import step
from sekisho.testing.reference import State, fold, reference_step
from sekisho.testing.runs import batch_of

SECOND = 1_000_000
CARD = Column(TEXT, "card_id")


def equals(name: str, text: str) -> Expr:
    return Call(BOOL, "eq", (Column(TEXT, name), Literal(TEXT, text)))


def pack_of(**policy: object) -> Pack:
    fields = [Field(n, "id") for n in ("payment_id", "card_id", "label_class")]
    schema = Schema(
        (Field("event_id", "id", required=True), Field("event_time", "time", required=True),
         Field("kind", "category", required=True), *fields, Field("reversal", "bool")),
        kinds=("payment", "outcome", "label", "credit"),
    )  # fmt: skip
    count = WindowCall("n", "count_star", None, None, (CARD,), Frame("range", 1000 * SECOND), BIGINT)
    query = Query((Stage("features", (count,), (("card_count", Column(BIGINT, "n")),)),), "")
    events = EventPolicy(
        lateness_us=100 * SECOND, max_clock_skew_us=10 * SECOND, dedup_horizon_us=500 * SECOND,
        inherit_horizon_us=500 * SECOND, inherit=("card_id",),
    )  # fmt: skip
    legs = (Leg(equals("kind", "outcome"), "credit", {"card_id": "payment_id"}),)
    labels = LabelPolicy(reversal_field="reversal")
    return Pack("p", "", "", "h", schema, replace(events, **policy), labels, legs, query, RuleSet(), (), None)  # type: ignore[arg-type]


def event(number: int, at_s: int, **fields: object) -> dict[str, object]:
    base = {"event_id": f"e{number}", "event_time": at_s * SECOND, "kind": "payment", "card_id": "c"}
    return base | {"topic": "t", "partition": 0, "offset": number} | fields


def decide(pack: Pack, *events: dict[str, object]) -> list[dict[str, object]]:
    return reference_step(pack, State(), events)


def counts(pack: Pack, *events: dict[str, object]) -> list[object]:
    state = State()
    return [fold(pack, state, each).rows[0].get("card_count") for each in events]


def test_a_duplicate_names_the_first_and_enters_nothing() -> None:
    """The same event again: a record that names the first decision, and the next one counts as if it had not been."""
    log = [event(0, 0), event(0, 0, offset=1), event(2, 5)]
    first, again, _ = decide(pack_of(), *log)
    assert again["duplicate_of"] == first["id"] != again["id"]
    assert counts(pack_of(), *log) == [1, None, 2]


def test_the_same_id_with_other_content_is_decided_and_flagged() -> None:
    """Other content is another event; the first record of an id stays the one that is remembered."""
    log = [event(0, 0), event(0, 1, offset=1), event(0, 0, offset=2), event(0, 1, offset=3)]
    records = decide(pack_of(), *log)
    assert [r.get("flags") for r in records] == [[], ["id_conflict"], None, ["id_conflict"]]
    assert records[2]["duplicate_of"] == records[0]["id"]
    assert counts(pack_of(), *log) == [1, 2, None, 3]


def test_an_id_is_remembered_for_the_horizon() -> None:
    """Beyond dedup_horizon of W the same event is new; at its edge it is known, even when too late by now."""
    far = event(1, 500, card_id="d")
    assert "duplicate_of" in decide(pack_of(), event(0, 0), far, event(0, 0, offset=2))[2]
    beyond = decide(pack_of(), event(0, 0), event(1, 501, card_id="d"), event(0, 0, offset=2))[2]
    assert beyond["flags"] == ["too_late"]


@pytest.mark.parametrize(("late_s", "flags"), [(100, []), (101, ["too_late"])])
def test_late_is_defined(late_s: int, flags: list[str]) -> None:
    """At W - lateness an event still enters; below, it is degraded, reviewed, sees nothing and is seen by nobody."""
    log = [event(0, 1000), event(1, 1000 - late_s), event(2, 1000)]
    records = decide(pack_of(), *log)
    assert records[1]["flags"] == flags
    assert records[1]["outcome"] == ("review" if flags else "approve")
    assert counts(pack_of(), *log) == [1, None if flags else 1, 2 if flags else 3]


def test_the_future_moves_nothing() -> None:
    """Beyond record_time + max_clock_skew an event is degraded, and W stays where it was."""
    future = event(1, 5000, record_time=(5000 - 10) * SECOND - 1)
    assert decide(pack_of(), event(0, 0), future, event(2, 0))[1]["flags"] == ["future"]
    assert counts(pack_of(), event(0, 0), future, event(2, 0)) == [1, None, 2]
    edge = event(1, 5000, record_time=(5000 - 10) * SECOND)
    assert decide(pack_of(), event(0, 0), edge, event(2, 0))[2]["flags"] == ["too_late"]


def test_the_watermark_moves_with_each_event_of_any_kind() -> None:
    """An undecided event moves W, too: the payment behind it is too late although no payment was newer."""
    assert decide(pack_of(), event(0, 0), event(1, 200, kind="label"), event(2, 0))[1]["flags"] == ["too_late"]


def rows_of(*events: dict[str, object]) -> list[list[dict[str, object]]]:
    state, pack = State(), pack_of()
    return [[dict(row) for row in fold(pack, state, each).rows] for each in events]


def test_a_follow_up_inherits_what_it_lacks() -> None:
    """From the first payment of that id, within the horizon; what it brings itself it keeps."""
    payment = event(0, 0, payment_id="p", card_id="c7")
    rows = rows_of(
        payment,
        event(1, 1, payment_id="p", card_id="c8"),
        event(2, 2, kind="label", payment_id="p", card_id=None),
        event(3, 3, kind="label", payment_id="p", card_id="mine"),
        event(4, 4, kind="label", payment_id="q", card_id=None),
        event(5, 501, kind="label", payment_id="p", card_id=None),
        event(6, 502, kind="label", payment_id="p", card_id=None),
    )
    assert [row[0]["card_id"] for row in rows[2:]] == ["c7", "mine", None, "c7", None]


def test_a_leg_stands_right_after_its_source() -> None:
    """It has the source's id and clocks, its own kind and fields, and enters the windows at once."""
    rows = rows_of(event(0, 0, card_id="x"), event(1, 1, kind="outcome", payment_id="x"))
    leg = rows[1][1]
    assert (leg["kind"], leg["event_id"], leg["event_time"]) == ("credit", "e1", SECOND)
    assert (leg["card_id"], leg["payment_id"], leg["card_count"]) == ("x", None, 2)


def test_label_delta_counts_verdicts_once() -> None:
    """+1 a new fraud verdict, -1 its end, 0 a repetition; each payment for itself."""

    def label(number: int, name: str | None, says: str, reversal: bool | None = None) -> dict[str, object]:
        return event(number, number, kind="label", payment_id=name, label_class=says, reversal=reversal)

    log = [
        label(0, "p", "fraud"), label(1, "p", "fraud"), label(2, "q", "fraud"), label(3, "p", "fraud", True),
        label(4, "p", "fraud", True), label(5, "p", "fraud"), label(6, "p", "genuine"), label(7, None, "fraud"),
    ]  # fmt: skip
    assert [row[0]["label_delta"] for row in rows_of(*log, event(9, 9))] == [1, 0, 1, -1, 0, 1, -1, 0, None]


def test_a_label_that_says_nothing_changes_nothing() -> None:
    """L7: a NULL class is not "genuine": the verdict stands. A reversal needs no class. The engine says the same."""

    def label(number: int, says: str | None, reversal: bool | None = None) -> dict[str, object]:
        return event(number, number, kind="label", payment_id="p", label_class=says, reversal=reversal)

    pack = pack_of()
    log = [
        label(0, "fraud"),
        label(1, None),
        label(2, "fraud"),
        label(3, None, True),
        label(4, None, False),
        label(5, "fraud"),
    ]
    deltas = [1, 0, 0, -1, 0, 1]
    assert [row[0]["label_delta"] for row in rows_of(*log)] == deltas
    for cut in (1, len(log)):
        engine, found = compile_pack(pack), list[object]()
        state = new_state(engine)
        for start in range(0, len(log), cut):
            state, decided = step(engine, state, batch_of(engine.inputs, log[start : start + cut]))
            found += [decided.sheet.value("label_delta", i) for i in range(decided.sheet.n)]
        assert found == deltas
