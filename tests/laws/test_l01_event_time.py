"""L1: event time only. Nothing below a driver reads a clock, draws a random number or touches the outside world."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sekisho.step
from replay.sources import Input, read_log
from sekisho.batch import Batch, join
from sekisho.compile import Engine, compile_pack
from sekisho.decision import encode_decisions
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import new_state
from sekisho.testing.world import world_of

ROOT = Path(__file__).parents[2]
ROOMS = ("features", "models", "rules", "sekisho")

# What reads a clock or chance, or means something else in every process: attributes, builtins, modules.
CLOCKS = {
    "now",
    "utcnow",
    "today",
    "time_ns",
    "perf_counter",
    "monotonic",
    "random",
    "default_rng",
    "urandom",
    "hash()",
}
CLOCK_MODULES = {"time", "random", "secrets", "uuid"}
# What reads or writes the world outside the process.
DOORS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "print", "environ", "getenv"}
DOORS |= {"open()", "print()", "input()"}
DOOR_MODULES = {"socket", "subprocess", "shutil", "tempfile", "urllib", "http", "multiprocessing", "asyncio", "duckdb"}

ALLOWED = {
    "sekisho/testing": "worlds and random cases are drawn from named seeds, and are written to files for tests",
    "features/kernel.py": "the folder of compiled kernels is named after their source",
    "sekisho/canonical.py": "a pack's hash holds the version of the time-zone data, read when a pack is loaded",
    "sekisho/load.py": "the door by which a pack's files come in",
    "sekisho/check.py": "a command: prints",
    "sekisho/cli.py": "the command line",
    "sekisho/commands.py": "a command: tells which models have expired today",
    "sekisho/pack_records.py": "the door by which packs of a topic are put into folders, called by drivers",
    "sekisho/settings.py": "the door by which settings and secrets come in",
    "sekisho/tokens.py": "the door by which keys come in",
    "sekisho/webhook_settings.py": "the door by which settings and secrets come in",
    "sekisho/state.py": "the door by which snapshots go out and come in, called by drivers",
    "sekisho/summary.py": "a command: prints",
    "sekisho/thresholds.py": "a command: prints",
}


def uses(tree: ast.AST, names: set[str], modules: set[str]) -> Iterator[str]:
    """The forbidden names that a module imports, calls or reads; a builtin ends in ()."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (each.name for each in node.names if each.name.split(".")[0] in modules)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in modules:
                yield module
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] not in ROOMS:
                yield from ({each.name for each in node.names} & names)
            case ast.Attribute(attr=name) if name in names:
                yield name
            case ast.Call(func=ast.Name(id=name)) if f"{name}()" in names:
                yield f"{name}()"


def offenders(names: set[str], modules: set[str]) -> dict[str, list[str]]:
    """The files of the rooms that use forbidden names, and which."""
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    trees = {str(file.relative_to(ROOT)): ast.parse(file.read_text("utf-8")) for file in files}
    found = {name: sorted(uses(tree, names, modules)) for name, tree in trees.items()}
    return {name: what for name, what in found.items() if what}


def excused(name: str) -> str | None:
    return next((allowed for allowed in ALLOWED if name == allowed or name.startswith(f"{allowed}/")), None)


def test_nothing_below_a_driver_reads_a_clock_or_the_world() -> None:
    """Every use of a clock, of chance or of I/O in the core stands in a named door, and every door is in use."""
    found = offenders(CLOCKS | DOORS, CLOCK_MODULES | DOOR_MODULES)
    assert {name: what for name, what in found.items() if excused(name) is None} == {}
    assert {excused(name) for name in found} == set(ALLOWED)


