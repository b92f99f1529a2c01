"""What a receiver is sent: a Standard Webhooks body around one alert, or around several, and signatures over it.

    {"type":"alert.opened","timestamp":"...Z","subscriber":"case-tool","first_sequence":17,"sequence":17,"data":{...}}
    {"type":"alert.batch","timestamp":"...Z","subscriber":"case-tool","first_sequence":17,"sequence":19,
     "data":[{"type":"alert.opened","timestamp":"...Z","sequence":17,"data":{...}}, ...]}

Sequences have no gaps: a receiver that has seen up to n, and gets first_sequence > n + 1, has missed something. The
time of a try is in its headers, not in the body. v1 is HMAC-SHA256, v1a is ed25519; both are over id.time.body.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook as Signer

from rules.alert_records import stable_id
from sekisho.webhook_settings import AUDIENCES, Webhook

_INTERNAL = AUDIENCES[0]
# What may leave the bank towards a customer: nothing that says why (tipping off is illegal).
_FOR_CUSTOMERS = (
    "v", "id", "group_id", "kind", "sequence", "payment_id", "event_time", "outcome", "amount", "amount_scale",
    "customer_reasons",
)  # fmt: skip
Alert = Mapping[str, Any]
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


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
    return Message(id, json_bytes(body), tuple(alerts))


def entry(sequence: int, alert: Alert, audience: str) -> dict[str, Any]:
    """One alert as it stands in a batch and in what was missed."""
    data = alert if audience == _INTERNAL else {key: alert[key] for key in _FOR_CUSTOMERS}
    return {"type": f"alert.{alert['kind']}", "timestamp": alert["event_time"], "sequence": sequence, "data": data}


def headers_of(webhook: Webhook, id: str, body: bytes, at_s: float) -> dict[str, str]:
    """The headers of one try. Every live secret signs, so that a receiver may hold the old one or the new one."""
    at, text = datetime.fromtimestamp(int(at_s), UTC), body.decode()
    signatures = [_signer(secret).sign(id, at, text) for secret in webhook.secrets]
    if webhook.ed25519:
        signed = _private(webhook.ed25519).sign(f"{id}.{int(at_s)}.".encode() + body)
        signatures.append(f"v1a,{base64.b64encode(signed).decode()}")
    return {
        "content-type": "application/json",
        "user-agent": "sekisho",
        "webhook-id": id,
        "webhook-timestamp": str(int(at_s)),
        "webhook-signature": " ".join(signatures),
    }


def new_secret() -> str:
    """A secret for HMAC."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_key_pair() -> tuple[str, str]:
    """A private and a public key for ed25519."""
    seed = secrets.token_bytes(32)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return tuple(f"{name}_{base64.b64encode(raw).decode()}" for name, raw in (("whsk", seed), ("whpk", public)))  # type: ignore[return-value]


def json_bytes(value: object) -> bytes:
    """A value as all records and bodies of webhooks hold it."""
    return _ENCODER.encode(value).encode()


@cache
def _signer(secret: str) -> Signer:
    return Signer(secret)


@cache
def _private(key: str) -> Ed25519PrivateKey:
    """The key of a seed, or of a seed followed by its public key."""
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.removeprefix("whsk_"))[:32])
