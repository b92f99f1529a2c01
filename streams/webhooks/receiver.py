"""A reference receiver: verifies signatures, drops what came before, and says which sequences are missing.

It is what an integrator has to write, and nothing of the sending side is used: the signature is checked by the library
of the Standard Webhooks specification.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

_TOLERANCE_S = 300
_MOST_BYTES = 16 * 1024 * 1024
Headers = Mapping[str, str]


@dataclass
class Inbox:
    """What has arrived. Sequences count from 1, without gaps; calls may come out of order and more than once."""

    upto: int = 0  # all sequences so far are here
    ahead: set[int] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)

    @property
    def missing(self) -> list[int]:
        """The sequences that others have overtaken."""
        return [k for k in range(self.upto + 1, max(self.ahead, default=0)) if k not in self.ahead]

    def accept(self, id: str, first: int, last: int) -> bool:
        """Note a call; False where its id has been here before."""
        new = id not in self.ids
        self.ids.add(id)
        self.ahead |= set(range(max(first, self.upto + 1), last + 1))
        while self.upto + 1 in self.ahead:
            self.upto += 1
            self.ahead.discard(self.upto)
        return new


def verify(headers: Headers, body: bytes, secrets: Sequence[str], public_key: str = "") -> Any:
    """The body as JSON, if one of the secrets or the public key has signed it within five minutes of now.

    Raises WebhookVerificationError, which says what is wrong.
    """
    failure: WebhookVerificationError | None = None
    for secret in secrets:
        try:
            return Verifier(secret).verify(body, dict(headers))
        except WebhookVerificationError as error:
            failure = error
        except ValueError as error:
            failure = WebhookVerificationError(f"malformed signature ({error})")
    if public_key and failure is None:
        return _verify_ed25519(headers, body, public_key)
    raise failure or WebhookVerificationError("no secret to verify with")


def _verify_ed25519(headers: Headers, body: bytes, public_key: str) -> Any:
    """By v1a alone: for a receiver that holds no secret. It looks at the timestamp itself."""
    sent = headers.get("webhook-timestamp", "")
    if not (sent.isascii() and sent.isdigit() and abs(time.time() - int(sent)) <= _TOLERANCE_S):
        raise WebhookVerificationError("Message timestamp too old or too new")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    for signature in headers.get("webhook-signature", "").split():
        version, _, text = signature.partition(",")
        if version != "v1a":
            continue
        try:
            key.verify(base64.b64decode(text), signed)
        except (InvalidSignature, ValueError):
            continue
        return json.loads(body)
    raise WebhookVerificationError("No matching signature found")


class Listener:
    """Serves http on loopback. say: told of every call.   catch_up: the worker's URL and the token, or None."""

    def __init__(
        self,
        port: int,
        secrets: Sequence[str],
        say: Callable[[str], None],
        catch_up: tuple[str, str] | None = None,
        public_key: str = "",
    ) -> None:
        self.secrets, self.say, self.catch_up, self.public_key = tuple(secrets), say, catch_up, public_key
        self.inbox, self.lock = Inbox(), Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())

    def serve(self) -> None:
        """Until shutdown."""
        self.server.serve_forever(poll_interval=0.1)

    def receive(self, headers: Headers, body: bytes) -> int:
        """One call; the status to answer with."""
        try:
            found = verify(headers, body, self.secrets, self.public_key)
        except WebhookVerificationError as error:
            self.say(f"refused: {error}")
            return 401
        with self.lock:
            if "sequence" not in found:
                self.say(f"{found.get('type')}: verified")
                return 200
            first, last = found["first_sequence"], found["sequence"]
            new = self.inbox.accept(headers.get("webhook-id", ""), first, last)
            self._tell(found, first, last, new)
            if self.inbox.missing and self.catch_up:
                self._fetch(found["subscriber"], *self.catch_up)
        return 200

    def _tell(self, found: Any, first: int, last: int, new: bool) -> None:
        numbers = f"{first}" if first == last else f"{first} to {last}"
        missing = self.inbox.missing
        gap = f"   missing: {', '.join(map(str, missing[:10]))}" if missing else ""
        self.say(f"{found['type']:16} sequence {numbers:>9}   {'new' if new else 'again'}{gap}")

    def _fetch(self, subscriber: str, url: str, token: str) -> None:
        """Read what is missing."""
        query = urlencode({"subscriber": subscriber, "after": self.inbox.upto})
        request = urllib.request.Request(f"{url}/v1/alerts?{query}", headers={"authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                items = json.load(answer)["data"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.say(f"catching up failed: {error or type(error).__name__}")
            return
        for item in items:
            self.inbox.accept(item["data"]["id"], item["sequence"], item["sequence"])
        self.say(f"caught up: read {len(items)} alerts, all up to {self.inbox.upto} are here")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30  # seconds, for a caller that stops in the middle

            def do_POST(self) -> None:
                told = self.headers.get("content-length") or ""
                size = int(told) if told.isascii() and told.isdigit() else -1
                status = 411 if size < 0 else 413 if size > _MOST_BYTES else 0
                self.close_connection = bool(status)  # what is not read must not be taken for the next call
                body = b"" if status else self.rfile.read(size)
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(status or listener.receive(headers, body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """The listener says what there is to say."""

        return Handler
