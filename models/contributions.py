"""Exact TreeSHAP: how much each feature, or group of features, has added to a raw score.

A leaf speaks where the row passes the splits on its path. Its features 1..m have o = 1 where the row passes their
splits, else 0, and z, the share of the training's rows that passed them where they stand. With the features S known,
the leaf is worth value x prod(o in S) x prod(z not in S), and the Shapley value of j is

    value (o_j - z_j) x integral over t from 0 to 1 of prod over k other than j of (t o_k + (1 - t) z_k)

(G. Owen, "Multilinear extensions of games", 1972), a polynomial of degree m - 1, which Gauss and Legendre's rule with
m / 2 points integrates exactly; every term is positive, so nothing cancels. It is the path-dependent TreeSHAP of
S. Lundberg et al., "From local explanations to global understanding with explainable AI for trees" (2020), LightGBM's
pred_contrib.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.kernel import inner, kernel
from features.refusal import Refusal
from features.sheet import Bytes, Doubles, Ints
from models.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_SHIFT, MISSING_ZERO, Forest
from models.trees import ZERO_THRESHOLD

MAX_STEPS = 10_000_000  # of all paths together; a boosted forest has some ten thousands


class Paths(NamedTuple):
    """A forest by its leaves. Leaf l has the features at [first[l], first[l + 1]) of `feature` and `share` (z).

    Feature place p passes where each of steps [step_start[p], step_start[p + 1]) does: where the node step_node goes
    left, if step_left is 1, or right.   value: float64[leaves].
    rule: int64[leaves], the row of `points` and `weights` that integrates a leaf; number: how many of its points count.
    """

    first: Ints
    feature: Ints
    share: Doubles
    step_start: Ints
    step_node: Ints
    step_left: Bytes
    value: Doubles
    rule: Ints
    number: Ints
    points: Doubles
    weights: Doubles
    node_feature: Ints
    decision: Ints
    threshold: Doubles
    set_start: Ints
    set_words: Ints


def make_paths(forest: Forest) -> Paths:
    """The paths of a forest. Refusal where its counts do not add up, or where it is too deep."""
    left, right = _edge_shares(forest)
    found = [path for tree in range(forest.trees) for path in _paths(forest, tree)]
    steps = [step for path in found for step in path.values()]
    sizes = sorted({(len(path) + 1) // 2 for path in found})
    points, weights = np.zeros((len(sizes), max(sizes, default=0))), np.zeros((len(sizes), max(sizes, default=0)))
    for k, size in enumerate(sizes):
        if size:
            x, w = np.polynomial.legendre.leggauss(size)
            points[k, :size], weights[k, :size] = (x + 1) / 2, w / 2
    return Paths(
        first=_starts([len(path) for path in found]),
        feature=np.array([feature for path in found for feature in path], np.int64),
        share=np.array([_share(step, left, right) for step in steps], np.float64),
        step_start=_starts([len(step) for step in steps]),
        step_node=np.array([node for step in steps for node, _ in step], np.int64),
        step_left=np.array([left for step in steps for _, left in step], np.uint8),
        value=forest.leaf_value,
        rule=np.array([sizes.index((len(path) + 1) // 2) for path in found], np.int64),
        number=np.array(sizes, np.int64),
        points=points,
        weights=weights,
        node_feature=forest.feature,
        decision=forest.decision,
        threshold=forest.threshold,
        set_start=forest.set_start,
        set_words=forest.set_words,
    )


_Path = dict[int, list[tuple[int, bool]]]  # by feature, its splits on the way: the node, and whether it goes left


def _paths(forest: Forest, tree: int) -> list[_Path]:
    """The path of each leaf of a tree, in their order."""
    first, stop = int(forest.node_start[tree]), int(forest.node_start[tree + 1])
    leaves, steps = list[_Path]([{} for _ in range(stop - first + 1)]), 0
    todo: list[tuple[int, list[tuple[int, bool]]]] = [(0 if stop > first else -1, [])]
    while todo:
        child, way = todo.pop()
        if child >= 0:
            todo += [
                (int(side[first + child]), [*way, (first + child, left)])
                for side, left in ((forest.left, True), (forest.right, False))
            ]
            continue
        steps += len(way)
        if steps > MAX_STEPS:
            raise Refusal(f"tree {tree} is too deep for reasons", "train it with fewer leaves, or with a max_depth")
        for node, left in way:
            leaves[~child].setdefault(int(forest.feature[node]), []).append((node, left))
    return leaves


def _edge_shares(forest: Forest) -> tuple[list[float], list[float]]:
    """Of each node's rows in training, the shares that went left and right. Refusal where they do not add up."""
    tree = np.repeat(np.arange(forest.trees), np.diff(forest.node_start))
    left, right = (
        np.where(
            child >= 0,
            forest.node_count.take(forest.node_start[tree] + child, mode="clip"),
            forest.leaf_count.take(forest.leaf_start[tree] + ~child, mode="clip"),
        )
        for child in (forest.left, forest.right)
    )
    bad = np.flatnonzero((np.minimum(left, right) < 1) | (left + right != forest.node_count))
    if len(bad):
        at = int(tree[bad[0]])
        what = f"node {bad[0] - forest.node_start[at]} of tree {at} does not have the rows of its two children"
        raise Refusal(what, "train the model with LightGBM 4, which writes internal_count and leaf_count")
    return (left / forest.node_count).tolist(), (right / forest.node_count).tolist()


