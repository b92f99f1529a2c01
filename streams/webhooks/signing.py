"""Signatures as the Standard Webhooks specification says: v1 is HMAC-SHA256, v1a is ed25519; both over id.time.body."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook as Signer

from sekisho.webhook_settings import Webhook


def headers_of(webhook: Webhook, id: str, body: bytes, at_s: float) -> dict[str, str]:
    """The headers of one try. Every live secret signs, so that a receiver may hold the old one or the new one."""
    at, text = datetime.fromtimestamp(int(at_s), UTC), body.decode()
    signatures = [Signer(secret).sign(id, at, text) for secret in webhook.secrets]
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


def _private(key: str) -> Ed25519PrivateKey:
    """The key of a seed, or of a seed followed by its public key."""
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.removeprefix("whsk_"))[:32])
