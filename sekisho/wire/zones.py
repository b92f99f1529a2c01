"""Naive local times to UTC by a table, so that kernels need no time-zone library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.civil import zone_table
from features.kernel import inner
from features.sheet import Ints
from features.shims import Int


@dataclass(frozen=True)
class Zone:
    """Offset i holds for local times in [starts[i - 1], starts[i]).   starts: int64[k], offsets: int64[k + 1], in us.

    A local time that a change of the clocks skips is read with the offset before the change; one that comes twice is
    the later of the two. DuckDB reads TIMESTAMP as TIMESTAMPTZ in the same way.
    """

    name: str
    starts: Ints
    offsets: Ints


def zone(name: str) -> Zone:
    """The table of an IANA zone for 1970 to 2200. Raises ZoneInfoNotFoundError."""
    starts, offsets = np.array(zone_table(name), np.int64).T
    return Zone(name, (starts + offsets)[1:], offsets.copy())


@inner
def to_utc(local: Int, starts: Ints, offsets: Ints) -> Int:
    """UTC microseconds of naive local microseconds."""
    low, high = 0, len(starts)
    while low < high:
        middle = (low + high) // 2
        if starts[middle] <= local:
            low = middle + 1
        else:
            high = middle
    return local - offsets[low]
