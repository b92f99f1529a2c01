"""What alerting above a score finds of defrauded cards and of their money, at a price in good cards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sheet import Bytes, Doubles, Ints

PRICE = 5.0  # good cards alerted for each defrauded one that is detected
NOTHING = -np.inf


@dataclass(frozen=True)
class Detection:
    """At the lowest raw score whose price is met. threshold: that score; NaN where none is as cheap.

    adr: the share of defrauded cards whose fraud alerts.   a_fpr: good cards alerted for each of them.
    vdr: the share of the fraud money that goes out at and after its card's first detection.
    recall: the share of frauds that alert.
    """

    threshold: float
    adr: float
    a_fpr: float
    vdr: float
    recall: float


def detection(
    scores: Doubles, labels: Bytes, cards: Ints, times_us: Ints, amounts: Ints, price: float = PRICE
) -> Detection:
    """Entity measures of payments; a payment of no card (-1) counts for nothing. NaN without a defrauded card.

    A defrauded card is detected by a fraud of its own that alerts; a good card is alerted by any of its payments.
    """
    known = cards >= 0
    scores, labels, times_us, amounts = scores[known], labels[known], times_us[known], amounts[known]
    _, card = np.unique(cards[known], return_inverse=True)
    bad = np.zeros(card.max(initial=-1) + 1, bool)
    bad[card[labels == 1]] = True
    best = np.full(len(bad), NOTHING)
    counted = (labels == 1) | ~bad[card]
    np.maximum.at(best, card[counted], scores[counted])
    below, ratio = _bound(best, bad, price)
    frauds = labels == 1
    if not frauds.any() or np.isnan(ratio):
        return Detection(np.nan, *([0.0, np.nan, 0.0, 0.0] if frauds.any() else [np.nan] * 4))
    threshold = float(scores[scores > below].min())
    hit = frauds & (scores >= threshold)
    first = np.full(len(bad), np.iinfo(np.int64).max)
    np.minimum.at(first, card[hit], times_us[hit])
    late = frauds & (times_us >= first[card])
    money = max(1, int(amounts[frauds].sum()))
    adr = float((best[bad] >= threshold).mean())
    return Detection(threshold, adr, ratio, int(amounts[late].sum()) / money, float(hit.sum() / frauds.sum()))


def _bound(best: Doubles, bad: Bytes, price: float) -> tuple[float, float]:
    """The score above which cards that score so much cost at most the price, as low as can be, and what they cost."""
    order = np.argsort(-best, kind="stable")
    levels, found = best[order], np.cumsum(bad[order])
    last = np.append(np.flatnonzero(np.diff(levels)), len(best) - 1) if len(best) else np.empty(0, np.int64)
    ratio = (last + 1 - found[last]) / np.maximum(1, found[last])
    good = np.flatnonzero((ratio <= price) & (found[last] > 0))
    if not len(good):
        return np.nan, np.nan
    return float(np.append(levels, NOTHING)[last[good[-1]] + 1]), float(ratio[good[-1]])


def precision_at(scores: Doubles, labels: Bytes, days: Ints, k: int) -> float:
    """The share of frauds among the k payments that score highest on a day, the mean over the days: with hindsight."""
    tops = [rows[np.argsort(-scores[rows], kind="stable")[:k]] for day in np.unique(days)
            for rows in (np.flatnonzero(days == day),)]  # fmt: skip
    return float(np.mean([labels[top].sum() / k for top in tops])) if tops else np.nan
