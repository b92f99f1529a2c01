"""How a forest is evaluated: every split becomes `bin <= rank` over small integers.

A feature's value is binned once a row, to the number of thresholds below it. What is missing and what is in a
categorical set is decided there too, as the lowest bin (goes left everywhere) or the highest (goes right everywhere).
So a node is one comparison, whatever LightGBM calls its kind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.sheet import Bytes, Doubles, Ints
from models.forest import CATEGORICAL, Forest

# Small, so that a vector instruction takes many rows: uint8, or uint16 where a tree has more than 128 leaves.
Places = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Numbers = npt.NDArray[np.int32]

LOWEST, HIGHEST = 0, 255
MAX_EDGES = HIGHEST - 2  # bins 1 to HIGHEST - 1 hold the counts 0 to MAX_EDGES


class Plan(NamedTuple):
    """A forest as columns of bins and nodes over them.

    A column is a feature with one way of treating what is missing, or one categorical set of a feature.
    feature, decision: int64[columns].   Column c owns edges[edge_start[c]:edge_start[c + 1]]: float64, rising, or
    words[word_start[c]:word_start[c + 1]]: 32 bits each.   node_column: int32[nodes].
    rank: uint8[nodes], a row goes left if its bin is at most the rank.
    left, right: small integers[nodes], a node of the same tree or, from its number of nodes on, a leaf.
    beyond: small integers[nodes], the leaf that is reached by a step to the right, then ever to the left.
    """

    feature: Ints
    decision: Ints
    edge_start: Ints
    edges: Doubles
    word_start: Ints
    words: Ints
    node_start: Ints
    node_column: Numbers
    rank: Bytes
    left: Places
    right: Places
    beyond: Places
    leaf_start: Ints
    leaf_value: Doubles


def make_plan(forest: Forest) -> Plan:
    """The plan of a forest."""
    columns: list[tuple[int, int, Doubles, Ints]] = []
    node_column = np.zeros(len(forest.feature), np.int32)
    rank = np.zeros(len(forest.feature), np.uint8)
    for (feature, decision, which), nodes in _groups(forest).items():
        if decision & CATEGORICAL:
            node_column[nodes], rank[nodes] = len(columns), LOWEST
            words = forest.set_words[forest.set_start[which] : forest.set_start[which + 1]]
            columns.append((feature, decision, np.empty(0), words))
            continue
        edges, place = np.unique(forest.threshold[nodes], return_inverse=True)
        node_column[nodes], rank[nodes] = len(columns) + place // MAX_EDGES, 1 + place % MAX_EDGES
        for start in range(0, len(edges), MAX_EDGES):
            columns.append((feature, decision, edges[start : start + MAX_EDGES], np.empty(0, np.int64)))
    return Plan(
        feature=np.array([column[0] for column in columns], np.int64),
        decision=np.array([column[1] for column in columns], np.int64),
        edge_start=_starts([len(column[2]) for column in columns]),
        edges=np.concatenate([np.empty(0), *(column[2] for column in columns)]),
        word_start=_starts([len(column[3]) for column in columns]),
        words=np.concatenate([np.empty(0, np.int64), *(column[3] for column in columns)]),
        node_start=forest.node_start,
        node_column=node_column,
        rank=rank,
        left=_local(forest, forest.left),
        right=_local(forest, forest.right),
        beyond=_local(forest, _beyond(forest)),
        leaf_start=forest.leaf_start,
        leaf_value=forest.leaf_value,
    )


def _groups(forest: Forest) -> dict[tuple[int, int, int], list[int]]:
    """The nodes of each column: by feature, decision and (of a categorical split) set."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for node, (feature, decision) in enumerate(zip(forest.feature.tolist(), forest.decision.tolist(), strict=True)):
        which = int(forest.threshold[node]) if decision & CATEGORICAL else 0
        groups.setdefault((feature, decision, which), []).append(node)
    return groups


def _starts(lengths: list[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _beyond(forest: Forest) -> Ints:
    """For each node the leftmost leaf of its right side, as a child."""
    left, leftmost = forest.left.tolist(), forest.left.tolist()
    roots = np.repeat(forest.node_start[:-1], np.diff(forest.node_start)).tolist()
    for node in range(len(left) - 1, -1, -1):  # parents come first
        if left[node] >= 0:
            leftmost[node] = leftmost[roots[node] + left[node]]
    right = zip(forest.right.tolist(), roots, strict=True)
    return np.array([leftmost[root + child] if child >= 0 else child for child, root in right], np.int64)


def _local(forest: Forest, child: Ints) -> Places:
    """Children with leaf j of a tree of m nodes numbered m + j."""
    nodes = np.diff(forest.node_start)
    local = np.where(child < 0, np.repeat(nodes, nodes) + ~child, child)
    return local.astype(np.uint8) if nodes.max(initial=0) < 128 else local.astype(np.uint16)
