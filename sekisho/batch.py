"""A batch of decoded events, and where each of them stands in the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.sheet import VALID, Ints, Layout, Sheet, concat, new_sheet, take
from rules.controls import Control


@dataclass(frozen=True)
class Batch:
    """Events in arrival order.

    sheet: fields and system columns, filled.   topics: names; topic: int64[n] an index into them.
    partition, offset: int64[n]. A file is a topic named by its content hash, partition 0, the row as offset.
    control: int64[n], 1 + an index into `controls` where the row stands for a control event, whose fields are NULL,
    else 0; None where there are none.
    """

    sheet: Sheet
    topics: tuple[str, ...]
    topic: Ints
    partition: Ints
    offset: Ints
    control: Ints | None = None
    controls: tuple[Control, ...] = ()

    @property
    def n(self) -> int:
        return self.sheet.n

    def take(self, index: Ints) -> Batch:
        """The events at `index`, in that order."""
        sheet = take(self.sheet, index)
        return self._of(sheet, self.topic[index], self.partition[index], self.offset[index], index)

    def cut(self, start: int, stop: int) -> Batch:
        """The events [start, stop), without copying their text."""
        part = slice(start, stop)
        sheet = Sheet(self.sheet.layout, self.sheet.cells[:, part], self.sheet.valid[:, part], self.sheet.text)
        return self._of(sheet, self.topic[part], self.partition[part], self.offset[part], part)

    def pieces(self) -> Iterator[tuple[Sequence[Control], Batch]]:
        """Control events, and the events behind them up to the next; either may be none."""
        if self.control is None or not self.control.any():
            yield (), self
            return
        rows = np.flatnonzero(self.control)
        bounds = [0, *(rows + 1).tolist()]
        held: list[Control] = []
        for start, stop in zip(bounds, [*rows.tolist(), self.n], strict=True):
            if start:
                held.append(self.controls[self.control[start - 1] - 1])
            if stop > start or stop == self.n:
                yield tuple(held), self.cut(start, stop)
                held.clear()

    def _of(self, sheet: Sheet, topic: Ints, partition: Ints, offset: Ints, part: Ints | slice) -> Batch:
        if self.control is None:
            return Batch(sheet, self.topics, topic, partition, offset)
        marked = self.control[part] > 0
        controls = tuple(self.controls[k - 1] for k in self.control[part][marked].tolist())
        return Batch(sheet, self.topics, topic, partition, offset, np.where(marked, np.cumsum(marked), 0), controls)


def join(batches: Sequence[Batch]) -> Batch:
    """The events of several batches, one after the other."""
    topics = tuple(dict.fromkeys(name for batch in batches for name in batch.topics))
    renumber = [np.array([topics.index(name) for name in batch.topics], np.int64) for batch in batches]
    control = None
    if any(batch.control is not None for batch in batches):
        starts = np.cumsum([0, *(len(batch.controls) for batch in batches)])
        numbers = [np.zeros(batch.n, np.int64) if batch.control is None else batch.control for batch in batches]
        control = np.concatenate([part + start * (part > 0) for part, start in zip(numbers, starts, strict=False)])
    return Batch(
        concat([batch.sheet for batch in batches]),
        topics,
        np.concatenate([numbers[batch.topic] for numbers, batch in zip(renumber, batches, strict=True)]),
        np.concatenate([batch.partition for batch in batches]),
        np.concatenate([batch.offset for batch in batches]),
        control,
        tuple(each for batch in batches for each in batch.controls),
    )


def control_batch(
    layout: Layout, controls: Sequence[Control], topic: str, partition: Ints, offset: Ints, arrived: Ints
) -> Batch:
    """Control events alone, as rows. partition, offset, arrived: int64[n]; arrived in microseconds."""
    n = len(controls)
    sheet = new_sheet(layout, n)
    sheet.cells[:] = 0
    for name in ("event_time", "record_time"):
        sheet.ints(name)[:], sheet.validity(name)[:] = arrived, VALID
    return Batch(
        sheet, (topic,), np.zeros(n, np.int64), partition, offset, np.arange(1, n + 1, dtype=np.int64), tuple(controls)
    )
