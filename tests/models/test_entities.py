"""What alerts find of cards and money, against plain Python that tries every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.entities import Detection, detection, precision_at


def naive(scores, labels, cards, times, amounts, price) -> tuple[float, float, float, float, float]:
    """Every threshold from the highest down; the last one whose price is met."""
    rows = [row for row in zip(scores, labels, cards, times, amounts, strict=True) if row[2] >= 0]
    bad = {card for _, label, card, _, _ in rows if label}
    frauds = [row for row in rows if row[1]]
    found = (math.nan, 0.0, math.nan, 0.0, 0.0)
    for threshold in sorted({row[0] for row in rows}, reverse=True):
        alerts = [row for row in rows if row[0] >= threshold]
        caught = {card for _, label, card, _, _ in alerts if label}
        wrong = {card for _, _, card, _, _ in alerts} - bad
        if not caught or len(wrong) > price * len(caught):
            continue
        first = {c: min(row[3] for row in alerts if row[1] and row[2] == c) for c in caught}
        late = sum(row[4] for row in frauds if row[2] in first and row[3] >= first[row[2]])
        hit = sum(row[1] for row in alerts)
        found = (threshold, len(caught) / len(bad), len(wrong) / len(caught), late / sum(row[4] for row in frauds),
                 hit / len(frauds))  # fmt: skip
    return found


@pytest.mark.parametrize("seed", range(12))
def test_detection_is_the_lowest_threshold_whose_price_is_met(seed) -> None:
    """Ties, payments of no card, cards with good payments and frauds, prices that no threshold meets."""
    rng = np.random.default_rng(seed)
    n = 300
    labels = (rng.random(n) < 0.08).astype(np.uint8)
    scores = np.round(rng.normal(size=n) + labels * (seed % 4), 1)
    cards, times = rng.integers(-1, 60, n), rng.permutation(n)
    amounts = rng.integers(1, 1000, n)
    price = (5.0, 1.0, 0.0)[seed % 3]
    found = detection(scores, labels, cards, times, amounts, price)
    expected = naive(scores.tolist(), labels.tolist(), cards.tolist(), times.tolist(), amounts.tolist(), price)
    ours = (found.threshold, found.adr, found.a_fpr, found.vdr, found.recall)
    assert ours == pytest.approx(expected, nan_ok=True)


def test_without_a_defrauded_card_there_is_nothing_to_measure() -> None:
    """No card, or no fraud: not a number."""
    one = np.array([1])
    for labels, cards in (([0], 3), ([1], -1)):
        found = detection(np.array([1.0]), np.array(labels, np.uint8), np.array([cards]), one, one)
        assert all(math.isnan(value) for value in vars(found).values()), found
    assert isinstance(found, Detection)


def test_precision_at_k_ranks_each_day() -> None:
    """By hand: two days, the two highest of each."""
    scores, days = np.array([3.0, 2.0, 1.0, 9.0, 8.0]), np.array([0, 0, 0, 1, 1])
    labels = np.array([1, 0, 1, 1, 1], np.uint8)
    assert precision_at(scores, labels, days, 2) == pytest.approx((1 / 2 + 2 / 2) / 2)
