"""A bundle explains one decision anywhere, needs few events for it, and no byte of it can change unseen."""

import json
import zipfile
from random import Random

import pytest
from click.testing import CliRunner

from replay.bundle import _proves, bundle, opened
from replay.bundle_events import needed, read_back, written
from replay.commands import explain as command
from replay.explain import explain
from replay.merge import Chunk
from replay.report import inputs_of
from replay.run import Recorder, run
from replay.sources import read_log
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import new_state
from sekisho.testing.random_packs import random_case
from sekisho.testing.runs import batch_of, run_engine
from sekisho.testing.world import world_of

EVENTS = 3000


class World:
    """A seeded world's log, decided by the demo pack: follow-ups, labels, legs, a duplicate, a list's entry."""

    def __init__(self, folder):
        self.pack = shipped_pack("card_payments")
        self.engine = compile_pack(load_pack(self.pack))
        self.file, self.events, self.decisions = (folder / name for name in ("log.jsonl", "events.jsonl", "out.jsonl"))
        world_of(EVENTS, seed=3).write_jsonl(self.file, EVENTS)
        lines = self.file.read_text("utf-8").splitlines(keepends=True)
        at = [k for k, line in enumerate(lines) if '"type":"payment"' in line][300]
        self.file.write_text("".join([*lines[: at + 1], lines[at], *lines[at + 1 :]]), "utf-8")
        payment = json.loads(lines[at + 40])
        entry = {
            "sekisho": 1, "kind": "list_entry", "id": "c1", "time": payment["recorded_at"], "by": "sato",
            "why": "asked", "list": "watched_payees", "value": "acct-00000001",
        }  # fmt: skip
        self.events.write_text(json.dumps(entry) + "\n")
        with Recorder(self.engine, self.decisions) as recorder:
            for part in run(self.engine, new_state(self.engine), self.log()):
                recorder.record(part)
        self.records = self.decisions.read_bytes().splitlines(keepends=True)

    def log(self):
        return read_log(self.engine, inputs_of([self.file], None, None, 0, "fraud", "", self.events))

    def some(self, n):
        """The duplicate, and others."""
        return [*(record for record in self.records if b"duplicate_of" in record), *Random(3).sample(self.records, n)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def zipped(world, tmp_path_factory):
    """A bundle of a decision in the middle of the log."""
    out = tmp_path_factory.mktemp("bundles") / "one.zip"
    bundle(explain(world.engine, world.log, world.records[500]), world.log, out)
    return out


def test_few_events_give_the_same_record(world):
    """What is picked proves itself: the same bytes, and the same events in every window, from a part of the log."""
    for record in world.some(6):
        explanation, source = explain(world.engine, world.log, record), json.loads(record)["source"]
        places = needed(world.engine, world.log, source)
        assert places is not None and len(places) < EVENTS / 4
        assert _proves(explanation, list(written(world.engine, world.log, source, places)))


@pytest.mark.parametrize("seed", range(9100, 9106))
def test_random_packs_prove_themselves(seed):
    """Chains of SELECTs, late events, duplicates, reversals, legs: what is picked is enough, or all is taken."""
    pack, log = random_case(seed)
    engine, enough = compile_pack(pack), 0
    events = lambda: iter([Chunk(batch_of(engine.inputs, log), (), 1.0)])  # noqa: E731
    records = run_engine(engine, log, 60)[1].records
    for record in Random(seed).sample(records, min(6, len(records))):
        explanation, source = explain(engine, events, record), json.loads(record)["source"]
        places = needed(engine, events, source)
        enough += places is None or _proves(explanation, list(written(engine, events, source, places)))
        assert _proves(explanation, list(written(engine, events, source, None)))
    assert enough == min(6, len(records))


def test_missing_events_are_noticed(world):
    """The proof fails without an event that a window counted."""
    record = max(world.records, key=lambda line: json.loads(line).get("score", 0))
    explanation, source = explain(world.engine, world.log, record), json.loads(record)["source"]
    places = needed(world.engine, world.log, source)
    own = (source["topic"], source["partition"], source["offset"])
    counted = {seen.event_id for each in explanation.windows.values() for seen in each}
    lines = list(written(world.engine, world.log, source, places))
    rows = [json.loads(line) for line in lines]
    gone = next(
        row for row in rows if row.get("fields", {}).get("event_id") in counted and row["offset"] != own[2]
    )  # fmt: skip
    assert not _proves(explanation, [line for line in lines if json.loads(line) != gone])


def test_events_come_back_as_they_were(world):
    """Places, values and control events, to the cell."""
    source = json.loads(world.records[500])["source"]
    lines = list(written(world.engine, world.log, source, None))
    chunk = read_back(world.engine, lines, "here")
    assert list(written(world.engine, lambda: iter([chunk]), source, None)) == lines
    assert sum(b'"control"' in line for line in lines) == 1


def test_a_bundle_explains_itself(world, zipped):
    """It holds its pack, model and lists, and gives the record without the log; twice made, it has the same bytes."""
    with opened(zipped) as explanation:
        assert explanation.matches and explanation.record == world.records[500]
    with zipfile.ZipFile(zipped) as archive:
        names = set(archive.namelist())
    assert {"pack/pack.toml", "pack/models/fraud.txt", "pack/lists/blocked_cards.csv", "decision.json"} <= names
    again = zipped.with_name("again.zip")
    bundle(explain(world.engine, world.log, world.records[500]), world.log, again)
    assert again.read_bytes() == zipped.read_bytes()


def test_one_flipped_byte_is_found_and_named(zipped, tmp_path):
    """Anywhere in the file, its headers too; in a member, the member is named."""
    raw, file = zipped.read_bytes(), tmp_path / "flipped.zip"
    draw = Random(5)
    with zipfile.ZipFile(zipped) as archive:
        members = {info.filename: raw.index(archive.read(info)) for info in archive.infolist()}
    places = [(name, at + 3) for name, at in members.items()]
    places += [
        ("", at) for at in (*draw.sample(range(len(raw)), 60), *draw.sample(range(len(raw) - 900, len(raw)), 60))
    ]
    for name, at in places:
        flipped = bytearray(raw)
        flipped[at] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises(SekishoError) as refused, opened(file):
            pass
        assert name in str(refused.value) and str(file) in str(refused.value), at


def test_a_forged_bundle_differs(world, zipped, tmp_path):
    """Whoever changes the record and all sums with it is found by the recomputation."""
    explanation = explain(world.engine, world.log, world.records[500])
    forged = tmp_path / "forged.zip"
    record = explanation.record.replace(b'"outcome":"', b'"outcome":"x')
    bundle(type(explanation)(**{**vars(explanation), "record": record}), world.log, forged)
    with opened(forged) as found:
        assert [name for name, *_ in found.differences] == ["outcome"]


def test_the_command_writes_and_reads_bundles_and_pages(world, tmp_path):
    """`explain --bundle --page`, then `explain --from-bundle` elsewhere; the options that do not fit are refused."""
    record, zipped, page = json.loads(world.records[100]), tmp_path / "b.zip", tmp_path / "p.html"
    given = [str(world.pack), str(world.file), "--events", str(world.events), "--decisions", str(world.decisions)]
    run = CliRunner().invoke
    made = run(command, [*given, "--id", record["id"], "--bundle", str(zipped), "--page", str(page)])
    assert made.exit_code == 0 and "MATCH" in made.output, made.output
    found = run(command, ["--from-bundle", str(zipped), "--page", str(page), "--lang", "ja"])
    assert found.exit_code == 0 and "MATCH" in found.output and "社内限り" in page.read_text("utf-8")
    assert run(command, ["--from-bundle", str(zipped), "--id", "x"]).exit_code == 2
    assert run(command, [str(world.pack), str(world.file)]).exit_code == 2
