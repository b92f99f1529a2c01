"""How well scores rank: the measures of a model card."""

from __future__ import annotations

import numpy as np

from features.sheet import Bytes, Doubles


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
