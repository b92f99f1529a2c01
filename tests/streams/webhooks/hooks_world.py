"""Alerts by number, receivers that behave as they are told, and a clock that others move."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rules.alert_records import stable_id
from sekisho.webhook_settings import Webhook

SECRET = "whsec_" + "c2VraXNoby1zZWtpc2hvLXNla2lzaG8tMDE="
OTHER_SECRET = "whsec_" + "b3RoZXItb3RoZXItb3RoZXItb3RoZXItMDI="


def make_alert(k: int, outcome: str = "decline", amount: int = 12_000) -> dict[str, Any]:
    """The k-th alert, as a worker writes it."""
    decision = stable_id("decision", str(k))
    time_text = f"2026-03-01T12:{k // 60 % 60:02d}:{k % 60:02d}.000000Z"
    return {
        "v": 1, "id": stable_id("notification", str(k)), "group_id": stable_id("group", str(k)), "kind": "opened",
        "sequence": 0, "decision_id": decision, "payment_id": f"p{k}", "event_time": time_text, "act_by": time_text,
        "outcome": outcome, "score": 871, "amount": amount, "amount_scale": 0, "rules": ["mule_burst"],
        "typologies": ["mule"], "reasons": [{"en": "Many payers", "ja": "多数の振込元"}],
        "customer_reasons": [{"en": "Please call us", "ja": "お電話ください"}], "owner": "fraud", "queue": "transfers",
        "entities": [{"field": "card_id", "token": "****0001"}], "count": 1,
        "members": [{"decision_id": decision, "payment_id": f"p{k}", "event_time": time_text, "amount": amount}],
        "groups": [],
    }  # fmt: skip


def raw_alert(k: int, **values: Any) -> bytes:
    return json.dumps(make_alert(k, **values), ensure_ascii=False, separators=(",", ":")).encode()


def webhook(url: str = "https://receiver.example/hook", **values: Any) -> Webhook:
    return Webhook(**{"id": "case-tool", "url": url, "secrets": (SECRET,), **values})


class FakeClock:
    """Time stands still until `advance`. Chance is what it is given."""

    def __init__(self, now: float = 1_790_000_000.0, chance: float = 0.0) -> None:
        self.at, self.luck, self.waits = now, chance, set[asyncio.Event]()

    def now(self) -> float:
        return self.at

    def chance(self) -> float:
        return self.luck

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event, or until a turn of the clock; whoever waits looks at the time again."""
        self.waits.add(event)
        await event.wait()

    async def advance(self, seconds: float) -> None:
        self.at += seconds
        for event in self.waits:
            event.set()
        await asyncio.sleep(0.005)


class Call:
    """One call as a receiver saw it."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path, self.headers, self.body, self.at = path, headers, body, time.time()

    @property
    def id(self) -> str:
        return self.headers.get("webhook-id", "")

    @property
    def sequence(self) -> int:
        return int(json.loads(self.body)["sequence"])


# Writes the whole answer itself, given the handler and the call.
Answers = Callable[[BaseHTTPRequestHandler, Call], None]


def answer(status: int, **headers: str) -> Answers:
    def write(handler: BaseHTTPRequestHandler, call: Call) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return write


class Receiver:
    """An HTTP server on loopback that records calls; `answers` may be changed while it runs."""

    def __init__(self, answers: Answers = answer(200), tls: Any = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.calls: list[Call] = []
        self.answers = answers
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.connection.setsockopt(6, 1, 1)  # TCP_NODELAY

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                call = Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                receiver.calls.append(call)
                receiver.answers(self, call)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer((host, port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a killed caller is what the tests are about
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def sequences(self) -> list[int]:
        return [call.sequence for call in self.calls]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def until(good: Callable[[], bool], seconds: float = 60.0, told: Callable[[], object] = lambda: "") -> None:
    """Wait for something that other threads do."""
    deadline = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < deadline, told()
        time.sleep(0.02)


def ids(calls: Sequence[Call]) -> set[str]:
    return {call.id for call in calls}
