"""One pack on two backends: the same bytes, whatever computes the windows."""

import os
from pathlib import Path

import pytest

from features.gpu.backend import Gpu
from features.gpu.device import Host
from features.refusal import Refusal
from replay.run import Recorder, run
from replay.sources import Input, read_log
from sekisho.backends import on_backend, on_device, on_faster_backend
from sekisho.compile import Engine, compile_pack
from sekisho.errors import SnapshotError
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import load_state, new_state, save_state
from sekisho.testing.world import world_of


@pytest.fixture(scope="module")
def engine() -> Engine:
    return compile_pack(load_pack(shipped_pack("card_payments")))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("log") / "events.jsonl"
    world_of(6_000, seed=3).write_jsonl(file, 6_000)
    return file


def digest(engine: Engine, log: Path, batch: int) -> str:
    with Recorder(engine) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, [Input(log)]), batch):
            recorder.record(part)
    assert recorder.totals.decisions > 1_500
    return recorder.totals.digest


def test_the_device_decides_the_same_bytes(engine: Engine, log: Path) -> None:
    """L6: cuts and backends do not matter: the device's algorithm, run by njit, gives the CPU's decisions."""
    want = digest(engine, log, 4096)
    device = on_device(engine, None if os.environ.get("SEKISHO_REQUIRE_GPU") else Host())
    assert [digest(device, log, batch) for batch in (6_000, 997)] == [want, want]


def test_no_snapshot_is_read_by_another_backend(engine: Engine, tmp_path: Path) -> None:
    """A foreign snapshot is refused, never half understood; the log is then folded again."""
    device = on_device(engine, Host())
    save_state(new_state(device), device, tmp_path / "state")
    load_state(device, tmp_path / "state")
    with pytest.raises(SnapshotError, match="written on the gpu, not on the cpu"):
        load_state(engine, tmp_path / "state")


def test_without_a_gpu_it_is_said_what_to_do(engine: Engine, log: Path) -> None:
    """ "gpu" is never quietly the CPU; "auto" takes the CPU and says why."""
    try:
        Gpu()
    except Refusal:
        with pytest.raises(Refusal, match=r"backend gpu: .*\n.*(sekisho\[gpu\]|nvidia-smi)"):
            on_backend(engine, "gpu")
        said: list[str] = []
        batch = next(iter(read_log(engine, [Input(log)]))).batch
        assert on_faster_backend(engine, batch, lambda: 0.0, said.append).backend.name == "cpu"
        assert said[0].startswith("backend cpu, as ")
    else:
        pytest.skip("a GPU is here")
