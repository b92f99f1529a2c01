"""Lists, mutes and marks on alerts as events: from their very place on, whatever the cut, as specified (L6, L12)."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from rules.controls import Control
from sekisho.compile import compile_pack
from sekisho.state import load_state, new_state, save_state
from sekisho.testing.judges import view_of
from sekisho.testing.random_logs import with_controls
from sekisho.testing.random_packs import random_case
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
