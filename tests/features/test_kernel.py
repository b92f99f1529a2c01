"""Kernels are compiled once, whoever calls them, and what an earlier process compiled is found again."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from features.kernel import bare, inlined, inner, kernel

SOURCE = """
import numpy as np
from features.kernel import bare, inner, kernel

@inner
def least(numbers):
    return min(numbers[0], numbers[1])

@kernel
def twice(numbers):
    return 2 * least(numbers)

@bare
def outer(numbers):
    return twice(numbers) + least(numbers)

print(outer(np.array([5, 3])), twice(np.array([4, 7])), len(twice.stats.cache_hits), len(outer.stats.cache_hits))
"""


@inner
def _up(x: int, steps: int) -> int:
    return x + steps


@inlined
def _up_thrice(x: int, steps: int) -> int:
    return _up(_up(_up(x, steps), steps), steps)


@kernel
def from_python_and_kernels(x: int) -> int:
    """Three steps up."""
    return _up_thrice(x, 1)


@bare
def calls_all(numbers: np.ndarray) -> int:
    """The same code by three ways, one of them shared by the others."""
    return _up(numbers[0], 1) + _up_thrice(numbers[0], 2) + from_python_and_kernels(numbers[0])


def test_a_kernel_serves_python_and_kernels() -> None:
    """One function, called by Python, by a kernel and by a part that two kernels share: plain Python's values."""
    for x in (0, 41, -7):
        assert calls_all(np.array([x])) == (x + 1) + (x + 6) + (x + 3)
    assert from_python_and_kernels(4) == 7


def test_constants_compile_nothing_anew() -> None:
    """A part that was called with 1 and with 2 has one specialisation."""
    calls_all(np.array([0]))
    assert len(_up.signatures) == len(_up_thrice.signatures) == 1  # type: ignore[attr-defined]


def test_a_later_process_compiles_nothing(tmp_path: Path) -> None:
    """Kernels for Python are on disk, with all that they call."""
    script = tmp_path / "kernels.py"
    script.write_text(SOURCE, "utf-8")
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": root}
    command = [sys.executable, str(script)]
    said = [subprocess.run(command, env=environment, check=True, capture_output=True, text=True) for _ in range(2)]
    assert [each.stdout.split() for each in said] == [["9", "8", "0", "0"], ["9", "8", "1", "1"]]
