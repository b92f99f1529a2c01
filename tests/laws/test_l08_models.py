"""L8: champions, challengers, segments and shadows: the specification's records, and arms that anybody recomputes."""

from __future__ import annotations

import json
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from sekisho.compile import compile_pack
from sekisho.pack import Pack
from sekisho.testing.judges import view_of
from sekisho.testing.random_models import scored
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference.intake import Event
from sekisho.testing.runs import run_engine

SEEDS = range(9000, 9024)


def case(seed: int) -> tuple[Pack, list[Event]]:
    pack, log = random_case(seed)
    return scored(pack, seed), log


def decisions(records: list[bytes]) -> list[dict[str, Any]]:
    return [record for record in map(json.loads, records) if "duplicate_of" not in record]


@pytest.mark.parametrize("seed", SEEDS)
def test_records_of_many_models_are_the_specifications(seed: int) -> None:
    """Every key in its order, every bit of a score, every notification, in batches of any size."""
    pack, log = case(seed)
    view = view_of(pack, log)
    _, run = run_engine(compile_pack(pack), log, Random(seed).choice((1, 7, 60)))
    assert [list(json.loads(r).items()) for r in run.records] == [list(json.loads(r).items()) for r in view.records]
    assert run.notifications == view.notifications


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_cuts_do_not_matter_to_models(seed: int) -> None:
    """Batches of 1, 7 and all: the same bytes."""
    pack, log = case(seed)
    runs = [run_engine(compile_pack(pack), log, cut)[1].records for cut in (1, 7, len(log))]
    assert runs[0] == runs[1] == runs[2]


def test_an_arm_is_the_hash_of_its_entity() -> None:
    """Recomputed from the record's event alone; an entity has one arm for ever; no entity, no draw."""
    seen: dict[tuple[int, str], str] = {}
    arms = set()
    for seed in SEEDS:
        pack, log = case(seed)
        challenger = pack.models[0].challenger
        if challenger is None:
            continue
        by_place = {event["offset"]: event for event in log}
        for record in decisions(run_engine(compile_pack(pack), log, 7)[1].records):
            for model in record["models"]:
                if "arm" not in model:
                    assert model["name"] == "second"
                    continue
                entity = by_place[record["source"]["offset"]][challenger.by]
                arms.add((model["arm"], entity is None))
                assert model["name"] == ("first_b" if model["arm"] == "challenger" else "first")
                if entity is None:
                    assert (model["arm"], model["propensity"]) == ("champion", 1.0)
                    continue
                digest = sha256(f"{challenger.salt}\0{entity}".encode()).digest()
                drawn = int.from_bytes(digest[:8], "big") / 2**64 < challenger.share
                assert model["arm"] == ("challenger" if drawn else "champion")
                assert model["propensity"] == pytest.approx(challenger.share if drawn else 1 - challenger.share)
                assert seen.setdefault((seed, entity), model["arm"]) == model["arm"]
    assert arms == {("champion", False), ("champion", True), ("challenger", False)}


def test_the_cases_have_every_part() -> None:
    """Among them: models that are out of their segment, in it, both arms, shadows that speak and that do not."""
    lengths, shadows = set(), set()
    for seed in SEEDS:
        pack, log = case(seed)
        for record in decisions(run_engine(compile_pack(pack), log, 60)[1].records):
            lengths.add(len(record["models"]))
            shadows.add(len(record["shadow_models"]))
            assert record["score"] == max((each["score"] for each in record["models"]), default=None)
    assert (lengths, shadows) == ({0, 1, 2}, {0, 1})
