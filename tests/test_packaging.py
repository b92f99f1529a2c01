"""What is handed out works: wheel and sdist are built, and the wheel runs where the source is out of reach."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALL = os.environ.get("SEKISHO_REQUIRE_PACKAGE") == "1"  # `make package`: kernels are compiled anew, a minute each
LOG = "id,time,card_id,merchant_id,amount\n" + "".join(
    f"p{k},2026-01-05T{k:02}:00:00Z,c{k % 2},m{k % 3},{100 + k}\n" for k in range(20)
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the sdist, made from what git knows and nothing else."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in tracked.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    return out


def test_the_sdist_holds_what_builds_the_wheel(built):
    """Rooms, packs, licence and tests, and no environment or output of this machine."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "sekisho/step.py", "packs/fdh/pack.toml", "tests/test_packaging.py"} <= names
    assert not any(name.startswith((".venv", "out/")) for name in names)


def test_the_wheel_runs_with_the_source_out_of_reach(built, tmp_path):
    """Its own modules and packs, beside this environment's libraries: the version, a check of a shipped pack."""
    site = tmp_path / "site"
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    # -S: no .pth file of this environment leads back to the source.
    python = [sys.executable, "-S"]
    path = os.pathsep.join([str(site), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    _smoke(python, tmp_path, site, PYTHONPATH=path)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_installs_on_each_python(built, tmp_path, version):
    """In an environment of its own, with the locked libraries."""
    python = shutil.which(f"python{version}")
    if not ALL:
        pytest.skip("it downloads the libraries; make package runs it")
    if python is None:
        pytest.skip(f"python{version} is not on this machine")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    own = str(tmp_path / "venv" / "bin" / "python")
    wheel = str(next(built.glob("*.whl")))
    subprocess.run([own, "-m", "pip", "install", "-q", "-r", ROOT / "requirements.lock"], check=True)
    subprocess.run([own, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    _smoke([own], tmp_path, tmp_path / "venv")


def _smoke(python, folder, site, **env):
    """--version, `pack check` of a shipped pack, a drafted one, and where asked for a replay."""
    (folder / "log.csv").write_text(LOG)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | env | {"COLUMNS": "200"}
    env["NUMBA_CACHE_DIR"] = str(folder / "kernels")

    def told(*words):
        done = subprocess.run([*python, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = told("-c", "import sekisho, streams; from sekisho.packs import shipped_pack; print(shipped_pack('fdh'))")
    assert Path(where.strip()).is_relative_to(site)
    assert told("-m", "sekisho", "--version").strip().endswith("0.1.0")
    assert "DuckDB runs features.sql" in told("-m", "sekisho", "pack", "check", where.strip())
    assert "card_burst" in told("-m", "sekisho", "pack", "new", "mybank", "log.csv")
    if ALL:
        assert "approve" in told("-m", "sekisho", "replay", "run", "mybank", "log.csv", "--assume-in-order")
