"""Alerts as bytes: one JSON object each, keys in a fixed order, equal bytes for equal notifications.

docs/alert.schema.json is the contract, docs/wire.md has an example. Customer reasons stand apart from the internal
ones: tipping off is illegal, so a subscriber for customers is given nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rules.alert_records import Notification
from sekisho.pack import Pack

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def amount_scale(pack: Pack) -> int:
    """How many decimals the alerts' amounts have: they are whole units of 10^-scale."""
    field = pack.schema.by_name.get(pack.alert.amount_field) if pack.alert else None
    return field.exponent if field else 0


def encode_notification(notification: Notification, scale: int) -> bytes:
    """The bytes of what goes out, without a line end. scale: see `amount_scale`."""
    alert = notification.alert
    values = {
        "v": 1,
        "id": notification.id,
        "group_id": notification.group_id,
        "kind": notification.kind,
        "sequence": notification.sequence,
        "decision_id": alert.decision_id,
        "payment_id": alert.payment_id,
        "event_time": _time(alert.event_time_us),
        "act_by": _time(alert.act_by_us),
        "outcome": notification.outcome,
        "score": alert.score,
        "amount": notification.amount,
        "amount_scale": scale,
        "rules": notification.rule_ids,
        "typologies": notification.typologies,
        "reasons": _languages(alert.reasons),
        "customer_reasons": _languages(alert.customer_reasons),
        "owner": alert.owner,
        "queue": alert.queue,
        "entities": [{"field": field, "token": token} for field, token in alert.entities],
        "count": notification.count,
        "members": [
            {
                "decision_id": member.decision_id,
                "payment_id": member.payment_id,
                "event_time": _time(member.event_time_us),
                "amount": member.amount,
            }
            for member in notification.members
        ],
        "groups": notification.groups,
        "marks": [
            {
                "action": mark.action,
                "by": mark.by,
                "time": _time(mark.time_us),
                "note": mark.note,
                "until": None if mark.until_us is None else _time(mark.until_us),
                "disposition": mark.disposition,
            }
            for mark in notification.marks
        ],
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _time(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _languages(reasons: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"en": en, "ja": ja} for en, ja in reasons]
