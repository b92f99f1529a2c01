"""The kernels that evaluate a plan: raw scores equal to LightGBM's to the last bit.

The tests of the values are those of LightGBM's own prediction from a matrix: what is within its zero threshold is 0,
NaN is 0 where nothing counts as missing, a category is the value truncated toward zero.
"""

from __future__ import annotations

import numpy as np

from features.kernel import inner, kernel
from features.sheet import Bytes, Doubles, Ints
from models.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NONE, MISSING_SHIFT, MISSING_ZERO
from models.plan import HIGHEST, LOWEST, Numbers, Places
from models.sweep import BLOCK, GROUPS, LANES, Words, sweep

ZERO_THRESHOLD = float(np.float32(1e-35))
FEW = 16  # up to here following each row alone is cheaper than sweeping the nodes


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
    node_column: Numbers,
    rank: Bytes,
    left: Places,
    right: Places,
    beyond: Places,
    leaf_start: Ints,
    leaf_value: Doubles,
) -> None:
    """raw[n] of values[features, n]: the trees' leaf values, added in the order of the trees."""
    n = values.shape[1]
    bins = np.zeros((len(feature), BLOCK), np.uint8)
    largest = 0
    for t in range(len(node_start) - 1):
        largest = max(largest, node_start[t + 1] - node_start[t])
    at, here = np.empty(BLOCK, left.dtype), np.empty(GROUPS * (largest + 1), np.uint64)
    value, low = np.empty(BLOCK), np.empty(BLOCK, np.int64)
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        for c in range(len(feature)):
            x = values[feature[c], start : start + rows]
            if decision[c] & CATEGORICAL:
                _bin_category(x, words[word_start[c] : word_start[c + 1]], bins[c])
            else:
                _bin_number(x, decision[c], edges[edge_start[c] : edge_start[c + 1]], bins[c], value, low)
        _add_trees(
            raw[start : start + rows], bins, node_start, node_column, rank, left, right, beyond, leaf_start, leaf_value,
            at, here,
        )  # fmt: skip


@inner
def _add_trees(
    total: Doubles, bins: Bytes, node_start: Ints, node_column: Numbers, rank: Bytes, left: Places, right: Places,
    beyond: Places, leaf_start: Ints, leaf_value: Doubles, at: Places, here: Words,
) -> None:  # fmt: skip
    """The sums of all trees for a block of rows."""
    rows = len(total)
    for r in range(rows):
        total[r] = 0.0
    for t in range(len(node_start) - 1):
        first, stop = node_start[t], node_start[t + 1]
        if rows <= FEW:
            _follow(bins, node_column[first:stop], rank[first:stop], left[first:stop], right[first:stop], at, rows)
        else:
            sweep(
                bins, node_column[first:stop], rank[first:stop], left[first:stop], right[first:stop],
                beyond[first:stop], at, here, (rows + LANES - 1) // LANES,
            )  # fmt: skip
        base = leaf_start[t] - (stop - first)
        for r in range(rows):
            total[r] += leaf_value[base + np.int64(at[r])]


@inner
def _bin_number(x: Doubles, decision: int, edges: Doubles, bins: Bytes, value: Doubles, low: Ints) -> None:
    """Bin a block of one feature: all rows take each step of the search together. value, low: room for them."""
    for r in range(len(x)):
        value[r] = x[r] if abs(x[r]) > ZERO_THRESHOLD else 0.0  # NaN, too
        low[r] = 0
    size = len(edges)
    while size > 1:
        half = size >> 1
        for r in range(len(x)):
            low[r] += half if edges[low[r] + half - 1] < value[r] else 0
        size -= half
    for r in range(len(x)):
        bins[r] = 1 + low[r] + (1 if edges[low[r]] < value[r] else 0)
    missing = decision >> MISSING_SHIFT
    if missing != MISSING_NONE:
        default = LOWEST if decision & DEFAULT_LEFT else HIGHEST
        for r in range(len(x)):
            if np.isnan(x[r]) or (missing == MISSING_ZERO and value[r] == 0.0):
                bins[r] = default


@inner
def _bin_category(x: Doubles, words: Ints, bins: Bytes) -> None:
    for r in range(len(x)):
        bins[r] = HIGHEST
        if -1.0 < x[r] < 32.0 * len(words):
            category = int(x[r])
            if (words[category >> 5] >> (category & 31)) & 1:
                bins[r] = LOWEST


@inner
def _follow(bins: Bytes, column: Numbers, rank: Bytes, left: Places, right: Places, at: Places, rows: int) -> None:
    """The leaf of each of few rows, followed from the root."""
    for r in range(rows):
        node = np.int64(0)
        while node < len(column):
            node = np.int64(left[node]) if bins[column[node], r] <= rank[node] else np.int64(right[node])
        at[r] = node
