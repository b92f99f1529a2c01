"""A pack in the lane: cuts do not matter, dead letters name their place, snapshots continue to the same bytes."""

import os
import resource
from collections.abc import Sequence
from pathlib import Path

import pytest

from sekisho.compile import Engine, compile_pack
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.packs import shipped_pack
from sekisho.settings import TopicSettings
from sekisho.testing.world import world_of
from streams.broker import Send
from streams.journal_tail import Place
from streams.metrics import STATE_TEXTS
from streams.outputs import Outputs
from streams.scoring import PackScorer
from streams.snapshots import JOURNAL, WARM, FolderSnapshots

TOPICS = TopicSettings(("payments",))
PLACE = Place(41, 3, bytes(range(32)), {("payments", 0): 1000, ("payments", 1): 1000}, 57, "p", 3, "o")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return compile_pack(load_pack(shipped_pack("card_payments")))


class Room:
    """Keeps streams.snapshots.Makers for one pack."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def first(self) -> PackScorer:
        return PackScorer(self.engine, TOPICS)

    def scorer(self, pack: str) -> PackScorer:
        assert pack == self.engine.pack.hash
        return self.first()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[Message]:
    """Two partitions of a bank's days, with a record that is cut off and one without a value."""
    file = tmp_path_factory.mktemp("world") / "events.jsonl"
    world_of(4_000).write_jsonl(file, 4_000)
    values: list[bytes | None] = list(file.read_bytes().splitlines())
    values[700], values[1_300] = (values[700] or b"")[:60], None
    return [Message("payments", k % 2, k // 2, k, b"card%d" % (k % 9), value) for k, value in enumerate(values)]


def _run(scorer: PackScorer, log: Sequence[Message], batch: int) -> list[Send]:
    outputs: list[Outputs] = [scorer.decide(log[at : at + batch]) for at in range(0, len(log), batch)]
    return [send for part in ("decisions", "alerts", "dead_letters") for out in outputs for send in getattr(out, part)]


def test_what_the_state_holds_is_told(engine: Engine, log: list[Message]) -> None:
    """Keys, rows and bytes stand in what /status shows, and each has a metric."""
    scorer = PackScorer(engine, TOPICS)
    _run(scorer, log, 500)
    held = scorer.told()["state"]
    assert held.keys() == STATE_TEXTS.keys() and 0 < held["keys"] < held["rows"] < held["bytes"]


def test_cuts_do_not_matter(engine: Engine, log: list[Message]) -> None:
    """L6: batches of 7, 64 and all give the same records for the same topics, partitions and keys."""
    scorer = PackScorer(engine, TOPICS)
    whole = _run(scorer, log, len(log))
    assert {send.topic for send in whole} == {TOPICS.decisions, TOPICS.alerts, TOPICS.dead_letters}
    for batch in (7, 64):
        scorer.reset()
        assert _run(scorer, log, batch) == whole


def test_warming_up_leaves_no_trace(engine: Engine, log: list[Message]) -> None:
    """What is decided does not depend on whether the kernels were warmed."""
    cold, warm = PackScorer(engine, TOPICS), PackScorer(engine, TOPICS)
    warm.warm()
    assert _run(warm, log, 500) == _run(cold, log, 500)


def test_each_output_follows_its_event(engine: Engine, log: list[Message]) -> None:
    """A decision has the partition and the key of its event; a dead letter names topic, partition, offset and byte."""
    sends = _run(PackScorer(engine, TOPICS), log, 500)
    decisions = [send for send in sends if send.topic == TOPICS.decisions]
    places = {(m.partition, b'"offset":%d}' % m.offset): m.key for m in log}
    for send in decisions:
        offset = send.value[send.value.index(b'"offset":') : send.value.index(b"}") + 1]
        assert places[send.partition, offset] == send.key
    letters = [send for send in sends if send.topic == TOPICS.dead_letters]
    assert [(send.partition, b'"code":"truncated"' in send.value) for send in letters] == [(0, True), (0, False)]
    assert b'{"topic":"payments","partition":0,"offset":350}' in letters[0].value and b'"position":' in letters[0].value


@pytest.mark.parametrize("active", [False, True], ids=["standby", "active"])
def test_a_snapshot_continues_to_the_same_bytes(
    engine: Engine, log: list[Message], tmp_path: Path, active: bool
) -> None:
    """L12: written by a standby or by an active lane's child, it continues as if nothing had been."""
    scorer = PackScorer(engine, TOPICS)
    snapshots = FolderSnapshots(Room(engine), tmp_path, 0.0, 2, print)
    _run(scorer, log[:1000], 250)
    snapshots.save(scorer, PLACE, 0.0, active)
    while snapshots.child is not None:
        snapshots.due(0.0, active)
    rest = _run(scorer, log[1000:], 250)
    other, place = FolderSnapshots(Room(engine), tmp_path, 0.0, 2, print).load(trust=True)
    assert place == PLACE and isinstance(other, PackScorer)
    assert _run(other, log[1000:], 250) == rest


def test_a_damaged_snapshot_falls_back_and_says_so(engine: Engine, tmp_path: Path) -> None:
    """The newest good one counts; a few are kept; with none there is no state, and no error."""
    lines: list[str] = []
    snapshots = FolderSnapshots(Room(engine), tmp_path / "state", 0.0, 2, lines.append)
    scorer, place = snapshots.load(trust=True)
    assert place == Place()
    for sequence in (1, 2, 3):
        snapshots.save(scorer, Place(sequence, 1, bytes(32), {}, sequence), 0.0, active=False)
    kept = sorted(path.name for path in (tmp_path / "state").iterdir())
    short = engine.pack.hash[:12]
    assert kept == [f"journal-000000000002-{short}", f"journal-000000000003-{short}"]
    (tmp_path / "state" / kept[1] / "watermark.npy").write_bytes(b"damaged")
    assert snapshots.load(trust=True)[1].sequence == 2 and snapshots.load(trust=False)[1] == Place()
    assert any("refused: watermark.npy is missing or damaged" in line for line in lines)


def test_a_pack_that_nobody_waits_for_any_more_is_forgotten(engine: Engine, tmp_path: Path) -> None:
    """A warmed state stays while its pack may still be switched to; one that has not moved for a day goes."""
    snapshots, scorer = FolderSnapshots(Room(engine), tmp_path, 0.0, 1, print), PackScorer(engine, TOPICS)
    snapshots.write(scorer, Place(5, 1, bytes(32), {}, 5), WARM)
    other = tmp_path / "warm-000000000004-90aa41c07be2"
    other.mkdir()
    snapshots.save(scorer, Place(3, 1, bytes(32), {}, 3), 0.0, active=False)
    assert len(snapshots.all(WARM)) == 2
    for found in snapshots.all(WARM):
        os.utime(found.path, (0, 0))
    snapshots.save(scorer, Place(4, 1, bytes(32), {}, 4), 0.0, active=False)
    assert not snapshots.all(WARM) and len(snapshots.all(JOURNAL)) == 1


def test_a_folder_that_cannot_be_written_is_told(engine: Engine, tmp_path: Path) -> None:
    """A full disk or a wrong folder costs the snapshot, not the lane."""
    (tmp_path / "state").write_text("a file stands where the folder should")
    lines: list[str] = []
    snapshots = FolderSnapshots(Room(engine), tmp_path / "state", 0.0, 2, lines.append)
    snapshots.save(PackScorer(engine, TOPICS), PLACE, 0.0, active=False)
    assert "was not written" in snapshots.failed and lines == [snapshots.failed]


def test_a_disk_that_is_full_in_the_middle_of_a_snapshot(engine: Engine, log: list[Message], tmp_path: Path) -> None:
    """The system refuses to write on: nothing half-written stays, the reason is told, and with room the next one is
    whole."""
    lines: list[str] = []
    snapshots, scorer = FolderSnapshots(Room(engine), tmp_path, 0.0, 2, lines.append), PackScorer(engine, TOPICS)
    scorer.decide(log[:1000])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        snapshots.save(scorer, PLACE, 0.0, active=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "was not written" in snapshots.failed and lines == [snapshots.failed] and not list(tmp_path.iterdir())
    snapshots.save(scorer, PLACE, 0.0, active=False)
    assert snapshots.failed == "" and snapshots.load(trust=True)[1] == PLACE


def test_a_folder_that_cannot_be_listed_and_a_full_process_table_are_told(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither reaches the lane; /status shows the reason until a snapshot is written again."""

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    lines: list[str] = []
    snapshots = FolderSnapshots(Room(engine), tmp_path, 0.0, 2, lines.append)
    scorer = PackScorer(engine, TOPICS)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "iterdir", fails)
        assert not snapshots.due(1.0, active=False) and "cannot be listed" in snapshots.failed
    with monkeypatch.context() as broken:
        broken.setattr("os.fork", fails)
        snapshots.save(scorer, PLACE, 2.0, active=True)
    assert lines == [*lines[:1], snapshots.failed] and "no process" in snapshots.failed
    assert snapshots.due(3.0, active=False)
    snapshots.save(scorer, PLACE, 3.0, active=False)
    assert snapshots.failed == ""
