"""L8: reasons are the specification's, by Shapley's definition; what a customer may be told stands apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sekisho.compile import compile_pack
from sekisho.pack import Pack
from sekisho.testing.judges import view_of
from sekisho.testing.random_models import reasoned, scored
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference.intake import Event
from sekisho.testing.runs import run_engine

SEEDS = range(9100, 9107)


def case(seed: int) -> tuple[Pack, list[Event]]:
    pack, log = random_case(seed, 40)
    return reasoned(scored(pack, seed), seed), log


def items(records: list[bytes]) -> list[list[tuple[str, Any]]]:
    return [list(json.loads(record).items()) for record in records]


@pytest.mark.parametrize("seed", SEEDS)
def test_reasons_are_the_specifications(seed: int) -> None:
    """Ids, points, words with their values, in records and in alerts; the same bytes in batches of 1 and of all."""
    pack, log = case(seed)
    view, engine = view_of(pack, log), compile_pack(pack)
    one, run = run_engine(engine, log, 1)[1], run_engine(engine, log, len(log))[1]
    assert items(run.records) == items(view.records)
    assert run.notifications == view.notifications
    assert (one.records, one.notifications) == (run.records, run.notifications)


def test_a_reason_raised_the_score_and_is_true() -> None:
    """Each has a point at least, the strongest first, no more than the pack wants, and only above the pack's score."""
    given = 0
    for seed in range(9100, 9120):
        pack, log = case(seed)
        assert pack.reasons is not None
        for record in map(json.loads, run_engine(compile_pack(pack), log, 7)[1].records):
            if "duplicate_of" in record:
                continue
            points = [reason["points"] for reason in record["reasons"]]
            assert points == sorted(points, reverse=True) and len(points) <= pack.reasons.most
            assert all(each >= 1 for each in points)
            assert not points or record["score"] >= pack.reasons.above
            given += len(points)
    assert given > 40


def test_without_reasons_no_byte_changes() -> None:
    """But for the two keys, records with and without reasons.yaml are the same."""
    pack, log = case(9100)
    plain = replace(pack, reasons=None)
    ours = items(run_engine(compile_pack(plain), log, 7)[1].records)
    theirs = items(run_engine(compile_pack(pack), log, 7)[1].records)
    assert ours == [[pair for pair in each if pair[0] not in ("reasons", "customer_reasons")] for each in theirs]
