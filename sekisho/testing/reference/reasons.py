"""Reasons: Shapley values by their definition, groups, conditions, and the words with their values (laws L7, L8)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations

from features.types import Kind, Type
from models.forest import CATEGORICAL, Forest
from models.scorer import INV_LN2, Model
from rules.reasons import GivenReason
from rules.records import Reasons
from sekisho.pack import Pack
from sekisho.testing.reference.expressions import Lists, Row, evaluate, is_null
from sekisho.testing.reference.scores import Score, below, in_set, matrix_row

_VALUE = re.compile(r"\{(\w+)(:,)?:?(?:\.(\d))?\}")


def reasons_of(
    pack: Pack, row: Row, scores: list[Score], lists: Lists, types: Mapping[str, Type]
) -> tuple[GivenReason, ...]:
    """The reasons of a decision: those of the highest score, the first model's among equals, if it is high enough."""
    book, best = pack.reasons, max(scores, key=lambda each: each.score, default=None)
    if book is None or best is None or best.score < book.above:
        return ()
    model = next(m for each in pack.models for m in (each, each.challenger) if m and m.name == best.name)
    values = shapley_values(model, row, {name: type.scale for name, type in types.items()})
    given = []
    for code in book.codes:
        raised = sum(values.get(name, 0.0) for name in code.features)
        points = round(30.0 * INV_LN2 * model.calibration.a * raised)
        told = points >= 1 and evaluate(code.when, row, lists) is True
        if told and not any(is_null(row[name]) for name in code.values()):
            texts = {key: filled(text, row, types) for key, text in vars(code.texts).items()}
            given.append(GivenReason(code.id, model.name, points, Reasons(**texts)))
    return tuple(sorted(given, key=lambda each: -each.points)[: book.most])


def shapley_values(model: Model, row: Row, scales: Mapping[str, int]) -> dict[str, float]:
    """What each feature has added to the raw score: its mean effect on the trees' worth over all orders of features.

    A tree's worth with the features S known: at a split on one of S the row goes its way, at any other both ways count
    by their share of the training's rows (path-dependent TreeSHAP of Lundberg et al. 2020, here by definition).
    """
    inputs, names, forest = matrix_row(model, row, dict(scales)), model.features, model.forest
    found = dict.fromkeys(names, 0.0)
    for tree in range(forest.trees):
        nodes = range(int(forest.node_start[tree]), int(forest.node_start[tree + 1]))
        players = sorted({int(forest.feature[node]) for node in nodes})
        root = 0 if players else -1
        for player in players:
            others = [each for each in players if each != player]
            for size in range(len(others) + 1):
                weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(players))
                for known in combinations(others, size):
                    with_it = _worth(forest, tree, root, inputs, {*known, player})
                    found[names[player]] += weight * (with_it - _worth(forest, tree, root, inputs, set(known)))
    return found


def _worth(forest: Forest, tree: int, child: int, inputs: list[float], known: set[int]) -> float:
    if child < 0:
        return float(forest.leaf_value[forest.leaf_start[tree] + ~child])
    node = int(forest.node_start[tree]) + child
    left, right = int(forest.left[node]), int(forest.right[node])
    if int(forest.feature[node]) in known:
        goes = in_set if forest.decision[node] & CATEGORICAL else below
        way = left if goes(forest, node, inputs[forest.feature[node]]) else right
        return _worth(forest, tree, way, inputs, known)
    rows = [_rows(forest, tree, side) for side in (left, right)]
    worth = [_worth(forest, tree, side, inputs, known) for side in (left, right)]
    return (rows[0] * worth[0] + rows[1] * worth[1]) / sum(rows)


def _rows(forest: Forest, tree: int, child: int) -> int:
    """How many of the training's rows a node or leaf had."""
    if child < 0:
        return int(forest.leaf_count[forest.leaf_start[tree] + ~child])
    return int(forest.node_count[forest.node_start[tree] + child])


def filled(text: str, row: Row, types: Mapping[str, Type]) -> str:
    """A text with its values, rounded half to even from what they are exactly."""

    def fill(found: re.Match[str]) -> str:
        value, type = row[found[1]], types[found[1]]
        if isinstance(value, str):
            return value
        exact = Fraction(value) if type.kind is Kind.DOUBLE else Fraction(int(value), 10**type.scale)  # type: ignore[arg-type]
        digits = int(found[3]) if found[3] else type.scale
        units = round(exact * 10**digits)
        whole, rest = divmod(abs(units), 10**digits)
        sign, number = "-" if units < 0 else "", f"{whole:,}" if found[2] else str(whole)
        return f"{sign}{number}.{rest:0{digits}d}" if digits else f"{sign}{number}"

    return _VALUE.sub(fill, text)
