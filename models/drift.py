"""Drift: how far values are from those of the training, by the population stability index (PSI).

Bins are fixed by the training's values: ten by their quantiles, values that fill a bin alone, and NULL, as their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.kernel import kernel
from features.sheet import Doubles, Ints

BINS, SMOOTHING = 10, 0.5
SOME, LARGE = 0.1, 0.25  # an index above these is some or a large shift, by custom


@dataclass(frozen=True)
class Bins:
    """How the training's values of a column lay.

    edges: rising; bin k holds the values up to edges[k] and above the edge before, the next one those above all edges.
    masses: rising; values that have a bin of their own, behind those; the last bin is NULL's.   counts: of each bin.
    """

    edges: tuple[float, ...]
    masses: tuple[float, ...]
    counts: tuple[int, ...]


class BinPlan(NamedTuple):
    """The bins of several columns: column c has edges[edge_start[c] : edge_start[c + 1]], and so its masses."""

    edges: Doubles
    edge_start: Ints
    masses: Doubles
    mass_start: Ints


def plan_bins(columns: Sequence[Bins]) -> BinPlan:
    """The plan of columns, in their order."""
    parts = [[np.array(getattr(each, key), np.float64) for each in columns] for key in ("edges", "masses")]
    starts = [np.cumsum([0, *map(len, part)], dtype=np.int64) for part in parts]
    edges, masses = (np.concatenate([np.empty(0), *part]) for part in parts)
    return BinPlan(edges, starts[0], masses, starts[1])


def bins_of(values: Doubles) -> Bins:
    """The bins of a column's values; NaN is NULL."""
    known = np.sort(values[~np.isnan(values)])
    edges = np.unique(known[np.linspace(0, len(known) - 1, BINS + 1).astype(int)[1:-1]]) if len(known) else known
    alone, times = np.unique(known, return_counts=True)
    masses = alone[times > len(known) / BINS]
    bins = Bins(tuple(edges.tolist()), tuple(masses.tolist()), (0,) * (len(edges) + len(masses) + 2))
    counts = count_bins(plan_bins([bins]), values[None], np.ones(len(values)))[0]
    return Bins(bins.edges, bins.masses, tuple(counts.astype(int).tolist()))


def count_bins(plan: BinPlan, values: Doubles, weight: Doubles) -> Doubles:
    """float64[columns, most bins of a column]: the weights (float64[n]) of values[columns, n] by bin."""
    sizes = np.diff(plan.edge_start) + np.diff(plan.mass_start) + 2
    counts = np.zeros((len(sizes), int(sizes.max(initial=0))))
    _count(counts, np.ascontiguousarray(values), weight, *plan)
    return counts


@kernel
def _count(
    counts: Doubles,
    values: Doubles,
    weight: Doubles,
    edges: Doubles,
    edge_start: Ints,
    masses: Doubles,
    mass_start: Ints,
) -> None:
    for c in range(len(counts)):
        own, alone = edges[edge_start[c] : edge_start[c + 1]], masses[mass_start[c] : mass_start[c + 1]]
        for i in range(values.shape[1]):
            x = values[c, i]
            at = len(own) + 1 + len(alone)
            if not np.isnan(x):
                place = np.searchsorted(alone, x)
                mass = place < len(alone) and alone[place] == x
                at = len(own) + 1 + place if mass else np.searchsorted(own, x)
            counts[c, at] += weight[i]


def stability(before: Doubles, after: Doubles) -> tuple[float, int]:
    """(PSI, bins in use) of two counts by bin: the sum of (q - p) ln(q / p), with half a row more in each bin."""
    a, b = before + SMOOTHING, after + SMOOTHING
    used = (a > SMOOTHING) | (b > SMOOTHING)
    p, q = a[used] / a[used].sum(), b[used] / b[used].sum()
    return float(((q - p) * np.log(q / p)).sum()), int(used.sum())


def by_chance(bins: int, before: float, after: float) -> float:
    """The PSI that sampling alone gives on average, of so many values before and after."""
    return (bins - 1) * (1 / max(1.0, before) + 1 / max(1.0, after))
