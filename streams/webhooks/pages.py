"""The web side: `GET /v1/alerts?subscriber=ID&after=SEQUENCE`, so that a receiver reads what it has missed."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping, Sequence

from faust.web import Request, Response, View

from sekisho.webhook_settings import Webhook
from streams.broker import BrokerError
from streams.webhooks.catch_up import Archive
from streams.webhooks.payload import entry

_MOST = 500
_NOBODY = "a token that nobody has, so that an unknown subscriber takes as long as a known one"


class CatchUp:
    """Answers for the subscribers that have a token. A wrong token and an unknown subscriber look the same."""

    def __init__(self, webhooks: Sequence[Webhook], archive: Archive) -> None:
        self.webhooks: Mapping[str, Webhook] = {webhook.id: webhook for webhook in webhooks}
        self.archive = archive

    async def alerts(self, view: View, request: Request) -> Response:
        """Alerts behind a sequence, oldest first, at most 500: the bodies of a batch's items."""
        query = request.query
        webhook = self._allowed(query.get("subscriber", ""), request.headers.get("authorization", ""))
        if webhook is None:
            return _json(view, {"error": "no such subscriber, or a wrong token"}, 401)
        try:
            after, limit = int(query.get("after", "0")), int(query.get("limit", "100"))
        except ValueError:
            after, limit = -1, 0
        if not (0 <= after < 2**63 and 1 <= limit <= _MOST):
            return _json(view, {"error": f"after must be a sequence from 0 on, limit from 1 to {_MOST}"}, 400)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(None, self.archive.after, webhook.id, after, limit)
        except BrokerError:
            return _json(view, {"error": "the brokers do not answer; try again later"}, 503)
        items = [entry(sequence, delivery.alert, webhook.audience) for sequence, delivery in found]
        return _json(view, {"subscriber": webhook.id, "after": after, "data": items}, 200)

    def _allowed(self, id: str, authorization: str) -> Webhook | None:
        webhook = self.webhooks.get(id)
        token = (webhook.catch_up_token if webhook else "") or _NOBODY
        same = hmac.compare_digest(f"Bearer {token}".encode(), authorization.encode("utf-8", "replace"))
        return webhook if same and token != _NOBODY else None


def _json(view: View, value: object, status: int) -> Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
    return view.text(text, content_type="application/json", status=status)
