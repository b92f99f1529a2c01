"""Rows side by side: parts of a batch on threads of their own, for kernels that hold no GIL and no state."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

_T = TypeVar("_T")
_LEAST = 128  # rows of a part: fewer are done before another thread wakes up


def in_parts(threads: int, n: int, job: Callable[[int, int], _T]) -> list[_T]:
    """job(start, stop) for parts of [0, n) that follow each other, on so many threads; what they give, in order."""
    parts = min(threads, n // _LEAST)
    if parts <= 1:
        return [job(0, n)]
    bounds = [n * k // parts for k in range(parts + 1)]
    others = [(_pool(threads).submit(job, *part), part) for part in pairwise(bounds[1:])]
    first = job(0, bounds[1])
    # a part that no thread has begun, as all have other work, is done here
    return [first, *(job(*part) if other.cancel() else other.result() for other, part in others)]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="rows")
