"""Exact min and max over any rows of a key: a tree of eight children a node over its rows, in O(log rows).

A node holds the least ordered value of the rows below it; max is min over complemented values. A value is ordered as a
pair of signed words (hi, lo), of which narrow kinds keep the first. Nodes of all levels stand behind each other, those
of the rows' parents first; the words of one node, of all trees, stand together.
"""

from __future__ import annotations

from features.arena import Store
from features.intern import DOUBLE, WIDE, plain
from features.kernel import inlined, inner
from features.sheet import Ints
from features.window_plan import (
    COUNT_AT,
    KIND,
    ROW_WORDS,
    TREE_FLIP,
    TREE_FOLD,
    TREE_MEASURE,
    TREE_NODE,
    TREE_NODES,
    VALID_AT,
    VALUE_AT,
    Program,
)  # fmt: skip

_MAX = 2**63 - 1
_MIN = -(2**63)


@inlined
def node_count(leaves: int) -> int:
    """Nodes over so many rows, all levels together."""
    total = 0
    while leaves > 1:
        leaves = (leaves + 7) >> 3
        total += leaves
    return total


@inlined
def ordered(kind: int, flip: int, lo: int, hi: int) -> tuple[int, int]:
    """A cell as a pair of words that compares as the value does; of its negative order if `flip`."""
    if kind == WIDE:
        first, second = hi, lo ^ _MIN
    elif kind == DOUBLE:
        bits = plain(lo, kind)
        first, second = bits ^ ((bits >> 63) & _MAX), 0
    else:
        first, second = lo, 0
    if flip != 0:
        return ~first, ~second
    return first, second


@inlined
def unordered(kind: int, flip: int, first: int, second: int) -> tuple[int, int]:
    """The cell (lo, hi) of an ordered pair."""
    if flip != 0:
        first, second = ~first, ~second
    if kind == WIDE:
        return second ^ _MIN, first
    if kind == DOUBLE:
        return first ^ ((first >> 63) & _MAX), 0
    return first, 0


@inlined
def _leaf(plan: Program, t: int, words: Ints, row: int) -> tuple[int, int]:
    """The ordered value of one row; the greatest pair if it does not count."""
    measures, trees = plan.measures, plan.trees
    m = trees[t, TREE_MEASURE]
    if words[row + measures[m, VALID_AT]] == 0:
        return _MAX, _MAX
    hi = words[row + measures[m, VALUE_AT] + 1]
    return ordered(measures[m, KIND], trees[t, TREE_FLIP], words[row + measures[m, VALUE_AT]], hi)


@inlined
def _node(words: Ints, node: int, wide: bool) -> tuple[int, int]:
    return words[node], words[node + 1] if wide else 0


@inner
def rebuild(plan: Program, store: Store, rows_at: int, capacity: int, start: int, end: int) -> None:
    """Set every node over a row of [start, end); rows from `end` on do not exist yet."""
    words, measures, trees = store.words, plan.measures, plan.trees
    stride, step = plan.shape[ROW_WORDS], plan.shape[TREE_NODES]
    for t in range(len(trees)):
        level = rows_at + (capacity + 1) * stride + trees[t, TREE_NODE]
        wide = measures[trees[t, TREE_MEASURE], KIND] == WIDE
        below, leaves, lo, hi = 0, capacity + 1, start, end
        while leaves > 1:
            parents = (hi + 7) >> 3
            for parent in range(lo >> 3, parents):
                first, second = _MAX, _MAX
                for child in range(8 * parent, min(8 * parent + 8, hi)):
                    if below == 0:
                        a, b = _leaf(plan, t, words, rows_at + child * stride)
                    else:
                        a, b = _node(words, below + child * step, wide)
                    if a < first or (a == first and b < second):
                        first, second = a, b
                words[level + parent * step] = first
                if wide:
                    words[level + parent * step + 1] = second
            leaves = (leaves + 7) >> 3
            below, lo, hi = level, lo >> 3, parents
            level += leaves * step


@inner
def extreme(plan: Program, store: Store, t: int, rows_at: int, capacity: int, lo: int, hi: int) -> tuple[int, int]:
    """The least ordered pair over rows [lo, hi); the greatest pair if none counts."""
    words, measures, trees = store.words, plan.measures, plan.trees
    stride, step = plan.shape[ROW_WORDS], plan.shape[TREE_NODES]
    wide = measures[trees[t, TREE_MEASURE], KIND] == WIDE
    level = rows_at + (capacity + 1) * stride + trees[t, TREE_NODE]
    below, leaves, first, second = 0, capacity + 1, _MAX, _MAX
    while lo < hi:
        while lo < hi and (lo & 7 != 0 or hi & 7 != 0):
            if lo & 7 != 0:
                at = lo
                lo += 1
            else:
                hi -= 1
                at = hi
            if below == 0:
                a, b = _leaf(plan, t, words, rows_at + at * stride)
            else:
                a, b = _node(words, below + at * step, wide)
            if a < first or (a == first and b < second):
                first, second = a, b
        lo, hi = lo >> 3, hi >> 3
        leaves = (leaves + 7) >> 3
        below = level
        level += leaves * step
    return first, second


@inner
def fold_extreme(plan: Program, store: Store, t: int, record: int, row: int) -> None:
    """Keep the extreme of dropped rows, for UNBOUNDED frames."""
    words, measures, trees = store.words, plan.measures, plan.trees
    at, m = record + trees[t, TREE_FOLD], trees[t, TREE_MEASURE]
    if trees[t, TREE_FOLD] < 0 or words[row + measures[m, VALID_AT]] == 0:
        return
    wide = measures[m, KIND] == WIDE
    first, second = _leaf(plan, t, words, row)
    if words[row - plan.shape[ROW_WORDS] + measures[m, COUNT_AT]] > 0:
        a, b = _node(words, at, wide)
        if a < first or (a == first and b < second):
            return
    words[at] = first
    if wide:
        words[at + 1] = second
