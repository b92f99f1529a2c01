"""Drift: how far the features and scores of a range are from those that the strategy was made on (PSI)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from features.sheet import Doubles, Ints
from replay.backtest.database import arrays, table
from replay.backtest.figures import Case, fitted

BINS, SMOOTHING, PAY_DAY = 10, 0.5, 25


def drift(case: Case) -> pa.Table:
    """PSI of each numeric feature and raw score of CANDIDATE, over a sample of the payments.

    The baseline is the payments before the range, or, if there are too few, the first half of the range.
    """
    names = [name for name in table(case.db, "SELECT * FROM sample LIMIT 0").column_names if name != "n"]
    before, days = _halves(case)
    rows: list[dict[str, Any]] = []
    for name in names:
        query = f"""SELECT coalesce(s."{name}", 'nan') AS v FROM sample s JOIN judged j USING (n)
                    WHERE j.excluded IS NULL OR j.excluded IN ('before_the_range', 'cold') ORDER BY n"""
        values = arrays(case.db, query)["v"]
        old, new = values[before], values[~before]
        if len(old) and len(new):
            weight = matching_weights(days[before], days[~before])
            psi, bins = stability_index(old, new, weight)
            rows.append({
                "column": name, "psi": psi, "expected": (bins - 1) * (1 / len(old) + 1 / len(new)),
                "baseline_rows": len(old), "rows": len(new), "null_share_before": float(np.isnan(old).mean()),
                "null_share": float(np.isnan(new).mean()),
            })  # fmt: skip
    return fitted("drift", sorted(rows, key=lambda row: -row["psi"]))


def _halves(case: Case) -> tuple[Any, Ints]:
    """Which sampled payments are the baseline, and the kind of day of each: weekday, and whether it is pay day."""
    found = arrays(
        case.db,
        f"""SELECT j.excluded IS NOT NULL AS before, isodow(local_time) * 2
            + (day(local_time) = {PAY_DAY})::INT AS kind FROM sample s JOIN judged j USING (n)
            WHERE j.excluded IS NULL OR j.excluded IN ('before_the_range', 'cold') ORDER BY n""",
    )
    before = np.asarray(found["before"], bool)
    if before.mean() < 0.1 if len(before) else False:
        before = np.arange(len(before)) < len(before) // 2
    return before, np.asarray(found["kind"], np.int64)


def matching_weights(old: Ints, new: Ints) -> Doubles:
    """float64[len(old)]: weights that give the old rows the new rows' mix of kinds of days."""
    size = int(max(old.max(initial=0), new.max(initial=0))) + 1
    had, has = np.bincount(old, minlength=size), np.bincount(new, minlength=size)
    ratio = np.divide(has, had, out=np.zeros(size), where=had > 0)
    weight = ratio[old]
    return weight * (len(old) / weight.sum()) if weight.sum() > 0 else np.ones(len(old))


def stability_index(old: Doubles, new: Doubles, weight: Doubles) -> tuple[float, int]:
    """(PSI, bins): ten bins by the old values' quantiles, values that fill a bin alone and NULL (NaN) as their own."""
    known = np.sort(old[~np.isnan(old)])
    edges = np.unique(known[np.linspace(0, len(known) - 1, BINS + 1).astype(int)[1:-1]]) if len(known) else known
    values, counts = np.unique(known, return_counts=True)
    masses = values[counts > len(known) / BINS]

    def bins(part: Doubles) -> Ints:
        place = np.searchsorted(edges, part, side="left")
        at = np.searchsorted(masses, part)
        place = np.where(np.isin(part, masses), len(edges) + 1 + at, place)
        return np.where(np.isnan(part), len(edges) + 1 + len(masses), place)

    size = len(edges) + 2 + len(masses)
    a = np.bincount(bins(old), weight, size) + SMOOTHING
    b = np.bincount(bins(new), minlength=size) + SMOOTHING
    used = (a > SMOOTHING) | (b > SMOOTHING)
    p, q = a[used] / a[used].sum(), b[used] / b[used].sum()
    return float(((q - p) * np.log(q / p)).sum()), int(used.sum())
