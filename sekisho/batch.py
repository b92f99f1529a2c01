"""A batch of decoded events, and where each of them stands in the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.sheet import Ints, Sheet, concat, take


@dataclass(frozen=True)
class Batch:
    """Events in arrival order.

    sheet: fields and system columns, filled.   topics: names; topic: int64[n] an index into them.
    partition, offset: int64[n]. A file is a topic named by its content hash, partition 0, the row as offset.
    """

    sheet: Sheet
    topics: tuple[str, ...]
    topic: Ints
    partition: Ints
    offset: Ints

    @property
    def n(self) -> int:
        return self.sheet.n

    def take(self, index: Ints) -> Batch:
        """The events at `index`, in that order."""
        return Batch(take(self.sheet, index), self.topics, self.topic[index], self.partition[index], self.offset[index])

    def cut(self, start: int, stop: int) -> Batch:
        """The events [start, stop), without copying their text."""
        part = slice(start, stop)
        sheet = Sheet(self.sheet.layout, self.sheet.cells[:, part], self.sheet.valid[:, part], self.sheet.text)
        return Batch(sheet, self.topics, self.topic[part], self.partition[part], self.offset[part])


def join(batches: Sequence[Batch]) -> Batch:
    """The events of several batches, one after the other."""
    topics = tuple(dict.fromkeys(name for batch in batches for name in batch.topics))
    renumber = [np.array([topics.index(name) for name in batch.topics], np.int64) for batch in batches]
    return Batch(
        concat([batch.sheet for batch in batches]),
        topics,
        np.concatenate([numbers[batch.topic] for numbers, batch in zip(renumber, batches, strict=True)]),
        np.concatenate([batch.partition for batch in batches]),
        np.concatenate([batch.offset for batch in batches]),
    )
