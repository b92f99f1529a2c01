"""Drift: how far the features and scores of a range are from those that the strategy was made on (PSI)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from features.sheet import Doubles, Ints
from models.drift import bins_of, by_chance, count_bins, plan_bins, stability
from replay.backtest.database import arrays, make, table
from replay.backtest.figures import Case, fitted
from sekisho.drift import DriftCounts

PAY_DAY = 25


def drift(case: Case) -> pa.Table:
    """PSI of each numeric feature and raw score of CANDIDATE, over a sample of the payments.

    The baseline is the payments before the range, or, if there are too few, the first half of the range.
    """
    names = [name for name in table(case.db, "SELECT * FROM sample LIMIT 0").column_names if name != "n"]
    make(
        case.db,
        """CREATE TABLE sampled AS SELECT n, excluded, local_time FROM judged
        WHERE n IN (SELECT n FROM sample) AND (excluded IS NULL OR excluded IN ('before_the_range', 'cold'))""",
    )
    before, days = _halves(case)
    rows: list[dict[str, Any]] = []
    for name in names:
        query = f"""SELECT coalesce("{name}", 'nan') AS v FROM sample JOIN sampled USING (n) ORDER BY n"""
        values = arrays(case.db, query)["v"]
        old, new = values[before], values[~before]
        if len(old) and len(new):
            weight = matching_weights(days[before], days[~before])
            psi, bins = stability_index(old, new, weight)
            rows.append({
                "column": name, "psi": psi, "expected": by_chance(bins, len(old), len(new)),
                "baseline_rows": len(old), "rows": len(new), "null_share_before": float(np.isnan(old).mean()),
                "null_share": float(np.isnan(new).mean()),
            })  # fmt: skip
    return fitted("drift", sorted(rows, key=lambda row: -row["psi"]))


def card_drift(counts: DriftCounts) -> pa.Table:
    """PSI of each feature and score of CANDIDATE's models against their cards."""
    return fitted("card_drift", [vars(each) for each in counts.shifts()])


def _halves(case: Case) -> tuple[Any, Ints]:
    """Which sampled payments are the baseline, and the kind of day of each: weekday, and whether it is pay day."""
    found = arrays(
        case.db,
        f"""SELECT excluded IS NOT NULL AS before, isodow(local_time) * 2
            + (day(local_time) = {PAY_DAY})::INT AS kind FROM sampled ORDER BY n""",
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
    """(PSI, bins) of new values against old ones, which count by their weights."""
    bins = bins_of(old)
    plan = plan_bins([bins])
    return stability(count_bins(plan, old[None], weight)[0], count_bins(plan, new[None], np.ones(len(new)))[0])
