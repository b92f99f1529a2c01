"""What the pages of a worker's web side have in common: tokens, bodies that have an end, answers in JSON."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping
from typing import Any

from faust.web import Request, Response, View

_PATIENCE_S = 30.0  # for a body; the server itself waits for ever


def bears(request: Request, token: str | bytes) -> bool:
    """True for a request that brings the token; how long it takes does not tell how much of it was right."""
    expected = b"Bearer " + (token.encode() if isinstance(token, str) else token)
    return hmac.compare_digest(expected, request.headers.get("authorization", "").encode("utf-8", "replace"))


async def body_of(request: Request, most: int) -> bytes | None:
    """The body, or None where it is too long: what is behind the limit is not read. Raises TimeoutError."""
    body = b""
    async with asyncio.timeout(_PATIENCE_S):
        async for part in request.content.iter_chunked(1 << 16):
            body += part
            if len(body) > most:
                return None
    return body


def json_answer(view: View, status: int, value: Mapping[str, Any]) -> Response:
    """The value as JSON; its retry_after_s is a header, too."""
    headers = {"retry-after": str(int(value["retry_after_s"]) + 1)} if "retry_after_s" in value else {}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
    return view.text(text, content_type="application/json", status=status, headers=headers)
