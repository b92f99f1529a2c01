"""The forest on a device: the same bins, the same comparisons, the leaves added in the same order as models.trees."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from features.gpu.device import Array, Device
from features.kernel import kernel
from features.sheet import Bytes, Doubles, Ints
from models.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NONE, MISSING_SHIFT, MISSING_ZERO
from models.plan import HIGHEST, LOWEST, Numbers, Places, Plan
from models.trees import ZERO_THRESHOLD


class DeviceForest:
    """Scores rows on a device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._plan = lru_cache(maxsize=16)(self._upload)

    def predict_raw(self, plan: Plan, values: Doubles) -> Doubles:
        """As models.scorer.predict_raw."""
        xp, n = self.device.xp, values.shape[1]
        there = self._plan(_Key(plan))
        bins, raw = xp.empty((len(plan.feature), n), np.uint8), xp.empty(n, np.float64)
        columns = (there.feature, there.decision, there.edge_start, there.edges, there.word_start, there.words)
        self.device.run(bin_rows, n, self.device.up(values), *columns, bins)
        trees = (there.node_start, there.node_column, there.rank, there.left, there.right)
        self.device.run(add_leaves, n, bins, *trees, there.leaf_start, there.leaf_value, raw)
        return self.device.down(raw)

    def _upload(self, key: _Key) -> Plan:
        arrays: list[Array] = [self.device.up(array) for array in key.plan]
        return Plan(*arrays)


class _Key:
    """A plan by its identity: its arrays have no hash."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __hash__(self) -> int:
        return id(self.plan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.plan is self.plan


@kernel
def bin_rows(
    first: int, step: int, values: Doubles, feature: Ints, decision: Ints, edge_start: Ints, edges: Doubles,
    word_start: Ints, words: Ints, bins: Bytes,
) -> None:  # fmt: skip
    """bins[columns, n] of values[features, n]."""
    for r in range(first, values.shape[1], step):
        for c in range(len(feature)):
            x = values[feature[c], r]
            if decision[c] & CATEGORICAL:
                start, stop = word_start[c], word_start[c + 1]
                bins[c, r] = HIGHEST
                if -1.0 < x < 32.0 * (stop - start):
                    category = int(x)
                    if (words[start + (category >> 5)] >> (category & 31)) & 1:
                        bins[c, r] = LOWEST
                continue
            value = x if abs(x) > ZERO_THRESHOLD else 0.0  # NaN, too
            low, high = edge_start[c], edge_start[c + 1]
            while low < high:
                middle = (low + high) >> 1
                if edges[middle] < value:
                    low = middle + 1
                else:
                    high = middle
            bins[c, r] = 1 + low - edge_start[c]
            missing = decision[c] >> MISSING_SHIFT
            if missing != MISSING_NONE and (x != x or (missing == MISSING_ZERO and value == 0.0)):  # noqa: PLR0124
                bins[c, r] = LOWEST if decision[c] & DEFAULT_LEFT else HIGHEST


@kernel
def add_leaves(
    first: int, step: int, bins: Bytes, node_start: Ints, node_column: Numbers, rank: Bytes, left: Places,
    right: Places, leaf_start: Ints, leaf_value: Doubles, raw: Doubles,
) -> None:  # fmt: skip
    """raw[n]: the leaf values of each row, added in the order of the trees."""
    for r in range(first, len(raw), step):
        total = 0.0
        for t in range(len(node_start) - 1):
            start, nodes, at = node_start[t], node_start[t + 1] - node_start[t], np.int64(0)
            while at < nodes:
                goes_left = bins[node_column[start + at], r] <= rank[start + at]
                at = np.int64(left[start + at]) if goes_left else np.int64(right[start + at])
            total += leaf_value[leaf_start[t] + at - nodes]
        raw[r] = total
