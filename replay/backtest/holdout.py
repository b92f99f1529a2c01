"""What lies behind payments that history refused, where some were let through at random to learn it.

A strategy that lets a payment through with probability p though it would refuse it, and logs p, knows of those it let
through what came of them. Each stands for (1 - p) / p refused ones, so that the refused whose p is known, between 0 and
1, are represented. Rates are self-normalised (J. Hajek, 1971): sum(w fraud) / sum(w) over those that a strategy does
not stop; the effective size is (sum w)^2 / sum(w^2) (L. Kish, 1965). Intervals resample entities; where no fraud was
let through, the upper end is that of a binomial with the effective number of entities.

The estimate stands apart: refused payments stay `unknown`, and no total contains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from features.refusal import suggest
from features.schema import SYSTEM_COLUMNS, Field, Schema
from features.sheet import Doubles, Ints
from replay.backtest.arms import PERCENTILES
from replay.backtest.database import arrays, make, one, rows
from replay.backtest.figures import Case, fitted
from replay.backtest.records import SIDES
from replay.columns import columns_of, has_column
from sekisho.errors import SekishoError

USES = ("let_through", "refused", "absent", "zero", "certain", "out_of_range", "immature", "censored", "excluded")


def propensity_field(schema: Schema, name: str) -> Field:
    """The field of that name or source; else a new one that reads the column. SekishoError where it is no number."""
    found = schema.by_name.get(name) or next((field for field in schema.fields if field.source == name), None)
    if name in SYSTEM_COLUMNS or (found and found.type not in ("double", "number")):
        what = f"{name} is no probability: it is {f'of type {found.type}' if found else 'a system column'}"
        raise SekishoError(what, "name a field of type double or number, or a column that is none of the pack's fields")
    return found or Field(name, "double", source=name)


def check_column(files: Sequence[Path], field: Field) -> None:
    """Refuse a column or key that stands in no file before the log is replayed."""
    if not any(has_column(file, field) for file in files):
        names, wanted = sorted({name for file in files for name in columns_of(file)}), field.source or field.name
        what = f"{files[0].name if len(files) == 1 else 'the log'}: there is no column {wanted}"
        raise SekishoError(what, suggest(wanted, names))


def holdout(case: Case) -> tuple[pa.Table, pa.Table]:
    """(`holdout`, `propensities`): the estimates, and what became of each propensity; empty unless asked for."""
    if not case.asked.propensity:
        return fitted("holdout", []), fitted("propensities", [])
    _make_offered(case)
    if not one(case.db, "SELECT count(p) FROM offered"):
        raise SekishoError(
            f"no payment that counts has a propensity in {case.asked.propensity}",
            "name the field or column with the probability of being let through, of the payment or of its outcome",
        )
    found = [
        {"use": use, "payments": n, "amount_minor": money}
        for use, n, money in rows(
            case.db,
            "SELECT use, count(*), coalesce(sum(amount_minor), 0) FROM offered WHERE use IS NOT NULL GROUP BY use",
        )
    ]
    found.sort(key=lambda row: USES.index(row["use"]))
    return fitted("holdout", [_estimate(case, s) for s in SIDES]), fitted("propensities", found)


def _make_offered(case: Case) -> None:
    """The payments that were refused or have a propensity, and the use of each: table `offered`.

    The payment's own propensity counts, else that of its first outcome that has one.
    """
    make(
        case.db,
        """CREATE TABLE offered AS
        SELECT *, CASE WHEN p IS NULL THEN 'absent' WHEN p < 0 OR p > 1 OR isnan(p) THEN 'out_of_range'
                       WHEN p = 0 THEN 'zero' WHEN p = 1 THEN 'certain' WHEN refused THEN 'refused'
                       WHEN truth IN ('censored', 'excluded') THEN truth WHEN young THEN 'immature'
                       ELSE 'let_through' END AS use
        FROM (SELECT n, coalesce(entity, event_id) AS entity, coalesce(amount_minor, 0) AS amount_minor, fraud, truth,
                     young, coalesce(refused, false) AS refused, current_stopped, candidate_stopped,
                     coalesce(propensity, said) AS p
              FROM counted LEFT JOIN
                   (SELECT payment_id, arg_min(propensity, n) FILTER (propensity IS NOT NULL) AS said FROM followups
                    WHERE NOT is_label AND payment_id IS NOT NULL GROUP BY payment_id) USING (payment_id))
        WHERE refused OR p IS NOT NULL""",
    )


def _estimate(case: Case, s: str) -> dict[str, Any]:
    (unknown, unknown_minor, covered, covered_minor) = rows(
        case.db,
        f"""SELECT count(*), coalesce(sum(amount_minor), 0), count(*) FILTER (use = 'refused'),
                   coalesce(sum(amount_minor) FILTER (use = 'refused'), 0)
            FROM offered WHERE refused AND NOT {s}_stopped""",
    )[0]
    sample = arrays(
        case.db,
        f"""SELECT dense_rank() OVER (ORDER BY entity) - 1 AS entity, (1 - p) / p AS weight,
                   amount_minor::DOUBLE AS money, fraud::DOUBLE AS fraud
            FROM offered WHERE use = 'let_through' AND NOT {s}_stopped ORDER BY n""",
    )
    weight, fraud = np.asarray(sample["weight"], float), np.asarray(sample["fraud"], float)
    found = {
        "strategy": s, "unknown": unknown, "unknown_minor": unknown_minor, "covered": covered,
        "covered_minor": covered_minor, "let_through": len(weight), "let_through_frauds": int(fraud.sum()),
        "effective_size": effective_size(weight),
    }  # fmt: skip
    if not weight.sum() > 0:
        return found
    entity, money = np.asarray(sample["entity"], np.int64), np.asarray(sample["money"], float)
    for name, size, total in (("frauds", np.ones(len(weight)), covered), ("fraud_minor", money, covered_minor)):
        told = share(entity, weight, size, fraud, case.asked.replicates, case.asked.seed)
        scaled = (None if np.isnan(part) else round(part * total) for part in told)
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), scaled, strict=True))
        found["fraud_rate" if name == "frauds" else "fraud_share"] = None if np.isnan(told[0]) else told[0]
    return found


def effective_size(weight: Doubles) -> float:
    """How many equally weighted ones would say as much."""
    return float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0


def share(
    entity: Ints, weight: Doubles, size: Doubles, fraud: Doubles, replicates: int, seed: int
) -> tuple[float, float, float]:
    """(the weighted share of frauds, by size; its 2.5th; its 97.5th percentile), NaN where nothing says it.

    entity: int64[n], from 0 on.   weight, size: float64[n].   fraud: float64[n], 0 or 1.
    """
    entities = int(entity.max()) + 1
    whole = np.bincount(entity, weight * size, entities).astype(np.float64)
    part = np.bincount(entity, weight * size * fraud, entities).astype(np.float64)
    if not whole.sum() > 0:
        return float("nan"), float("nan"), float("nan")
    found = float(part.sum() / whole.sum())
    if not part.any():
        return found, 0.0, float(1 - (1 - PERCENTILES[1] / 100) ** (1 / effective_size(whole)))
    rng = np.random.default_rng(seed)
    draws = [_drawn(rng.poisson(1.0, entities), part, whole) for _ in range(replicates)]
    low, high = np.percentile(draws, PERCENTILES) if draws else (np.nan, np.nan)
    return found, float(low), float(high)


def _drawn(times: Ints, part: Doubles, whole: Doubles) -> float:
    below = float(times @ whole)
    return float(times @ part) / below if below > 0 else 0.0
