"""Snapshots: a run that was stopped anywhere and taken up again decides to the same bytes (law L12)."""

import json

import numpy as np
import pytest

from replay.sources import Input, read_log
from sekisho.batch import join
from sekisho.compile import compile_pack
from sekisho.decision import encode_decisions
from sekisho.errors import SnapshotError
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import load_state, new_state, save_state
from sekisho.step import step
from sekisho.testing.world import world_of


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo pack's engine and a seeded bank's log as one batch."""
    engine = compile_pack(load_pack(shipped_pack("card_payments")))
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    world_of(4000, seed=3).write_jsonl(path, 4000)
    return engine, join([chunk.batch for chunk in read_log(engine, [Input(path)])])


def decide(engine, state, batch, sizes):
    decisions, told, start = b"", [], 0
    for size in sizes:
        state, decided = step(engine, state, batch.cut(start, start + size))
        decisions += encode_decisions(engine, decided)[0].tobytes()
        told += decided.notifications
        start += size
    return state, decisions, told


def test_stop_save_load_go_on(demo, tmp_path):
    """Decisions and notifications are the same bytes, wherever the state was written to disk and read again."""
    engine, batch = demo
    _, whole, told = decide(engine, new_state(engine), batch, [1000] * 4)
    assert told
    for seed in range(4):
        cut = int(np.random.default_rng(seed).integers(1, 3999))
        state, first, told_first = decide(engine, new_state(engine), batch, [cut])
        save_state(state, engine, tmp_path / "snapshot", {"events": cut})
        state, note = load_state(engine, tmp_path / "snapshot")
        assert note == {"events": cut}
        _, second, told_second = decide(engine, state, batch.cut(cut, batch.n), [batch.n - cut])
        assert first + second == whole
        assert told_first + told_second == told


def test_a_damaged_or_foreign_snapshot_is_refused(demo, engine, tmp_path):
    """One flipped byte, a missing array, another pack, another format: each is named, and nothing is read."""
    whole, batch = demo
    state, *_ = decide(whole, new_state(whole), batch, [500])

    def saved():
        save_state(state, whole, tmp_path / "snapshot")
        return tmp_path / "snapshot"

    for file in sorted(saved().iterdir()):
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
        with pytest.raises(SnapshotError, match="damaged"):
            load_state(whole, tmp_path / "snapshot")
        saved()
    (saved() / "watermark.npy").unlink()
    with pytest.raises(SnapshotError, match=r"watermark\.npy is missing"):
        load_state(whole, tmp_path / "snapshot")
    with pytest.raises(SnapshotError, match="belongs to pack"):
        load_state(engine, saved())
    with pytest.raises(SnapshotError, match="manifest"):
        load_state(whole, tmp_path / "nowhere")


def test_a_snapshot_is_whole_or_absent(demo, tmp_path):
    """What a crash leaves behind of a half-written snapshot is not taken for one, and the next write succeeds."""
    engine, batch = demo
    state, *_ = decide(engine, new_state(engine), batch, [500])
    save_state(state, engine, tmp_path / "snapshot", {"events": 500})
    partial = tmp_path / "snapshot.partial"
    partial.mkdir()
    (partial / "manifest.json").write_text(json.dumps({"sha256": "", "body": "{}"}))
    assert load_state(engine, tmp_path / "snapshot")[1] == {"events": 500}
    save_state(state, engine, tmp_path / "snapshot", {"events": 501})
    assert load_state(engine, tmp_path / "snapshot")[1] == {"events": 501}
