"""Lists, mutes and marks on alerts as events: from their very place on, whatever the cut, as specified (L6, L12)."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from features.expr import Literal
from features.types import BOOL
from rules.alert_records import Alert, Notification, build_alert
from rules.alerts import AlertState, group_alerts, mark_alert
from rules.controls import ACTIONS, SNOOZE, AlertMark, Control
from rules.records import OUTCOMES, AlertPolicy, Reasons, Rule
from sekisho.compile import compile_pack
from sekisho.state import load_state, new_state, save_state
from sekisho.testing.judges import view_of
from sekisho.testing.random_logs import SECOND_US, with_controls
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference import alerts as reference
from sekisho.testing.runs import Run, run_engine

EVENTS = 60


@pytest.mark.parametrize("block", range(6))
def test_control_events_count_from_their_place_on(block: int) -> None:
    """Ten random packs and logs with control events, in four cuts each: the specification's bytes, and what is told.

    Taken out of the log they are missed, so they do something.
    """
    noticed = Counter[str]()
    for seed in range(10 * block, 10 * block + 10):
        pack, events = random_case(40_000 + seed, EVENTS)
        log = with_controls(Random(seed), events)
        view, engine = view_of(pack, log), compile_pack(pack)
        for cut in (1, 7, 64, len(log)):
            _, run = run_engine(engine, log, cut, 1 + seed % 3)
            assert run.records == view.records, (seed, cut)
            assert run.notifications == view.notifications, (seed, cut)
        plain = view_of(pack, events)
        noticed["records"] += plain.records != view.records
        noticed["notifications"] += plain.notifications != view.notifications
        noticed["muted"] += any(b'"muted":["' in record for record in view.records)
        noticed["marks"] += any(each.marks for each in view.notifications)
    assert all(noticed[what] for what in ("records", "notifications", "muted", "marks")), noticed


def an_alert(rng: Random, policy: AlertPolicy, k: int, at_us: int) -> Alert:
    """Of one of three keys or of none, of any strength, typology and amount."""
    outcome, typology = rng.choice(OUTCOMES[2:]), rng.choice(("cnp", "mule", "scam"))
    rule = Rule(f"r{typology}", Literal(True, BOOL), "", outcome, Reasons("why", "理由"), "desk", typology)
    return build_alert(
        policy, [rule], decision_id=f"d{k}", payment_id=f"p{k}", event_time_us=at_us, clock_us=at_us, outcome=outcome,
        score=None, amount=rng.choice((1, 10, 1000)), keys={"card_id": rng.choice(("a", "a", "b", "c", None))},
    )  # fmt: skip


def test_grouping_with_marks_is_the_specification() -> None:
    """Random alerts and marks on their groups: the same goes out, also after a snooze, a closing and a storm."""
    seen = Counter[str]()
    for seed in range(300):
        rng, now = Random(seed), 0
        policy = AlertPolicy(
            group_by=("card_id",), quiet_us=rng.choice((5, 60)) * SECOND_US, max_open_us=200 * SECOND_US,
            escalate_on=("outcome", "typology", "amount"), amount_field="amount", storm_limit=rng.choice((2, 50)),
        )  # fmt: skip
        ours, theirs, told = AlertState(), reference.AlertState(), list[Notification]()
        for k in range(40):
            now += rng.choice((0, 1, 1, 4, 4, 30, 30, 1800)) * SECOND_US
            if told and rng.random() < 0.4:
                action = rng.choice((*ACTIONS, SNOOZE))
                until_us = now + rng.choice((0, 3, 40)) * SECOND_US if action == SNOOZE else None
                said = AlertMark(f"c{k}", now, "sato", "", action, rng.choice(told[-4:]).group_id, until_us)
                out, expected = mark_alert(ours, said), reference.mark(theirs, said)
            else:
                alert = an_alert(rng, policy, k, now)
                out, expected = group_alerts(policy, ours, [alert]), reference.group(policy, theirs, alert)
            assert out == expected, (seed, k)
            ours = AlertState.from_json(json.loads(json.dumps(ours.to_json())))
            told += out
            seen.update(f"{each.kind} after {mark.action}" for each in out for mark in each.marks)
    assert all(seen[f"escalated after {action}"] > 20 for action in ("snooze", "acknowledge", "disposition")), seen
    assert seen["closed after close"] > 100 and seen["storm_over after acknowledge"], seen


@pytest.mark.parametrize("seed", range(41_000, 41_008))
def test_a_snapshot_keeps_what_people_said(seed: int, tmp_path: Path) -> None:
    """Lists, mutes, marks and snoozes come back from disk at any place, and say the same."""
    pack, events = random_case(seed, EVENTS)
    log, rng = with_controls(Random(seed), events, share=0.5), Random(seed)
    engine = compile_pack(pack)
    _, whole = run_engine(engine, log, 9)
    state, run = new_state(engine), Run()
    for start, stop in pairwise([0, *sorted(rng.sample(range(len(log)), 4)), len(log)]):
        state, run = run_engine(engine, log[start:stop], 9, state=state, run=run)
        save_state(state, engine, tmp_path / "snapshot")
        kept = state.control
        state, _ = load_state(engine, tmp_path / "snapshot")
        assert state.control == kept
    assert run == whole


def test_what_another_pack_knows_is_kept(tmp_path: Path) -> None:
    """L12: a list and a rule that this pack lacks change none of its bytes, and stand in its state for the next."""
    pack, events = random_case(42_000, EVENTS)
    log = with_controls(Random(1), events)
    foreign = [
        each for each in log
        if not isinstance(each, Control) or getattr(each, "list", "") == "of_another_pack"
    ]  # fmt: skip
    engine = compile_pack(pack)
    state, run = run_engine(engine, foreign, 7)
    assert run.records == run_engine(engine, events, 7)[1].records
    assert state.control.lists["of_another_pack"]