def test_no_door_has_a_clock() -> None:
    """Doors may do I/O; a clock or chance is in none but the tests' own, and one command's that decides nothing."""
    found = offenders(CLOCKS, CLOCK_MODULES)
    assert {name for name in found if not name.startswith("sekisho/testing/")} == {"sekisho/commands.py"}


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_step_brings_no_heavy_package() -> None:
    """Importing step() loads neither a driver, nor Kafka, nor training, nor the GPU, nor what parses and judges SQL."""
    heavy = "lightgbm pandas cupy kafka confluent_kafka faust numba.cuda duckdb sqlglot pyarrow streams replay"
    loaded = run_python(f"import sys, sekisho.step; print([m for m in {heavy.split()} if m in sys.modules])")
    assert loaded == "[]"


DECIDE = """
import sys, time, datetime as d
from hashlib import sha256

class Clock(d.datetime):
    now = classmethod(lambda cls, zone=None: cls.fromtimestamp({now}, zone))
    utcnow = classmethod(lambda cls: cls(1999, 1, 1))
    today = now

d.datetime = Clock
time.time = lambda: float({now})
time.time_ns = lambda: {now} * 10**9
time.monotonic = time.perf_counter = time.time
from sekisho.compile import compile_pack
from sekisho.testing.random_packs import random_case
from sekisho.testing.runs import run_engine
digest = sha256()
for seed in (1, 2, 3):
    pack, log = random_case(seed)
    _, run = run_engine(compile_pack(pack), log, 7)
    assert run.records
    digest.update(repr((run.records, run.features, run.notifications)).encode())
print(digest.hexdigest())
"""


def test_another_day_in_another_zone_gives_the_same_bytes() -> None:
    """Decisions, features and notifications depend on no clock, no zone of the machine and no process's hash seed."""
    one = run_python(DECIDE.format(now=1), TZ="UTC", PYTHONHASHSEED="1")
    other = run_python(DECIDE.format(now=4_000_000_000), TZ="Asia/Tokyo", PYTHONHASHSEED="2")
    assert one == other


WATCHED = ("open", "socket", "subprocess", "os.", "shutil", "tempfile", "ctypes.dlopen", "import")
HEARD: list[str] = []
LISTENING = False


@contextmanager
def listening() -> Iterator[list[str]]:
    """What the interpreter reports meanwhile. An audit hook stays for good, so there is one, and it is told when."""
    global LISTENING  # noqa: PLW0603
    HEARD.clear()
    LISTENING = True
    try:
        yield HEARD
    finally:
        LISTENING = False


@pytest.fixture(scope="module", autouse=True)
def hook() -> None:
    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if LISTENING and event.startswith(WATCHED):
            HEARD.append(f"{event} {arguments[:1]}")

    sys.addaudithook(listen)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Batch]:
    engine = compile_pack(load_pack(shipped_pack("card_payments")))
    path = tmp_path_factory.mktemp("world") / "log.jsonl"
    world_of(1500, seed=5).write_jsonl(path, 1500)
    return engine, join([chunk.batch for chunk in read_log(engine, [Input(path)])])


def decide(engine: Engine, batch: Batch) -> str:
    _, decided = sekisho.step.step(engine, new_state(engine), batch)
    return sha256(encode_decisions(engine, decided)[0].tobytes()).hexdigest()


def test_step_does_no_io_and_asks_no_clock(log: tuple[Engine, Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's first step() raises no audit event of files, sockets, processes or imports, with all clocks gone."""
    warm, batch = log
    expected = decide(warm, batch)  # what Numba loads, it has loaded
    fresh = compile_pack(warm.pack)

    def broken(*_: object) -> None:
        raise AssertionError("a clock or chance was asked")

    with monkeypatch.context() as patch:
        for name in ("time", "time_ns", "monotonic", "perf_counter", "perf_counter_ns", "monotonic_ns"):
            patch.setattr(f"time.{name}", broken)
        for name in ("random", "randint", "getrandbits"):
            patch.setattr(f"random.{name}", broken)
        patch.setattr(np.random, "default_rng", broken)
        patch.setattr(os, "urandom", broken)
        with listening() as heard:
            found = decide(fresh, batch)
        assert heard == []
    assert found == expected
    with listening() as heard:
        (ROOT / "pyproject.toml").read_bytes()
    assert heard, "the hook hears what it should"
