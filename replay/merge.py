"""Several logs as one, in arrival order, without holding more than a chunk or two of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.sheet import VALID, Ints
from sekisho.batch import Batch, join

_FIRST, _LAST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Chunk:
    """Events in arrival order, and the dead letters (JSON lines) among them.

    read: how far the source has been read, 0 to 1.
    """

    batch: Batch
    dead: tuple[bytes, ...]
    read: float

    @property
    def arrival(self) -> Ints:
        """int64[n], microseconds: record_time, or event_time where the source has none."""
        sheet = self.batch.sheet
        known = sheet.validity("record_time") == VALID
        return np.where(known, sheet.ints("record_time"), sheet.ints("event_time"))


class _Stream:
    """One log and the part of it that has been read and not yet handed on."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self.chunks, self.done, self.read = chunks, False, 0.0
        self.held: Batch | None = None
        self.arrival = np.empty(0, np.int64)
        self.dead: list[bytes] = []

    @property
    def end(self) -> int:
        return int(self.arrival[-1]) if len(self.arrival) else _FIRST

    def refill(self) -> None:
        chunk = next(self.chunks, None)
        if chunk is None:
            self.done = True
            return
        self.dead += chunk.dead
        self.read = chunk.read
        # A log without record_time arrives in its own order: a step back in event_time is no step back in arrival.
        arrival = np.maximum.accumulate(np.maximum(chunk.arrival, self.end))
        self.arrival = np.concatenate([self.arrival, arrival])
        self.held = chunk.batch if self.held is None or not self.held.n else join([self.held, chunk.batch])

    def until(self, bound: int) -> tuple[Batch, Ints] | None:
        """What arrived before `bound`, with its arrival."""
        stop = int(np.searchsorted(self.arrival, bound, side="left"))
        if self.held is None or stop == 0:
            return None
        part, arrival = self.held.cut(0, stop), self.arrival[:stop]
        self.held, self.arrival = self.held.cut(stop, self.held.n), self.arrival[stop:]
        return part, arrival


def merge(logs: Sequence[Iterator[Chunk]]) -> Iterator[Chunk]:
    """All events by arrival; at equal arrival in the order of the logs."""
    streams = [_Stream(log) for log in logs]
    for stream in streams:
        stream.refill()
    while True:
        # What arrived before the earliest end of what is held cannot be overtaken any more.
        bound = min((stream.end for stream in streams if not stream.done), default=_LAST)
        parts = [part for part in (stream.until(bound) for stream in streams) if part]
        dead = tuple(letter for stream in streams for letter in stream.dead)
        if parts or dead:
            yield _sorted(parts, dead, min(stream.read for stream in streams), streams)
        for stream in streams:
            stream.dead.clear()
        if bound == _LAST:
            return
        for stream in streams:
            if not stream.done and stream.end <= bound:
                stream.refill()


def _sorted(
    parts: Sequence[tuple[Batch, Ints]], dead: tuple[bytes, ...], read: float, streams: Sequence[_Stream]
) -> Chunk:
    if not parts:
        empty = next(stream.held for stream in streams if stream.held is not None)
        return Chunk(empty.cut(0, 0), dead, read)
    if len(parts) == 1:
        return Chunk(parts[0][0], dead, read)
    arrival = np.concatenate([times for _, times in parts])
    return Chunk(join([batch for batch, _ in parts]).take(np.argsort(arrival, kind="stable")), dead, read)
