"""L5: integers for money and time. What does not fit 64 bits does not wrap, and each double is rounded once."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest

from features import shims, vm
from features.compiler import WholeCompiler
from models import scorer, trees
from sekisho.compile import compile_pack
from sekisho.pack import Pack
from sekisho.testing.judges import view_of
from sekisho.testing.reference.intake import Event
from sekisho.testing.runs import run_engine

T = 1_767_225_600_000_000  # 2026-01-01
MOST = 10**15  # units: the largest amount that a field may hold
FUNCTIONS = ("sum", "avg", "var_samp", "var_pop", "stddev_samp", "stddev_pop")
FEATURES = f"""
    SELECT event_id, {", ".join(f"{f}(amount) OVER all_of_it AS {f}_all" for f in FUNCTIONS)},
           {", ".join(f"{f}(amount) OVER three AS {f}_three" for f in FUNCTIONS)},
           sum(amount) OVER three + sum(amount) OVER all_of_it AS both
    FROM events
    WINDOW card AS (PARTITION BY card_id ORDER BY event_time),
           all_of_it AS (card RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
           three AS (card ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)"""

EXTREMES = {
    "all the largest": lambda rng, k: MOST,
    "all the smallest": lambda rng, k: -MOST,
    "around the largest": lambda rng, k: MOST - rng.randint(0, 3),
    "both signs": lambda rng, k: MOST if k % 2 else 1 - MOST,
    "any size": lambda rng, k: rng.choice((1, -1)) * rng.randint(0, 10 ** rng.randint(1, 15)),
}


def rounded(function: str, x: list[int], scale: int) -> int | float | None:
    """The law's formulas in rational numbers; float() of a Fraction rounds once, half to even."""
    n, total, unit = len(x), sum(x), 10**scale
    if function == "sum":
        return total
    if function == "avg":
        return float(Fraction(total, n * unit))
    over = n - 1 if function.endswith("_samp") else n
    if over == 0:
        return None
    variance = float(Fraction(n * sum(v * v for v in x) - total * total, n * over * unit * unit))
    return math.sqrt(variance) if function.startswith("stddev") else variance


@pytest.mark.parametrize("case", EXTREMES)
def test_nothing_wraps_and_every_double_is_rounded_once(
    case: str, make_pack: Callable[..., Pack], make_event: Callable[..., Event]
) -> None:
    """Sums far beyond 2^63 over 10,000 rows, and each bit of averages and spreads, as Fractions say."""
    pack, rng, n = make_pack(FEATURES), Random(case), 10_000
    amounts = [EXTREMES[case](rng, k) for k in range(n)]
    log = [make_event(k, T + k, amount=amount) for k, amount in enumerate(amounts)]
    _, run = run_engine(compile_pack(pack), log, 4096)
    for k in [*range(6), 99, 4095, 4096, 9_222, 9_223, 9_224, n - 1]:
        found, whole, last = run.features[k], amounts[: k + 1], amounts[max(0, k - 2) : k + 1]
        for function in FUNCTIONS:
            assert found[f"{function}_all"] == rounded(function, whole, 2), (function, k)
            assert found[f"{function}_three"] == rounded(function, last, 2), (function, k)
        assert found["both"] == sum(whole) + sum(last)
    if case.startswith("all"):
        assert abs(run.features[-1]["sum_all"]) > 2**63  # type: ignore[operator, arg-type]


def test_what_is_null_has_not_overflowed(make_pack: Callable[..., Pack], make_event: Callable[..., Event]) -> None:
    """Of one batch, the product beyond its type alone is flagged, not the missing one, nor the small one."""
    pack = make_pack("SELECT event_id, amount * epoch_us(event_time) * epoch_us(event_time) AS f FROM events")
    log = [make_event(k, T + k, amount=amount) for k, amount in enumerate((MOST, None, 1))]
    _, run = run_engine(compile_pack(pack), log, 3)
    assert [found["f"] is None for found in run.features] == [True, True, False]
    assert [b'"overflow"' in record for record in run.records] == [True, False, False]


def test_times_are_exact_to_the_microsecond(make_pack: Callable[..., Pack], make_event: Callable[..., Event]) -> None:
    """From 1970 to 2200, beside a sum of times, which is more than a double holds: no microsecond is lost."""
    features = """WITH timed AS (SELECT *, epoch_us(event_time) AS at FROM events)
                  SELECT event_id, at, at - lag(at) OVER card AS pause, sum(3 * at) OVER card AS thrice FROM timed
                  WINDOW card AS (PARTITION BY card_id ORDER BY event_time)"""
    times = [0, 1, T + 1, 7_258_118_399_999_998, 7_258_118_399_999_999]
    _, run = run_engine(compile_pack(make_pack(features)), [make_event(k, at) for k, at in enumerate(times)], 2)
    assert [found["at"] for found in run.features] == times
    assert [found["pause"] for found in run.features] == [None, *(b - a for a, b in pairwise(times))]
    thrice = [3 * total for total in accumulate(times)]
    assert [found["thrice"] for found in run.features] == thrice
    assert int(float(thrice[-1])) != thrice[-1]


ONE, STEP = 1.0 + 2.0**-30, 2.0**-29  # ONE^2 is 1 + STEP + 2^-60; a double holds only 1 + STEP
FUSED_WORDS = r"\bvfn?m(?:add|sub)\w*|\bfn?m(?:add|sub|la|ls)\b|\bllvm\.fma\w*|\bllvm\.fmuladd\w*"


def test_a_product_is_rounded_before_it_is_added(
    make_pack: Callable[..., Pack], make_event: Callable[..., Event]
) -> None:
    """A fused multiply-add would keep 2^-60 of this product, in a feature as in a score."""
    pack = make_pack(f"SELECT event_id, ratio * ratio - (1 + {STEP!r}) AS f FROM events")
    log = [make_event(k, T, ratio=ONE) for k in range(40)]
    _, run = run_engine(compile_pack(pack), log, 40)
    assert view_of(pack, log).decided[0]["f"] == 0.0
    assert [found["f"] for found in run.features] == [0.0] * 40
    big = 2.0**40
    raw = np.full(40, big * ONE)
    probability, _ = scorer.calibrate(raw, big * ONE, -(big * big) * (1.0 + STEP))
    assert (probability == 0.5).all()  # fused: z = 2^20, and certainty


def machine_code(kernel: Any, signature: tuple[Any, ...], fastmath: bool | None = None) -> tuple[str, str]:
    """LLVM's text of a kernel with all that it calls, and its assembly for a processor that has fused operations."""
    options = {name: value for name, value in kernel.targetoptions.items() if name != "nopython"}
    options |= {} if fastmath is None else {"fastmath": fastmath}
    again = numba.njit(pipeline_class=WholeCompiler, **options)(kernel.py_func)
    again.compile(signature)
    (text,) = again.inspect_llvm().values()
    processor = "haswell" if platform.machine() in ("x86_64", "AMD64") else ""
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=processor, opt=3)
    return text, machine.emit_assembly(llvm.parse_assembly(text))


