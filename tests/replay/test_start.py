"""A start is quick: what a run of the replay, or a list of the commands, does not need is not imported."""

import subprocess
import sys
from pathlib import Path

from sekisho.packs import shipped_pack
from sekisho.testing.world import world_of

RUN = """
import sys
from sekisho.cli import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
heavy = "numba pandas scipy.linalg lightgbm duckdb cupy numba.cuda faust kafka confluent_kafka"
print([name for name in heavy.split() if name in sys.modules])
"""


def test_a_replay_imports_no_heavy_package(tmp_path: Path) -> None:
    """pandas, most of SciPy, LightGBM, DuckDB and Kafka's clients stay out of `sekisho replay run`."""
    world_of(200, seed=1).write_jsonl(tmp_path / "log.jsonl", 200)
    out = str(tmp_path / "decisions.jsonl")
    arguments = ["replay", "run", str(shipped_pack("card_payments")), str(tmp_path / "log.jsonl"), "--out", out]
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['numba']"


def test_a_list_of_the_commands_imports_no_engine() -> None:
    """`sekisho --help` asks every command for a line, and none of them brings the kernels for it."""
    done = subprocess.run([sys.executable, "-c", RUN, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
