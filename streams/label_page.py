"""The web side: `POST /v1/labels`. A label is answered for when the brokers have it, and not before.

The body is one label or a list of them, JSON objects whose keys are the pack's fields. All are taken, or none is.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import faust
from faust.web import Request, Response, View

from sekisho.labels import LabelEvent, NoLabelsError, RefusedLabel, label_events
from sekisho.pack import Pack
from sekisho.settings import Settings
from sekisho.tokens import secret
from sekisho.wire.plan import WirePlan
from streams.broker import BrokerError, Send, Writer
from streams.client import KafkaBroker

VARIABLE = "SEKISHO_LABELS_TOKEN"
_MOST_BYTES, _MOST_LABELS = 1 << 20, 1000
_REMEMBERED = 10_000  # idempotency keys
_SHOWN = 20
Clock = Callable[[], float]
Reading = Callable[[], tuple[Pack, WirePlan] | None]
Answer = tuple[int, dict[str, Any]]


@dataclass
class Allowance:
    """So many labels a second, saved up to one full request."""

    per_s: float
    clock: Clock = time.monotonic
    saved: float = _MOST_LABELS
    at: float = field(default=float("-inf"))

    def wait_s(self, labels: int) -> float:
        """Spend for so many labels and answer 0, or say in how many seconds it would do."""
        now = self.clock()
        self.saved, self.at = min(_MOST_LABELS, self.saved + max(0.0, now - self.at) * self.per_s), now
        if labels <= self.saved:
            self.saved -= labels
            return 0.0
        return (labels - self.saved) / self.per_s


class LabelDoor:
    """Takes labels in. send: brings keys and values to the events topic, or raises BrokerError."""

    def __init__(
        self,
        token: bytes,
        reading: Reading,
        send: Callable[[Sequence[tuple[bytes, bytes]]], None],
        per_s: float,
        clock: Clock = time.time,
    ) -> None:
        self.token, self.reading, self.send, self.clock = token, reading, send, clock
        self.allowance = Allowance(per_s)
        self.answers: OrderedDict[str, tuple[bytes, Answer]] = OrderedDict()
        self.lock = asyncio.Lock()

    def allows(self, authorization: str) -> bool:
        """True for the token."""
        return hmac.compare_digest(b"Bearer " + self.token, authorization.encode("utf-8", "replace"))

    async def take(self, body: bytes, key: str) -> Answer:
        """A status and what is answered. The same key and body again get the same answer, and nothing is sent."""
        content = sha256(body).digest()
        async with self.lock:
            if key in self.answers:
                before, answer = self.answers[key]
                return answer if before == content else (422, _told("this idempotency key came with another body"))
            answer = await self._answer(body, key)
            if key and answer[0] == 202:
                self.answers[key] = content, answer
                while len(self.answers) > _REMEMBERED:
                    self.answers.popitem(last=False)
            return answer

    async def _answer(self, body: bytes, key: str) -> Answer:
        rows = _rows(body)
        if isinstance(rows, str):
            return 400, _told(rows)
        reading = self.reading()
        if reading is None:
            return 503, _told("no pack has been loaded yet; try again soon")
        if wait_s := self.allowance.wait_s(len(rows)):
            return 429, {**_told("too many labels; try again later"), "retry_after_s": round(wait_s, 1)}
        try:
            events, refused = label_events(*reading, rows, int(self.clock() * 1e6), key)
        except NoLabelsError as error:
            return 400, _told(str(error))
        if refused:
            return 400, {**_told("none was taken"), "refused": _shown(refused)}
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.send, _records(events))
        except BrokerError:
            return 503, _told("the brokers have not confirmed them; send the same again, with the same key")
        return 202, {"accepted": len(events), "ids": [event.id for event in events]}


class Sender:
    """Clients for the events topic that are kept between requests, and made anew after a failure."""

    def __init__(self, settings: Settings) -> None:
        self.broker, self.topic = KafkaBroker(settings), settings.topics.events
        self.writer: Writer | None = None

    def __call__(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Bring them to the topic. Raises BrokerError."""
        self.writer = self.writer or self.broker.writer(transactional=False)
        try:
            self.writer.send([Send(self.topic, 0, key, value) for key, value in records])
            self.writer.flush()
        except BrokerError:
            self.writer.close()
            self.writer = None
            raise


def add_label_page(app: faust.App, settings: Settings, reading: Reading) -> None:
    """Register the page; without a token it answers that labels are not taken here."""
    token = secret(VARIABLE, "the token for labels")
    door = LabelDoor(token, reading, Sender(settings), settings.web.labels_per_s) if token else None

    class Labels(View):  # type: ignore[misc]
        async def post(self, request: Request) -> Response:
            if door is None:
                return _json(self, 403, _told(f"labels are not taken here: the worker has no {VARIABLE}"))
            if not door.allows(request.headers.get("authorization", "")):
                return _json(self, 401, _told("a wrong token"))
            body = await _body(request)
            if body is None:
                return _json(self, 413, _told(f"the body has more than {_MOST_BYTES:,} bytes"))
            key = request.headers.get("idempotency-key", "")
            if len(key) > 200:
                return _json(self, 400, _told("the idempotency key has more than 200 characters"))
            return _json(self, *await door.take(body, key))

    app.page("/v1/labels")(Labels)


async def _body(request: Request) -> bytes | None:
    """The body, or None where it is too long: what is behind the limit is not read."""
    body = b""
    async for part in request.content.iter_chunked(1 << 16):
        body += part
        if len(body) > _MOST_BYTES:
            return None
    return body


def _rows(body: bytes) -> list[dict[str, Any]] | str:
    """The labels of a body, or what is wrong with it."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is no JSON"
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        return "the body is neither a JSON object nor a list of them"
    if not 1 <= len(rows) <= _MOST_LABELS:
        return f"the body holds {len(rows):,} labels; send 1 to {_MOST_LABELS:,}"
    return rows


def _records(events: Sequence[LabelEvent]) -> list[tuple[bytes, bytes]]:
    return list({event.id.encode(): event.raw for event in events}.items())


def _shown(refused: Sequence[RefusedLabel]) -> list[dict[str, Any]]:
    return [{"label": each.row, "why": each.why} for each in refused[:_SHOWN]]


def _told(error: str) -> dict[str, Any]:
    return {"error": error}


def _json(view: View, status: int, value: dict[str, Any]) -> Response:
    headers = {"retry-after": str(int(value["retry_after_s"]) + 1)} if "retry_after_s" in value else {}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
    return view.text(text, content_type="application/json", status=status, headers=headers)
