"""Why payments flip: the packs that restoring sets stand for are written out, loaded and run."""

from itertools import combinations
from random import Random

import pytest

from models.card import Calibration
from replay.backtest.records import Asked
from replay.backtest.run import run_backtest
from replay.sources import Input
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from tests.replay.backtest.conftest import FEATURES, long_world, records_of, with_model, write_log, write_pack

SAMPLE = 1000
OLD, NEW = 0, 1
RULES = (
    {
        "many": ("payments >= 4", "review"), "spent": ("settled >= 1500", "decline"),
        "scored": ("fraud_score >= 720", "hold"),
        "blocked": ("card_id IN (SELECT value FROM blocked)", "decline"),
    },
    {
        "many": ("payments >= 3", "challenge"), "spent": ("settled >= 1200", "decline"),
        "scored": ("fraud_score >= 720", "hold"),
        "blocked": ("card_id IN (SELECT value FROM blocked)", "decline"), "received": ("received >= 900", "hold"),
    },
)  # fmt: skip
WINDOWS = FEATURES, FEATURES.replace("INTERVAL 1 DAY", "INTERVAL 2 DAY")
SCALES = Calibration(1.0, 0.0), Calibration(1.1, 0.2)
BLOCKED = ("card0001", "card0002"), ("card0002", "card0003")
NAMES = {"features", "calibration", "list:blocked", *(f"rule:{id}" for id in ("many", "spent", "received"))}


def pack_of(folder, undone):
    """CANDIDATE with a set of components taken back, as files."""

    def side(name):
        return OLD if name in undone else NEW

    rules = {id: rule for id, rule in RULES[NEW].items() if f"rule:{id}" not in undone}
    rules |= {id: rule for id, rule in RULES[OLD].items() if f"rule:{id}" in undone}
    pack = with_model(write_pack(folder, "hybrid", rules, WINDOWS[side("features")]), SCALES[side("calibration")])
    (pack / "lists").mkdir()
    entries = [f"{card},," for card in BLOCKED[side("list:blocked")]]
    (pack / "lists" / "blocked.csv").write_text("\n".join(["value,starts,expires", *entries]) + "\n")
    return compile_pack(load_pack(pack))


@pytest.fixture(scope="module")
def flips(tmp_path_factory):
    """(the back-test's flips, a function from a set of components to what the hybrid decides, by payment)."""
    base, run = tmp_path_factory.mktemp("causes"), {}
    file = write_log(base / "log.jsonl", long_world(8, per_day=70))
    engines = {undone: pack_of(base / f"{len(undone)}", undone) for undone in (frozenset(NAMES), frozenset())}
    result = run_backtest(*engines.values(), [Input(file)], Asked(accept_cold=True, replicates=0))

    def decided(undone):
        if undone not in run:
            engine = engines.get(undone) or pack_of(base / f"hybrid{len(run)}", undone)
            records, _ = records_of(engine, file, base / f"out{len(run)}")
            run[undone] = {event: record["outcome"] for event, record in records.items()}
        return run[undone]

    return result, decided


def test_the_components_are_what_differs(flips):
    """Features, calibration, one list, three rules; and each of them is a cause of some flip."""
    named = {name for text in flips[0].frame("flips").restoring for name in text.replace(" | ", "+").split("+") if name}
    assert named == NAMES


def test_each_minimal_set_restores_and_no_part_of_it_does(flips):
    """On a sample of a thousand flips: the whole set gives CURRENT's outcome, every proper part of it another."""
    result, decided = flips
    found = list(result.frame("flips").itertuples())
    sample = Random(1).sample(found, SAMPLE)
    for flip in sample:
        sets = [frozenset(group.split("+")) for group in flip.restoring.split(" | ")] if flip.restoring else []
        assert bool(sets) == (flip.cause != "unresolved")
        for names in sets:
            assert decided(names)[flip.event_id] == flip.current
            for part in (part for size in range(len(names)) for part in combinations(sorted(names), size)):
                assert decided(frozenset(part))[flip.event_id] != flip.current
        others = (frozenset(each) for size in (1, 2) for each in combinations(sorted(NAMES), size))
        missing = [each for each in others if not any(each >= names for names in sets)]
        assert not any(decided(each)[flip.event_id] == flip.current for each in missing), "a minimal set was overlooked"
    kinds = {flip.cause for flip in sample}
    assert {"single", "alternative", "joint"} <= kinds
    assert result.facts.unresolved == sum(flip.cause == "unresolved" for flip in found) / len(found) < 0.05
