"""Reasons of decisions: whose score is high enough to be explained, and what has raised it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.lists import ListTables
from features.program import Program, compile_program
from features.sheet import VALID, Bytes, Ints, Layout, Sheet, Slot, take
from features.types import BOOL
from models.arms import CHALLENGER
from models.contributions import Paths, contributions, make_paths
from models.matrix import gather
from models.scorer import INV_LN2, POINTS, CompiledModel, CompiledScorer
from rules.reasons import GivenReason, ReasonBook, give

Given = Mapping[int, tuple[GivenReason, ...]]


@dataclass(frozen=True)
class Speaker:
    """A model that can say what has raised its scores. group: int64[features], the code of each feature, or -1."""

    compiled: CompiledModel
    paths: Paths
    group: Ints


@dataclass(frozen=True)
class CompiledReasons:
    """The codes laid out in a sheet. guards: where their conditions stand.   speakers: by the model's name."""

    book: ReasonBook
    program: Program
    guards: tuple[Slot, ...]
    speakers: Mapping[str, Speaker]


def compile_reasons(
    book: ReasonBook | None, scorers: Sequence[CompiledScorer], layout: Layout, lists: ListTables
) -> CompiledReasons | None:
    """Lay out the conditions and read the models' paths; None without reasons. Refusal where a model has no counts."""
    if book is None:
        return None
    guards = tuple(layout.temporary(BOOL) for _ in book.codes)
    conditions = [(code.when, slot) for code, slot in zip(book.codes, guards, strict=True)]
    models = [each for scorer in scorers for each in (scorer.compiled, scorer.challenger) if each]
    speakers = {each.model.name: _speaker(book, each) for each in models}
    return CompiledReasons(book, compile_program(conditions, layout, lists.index), guards, speakers)


def _speaker(book: ReasonBook, compiled: CompiledModel) -> Speaker:
    codes = {name: k for k, code in enumerate(book.codes) for name in code.features}
    group = np.array([codes.get(name, -1) for name in compiled.model.features], np.int64)
    return Speaker(compiled, make_paths(compiled.model.forest), group)


def reasons_of(
    reasons: CompiledReasons, scorers: Sequence[CompiledScorer], sheet: Sheet, lists: ListTables, wanted: Bytes
) -> Given:
    """By row of the sheet, the reasons of each wanted event whose highest score is at or above the book's."""
    rows, leader = _leaders(scorers, sheet, wanted, reasons.book.above)
    if not len(rows):
        return {}
    high = take(sheet, rows)
    reasons.program.run(high, lists)
    given: dict[int, tuple[GivenReason, ...]] = {}
    for k, scorer in enumerate(scorers):
        challenged = high.ints(scorer.arm) == CHALLENGER if scorer.arm else np.zeros(len(rows), bool)
        for compiled, mine in ((scorer.compiled, ~challenged), (scorer.challenger, challenged)):
            index = np.flatnonzero((leader == k) & mine)
            if compiled and len(index):
                speaker = reasons.speakers[compiled.model.name]
                given |= {
                    int(rows[i]): each for i, each in zip(index, _told(reasons, speaker, high, index), strict=True)
                }
    return given


def _leaders(scorers: Sequence[CompiledScorer], sheet: Sheet, wanted: Bytes, above: int) -> tuple[Ints, Ints]:
    """The events that are explained, and which scorer gave the highest score; of equal ones the first."""
    best, leader = np.full(sheet.n, above - 1), np.full(sheet.n, -1)
    for k, scorer in enumerate(scorers):
        points = sheet.ints(scorer.score)
        higher = (wanted == 1) & (sheet.validity(scorer.score) == VALID) & (points > best)
        best[higher], leader[higher] = points[higher], k
    rows = np.flatnonzero(leader >= 0)
    return rows, leader[rows]


def _told(reasons: CompiledReasons, speaker: Speaker, sheet: Sheet, index: Ints) -> list[tuple[GivenReason, ...]]:
    """The reasons of events whose score is the speaker's."""
    book, model, layout = reasons.book, speaker.compiled.model, sheet.layout
    raised = contributions(speaker.paths, gather(speaker.compiled.inputs, sheet, index), speaker.group, len(book.codes))
    points = np.rint(POINTS * INV_LN2 * model.calibration.a * raised).astype(np.int64).T.tolist()
    return [
        give(
            book, model.name, points[j], [sheet.value(slot, i) is True for slot in reasons.guards],
            lambda name, i=i: (sheet.value(name, i), layout[name].type),  # type: ignore[misc]
        )
        for j, i in enumerate(index.tolist())
    ]  # fmt: skip


def warm_reasons(reasons: CompiledReasons) -> None:
    """Compile what only a high score meets, so that the first one does not wait."""
    for speaker in reasons.speakers.values():
        contributions(speaker.paths, np.zeros((len(speaker.group), 1)), speaker.group, len(reasons.book.codes))
