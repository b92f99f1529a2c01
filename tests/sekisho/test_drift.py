"""Drift against the card: bins, the index by its formula, equal counts in replay and worker."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from models.drift import Bins, bins_of, count_bins, plan_bins, stability
from models.scorer import Scorer
from sekisho.compile import Engine, compile_pack
from sekisho.decider import Decider
from sekisho.drift import SAMPLED, DriftCounts
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.packs import shipped_pack
from sekisho.records import read_records
from sekisho.state import new_state
from sekisho.step import fold
from sekisho.testing.world import world_of
from streams.metrics import drift_lines, expiry_lines


def naive_bin(bins: Bins, x: float) -> int:
    """The bin of one value, as the docstring says."""
    if math.isnan(x):
        return len(bins.edges) + len(bins.masses) + 1
    if x in bins.masses:
        return len(bins.edges) + 1 + bins.masses.index(x)
    return sum(edge < x for edge in bins.edges)


@pytest.mark.parametrize("seed", range(6))
def test_every_value_falls_into_its_bin(seed: int) -> None:
    """Point masses, NULLs, few values, none at all: the plain rule, for several columns at once."""
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(size=500), np.where(rng.random(500) < 0.6, 0.0, rng.exponential(size=500)),
        np.where(rng.random(500) < 0.3, np.nan, rng.integers(0, 4, 500)), np.full(500, np.nan), np.full(500, 7.0),
    ]  # fmt: skip
    bins = [bins_of(column) for column in columns]
    values = np.stack([rng.permutation(np.concatenate([column[:50], [np.nan, -9.0, 9.0, 0.0]])) for column in columns])
    counts = count_bins(plan_bins(bins), values, np.ones(values.shape[1]))
    for each, row, found in zip(bins, values, counts, strict=True):
        expected = np.bincount([naive_bin(each, x) for x in row], minlength=len(found))
        assert found.tolist() == expected.tolist()
        assert sum(each.counts) == 500


def test_the_index_is_its_formula() -> None:
    """sum (q - p) ln(q / p) over smoothed shares; 0 for equal shares; a bin that both lack is none."""
    before, after = np.array([10.0, 30.0, 0.0, 60.0]), np.array([30.0, 30.0, 0.0, 40.0])
    p, q = [x / 101.5 for x in (10.5, 30.5, 60.5)], [x / 101.5 for x in (30.5, 30.5, 40.5)]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert stability(before, after) == (pytest.approx(expected), 3)
    assert stability(before, before)[0] == 0.0


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Message]:
    file: Path = tmp_path_factory.mktemp("drift") / "log.jsonl"
    world_of(6000, seed=4, days=40).write_jsonl(file, 6000)
    lines = file.read_bytes().splitlines()
    return [Message("payments", 0, k, 0, None, line) for k, line in enumerate(lines)]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return compile_pack(load_pack(shipped_pack("card_payments")))


def replayed(engine: Engine, records: list[Message], cut: int) -> DriftCounts:
    """The counts of a run in batches of `cut`."""
    decider, drift, state = Decider(engine), DriftCounts(engine), new_state(engine)
    for start in range(0, len(records), cut):
        batch, _, _ = read_records(records[start : start + cut], decider.plan, False, "")
        for _, decided in fold(engine, state, batch):
            if decided is not None:
                drift.note(decided)
    return drift


def test_a_worker_and_a_replay_count_the_same(engine: Engine, records: list[Message]) -> None:
    """Whatever the batches; about a sixteenth of the decisions; the newest whole week is told."""
    worker = Decider(engine)
    for start in range(0, len(records), 500):
        worker.decide(records[start : start + 500])
    ours = replayed(engine, records, 1700)
    assert ours.shifts() == worker.drift.shifts()
    assert len({shift.column for shift in ours.shifts()}) == 43
    payments = sum(b'"type":"payment"' in (record.value or b"") for record in records)
    score = next(shift for shift in ours.shifts() if shift.column == "fraud_score")
    assert 0.5 < score.values * SAMPLED / payments < 1.5
    told = worker.told()["drift"]
    days = sorted(worker.drift.days)[-8:-1]
    assert isinstance(told, dict) and told["columns"] == [vars(shift) for shift in ours.shifts(days)]
    assert told["days"] == [str(np.datetime64(day, "D")) for day in (days[0], days[-1])]
    lines = drift_lines(told)
    assert sum(line.startswith('sekisho_drift_psi{model="fraud",column="') for line in lines) == 43


def test_a_shift_is_seen_and_a_card_without_reference_is_passed_over(engine: Engine, records: list[Message]) -> None:
    """Amounts of a hundredfold move their column first and leave the hour's alone."""
    scorer = engine.pack.models[0]
    bare = replace(scorer, card=replace(scorer.card, reference={}, scores=None))
    assert isinstance(bare, Scorer)
    assert not DriftCounts(compile_pack(replace(engine.pack, models=(bare,)))).watched
    moved = dict(scorer.card.reference)
    moved["amount"] = replace(moved["amount"], edges=tuple(100 * edge for edge in moved["amount"].edges))
    other = compile_pack(replace(engine.pack, models=(replace(scorer, card=replace(scorer.card, reference=moved)),)))
    by_name = {shift.column: shift for shift in replayed(other, records, 1700).shifts()}
    plain = {shift.column: shift for shift in replayed(engine, records, 1700).shifts()}
    assert by_name["amount"].psi > 1 > plain["amount"].psi
    assert by_name["hour"] == plain["hour"]


def test_late_future_and_repeated_events_do_not_count(engine: Engine, records: list[Message]) -> None:
    """A payment of another year, sent again and again, makes no day."""
    payments = [record.value for record in records if record.value and b'"type":"payment"' in record.value][:400]
    year = payments[0].partition(b'"time":"')[2][:4]
    others = (str(int(year) + 30).encode(), str(int(year) - 3).encode())
    odd = [value.replace(b'"time":"' + year, b'"time":"' + other, 1) for value in payments for other in others]
    assert year == b"2026" and len(set(odd)) == 2 * len(payments)
    log = [Message("payments", 0, k, 0, None, value) for k, value in enumerate([*payments, *odd, *payments])]
    assert replayed(engine, log, 300).days.keys() == replayed(engine, log[:400], 300).days.keys()


def test_a_worker_tells_when_its_models_expire(engine: Engine) -> None:
    """The day of the card, and midnight of it for an alarm; nothing of a model without one."""
    scorer = engine.pack.models[0]
    dated = replace(scorer, card=replace(scorer.card, expires=date(2027, 3, 31)))
    told = Decider(compile_pack(replace(engine.pack, models=(dated,)))).told()["models_expire"]
    assert told == {"fraud": "2027-03-31"}
    assert isinstance(told, dict)
    assert expiry_lines(told)[-1] == 'sekisho_model_expires_seconds{model="fraud"} 1806451200'
    assert Decider(engine).told()["models_expire"] == {}
