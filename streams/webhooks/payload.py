"""What a receiver is sent: a Standard Webhooks body around one alert, or around several. No wall clock in it.

    {"type":"alert.opened","timestamp":"...Z","subscriber":"case-tool","first_sequence":17,"sequence":17,"data":{...}}
    {"type":"alert.batch","timestamp":"...Z","subscriber":"case-tool","first_sequence":17,"sequence":19,
     "data":[{"type":"alert.opened","timestamp":"...Z","sequence":17,"data":{...}}, ...]}

Sequences have no gaps: a receiver that has seen up to n, and gets first_sequence > n + 1, has missed something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rules.alert_records import stable_id
from sekisho.webhook_settings import AUDIENCES

_INTERNAL = AUDIENCES[0]
# What may leave the bank towards a customer: nothing that says why (tipping off is illegal).
_FOR_CUSTOMERS = (
    "v", "id", "group_id", "kind", "sequence", "payment_id", "event_time", "outcome", "amount", "amount_scale",
    "customer_reasons",
)  # fmt: skip
Alert = Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One call's content, equal in every try. id: its webhook-id.   alerts: what it is made of."""

    id: str
    body: bytes
    alerts: tuple[Alert, ...]


def message_of(subscriber: str, audience: str, first: int, alerts: Sequence[Alert]) -> Message:
    """The message of alerts with the sequences from `first` on. One alert's message has the alert's own id."""
    last = first + len(alerts) - 1
    items = [entry(first + k, alert, audience) for k, alert in enumerate(alerts)]
    head = {"subscriber": subscriber, "first_sequence": first, "sequence": last}
    if len(alerts) == 1:
        id, item = alerts[0]["id"], items[0]
        body = {"type": item["type"], "timestamp": item["timestamp"], **head, "data": item["data"]}
    else:
        id = stable_id("batch", subscriber, str(first), str(last))
        body = {"type": "alert.batch", "timestamp": items[-1]["timestamp"], **head, "data": items}
    return Message(id, _bytes(body), tuple(alerts))


def entry(sequence: int, alert: Alert, audience: str) -> dict[str, Any]:
    """One alert as it stands in a batch and in what was missed."""
    data = alert if audience == _INTERNAL else {key: alert[key] for key in _FOR_CUSTOMERS}
    return {"type": f"alert.{alert['kind']}", "timestamp": alert["event_time"], "sequence": sequence, "data": data}


def _bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
