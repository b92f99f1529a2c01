"""The kernels that evaluate a plan: raw scores equal to LightGBM's to the last bit.

The tests of the values are those of LightGBM's own prediction from a matrix: what is within its zero threshold is 0,
NaN is 0 where nothing counts as missing, a category is the value truncated toward zero.
"""

from __future__ import annotations

import numpy as np

from features.kernel import kernel
from features.sheet import Doubles, Ints
from models.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_SHIFT, MISSING_ZERO
from models.plan import HIGHEST, LOWEST, Shorts

ZERO_THRESHOLD = float(np.float32(1e-35))
BLOCK = 256  # rows whose bins and nodes stay in the nearest cache
FEW = 12  # up to here following each row alone is cheaper than sweeping the nodes


@kernel
def raw_scores(
    raw: Doubles,
    values: Doubles,
    feature: Ints,
    decision: Ints,
    edge_start: Ints,
    edges: Doubles,
    word_start: Ints,
    words: Ints,
    node_start: Ints,
    node_column: Ints,
    rank: Shorts,
    left: Shorts,
    right: Shorts,
    leaf_start: Ints,
    leaf_value: Doubles,
) -> None:
    """raw[n] of values[features, n]: the trees' leaf values, added in the order of the trees."""
    n = values.shape[1]
    bins = np.zeros((len(feature), BLOCK), np.uint16)
    at = np.empty(BLOCK, np.uint16)
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        lanes = at[: (rows + 15) & ~15]  # whole vectors
        for c in range(len(feature)):
            x = values[feature[c], start : start + rows]
            if decision[c] & CATEGORICAL:
                _bin_category(x, words[word_start[c] : word_start[c + 1]], bins[c])
            else:
                _bin_number(x, decision[c], edges[edge_start[c] : edge_start[c + 1]], bins[c])
        total = raw[start : start + rows]
        total[:] = 0.0
        for t in range(len(node_start) - 1):
            first, stop = node_start[t], node_start[t + 1]
            if rows <= FEW:
                _follow(bins, node_column[first:stop], rank[first:stop], left[first:stop], right[first:stop], at, rows)
            else:
                _sweep(bins, node_column[first:stop], rank[first:stop], left[first:stop], right[first:stop], lanes)
            base = leaf_start[t] - (stop - first)
            for r in range(rows):
                total[r] += leaf_value[base + np.int64(at[r])]


@kernel
def _bin_number(x: Doubles, decision: int, edges: Doubles, bins: Shorts) -> None:
    missing = decision >> MISSING_SHIFT
    default = LOWEST if decision & DEFAULT_LEFT else HIGHEST
    for r in range(len(x)):
        value = x[r]
        if np.isnan(value):
            if missing == MISSING_NAN:
                bins[r] = default
                continue
            value = 0.0
        if abs(value) <= ZERO_THRESHOLD:
            if missing == MISSING_ZERO:
                bins[r] = default
                continue
            value = 0.0
        low, size = 0, len(edges)
        while size > 1:
            half = size >> 1
            low += half if edges[low + half - 1] < value else 0
            size -= half
        bins[r] = 1 + low + (1 if edges[low] < value else 0)


@kernel
def _bin_category(x: Doubles, words: Ints, bins: Shorts) -> None:
    for r in range(len(x)):
        bins[r] = HIGHEST
        if -1.0 < x[r] < 32.0 * len(words):
            category = int(x[r])
            if (words[category >> 5] >> (category & 31)) & 1:
                bins[r] = LOWEST


@kernel
def _follow(bins: Shorts, column: Ints, rank: Shorts, left: Shorts, right: Shorts, at: Shorts, rows: int) -> None:
    """The leaf of each of few rows, followed from the root."""
    for r in range(rows):
        node = np.int64(0)
        while node < len(column):
            node = np.int64(left[node]) if bins[column[node], r] <= rank[node] else np.int64(right[node])
        at[r] = node


@kernel
def _sweep(bins: Shorts, column: Ints, rank: Shorts, left: Shorts, right: Shorts, at: Shorts) -> None:
    """The leaf of each row of a block: every node, parents first, moves on the rows that stand at it."""
    at[:] = 0
    for node in range(len(column)):
        bin, limit, here = bins[column[node]], rank[node], np.uint16(node)
        to_left, to_right = left[node], right[node]
        for r in range(len(at)):
            onward = to_left if bin[r] <= limit else to_right
            at[r] = onward if at[r] == here else at[r]
