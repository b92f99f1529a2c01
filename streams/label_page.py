"""The web side: `POST /v1/labels`. A label is answered for when the brokers have it, and not before.

The body is one label or a list of them, JSON objects whose keys are the pack's fields. All are taken, or none is. The
idempotency key is part of the labels' ids: what was taken before stands on the events topic, whichever worker took it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import faust
from faust.web import Request, Response, View

from sekisho.labels import LabelEvent, NoLabelsError, RefusedLabel, label_events, request_of
from sekisho.pack import Pack
from sekisho.settings import Settings
from sekisho.tokens import secret
from sekisho.wire.plan import WirePlan
from streams.broker import BrokerError
from streams.events import EventDesk
from streams.web import bears, body_of, json_answer

VARIABLE = "SEKISHO_LABELS_TOKEN"
_MOST_BYTES, _MOST_LABELS = 1 << 20, 1000
_MOST_WAITING = 64  # requests
_LONGEST_KEY = 200
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


class Events(Protocol):
    """What the door asks of streams.events.EventDesk. Raises BrokerError."""

    def send(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Bring keys and values to the topic."""

    def recent(self, keys: Iterable[bytes]) -> set[bytes]:
        """The keys of its last records that begin as one of these does."""


class LabelDoor:
    """Takes labels in, one request after the other, in a thread of its own."""

    def __init__(self, reading: Reading, events: Events, per_s: float, clock: Clock = time.time) -> None:
        self.reading, self.events, self.clock = reading, events, clock
        self.allowance = Allowance(per_s)
        self.waiting = 0
        self.thread = ThreadPoolExecutor(1, "labels")

    async def take(self, body: bytes, key: str) -> Answer:
        """A status and what is answered. The same labels and key again get the same answer, and nothing is sent."""
        if self.waiting >= _MOST_WAITING:
            return 429, {**_told("too many requests at once; try again later"), "retry_after_s": 1}
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, self._answer, body, key)
        finally:
            self.waiting -= 1

    def _answer(self, body: bytes, key: str) -> Answer:
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
            return self._sent(events, key)
        except BrokerError:
            return 503, _told("the brokers have not confirmed them; send the same again, with the same key")

    def _sent(self, events: Sequence[LabelEvent], key: str) -> Answer:
        """Send what is not there yet: of a request that broke off, maybe a part is."""
        records = {event.id.encode(): event.raw for event in events}
        begins = request_of(key).encode()
        there = self.events.recent([begins, *records]) if key else set[bytes]()
        if any(each.startswith(begins) for each in there - records.keys()):
            return 422, _told("this idempotency key came with other labels")
        if fresh := [(id, raw) for id, raw in records.items() if id not in there]:
            self.events.send(fresh)
        return 202, {"accepted": len(events), "ids": [event.id for event in events]}


def add_label_page(app: faust.App, settings: Settings, reading: Reading) -> None:
    """Register the page; without a token it answers that labels are not taken here."""
    token = secret(VARIABLE, "the token for labels")
    door = LabelDoor(reading, EventDesk(settings), settings.web.labels_per_s)

    class Labels(View):  # type: ignore[misc]
        async def post(self, request: Request) -> Response:
            if token is None:
                return json_answer(self, 403, _told(f"labels are not taken here: the worker has no {VARIABLE}"))
            if not bears(request, token):
                return json_answer(self, 401, _told("a wrong token"))
            key = request.headers.get("idempotency-key", "")
            if len(key) > _LONGEST_KEY:
                return json_answer(self, 400, _told(f"the idempotency key has more than {_LONGEST_KEY} characters"))
            try:
                body = await body_of(request, _MOST_BYTES)
            except TimeoutError:
                return json_answer(self, 408, _told("the body did not come in time"))
            if body is None:
                return json_answer(self, 413, _told(f"the body has more than {_MOST_BYTES:,} bytes"))
            return json_answer(self, *await door.take(body, key))

    app.page("/v1/labels")(Labels)


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


def _shown(refused: Sequence[RefusedLabel]) -> list[dict[str, Any]]:
    return [{"label": each.row, "why": each.why} for each in refused[:_SHOWN]]


def _told(error: str) -> dict[str, Any]:
    return {"error": error}
