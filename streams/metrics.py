"""A lane's figures in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from streams.lane import ACTIVE, Lane

_COUNTERS = {
    "events": "events decided by this worker, dead letters among them",
    "decisions": "decisions written",
    "alerts": "alerts written",
    "dead_letters": "dead letters written",
    "batches": "batches written",
    "errors": "errors of clients, each followed by new clients",
    "fencings": "times that another worker took over from this one",
    "takeovers": "times that this worker began to take over",
}
_FOLD_COUNTERS = {
    "folded": "batches recomputed from the journal and compared with it",
    "differences": "batches that were recomputed to other bytes: page somebody",
    "rebuilds": "states restored from a snapshot or the log",
}
STATE_TEXTS = {
    "keys": "keys that windows remember",
    "rows": "live events that windows remember, once for each entity",
    "bytes": "memory of the windows, room to grow apart",
    "seen_bytes": "memory of the events that duplicates are known by",
    "payments_bytes": "memory of the payments that others follow up",
    "verdicts_bytes": "memory of the labels given so far",
}


def render_metrics(lane: Lane | None) -> str:
    """All metrics; before the lane is there, only that it is not."""
    lines = [*_metric("up", "gauge", "1 once the lane runs", int(lane is not None))]
    if lane is None:
        return "\n".join(lines) + "\n"
    for record, texts in ((lane.status, _COUNTERS), (lane.fold.status, _FOLD_COUNTERS)):
        for name, text in texts.items():
            lines += _metric(f"{name}_total", "counter", text, getattr(record, name))
    lines += _metric("active", "gauge", "1 on the worker that decides", int(lane.status.phase == ACTIVE))
    alone_s = max(lane.status.apart_s, lane.status.undecided_s)
    lines += _metric("leaderless_seconds", "gauge", "for so long nobody has been known to decide", alone_s)
    lines += _metric("journal_sequence", "gauge", "the last batch that this worker stands behind", lane.status.sequence)
    lines += _metric("epoch", "gauge", "the epoch of that batch", lane.status.epoch)
    if lane.fold.status.watermark_us is not None:
        seconds = lane.fold.status.watermark_us / 1e6
        lines += _metric("watermark_seconds", "gauge", "the greatest event time accepted, since 1970", seconds)
    told = lane.fold.told()
    lines += _metric("muted_rules", "gauge", "rules whose hits have no outcome now", len(told.get("mutes", ())))
    unknown = told.get("labels_unknown_payment", 0)
    lines += _metric("labels_unknown_payment_total", "counter", "labels of payments that nobody remembers", unknown)
    for name, held in told.get("state", {}).items():
        lines += _metric(f"state_{name}", "gauge", STATE_TEXTS[name], held)
    lines += drift_lines(told.get("drift", {}))
    lines += expiry_lines(told.get("models_expire", {}))
    lines += _header("position", "gauge", "the next offset to decide")
    for (topic, partition), offset in sorted(lane.status.positions.items()):
        lines.append(f'sekisho_position{{topic="{topic}",partition="{partition}"}} {offset}')
    return "\n".join(lines) + "\n"


def drift_lines(drift: Mapping[str, Any]) -> list[str]:
    """Each column's PSI over the newest seven whole days, and what chance alone would give."""
    lines: list[str] = []
    for key, text in (
        ("psi", "how far a column is from the model's card over the newest seven whole days of event time"),
        ("by_chance", "the PSI that chance alone would give"),
    ):
        lines += _header(f"drift_{key}", "gauge", text)
        for each in drift.get("columns", ()):
            labels = f'model="{each["model"]}",column="{each["column"]}"'
            lines.append(f"sekisho_drift_{key}{{{labels}}} {each[key]:.6g}")
    return lines


def expiry_lines(days: Mapping[str, str]) -> list[str]:
    """When the card of each model says that it has to be looked at anew. days: by model, as 2027-03-31."""
    lines = _header("model_expires_seconds", "gauge", "when a model has to be looked at anew, since 1970")
    for model, day in days.items():
        at = datetime.fromisoformat(day).replace(tzinfo=UTC)
        lines.append(f'sekisho_model_expires_seconds{{model="{model}"}} {at.timestamp():.0f}')
    return lines


def _metric(name: str, kind: str, text: str, value: float) -> list[str]:
    return [*_header(name, kind, text), f"sekisho_{name} {value}"]


def _header(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP sekisho_{name} {text}", f"# TYPE sekisho_{name} {kind}"]
