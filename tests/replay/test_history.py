"""History in files, then a log: the state that is built from files goes on as if the log had held all of it."""

from pathlib import Path

import pytest

from replay.history import build_state
from replay.sources import Input
from sekisho.compile import Engine, compile_pack
from sekisho.decider import Decider
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.packs import shipped_pack
from sekisho.testing.world import world_of


@pytest.fixture(scope="module")
def card_payments() -> Engine:
    return compile_pack(load_pack(shipped_pack("card_payments")))


def test_history_and_log_are_one(card_payments: Engine, tmp_path: Path) -> None:
    """L12: the second half is decided as after the first, to the byte; equal histories have equal names."""
    world_of(3_000).write_jsonl(tmp_path / "all.jsonl", 3_000)
    lines = (tmp_path / "all.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "history.jsonl").write_bytes(b"".join(lines[:2_000]))
    messages = [Message("payments", 0, k, k, None, line) for k, line in enumerate(lines)]

    history = build_state(card_payments, [Input(tmp_path / "history.jsonl")], tmp_path / "state", 700)
    assert (history.events, history.dead) == (2_000, 0)
    whole, seeded = Decider(card_payments), Decider(card_payments)
    whole.decide(messages[:2_000])
    assert seeded.load(history.folder)["seed"] == history.seed
    assert seeded.decide(messages[2_000:]) == whole.decide(messages[2_000:])

    again = build_state(card_payments, [Input(tmp_path / "history.jsonl")], tmp_path / "other")
    more = build_state(card_payments, [Input(tmp_path / "all.jsonl")], tmp_path / "other")
    assert again.seed == history.seed != more.seed