i64, f64 = numba.int64, numba.float64
INTS, DOUBLES, BYTES = numba.int64[::1], numba.float64[::1], numba.uint8[::1]
CELLS, FLOATS, VALID = numba.int64[:, ::1], numba.float64[:, ::1], numba.uint8[:, ::1]
TREES = (DOUBLES, FLOATS, *(INTS,) * 3, DOUBLES, *(INTS,) * 4, *(BYTES,) * 4, INTS, DOUBLES)
KERNELS = {
    "mean": (shims.mean, (i64,) * 4),
    "variance": (shims.variance, (i64,) * 7),
    "decimal_to_double": (shims.decimal_to_double, (i64,) * 3),
    "the doubles of expressions": (vm._float64, (*(i64,) * 8, CELLS, FLOATS, VALID)),
    "the trees": (trees.raw_scores, TREES),
    "calibrate": (scorer.calibrate, (DOUBLES, f64, f64)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_no_kernel_may_fuse(name: str) -> None:
    """No instruction that multiplies and adds at once, and no leave to make one, in any arithmetic on doubles."""
    text, assembly = machine_code(*KERNELS[name])
    assert re.findall(FUSED_WORDS, assembly + text) == []
    operations = re.findall(r"= f(?:add|sub|mul|div) (\S+)", text)
    assert operations and all(word == "double" or word.startswith("<") for word in operations)


def test_a_fused_kernel_would_be_found() -> None:
    """The same look at a kernel that may fuse finds it, so that finding nothing means something."""
    text, assembly = machine_code(scorer.calibrate, KERNELS["calibrate"][1], fastmath=True)
    assert re.findall(FUSED_WORDS, assembly)
    assert "fmul fast double" in text
