"""L4: late is defined, to the microsecond and per event; what is too late leaves no trace; eviction is never seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from features.expr import Call, Column, Literal
from features.types import BOOL, TEXT
from sekisho.compile import compile_pack
from sekisho.pack import Leg, Pack
from sekisho.testing.judges import view_of
from sekisho.testing.random_logs import random_log
from sekisho.testing.random_packs import random_pack
from sekisho.testing.reference.expressions import is_null
from sekisho.testing.reference.intake import Event
from sekisho.testing.runs import run_engine

T = 1_767_225_600_000_000  # 2026-01-01
LATENESS, SKEW, WIDTH = 3_600_000_000, 600_000_000, 60_000_000
FOREVER = 10**15
KINDS = ("payment", "outcome", "label", "credit")
FEATURES = """
    SELECT event_id,
           count(*) FILTER (WHERE kind = 'payment') OVER card AS payments,
           count(*) FILTER (WHERE kind = 'credit') OVER card AS credits,
           sum(label_delta) FILTER (WHERE kind = 'label') OVER card AS frauds,
           sum(amount) FILTER (WHERE kind = 'outcome') OVER card AS settled
    FROM events
    WINDOW card AS (PARTITION BY card_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL 1 MINUTE PRECEDING AND CURRENT ROW)"""
Make = Callable[..., Any]


@pytest.fixture
def pack(make_pack: Callable[..., Pack]) -> Pack:
    settled = Call(BOOL, "eq", (Column(TEXT, "kind"), Literal(TEXT, "outcome")))
    legs = (Leg(settled, "credit", {"card_id": "card_id"}),)
    return make_pack(FEATURES, KINDS, legs=legs, lateness_us=LATENESS, max_clock_skew_us=SKEW)


def decide(pack: Pack, log: Sequence[Event], cut: int = 1) -> list[dict[str, Any]]:
    """The engine's records with their features, once they have been found equal to the specification's."""
    _, run = run_engine(compile_pack(pack), log, cut)
    view = view_of(pack, log)
    assert run.records == view.records
    for row, found in zip(view.decided, run.features, strict=True):
        specified = {name: None if is_null(row[name]) else row[name] for name in found if name in row}
        assert specified == {name: found[name] for name in specified}
    return [json.loads(line) | found for line, found in zip(run.records, run.features, strict=True)]


@pytest.mark.parametrize("cut", [1, 100])
@pytest.mark.parametrize("below", [0, 1])
def test_too_late_begins_one_microsecond_below(pack: Pack, make_event: Make, below: int, cut: int) -> None:
    """At W - lateness an event sees what arrived with an earlier or equal time, and is seen; 1 us below it is not."""
    edge = T - LATENESS - below
    log = [
        make_event(0, T - LATENESS - WIDTH - 1), make_event(1, T - LATENESS - WIDTH), make_event(2, T - LATENESS),
        make_event(3, T), make_event(4, edge), make_event(5, T - LATENESS),
    ]  # fmt: skip
    late, after = decide(pack, log, cut)[4:]
    assert (late["flags"], late["payments"]) == ((["too_late"], None) if below else ([], 3))
    assert late["outcome"] == ("review" if below else "approve")
    assert after["payments"] == (3 if below else 4)


@pytest.mark.parametrize("beyond", [0, 1])
def test_the_future_begins_one_microsecond_beyond(pack: Pack, make_event: Make, beyond: int) -> None:
    """At record_time + max_clock_skew an event counts and moves W; 1 us beyond it does neither, and is reviewed."""
    ahead = make_event(1, T + SKEW + beyond, record_time=T)
    edge = make_event(2, T + SKEW - LATENESS - 1)  # too late only if the event ahead has moved W
    _, future, behind = decide(pack, [make_event(0, T), ahead, edge], 3)
    assert (future["flags"], future["payments"]) == ((["future"], None) if beyond else ([], 1))
    assert behind["flags"] == ([] if beyond else ["too_late"])


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_w_moves_with_each_event_and_not_with_the_batch(pack: Pack, make_event: Make, cut: int) -> None:
    """Before the event that moves W an old one is in time, behind it the same one is too late: however they are cut."""
    old, new = T, T + LATENESS + 1
    log = [make_event(0, old), make_event(1, old), make_event(2, new), make_event(3, old)]
    assert [record["flags"] for record in decide(pack, log, cut)] == [[], [], [], ["too_late"]]


@pytest.mark.parametrize("clock", ["too_late", "future"])
def test_a_degraded_event_leaves_no_trace(pack: Pack, make_event: Make, clock: str) -> None:
    """No count, no inherited field, no verdict, no leg, no W: what follows is decided as if it had not been."""
    wrong = {"too_late": {"event_time": T - LATENESS - 1}, "future": {"event_time": T + SKEW + 1, "record_time": T}}[
        clock
    ]
    before = [make_event(0, T, payment_id="p", amount=100)]
    degraded = [
        make_event(1, 0, payment_id="q", amount=700) | wrong,
        make_event(2, 0, kind="outcome", payment_id="p") | wrong,
        make_event(3, 0, kind="label", payment_id="p", label_class="fraud") | wrong,
    ]
    after = [
        make_event(4, T, kind="outcome", payment_id="p"), make_event(5, T, kind="outcome", payment_id="q"),
        make_event(6, T, kind="label", payment_id="p", label_class="fraud"), make_event(7, T - LATENESS),
        make_event(8, T),
    ]  # fmt: skip
    with_them = decide(pack, before + degraded + after, 4)
    without = decide(pack, before + after, 4)
    assert with_them[1]["flags"] == [clock] and with_them[1]["frauds"] is None
    assert [with_them[0], *with_them[2:]] == without
    last = without[-1]
    assert [last[name] for name in ("payments", "credits", "frauds", "settled")] == [2, 2, 1, 100]


@pytest.mark.parametrize("noise", [0, 40])
def test_what_is_retained_reaches_to_the_microsecond(pack: Pack, make_event: Make, noise: int) -> None:
    """An event at W - lateness still sees a row at W - lateness - the frame's start, whatever has come since then."""
    oldest = T - LATENESS - WIDTH
    log = [make_event(0, oldest - 1, amount=1), make_event(1, oldest)]
    log += [make_event(2 + k, oldest + (T - oldest) * k // noise, card_id=f"c{k % 3}") for k in range(noise)]
    log += [make_event(90, T, card_id="d"), make_event(91, T - LATENESS)]
    assert decide(pack, log, 1)[-1]["payments"] == 2


@pytest.mark.parametrize("lateness_us", [0, 1, 60_000_000])
@pytest.mark.parametrize("seed", range(7000, 7004))
def test_eviction_is_not_observable(seed: int, lateness_us: int) -> None:
    """Random packs with little lateness over a long log: rows are dropped, and the specification, which never drops
    one, says the same of every event."""
    pack, events = random_pack(seed), 400
    pack = replace(pack, policy=replace(pack.policy, lateness_us=lateness_us))
    log = random_log(Random(seed), pack.policy, events)
    decide(pack, log, 32)
    assert 2 * rows_held(pack, log, lateness_us) < rows_held(pack, log, FOREVER), (
        "nothing was dropped: this says nothing"
    )


def rows_held(pack: Pack, log: Sequence[Event], lateness_us: int) -> int:
    """How many rows the windows hold after the log."""
    engine = compile_pack(replace(pack, policy=replace(pack.policy, lateness_us=lateness_us)))
    state, _ = run_engine(engine, log, 32)
    return state.report()["rows"]
