"""L6: cuts do not matter. The engine's bytes are the specification's, whatever the batches and the threads."""

from __future__ import annotations

from random import Random

import pytest

from sekisho.compile import compile_pack
from sekisho.pack import Pack
from sekisho.testing.judges import Difference, View, judge_features, report, view_of
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference.expressions import is_null
from sekisho.testing.runs import Run, run_engine

EVENTS = 60


def compare(pack: Pack, view: View, run: Run) -> None:
    """Records byte for byte, features of every decided event with ==, floats too; notifications."""
    differences = [
        Difference(view.rows.index(row), name, row[name], theirs[name])
        for row, theirs in zip(view.decided, run.features, strict=True)
        for name, _ in pack.query.features
        if name in row and (None if is_null(row[name]) else row[name]) != theirs[name]
    ]
    assert not differences, report(pack, view, differences)
    assert run.records == view.records, pack.name
    assert run.notifications == view.notifications, pack.name


@pytest.mark.parametrize("block", range(30))
def test_the_engine_is_the_specification(block: int) -> None:
    """Ten random packs over random logs, each in batches of its own size: the specification's bytes."""
    for seed in range(10 * block, 10 * block + 10):
        pack, log = random_case(seed, EVENTS)
        cut, threads = Random(seed).choice((1, 7, 64, EVENTS)), 1 + seed % 3
        _, run = run_engine(compile_pack(pack), log, cut, threads)
        compare(pack, view_of(pack, log), run)


@pytest.mark.parametrize("block", range(5))
def test_what_overflows_is_null_marked_and_counted(block: int) -> None:
    """L7: products beyond their type are NULL in features and windows, errors in rules, and flagged, as specified."""
    flagged = 0
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        pack, log = random_case(seed, EVENTS, overflow=True)
        _, run = run_engine(compile_pack(pack), log, 7)
        compare(pack, view_of(pack, log), run)
        flagged += sum(b'"errors":["' in record for record in run.records)
    assert flagged


@pytest.mark.parametrize("seed", range(2000, 2006))
def test_every_cut_and_thread_count_gives_the_same_bytes(seed: int) -> None:
    """1, 7, 64, all; one, two and three threads."""
    pack, log = random_case(seed, EVENTS)
    engine = compile_pack(pack)
    runs = [run_engine(engine, log, cut, threads)[1] for cut in (1, 7, 64, EVENTS) for threads in (1, 2, 3)]
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize("seed", range(6000, 6008))
def test_long_logs_forget_nothing_that_can_be_seen(seed: int) -> None:
    """L4: over hundreds of events of few keys, what the engine has evicted by then is never missed."""
    pack, log = random_case(seed, 600)
    _, run = run_engine(compile_pack(pack), log, 64, 2)
    compare(pack, view_of(pack, log), run)


@pytest.mark.soak
@pytest.mark.parametrize("block", range(100))
def test_ten_thousand_cases(block: int) -> None:
    """Engine, specification and DuckDB over ten thousand random packs and logs."""
    for seed in range(100_000 + 100 * block, 100_100 + 100 * block):
        pack, log = random_case(seed, EVENTS, in_order=seed % 4 == 0)
        view = view_of(pack, log)
        _, run = run_engine(compile_pack(pack), log, Random(seed).choice((1, 7, 64, EVENTS)), 1 + seed % 3)
        compare(pack, view, run)
        differences = judge_features(pack, view)
        assert not differences, report(pack, view, differences)
