"""Naive local times to UTC by a table, so that kernels need no time-zone library."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from features.kernel import inner
from features.sheet import Ints
from features.shims import Int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2201, 1, 1, tzinfo=UTC)
_STEP = timedelta(days=5)  # no zone has changed its offset twice in so short a time since 1970
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Zone:
    """Offset i holds for local times in [starts[i - 1], starts[i]).   starts: int64[k], offsets: int64[k + 1], in us.

    A local time that a change of the clocks skips is read with the offset before the change; one that comes twice is
    the later of the two. DuckDB reads TIMESTAMP as TIMESTAMPTZ in the same way.
    """

    name: str
    starts: Ints
    offsets: Ints


@lru_cache
def zone(name: str) -> Zone:
    """The table of an IANA zone for 1970 to 2200. Raises ZoneInfoNotFoundError."""
    info = ZoneInfo(name)
    starts, offsets = [], [_offset(info, _EPOCH)]
    at = _EPOCH
    while at < _LAST:
        after = at + _STEP
        if _offset(info, after) != offsets[-1]:
            change = _change(info, at, after)
            offsets.append(_offset(info, change))
            starts.append(_us(change) + offsets[-1])
        at = after
    return Zone(name, np.array(starts, np.int64), np.array(offsets, np.int64))


def _change(info: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second in (low, high] with high's offset."""
    before = _offset(info, low)
    while high - low > _SECOND:
        middle = low + ((high - low) // 2 // _SECOND) * _SECOND
        if _offset(info, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(info: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(info).utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


def _us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


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
