"""L12: state is a fold. Kept and restored at any point, it goes on to the same bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from sekisho.compile import Engine, compile_pack
from sekisho.state import State, load_state, new_state, save_state
from sekisho.step import step
from sekisho.testing.judges import view_of
from sekisho.testing.random_logs import random_log
from sekisho.testing.random_packs import random_case, random_pack
from sekisho.testing.reference.intake import Event
from sekisho.testing.runs import Run, batch_of, run_engine


@pytest.mark.parametrize("seed", range(3000, 3012))
def test_a_snapshot_goes_on_to_the_same_bytes(seed: int, tmp_path: Path) -> None:
    """Three snapshots at random points, each read back by another engine of the same pack."""
    pack, rng = random_pack(seed), Random(seed)
    log = random_log(rng, pack.policy, 80)
    _, whole = run_engine(compile_pack(pack), log, 9)
    cuts = [0, *sorted(rng.sample(range(80), 3)), 80]
    engine, run = compile_pack(pack), Run()
    state = new_state(engine)
    for number, (start, stop) in enumerate(pairwise(cuts)):
        state, run = run_engine(engine, log[start:stop], 9, state=state, run=run)
        save_state(state, engine, tmp_path / str(number), {"position": stop})
        engine = compile_pack(pack)
        state, note = load_state(engine, tmp_path / str(number))
        assert note == {"position": stop}
    assert run == whole


def kept(state: State, engine: Engine, folder: Path) -> State:
    """The state as it comes back from disk."""
    save_state(state, engine, folder)
    return load_state(engine, folder)[0]


def tail_of(engine: Engine, state: State, log: list[Event]) -> Run:
    return run_engine(engine, log, 5, state=state)[1]


@pytest.mark.parametrize("seed", range(3100, 3108))
def test_a_state_is_its_log_and_not_its_history(seed: int, tmp_path: Path) -> None:
    """Lanes that reach one position in batches of 1, 13 and all, by a restart at each step, by snapshots of snapshots,
    or by going on after a snapshot was taken, decide what follows alike, and as the specification does."""
    pack, log = random_case(seed, 90)
    log = [event | {"topic": f"topic {event['offset'] % 3}"} for event in log]
    engine, cut = compile_pack(pack), 60
    before, after = log[:cut], log[cut:]
    lanes = [run_engine(engine, before, size)[0] for size in (1, 13, cut)]
    restarted = new_state(engine)
    for start in range(0, cut, 20):
        restarted = kept(
            run_engine(engine, before[start : start + 20], 7, state=restarted)[0], engine, tmp_path / "step"
        )
    twice = kept(kept(run_engine(engine, before, 9)[0], engine, tmp_path / "one"), engine, tmp_path / "two")
    written = run_engine(engine, before, 9)[0]
    save_state(written, engine, tmp_path / "aside")  # to write a state does not touch it
    tails = [tail_of(engine, state, after) for state in (*lanes, restarted, twice, written)]
    assert tails[0].records and all(tail == tails[0] for tail in tails)
    view = view_of(pack, log)
    assert view.records[len(view.records) - len(tails[0].records) :] == tails[0].records
    assert tails[0] != tail_of(engine, new_state(engine), after), "the past does not matter here: this says nothing"


def test_an_old_snapshot_with_the_rest_of_the_log_is_the_state(tmp_path: Path) -> None:
    """Recovery: whichever snapshot is taken up, in whichever order they are read, the log's rest leads to one end."""
    pack, log = random_case(3200, 90)
    engine = compile_pack(pack)
    state, whole = new_state(engine), run_engine(engine, log, 90)[1]
    for position in (0, 15, 30, 45, 60):
        save_state(state, engine, tmp_path / str(position), {"position": position})
        state, _ = run_engine(engine, log[position : position + 15], 4, state=state)
    for position in (30, 0, 60, 15, 45, 30):
        taken, note = load_state(engine, tmp_path / str(position))
        assert note == {"position": position}
        run = tail_of(engine, taken, log[position:])
        assert run.records == whole.records[len(whole.records) - len(run.records) :]
        assert run.notifications == whole.notifications[len(whole.notifications) - len(run.notifications) :]
        assert position or run == whole


def test_packs_beside_each_other_share_nothing() -> None:
    """Two packs fed in turn, event by event, in one process: each decides as it does alone."""
    (pack, log), (other, other_log) = random_case(3300), random_case(3301)
    engines = [compile_pack(pack), compile_pack(other)]
    alone = [run_engine(engine, events, 60)[1] for engine, events in zip(engines, (log, other_log), strict=True)]
    states, runs = [new_state(engine) for engine in engines], [Run(), Run()]
    for pair in zip(log, other_log, strict=True):
        for k, event in enumerate(pair):
            states[k], runs[k] = run_engine(engines[k], [event], 1, state=states[k], run=runs[k])
    assert runs == alone


def calls_of(engine: Engine, log: list[Event], state: State) -> dict[tuple[str, int], tuple[int, dict[str, object]]]:
    """By place in the log of each decided event: its time, and the value of every window call."""
    found: dict[tuple[str, int], tuple[int, dict[str, object]]] = {}
    names = [call.name for stage in engine.pack.query.stages for call in stage.windows]
    for start in range(0, len(log), 7):
        state, decided = step(engine, state, batch_of(engine.inputs, log[start : start + 7]))
        times = decided.sheet.ints("event_time")
        for i in decided.rows.tolist():
            values = {name: decided.sheet.value(name, i) for name in names}
            found[str(decided.batch.topics), int(decided.batch.offset[i])] = int(times[i]), values
    return found


def test_what_reaches_before_the_beginning_is_null_and_the_rest_is_the_same() -> None:
    """A state that begins in the middle of the log: windows that reach back to what it does not know give NULL, all
    others what the whole log gives."""
    seen = {True: 0, False: 0}
    for seed in range(3400, 3412):
        pack, log = random_case(seed, 90)
        pack = replace(pack, policy=replace(pack.policy, dedup_horizon_us=0, inherit=()), legs=(), labels=None)
        log = [
            event for number, event in enumerate(log) if event["event_id"] not in {e["event_id"] for e in log[:number]}
        ]
        engine, cut = compile_pack(pack), len(log) // 3
        state, _ = run_engine(engine, log[:cut], 5)
        unknown = int(state.intake.watermark[0])
        whole = calls_of(engine, log, new_state(engine))
        reaches = {slot.row: reach for stage in engine.stages for slot, reach in stage.reaches}
        for place, (time, values) in calls_of(engine, log[cut:], new_state(engine, unknown)).items():
            for name, value in values.items():
                reach = reaches[engine.layout[name].row]
                known = reach is not None and time - reach > unknown
                assert value == (whole[place][1][name] if known else None), (seed, place, name)
                seen[known] += value is not None or not known
    assert min(seen.values()) > 50, seen
