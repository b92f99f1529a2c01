"""Labels that say nothing to the pack are refused before the log is replayed, by the first of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.sheet import VALID
from replay.columns import columns_of
from replay.merge import Chunk
from replay.sources import Input
from replay.topic_input import TopicInput
from sekisho.errors import SourceError
from sekisho.pack import LabelPolicy, Pack
from sekisho.wire.arrow import to_arrow

CLASSES = ("fraud", "scam_authorised", "first_party", "mule", "dispute_not_fraud", "genuine_confirmed")
_SHOWN = 5

Read = Callable[[Sequence[Input]], Iterator[Chunk]]


def check_labels(pack: Pack, read: Read, inputs: Sequence[Input | TopicInput]) -> None:
    """Read the first labels of each file of labels. Raises SourceError where none of them can mean anything.

    read: reads inputs as the run will.
    """
    for source in inputs:
        if not isinstance(source, Input) or not (source.kind or source.labels):
            continue
        if pack.labels is None:
            what = f"pack {pack.name} has no [labels] table, so it can make nothing of labels"
            raise SourceError(what, "add the table (docs/pack.md), or leave out --labels and --label-column")
        if source.labels:
            _check_classes(pack.labels, pack.name, {source.labels.label_class}, "--label-class")
        else:
            _First(pack, pack.labels, source, *_first(read([source]))).check()


def _first(chunks: Iterator[Chunk]) -> tuple[Chunk | None, bytes, int]:
    """(the first part of a file that holds an event, the first dead letter before its end, how many there are)."""
    letter, dead = b"", 0
    for chunk in chunks:
        letter, dead = letter or next(iter(chunk.dead), b""), dead + len(chunk.dead)
        if chunk.batch.n:
            return chunk, letter, dead
    return None, letter, dead


@dataclass(frozen=True)
class _First:
    """The beginning of a file of labels. letter: its first dead letter, of `dead`."""

    pack: Pack
    labels: LabelPolicy
    source: Input
    chunk: Chunk | None
    letter: bytes
    dead: int

    def check(self) -> None:
        """Each error names the file, what its labels lack, and what it has."""
        labels, file = self.labels, self.source.path
        if self.chunk is None:
            what = f"{file}: there is no label in it"
            if self.dead:
                what += f": none of its {self.dead:,} rows can be read; the first: {json.loads(self.letter)['reason']}"
            raise SourceError(what, "give a file of labels: docs/wire.md says what stands in one")
        kinds = self._texts("kind")
        if labels.kind not in kinds:
            what = f"{file}: these are no labels: their kind is {_some(kinds)}, not {labels.kind}"
            raise SourceError(what, f'write "kind": "{labels.kind}" into each')
        if not any(self._known(name) for name in labels.names):
            self._refuse(f"no label says what it is about: no {' or '.join(labels.names)}", labels.names[0])
        if not self._known(labels.class_field) and not self._known(labels.reversal_field):
            self._refuse(f"no label says its class: no {labels.class_field}", labels.class_field)
        if classes := self._texts(labels.class_field):
            _check_classes(labels, self.pack.name, classes, str(file))

    def _known(self, name: str) -> bool:
        assert self.chunk is not None
        sheet = self.chunk.batch.sheet
        return name in sheet.layout and bool((sheet.validity(name) == VALID).any())

    def _texts(self, name: str) -> set[str]:
        assert self.chunk is not None
        sheet = self.chunk.batch.sheet
        if name not in sheet.layout:
            return set()
        column = to_arrow(sheet, [(name, sheet.layout[name])], np.arange(sheet.n))[name]
        return {str(value) for value in column.unique().to_pylist() if value is not None}

    def _refuse(self, what: str, field: str) -> None:
        files = self.source.files()
        has = ", ".join(columns_of(files[0]))
        raise SourceError(
            f"{files[0]}: {what}",
            f"name the column {field}, or say in [fields] from where {field} is read (`from`); it has {has}",
        )


def _check_classes(labels: LabelPolicy, pack: str, classes: set[str], where: str) -> None:
    known = {*labels.fraud, *CLASSES}
    if not classes & known:
        what = f"{where}: no label is of a class that means anything to pack {pack}: {_some(classes)}"
        raise SourceError(what, f"write one of {', '.join(sorted(known))}, or name yours in [labels] fraud")


def _some(words: set[str]) -> str:
    shown = sorted(words)
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
