"""L6, L12: the key of the hash tables decides nothing, and every driver draws one."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from features.gpu.device import Host
from sekisho.backends import on_device
from sekisho.compile import compile_pack
from sekisho.state import load_state, new_state, save_state
from sekisho.testing.random_packs import random_case
from sekisho.testing.runs import Run, run_engine

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(6000, 6010))
def test_no_byte_depends_on_the_key(seed: int, tmp_path: Path) -> None:
    """Records, features and notifications are equal under any keys; a snapshot goes on under its own, whoever reads."""
    (pack, log), rng = random_case(seed, 90), Random(seed)
    _, whole = run_engine(compile_pack(pack), log, 9)
    engine, run = compile_pack(pack, hash_key=rng.randbytes(16)), Run()
    if seed % 5 == 0:
        engine = on_device(engine, Host())
    state = new_state(engine)
    secret = state.intake.secret.copy()
    for start, stop in pairwise([0, *sorted(rng.sample(range(90), 2)), 90]):
        state, run = run_engine(engine, log[start:stop], 9, state=state, run=run)
        save_state(state, engine, tmp_path / "snapshot")
        other = compile_pack(pack, hash_key=rng.randbytes(16))
        engine = on_device(other, Host()) if seed % 5 == 0 else other
        state, _ = load_state(engine, tmp_path / "snapshot")
        assert (state.intake.secret == secret).all()
    assert run == whole


def test_every_driver_draws_a_key() -> None:
    """No engine of a driver has the key that is known from the source: each call draws 16 bytes by chance."""
    files = [file for room in ("streams", "replay") for file in sorted((ROOT / room).rglob("*.py"))]
    calls = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "compile_pack"
    ]
    assert len(calls) > 10
    for call in calls:
        given = [*call.args[2:], *(keyword.value for keyword in call.keywords if keyword.arg == "hash_key")]
        assert [ast.unparse(value) for value in given] == ["os.urandom(16)"], ast.unparse(call)
