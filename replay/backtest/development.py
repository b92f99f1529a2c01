"""How fast verdicts come, and what immature payments may still hold: the actuary's development of a claim.

The share known by an age is the product-limit estimate in reversed time for right-truncated delays (S. W. Lagakos,
L. M. Barraj, V. De Gruttola, "Nonparametric analysis of truncated survival data", Biometrika 75, 1988); what is still
to come is expected exposure by exposure (the Cape Cod method: H. Buhlmann, 1983): the fraud money per day of exposure
that the reported part implies, times what is unreported of each day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sheet import Doubles, Ints
from replay.backtest.records import DAY_US

LONGEST = 400  # days: no verdict is waited for any longer


@dataclass(frozen=True)
class Development:
    """reported: by class ("" is all together) the share known at the end of each day of age, float64[days].

    frauds: by class, the verdicts that it rests on.
    """

    reported: dict[str, Doubles]
    frauds: dict[str, int]

    def maturity(self, share: float) -> dict[str, int]:
        """By class, the age in days from which on so large a share is known."""
        return {name: int(np.argmax(curve >= share)) + 1 for name, curve in self.reported.items()}


def development_of(classes: Ints, at_us: Ints, verdict_us: Ints, as_known_us: int) -> Development:
    """The development of each class and of all together. classes: str[f]; times int64[f], microseconds."""
    age, delay = (as_known_us - at_us) // DAY_US, np.maximum(0, verdict_us - at_us) // DAY_US
    groups = {"": np.ones(len(at_us), bool)} | {str(name): classes == name for name in np.unique(classes)}
    return Development(
        {name: reported_by_age(age[mask], delay[mask]) for name, mask in groups.items()},
        {name: int(mask.sum()) for name, mask in groups.items()},
    )


def reported_by_age(age: Ints, delay: Ints, weight: Doubles | None = None) -> Doubles:
    """The share of verdicts that are in by the end of each day of age.

    age: int64[f], days from payment to the day of knowledge.   delay: int64[f] <= age, days to the verdict.
    weight: float64[f], how often each counts.
    """
    if not len(delay):
        return np.ones(1)
    longest = int(min(delay.max(), LONGEST))
    age, delay = np.minimum(age, longest), np.minimum(delay, longest)
    table = np.zeros((longest + 1, longest + 1))
    np.add.at(table, (age, delay), 1.0 if weight is None else weight)
    observed = table[::-1].cumsum(axis=0)[::-1].cumsum(axis=1)  # at [a, d]: age >= a and delay <= d
    at_risk, events = np.diagonal(observed), table.sum(axis=0)
    hazard = np.divide(events, at_risk, out=np.zeros(longest + 1), where=at_risk > 0)
    later = np.cumprod((1 - hazard)[::-1])[::-1]
    return np.append(later[1:], 1.0)


def unreported(curve: Doubles, day_age: Ints, money: Doubles, exposure: Doubles) -> float:
    """Fraud money of some days that is not known yet.

    curve: as `reported_by_age`.   day_age: int64[d], the age of each day.
    money, exposure: float64[d], the known fraud money and all money of each.
    """
    share = curve[np.minimum(day_age, len(curve) - 1)]
    used = float((exposure * share).sum())
    rate = float(money.sum()) / used if used > 0 else 0.0
    return float((rate * exposure * (1 - share)).sum())


def bootstrap(
    entity: Ints, age: Ints, delay: Ints, money: Doubles, day_age: Ints, exposure: Doubles, replicates: int, seed: int
) -> tuple[int, int, int]:
    """(5th percentile, estimate, 95th percentile) of the unreported fraud money, resampling entities.

    entity, age, delay: int64[f]; money: float64[f], of the known frauds.   day_age, exposure: [d], of the days.
    """
    oldest = int(day_age.max(initial=0))
    slot, rng = oldest - np.minimum(age, oldest), np.random.default_rng(seed)
    by_slot = np.zeros(oldest + 1)
    by_slot[oldest - day_age] = exposure
    ages = oldest - np.arange(oldest + 1)

    def estimate(weight: Doubles) -> float:
        known = np.bincount(slot, weight * money, oldest + 1).astype(np.float64)
        return unreported(reported_by_age(age, delay, weight), ages, known, by_slot)

    draws = [
        estimate(rng.poisson(1.0, int(entity.max(initial=0)) + 1)[entity].astype(float)) for _ in range(replicates)
    ]
    low, high = np.percentile(draws, [5, 95]) if draws else (0, 0)
    return round(low), round(estimate(np.ones(len(entity)))), round(high)
