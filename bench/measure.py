"""A measurement: what some work took, again and again, in turns with the work that it is compared with."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spent:
    """What work on so many events took. cpu_s: user and system, of every thread of the process that did it."""

    events: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Spread:
    """The median of some runs, and the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.least)} to {_short(self.greatest)})"


@dataclass(frozen=True)
class Measured:
    """Every run of one contender, in the order in which they were made."""

    name: str
    runs: tuple[Spent, ...]

    @property
    def cpu_us(self) -> Spread:
        """Microseconds of CPU an event."""
        return spread(1e6 * run.cpu_s / run.events for run in self.runs)

    @property
    def wall_us(self) -> Spread:
        """Microseconds of wall-clock time an event."""
        return spread(1e6 * run.wall_s / run.events for run in self.runs)

    @property
    def per_s(self) -> Spread:
        """Events a second of wall-clock time."""
        return spread(run.events / run.wall_s for run in self.runs)


class Stopwatch:
    """Adds up what it is held around, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = {}

    @contextmanager
    def time(self, name: str, events: int) -> Iterator[None]:
        """Time the block and count its events."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        before = self.spent.get(name, Spent(0, 0.0, 0.0))
        self.spent[name] = Spent(before.events + events, before.wall_s + wall, before.cpu_s + cpu)


def spread(values: Iterable[float]) -> Spread:
    """Median, least and greatest."""
    sorted_values = np.sort(np.fromiter(values, float))
    return Spread(float(np.median(sorted_values)), float(sorted_values[0]), float(sorted_values[-1]))


def in_turns(contenders: Mapping[str, Callable[[], Spent]], repeats: int) -> dict[str, Measured]:
    """Run every contender so often, one after the other, round after round: what disturbs one disturbs all."""
    runs: dict[str, list[Spent]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            gc.collect()
            runs[name].append(contender())
    return {name: Measured(name, tuple(spent)) for name, spent in runs.items()}


def ratio(theirs: Measured, ours: Measured, what: Callable[[Spent], float] = lambda run: run.cpu_s) -> Spread:
    """How many times as much they take an event, round by round; of CPU unless told."""
    return spread((what(a) / a.events) / (what(b) / b.events) for a, b in zip(theirs.runs, ours.runs, strict=True))


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
