"""Work side by side: kernels hold no GIL, so parts of a batch share the processor's cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import TypeVar

_T = TypeVar("_T")
_LEAST = 128  # rows of a part: fewer are done before another thread wakes up


def in_parts(threads: int, n: int, job: Callable[[int, int], _T]) -> list[_T]:
    """job(start, stop) for parts of [0, n) that follow each other, on so many threads; what they give, in order."""
    parts = min(threads, n // _LEAST)
    if parts < 2:
        return [job(0, n)]
    bounds = [n * k // parts for k in range(parts + 1)]
    return side_by_side(threads, n, [partial(job, *part) for part in pairwise(bounds)])


def side_by_side(threads: int, n: int, jobs: Sequence[Callable[[], _T]]) -> list[_T]:
    """What jobs over n rows give, in order, on so many threads: the caller takes the last, others the first."""
    if min(threads, len(jobs)) < 2 or n < 2 * _LEAST:
        return [job() for job in jobs]
    others = [_pool(threads).submit(job) for job in jobs[:-1]]
    done = [jobs[-1]()]
    # one that no thread has begun, as all have other work, is done here
    done += [job() if other.cancel() else other.result() for other, job in zip(others[::-1], jobs[-2::-1], strict=True)]
    return done[::-1]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="beside")
