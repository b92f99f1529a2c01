"""The device's kernels where no device is: launches on CUDA's simulator, and their machine code.

Their values are judged by test_windows, through njit.
"""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from features.gpu.device import Host
from features.gpu.runs import chains, merge, run_of

# Each thread of the simulator hands its arrays to the kernel that njit made.
SIMULATED = """
import numpy as np
from features.gpu import device, kernels
compiled = kernels.finish
def on_arrays(first, step, *arguments):
    compiled(first, step, *(np.asarray(argument._item._ary) for argument in arguments))
on_arrays.py_func = compiled.py_func
calls = np.zeros((1, 8), np.int64)
calls[0] = 1, 0, 0, -1, -1, -1, 1, 0
for blocks, threads in ((1, 1), (2, 3), (4, 8)):
    cells, valid = np.zeros((2, 13), np.int64), np.zeros((1, 13), np.uint8)
    device.launcher(on_arrays)[blocks, threads](calls, np.arange(26).reshape(2, 13), cells, valid)
    assert cells[0].tolist() == list(range(13)) and valid.all(), (blocks, threads)
print("launched")
"""

COMPILED = """
from numba import cuda, types
from numba.cuda import dispatcher
class Hopper:
    compute_capability = (9, 0)
dispatcher.get_current_device = lambda: Hopper
from features.gpu import device, kernels
from models import gpu as forest
i, ii, u, uu = types.int64[::1], types.int64[:, ::1], types.uint8[::1], types.uint8[:, ::1]
signatures = {
    kernels.bring: (ii, ii, ii, uu, ii),
    kernels.add_run: (ii, i, ii, ii, i, i, i, i, ii, i, i, ii),
    kernels.to_stage: (ii, ii, ii, i, ii, ii),
    kernels.finish: (ii, ii, ii, uu),
    forest.bin_rows: (types.float64[:, ::1], i, i, i, types.float64[::1], i, i, uu),
    forest.add_leaves: (uu, i, i, u, u, u, i, types.float64[::1], types.float64[::1]),
}
for kernel, signature in signatures.items():
    code, _ = cuda.compile_ptx(device.launcher(kernel).py_func, types.void(*signature), device=False, cc=(9, 0))
    assert ".entry" in code
    print(code.count("fma.rn.f64"))
"""


def run_python(code: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_element_is_taken_once_however_many_threads_run() -> None:
    """A launch of any shape covers all elements."""
    assert run_python(SIMULATED, NUMBA_ENABLE_CUDASIM="1") == ["launched"]


@pytest.mark.skipif(not importlib.util.find_spec("numba_cuda"), reason="sekisho[gpu] is not installed")
def test_every_kernel_compiles_for_a_device_without_a_fused_multiply_add() -> None:
    """L5: on doubles, a multiplication and an addition round twice, as on the CPU."""
    assert run_python(COMPILED) == ["0"] * 6


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_is_sorted_by_time_and_by_arrival(seed: int) -> None:
    """Chains hold every row once; in each, of one key, neither time nor arrival ever falls."""
    rng = np.random.default_rng(seed)
    keys, times = rng.integers(0, 4, 200), np.arange(200) - rng.integers(0, 30, 200)
    found = list(chains(np, keys, times))
    assert sorted(np.concatenate(found)) == list(range(200))
    for chain in found:
        same = np.diff(keys[chain]) == 0
        assert (np.diff(keys[chain]) >= 0).all()
        assert (np.diff(chain)[same] > 0).all()
        assert (np.diff(times[chain])[same] >= 0).all()


def test_a_batch_in_order_is_one_chain() -> None:
    """Where nothing is late a frame is one difference."""
    assert len(list(chains(np, np.array([2, 1, 2, 1]), np.array([5, 5, 5, 6])))) == 1


def test_dropped_rows_leave_their_sums() -> None:
    """L4: below the horizon an UNBOUNDED frame still has all, and other rows stay as they are."""
    keys, times, ones = np.array([0, 0, 0, 1]), np.array([1, 2, 9, 8]), np.array([[1, 1, 1, 1], [10, 20, 40, 80]])
    run = run_of(np, keys, times, ones)
    merged = merge(Host().xp, run, run_of(np, keys[:0], times[:0], ones[:, :0]), since=5, forgets=False)
    assert merged.keys.tolist() == [0, 0, 1]
    assert merged.times.tolist()[1:] == [9, 8]
    assert np.diff(merged.prefix, axis=1).tolist() == [[2, 1, 1], [30, 40, 80]]
    forgotten = merge(np, run, run_of(np, keys[:0], times[:0], ones[:, :0]), since=5, forgets=True)
    assert forgotten.times.tolist() == [9, 8]
