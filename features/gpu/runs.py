"""Runs: rows by key and time with the running totals of their limbs, so that a frame is a difference of two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from features.gpu.device import Array

_DAWN = -(2**63) + 1  # the time of a row that stands for all dropped ones of its key


@dataclass(frozen=True)
class Run:
    """keys, times: int64[r], sorted by both.   prefix: int64[limbs, r + 1].   arrivals: int64[r], or empty."""

    keys: Array
    times: Array
    arrivals: Array
    prefix: Array

    def __len__(self) -> int:
        return int(self.keys.shape[0])


def run_of(xp: ModuleType, keys: Array, times: Array, addends: Array, arrivals: Array | None = None) -> Run:
    """A run of sorted rows. addends: int64[limbs, r]."""
    prefix = xp.zeros((addends.shape[0], addends.shape[1] + 1), xp.int64)
    prefix[:, 1:] = xp.cumsum(addends, axis=1)
    return Run(keys, times, xp.zeros(0, xp.int64) if arrivals is None else arrivals, prefix)


def chains(xp: ModuleType, keys: Array, times: Array) -> Iterator[Array]:
    """Divide a batch's rows, int64[r] in order of arrival, into chains: by key, and by time and by arrival at once.

    In a chain the rows of a key that came by some moment and are not later than some time are the first ones: a prefix.
    A batch without late rows is one chain.
    """
    arrival = xp.arange(keys.shape[0])
    rank = xp.empty_like(arrival)
    rank[xp.lexsort(xp.stack([arrival, times, keys]))] = arrival
    left = xp.lexsort(xp.stack([arrival, keys]))
    while left.shape[0]:
        places = rank[left]
        in_order = places == _running_max(xp, places)
        yield left[in_order]
        left = left[~in_order]


def _running_max(xp: ModuleType, values: Array) -> Array:
    """The greatest value up to each one, in log2 steps over all of them. (CuPy has no maximum.accumulate.)"""
    highest, step = values.copy(), 1
    while step < highest.shape[0]:
        highest[step:] = xp.maximum(highest[step:], highest[:-step])
        step *= 2
    return highest


def merge(xp: ModuleType, one: Run, other: Run, since: int, forgets: bool) -> Run:
    """Both runs' rows as one run, without those before `since`.

    Unless `forgets`, a key's dropped rows leave one in their place, of no time, that holds their sums.
    """
    keys, times = xp.concatenate([one.keys, other.keys]), xp.concatenate([one.times, other.times])
    addends = xp.concatenate([xp.diff(one.prefix, axis=1), xp.diff(other.prefix, axis=1)], axis=1)
    order = xp.lexsort(xp.stack([times, keys]))
    keys, times, addends = keys[order], times[order], addends[:, order]
    dropped = times < since
    kept = ~dropped
    if not forgets:
        follows = xp.zeros_like(dropped)
        follows[:-1] = dropped[1:] & (keys[1:] == keys[:-1])
        last = dropped & ~follows
        upto = xp.cumsum(xp.where(dropped, addends, 0), axis=1)[:, last]
        addends[:, last] = xp.diff(upto, axis=1, prepend=0)
        times = xp.where(last, _DAWN, times)
        kept |= last
    return run_of(xp, keys[kept], times[kept], addends[:, kept])