def _share(steps: list[tuple[int, bool]], left: list[float], right: list[float]) -> float:
    """The share of rows that pass all splits of one feature on a path, each where it stands."""
    share = 1.0
    for node, goes_left in steps:
        share *= left[node] if goes_left else right[node]
    return share


def _starts(lengths: list[int]) -> Ints:
    return np.cumsum([0, *lengths], dtype=np.int64)


def contributions(paths: Paths, values: Doubles, group: Ints, groups: int) -> Doubles:
    """float64[groups, k]: what each group adds to the raw scores of values[features, k].

    group: int64[features], each feature's group, or -1 for none.
    """
    sums = np.zeros((groups, values.shape[1]))
    _contributions(sums, np.ascontiguousarray(values), group, *paths)
    return sums


@kernel
def _contributions(
    sums: Doubles, values: Doubles, group: Ints,
    first: Ints, feature: Ints, share: Doubles, step_start: Ints, step_node: Ints, step_left: Bytes, value: Doubles,
    rule: Ints, number: Ints, points: Doubles, weights: Doubles,
    node_feature: Ints, decision: Ints, threshold: Doubles, set_start: Ints, set_words: Ints,
) -> None:  # fmt: skip
    goes = np.empty(len(node_feature), np.uint8)
    passes = np.empty(len(feature), np.float64)
    whole = np.empty(points.shape[1])
    for row in range(values.shape[1]):
        for node in range(len(node_feature)):
            x = values[node_feature[node], row]
            goes[node] = _goes_left(x, decision[node], threshold[node], set_start, set_words)
        for p in range(len(feature)):
            passes[p] = 1.0
            for step in range(step_start[p], step_start[p + 1]):
                if goes[step_node[step]] != step_left[step]:
                    passes[p] = 0.0
        for leaf in range(len(first) - 1):
            size = number[rule[leaf]]
            for q in range(size):
                t = points[rule[leaf], q]
                whole[q] = weights[rule[leaf], q] * value[leaf]
                for p in range(first[leaf], first[leaf + 1]):
                    whole[q] *= t * passes[p] + (1.0 - t) * share[p]
            for p in range(first[leaf], first[leaf + 1]):
                to = group[feature[p]]
                if to >= 0:
                    integral = 0.0
                    for q in range(size):
                        t = points[rule[leaf], q]
                        integral += whole[q] / (t * passes[p] + (1.0 - t) * share[p])
                    sums[to, row] += (passes[p] - share[p]) * integral


@inner
def _goes_left(x: float, decision: int, threshold: float, set_start: Ints, set_words: Ints) -> bool:
    """Whether a value goes left at a split, as trees.py says."""
    if decision & CATEGORICAL:
        at, end = set_start[int(threshold)], set_start[int(threshold) + 1]
        if -1.0 < x < 32.0 * (end - at):
            return bool((set_words[at + (int(x) >> 5)] >> (int(x) & 31)) & 1)
        return False
    missing = decision >> MISSING_SHIFT
    if abs(x) <= ZERO_THRESHOLD or (np.isnan(x) and missing != MISSING_NAN):
        x = 0.0
    if np.isnan(x) or (missing == MISSING_ZERO and x == 0.0):
        return bool(decision & DEFAULT_LEFT)
    return bool(x <= threshold)
