"""The web side: `GET /v1/alerts?subscriber=ID&after=SEQUENCE`, so that a receiver reads what it has missed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import faust
from faust.web import Request, Response, View

from sekisho.settings import Settings
from sekisho.webhook_settings import Webhook
from streams.broker import BrokerError
from streams.web import bears, json_answer
from streams.webhooks.archive import Archive
from streams.webhooks.message import entry
from streams.webhooks.service import clients

_MOST = 500
_NOBODY = "a token that nobody has, so that an unknown subscriber takes as long as a known one"


class CatchUp:
    """Answers for the subscribers that have a token. A wrong token and an unknown subscriber look the same."""

    def __init__(self, webhooks: Sequence[Webhook], archive: Archive) -> None:
        self.webhooks: Mapping[str, Webhook] = {webhook.id: webhook for webhook in webhooks}
        self.archive, self.thread = archive, ThreadPoolExecutor(1, "catch-up")

    async def answer(self, view: View, request: Request) -> Response:
        """Alerts behind a sequence, oldest first, at most 500: the bodies of a batch's items."""
        webhook = self._allowed(request)
        if webhook is None:
            return json_answer(view, 401, {"error": "no such subscriber, or a wrong token"})
        try:
            after, limit = int(request.query.get("after", "0")), int(request.query.get("limit", "100"))
        except ValueError:
            after, limit = -1, 0
        if not (0 <= after < 2**63 and 1 <= limit <= _MOST):
            return json_answer(view, 400, {"error": f"after must be a sequence from 0 on, limit from 1 to {_MOST}"})
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self.thread, self.archive.after, webhook.id, after, limit)
        except BrokerError:
            return json_answer(view, 503, {"error": "the brokers do not answer; try again later"})
        items = [entry(sequence, delivery.alert, webhook.audience) for sequence, delivery in found]
        return json_answer(view, 200, {"subscriber": webhook.id, "after": after, "data": items})

    def _allowed(self, request: Request) -> Webhook | None:
        webhook = self.webhooks.get(request.query.get("subscriber", ""))
        token = (webhook.catch_up_token if webhook else "") or _NOBODY
        return webhook if bears(request, token) and token != _NOBODY else None


def add_catch_up_page(app: faust.App, settings: Settings) -> None:
    """Register the page."""
    catch_up = CatchUp(settings.webhooks, Archive(clients(settings), settings.topics.deliveries))

    async def alerts(view: View, request: Request) -> Response:
        return await catch_up.answer(view, request)

    app.page("/v1/alerts")(alerts)
