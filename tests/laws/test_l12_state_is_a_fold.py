"""L12: state is a fold. Kept and restored at any point, it goes on to the same bytes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from sekisho.compile import compile_pack
from sekisho.state import load_state, new_state, save_state
from sekisho.testing.random_logs import random_log
from sekisho.testing.random_packs import random_pack
from sekisho.testing.runs import Run, run_engine


@pytest.mark.parametrize("seed", range(3000, 3012))
def test_a_snapshot_goes_on_to_the_same_bytes(seed: int, tmp_path: Path) -> None:
    """Three snapshots at random points, each read back by another engine of the same pack."""
    pack, rng = random_pack(seed), Random(seed)
    log = random_log(rng, pack.policy, 80)
    _, whole = run_engine(compile_pack(pack), log, 9)
    cuts = [0, *sorted(rng.sample(range(80), 3)), 80]
    engine, run = compile_pack(pack), Run()
    state = new_state(engine)
    for number, (start, stop) in enumerate(pairwise(cuts)):
        state, run = run_engine(engine, log[start:stop], 9, state=state, run=run)
        save_state(state, engine, tmp_path / str(number), {"position": stop})
        engine = compile_pack(pack)
        state, note = load_state(engine, tmp_path / str(number))
        assert note == {"position": stop}
    assert run == whole
