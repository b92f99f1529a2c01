"""How well scores rank: the measures of a model card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.sheet import Bytes, Doubles, Ints

TOP_CARDS = 100  # how many cards a day investigators look at


def roc_auc(scores: Doubles, labels: Bytes) -> float:
    """The chance that a fraud scores above an honest payment; ties count half. Both classes must occur."""
    order = np.argsort(scores, kind="stable")
    _, first, count = np.unique(scores[order], return_index=True, return_counts=True)
    rank = np.empty(len(scores))
    rank[order] = np.repeat(first + (count + 1) / 2, count)
    positives = labels.sum()
    return float((rank[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))


def average_precision(scores: Doubles, labels: Bytes) -> float:
    """The mean precision at each fraud, from the highest score down; equal scores are taken together."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order], dtype=np.int64)
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = hits[last] / (last + 1)
    return float(np.sum(np.diff(hits[last], prepend=0) * precision) / hits[-1])


def log_loss(probability: Doubles, labels: Bytes) -> float:
    """The mean surprise at the labels, in nats."""
    return float(-np.mean(np.log(np.where(labels == 1, probability, 1 - probability))))


@dataclass(frozen=True)
class Band:
    """The payments whose score lies in [low, low + 100): how many, their frauds, and the frauds expected of them."""

    low: int
    rows: int
    frauds: int
    expected: float

    @property
    def observed_to_expected(self) -> float:
        """1 where probabilities are what they say; NaN without a row."""
        return self.frauds / self.expected if self.expected else np.nan


def bands(points: Ints, probability: Doubles, labels: Bytes) -> list[Band]:
    """Calibration by hundreds of the score, the lowest first; bands without a row are left out."""
    hundreds = points // 100
    return [
        Band(int(low) * 100, int(here.sum()), int(labels[here].sum()), float(probability[here].sum()))
        for low in np.unique(hundreds)
        for here in (hundreds == low,)
    ]


@dataclass(frozen=True)
class Ranking:
    """How well scores rank: the three measures of a table of results. NaN without both classes, or without cards."""

    roc_auc: float
    average_precision: float
    card_precision_100: float


def rank(scores: Doubles, labels: Bytes, cards: Ints, days: Ints) -> Ranking:
    """The measures of payments; their columns are those of card_precision()."""
    if not 0 < labels.sum() < len(labels):
        return Ranking(np.nan, np.nan, np.nan)
    precision = card_precision(scores, labels, cards, days) if (cards >= 0).any() else np.nan
    return Ranking(roc_auc(scores, labels), average_precision(scores, labels), precision)


def card_precision(scores: Doubles, labels: Bytes, cards: Ints, days: Ints, k: int = TOP_CARDS) -> float:
    """The share of frauds among the k cards that score highest on a day, the mean over the days.

    A card scores what its highest payment of the day does, and is a fraud if one of them is; equal scores go by the
    card's number. A card found to be one is not looked at on later days. Card precision top-k of Y.-A. Le Borgne
    et al., "Reproducible Machine Learning for Credit Card Fraud Detection" (2022).
    cards: int64[payments], -1 where there is none: nobody can look at it.   days: int64[payments].
    """
    open_rows, found = cards >= 0, []
    for day in np.unique(days):
        rows = np.flatnonzero(open_rows & (days == day))
        rows = rows[np.lexsort((cards[rows], -scores[rows]))]
        _, first = np.unique(cards[rows], return_index=True)
        top = cards[rows][np.sort(first)[:k]]
        hits = np.intersect1d(top, cards[rows][labels[rows] == 1])
        found.append(len(hits) / k)
        open_rows &= ~np.isin(cards, hits)
    return float(np.mean(found))


def not_compromised(cards: Ints, frauds_us: Ints, fraud_cards: Ints, horizons_us: Ints) -> npt.NDArray[np.bool_]:
    """bool[payments]: whether a payment's card had no fraud before the payment's horizon, microseconds UTC.

    frauds_us, fraud_cards: int64[frauds], when they happened and whose they were. A payment of no card (-1) is kept.
    """
    first = np.full(max(cards.max(initial=-1), fraud_cards.max(initial=-1)) + 2, np.iinfo(np.int64).max)
    np.minimum.at(first, fraud_cards, frauds_us)
    first[-1] = np.iinfo(np.int64).max  # where -1 leads
    return first[cards] >= horizons_us
