"""Platt scaling: two numbers that turn raw scores into probabilities and keep their order."""

from __future__ import annotations

import numpy as np

from features.sheet import Bytes, Doubles
from models.card import Calibration

_MOST_STEPS = 100
_LEAST_SLOPE = 1e-6


def fit_platt(raw: Doubles, labels: Bytes) -> Calibration:
    """The a and b of p = 1 / (1 + exp(-(a raw + b))) that make the labels (0 or 1) likeliest.

    Newton's method with halved steps; targets as in J. Platt, "Probabilistic Outputs for Support Vector Machines"
    (1999), steps as in H.-T. Lin, C.-J. Lin and R. C. Weng, "A note on Platt's probabilistic outputs" (2007).
    Raises ValueError without both classes, or where higher scores do not mean more fraud.
    """
    positives, negatives = int(labels.sum()), int(len(labels) - labels.sum())
    if not positives or not negatives:
        raise ValueError("calibration needs both classes: use a longer slice")
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    a, b = 1.0, 0.0
    loss = _loss(raw, target, a, b)
    for _ in range(_MOST_STEPS):
        p = 1 / (1 + np.exp(-(a * raw + b)))
        gradient = np.array([np.sum((p - target) * raw), np.sum(p - target)])
        if np.abs(gradient).max() < 1e-8 * len(raw):
            break
        weight = p * (1 - p)
        cross = np.sum(weight * raw)
        hessian = np.array([[np.sum(weight * raw * raw) + 1e-9, cross], [cross, np.sum(weight) + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and (new := _loss(raw, target, a - size * step[0], b - size * step[1])) > loss:
            size /= 2
        if size <= 1e-10:
            break
        a, b, loss = a - size * step[0], b - size * step[1], new
    if a < _LEAST_SLOPE:
        raise ValueError("on the calibration slice higher scores do not mean more fraud: the model has learnt nothing")
    return Calibration(float(a), float(b))


def _loss(raw: Doubles, target: Doubles, a: float, b: float) -> float:
    z = a * raw + b
    return float(np.sum(np.logaddexp(0.0, z) - target * z))
