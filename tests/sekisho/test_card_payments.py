from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.expr import Call, Column, walk
from replay.run import Recorder, run
from replay.sources import Input, read_log
from sekisho.compile import Engine, compile_pack
from sekisho.load import load_pack
from sekisho.pack import Pack
from sekisho.state import new_state
from sekisho.testing.world import World

PACK = Path(__file__).parents[2] / "packs" / "card_payments"
WORLD = World(seed=12, cards=900, payments_per_day=700, fraud=4.0, truth=True)
EVENTS = 70_000


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack(PACK)


@pytest.fixture(scope="module")
def engine(pack: Pack) -> Engine:
    return compile_pack(pack)


def decide(engine: Engine, log: Path, out: Path) -> list[dict[str, object]]:
    with Recorder(engine, out=out) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, [Input(log)])):
            recorder.record(part)
    assert recorder.totals.dead == 0
    return [json.loads(line) for line in out.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def decisions(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("decisions")
    WORLD.write_jsonl(folder / "log.jsonl", EVENTS)
    return decide(engine, folder / "log.jsonl", folder / "decisions.jsonl")


@pytest.fixture(scope="module")
def typology(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What the world knows of each payment, by event_id."""
    file = tmp_path_factory.mktemp("truth") / "log.parquet"
    WORLD.write_parquet(file, EVENTS)
    log = pq.read_table(file, columns=["event_id", "kind", "typology"]).to_pydict()
    triples = zip(log["event_id"], log["kind"], log["typology"], strict=True)
    return {event: what for event, kind, what in triples if kind == "payment"}


def test_every_rule_is_explained_and_exemplified(pack: Pack) -> None:
    """Each rule, live or shadow, has an example that hits and one that misses, and a Japanese reason in Japanese."""
    for rule in (*pack.rules.rules, *pack.rules.shadows):
        assert {example.must_hit for example in rule.examples} == {True, False}, rule.id
        assert any("\u3040" <= letter <= "\u9fff" for letter in rule.reasons.ja), rule.id
        assert rule.owner


def test_everything_in_the_pack_is_used(pack: Pack) -> None:
    """Each list is read by a rule; each feature is read by the model or a rule; the model stays small."""
    conditions = [part for rule in (*pack.rules.rules, *pack.rules.shadows) for part in walk(rule.when)]
    assert {part.param for part in conditions if isinstance(part, Call) and part.op == "in_list"} == set(
        pack.rules.lists
    )
    read = {part.name for part in conditions if isinstance(part, Column)} | set(pack.models[0].features)
    assert {name for name, _ in pack.query.features} <= read
    assert len(pack.files["models/fraud.txt"]) <= 300_000


def test_fraud_is_caught_and_honest_people_are_left_alone(
    decisions: list[dict[str, object]], typology: dict[str, str | None]
) -> None:
    """On another world than it learnt from, the pack stops some of every typology and hardly any honest payment."""
    outcomes: dict[str | None, Counter[object]] = defaultdict(Counter)
    for decision in decisions:
        outcomes[typology[str(decision["event_id"])]][decision["outcome"]] += 1
    assert sum(sum(counts.values()) for counts in outcomes.values()) == len(typology)
    honest = outcomes.pop(None)
    assert len(outcomes) == 7
    assert honest["approve"] > 0.985 * sum(honest.values())
    for what, counts in outcomes.items():
        assert counts["approve"] < 0.9 * sum(counts.values()), what


def test_parquet_and_json_tell_the_same_story(
    engine: Engine, decisions: list[dict[str, object]], tmp_path: Path
) -> None:
    """The same events decide the same whichever file they come from; only ids name the file."""
    WORLD.write_parquet(tmp_path / "log.parquet", EVENTS // 4)
    again = decide(engine, tmp_path / "log.parquet", tmp_path / "decisions.jsonl")
    for one, other in zip(again, decisions, strict=False):
        assert {**one, "id": "", "source": ""} == {**other, "id": "", "source": ""}
    assert again
