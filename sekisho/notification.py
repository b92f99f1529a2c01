"""Alerts as bytes: one JSON object each, keys in a fixed order, equal bytes for equal notifications.

    {"v":1,"id":"...","group_id":"...","kind":"opened","sequence":0,"decision_id":"...","payment_id":"p1",
     "event_time":1700000000000000,"act_by":1700003600000000,"outcome":"decline","score":871,"amount":120000,
     "rules":["..."],"typologies":["..."],"reasons":[{"en":"...","ja":"..."}],
     "customer_reasons":[{"en":"...","ja":"..."}],"owner":"...","queue":"...",
     "entities":[{"field":"card_id","token":"..."}],
     "members":[{"decision_id":"...","payment_id":"p1","event_time":1700000000000000,"amount":120000}],"groups":[]}

Times are microseconds UTC, amounts units of the pack's amount field. Customer reasons stand apart from the internal
ones: tipping off is illegal, so a subscriber for customers is given nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from rules.alert_records import Notification


def encode_notification(notification: Notification) -> bytes:
    """The bytes of what goes out, without a line end."""
    alert = notification.alert
    values = {
        "v": 1,
        "id": notification.id,
        "group_id": notification.group_id,
        "kind": notification.kind,
        "sequence": notification.sequence,
        "decision_id": alert.decision_id,
        "payment_id": alert.payment_id,
        "event_time": alert.event_time_us,
        "act_by": alert.act_by_us,
        "outcome": notification.outcome,
        "score": alert.score,
        "amount": notification.amount,
        "rules": notification.rule_ids,
        "typologies": notification.typologies,
        "reasons": _languages(alert.reasons),
        "customer_reasons": _languages(alert.customer_reasons),
        "owner": alert.owner,
        "queue": alert.queue,
        "entities": [{"field": field, "token": token} for field, token in alert.entities],
        "members": [
            {
                "decision_id": member.decision_id,
                "payment_id": member.payment_id,
                "event_time": member.event_time_us,
                "amount": member.amount,
            }
            for member in notification.members
        ],
        "groups": notification.groups,
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _languages(reasons: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"en": en, "ja": ja} for en, ja in reasons]
