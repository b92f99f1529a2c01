"""One call to a receiver, with aiohttp: a name is resolved once, judged, and connected to as it was judged.

No redirects, no proxy from the environment, no cookies; certificates are verified against the host's name. What goes
wrong is an Answer with a problem, which never holds a URL's path, a header or a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from sekisho.errors import SekishoError
from sekisho.webhook_settings import Webhook
from streams.webhooks.addresses import AddressRefused, guarded_socket
from streams.webhooks.message import Message, headers_of
from streams.webhooks.policy import Answer

_MOST_READ = 64 * 1024
Resolve = Callable[..., list[Any]]


class Sender:
    """Calls one subscriber. Make and use it on one event loop; close it at the end."""

    def __init__(self, webhook: Webhook, resolve: Resolve = socket.getaddrinfo) -> None:
        self.webhook = webhook
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(resolve),
            use_dns_cache=False,
            ssl=tls_context(webhook),
            limit=webhook.parallel,
            socket_factory=guarded_socket(webhook.allow),
            keepalive_timeout=30,
        )
        timeout = aiohttp.ClientTimeout(total=webhook.timeout_s)
        self.session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def send(self, message: Message, at_s: float) -> Answer:
        """One signed try. Never raises, but when it is cancelled."""
        headers = headers_of(self.webhook, message.id, message.body, at_s)
        try:
            async with self.session.post(
                self.webhook.url, data=message.body, headers=headers, allow_redirects=False
            ) as response:
                return await _answer(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _problem(error, self.webhook))

    async def close(self) -> None:
        """Close every connection."""
        await self.session.close()


class _Resolver(AbstractResolver):
    """The system's resolver in threads of its own, so that a name server that hangs holds up nobody else."""

    def __init__(self, resolve: Resolve) -> None:
        self.look_up, self.threads = resolve, ThreadPoolExecutor(2, "resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self.threads, lambda: self.look_up(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        )
        return [
            ResolveResult(hostname=host, host=place[0], port=place[1], family=kind, proto=protocol, flags=_NUMERIC)
            for kind, _, protocol, _, place in found
        ]

    async def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def tls_context(webhook: Webhook) -> ssl.SSLContext:
    """Verifies the receiver by the system's authorities, or by the subscriber's own; shows a client certificate.

    Raises SekishoError for files that hold no certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=webhook.ca)
        if webhook.certificate:
            context.load_cert_chain(webhook.certificate, webhook.key)
    except (ssl.SSLError, OSError) as error:
        raise SekishoError(
            f"webhook {webhook.id}: ca, certificate or key cannot be used ({type(error).__name__})",
            "give files in PEM form; the key must belong to the certificate and have no passphrase",
        ) from error
    return context


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    """The status counts once it is there. Of the body a little is read, so that the connection can be used again."""
    read = 0
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async for chunk in response.content.iter_any():
            read += len(chunk)
            if read > _MOST_READ:
                response.close()
                break
    problem = f"status {response.status}, a redirect, which is not followed" if 300 <= response.status < 400 else ""
    return Answer(response.status, problem, response.headers.get("retry-after", "")[:64])


def _problem(error: Exception, webhook: Webhook) -> str:
    """What went wrong in words of our own: texts of clients may repeat a URL."""
    refused = _refused(error)
    if refused is not None:
        return str(refused)
    match error:
        case TimeoutError():
            return f"no answer within {webhook.timeout_s} s"
        case aiohttp.InvalidURL():
            return f"the host {webhook.host} is refused: it is neither a name nor a plain address"
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as found):
            return f"TLS: {found.verify_message or 'the certificate is not accepted'}"
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientSSLError():
            return f"TLS: no connection ({type(error).__name__})"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {webhook.host} was not resolved"
        case aiohttp.ClientConnectorError(os_error=found):
            return f"no connection ({os.strerror(found.errno) if found.errno else type(found).__name__})"
        case _:
            return f"the connection broke ({type(error).__name__})"


def _refused(error: BaseException | None) -> AddressRefused | None:
    """The refusal that stands behind an error of the client, if one does."""
    while error is not None:
        if isinstance(error, AddressRefused):
            return error
        found = getattr(error, "os_error", None)
        if isinstance(found, AddressRefused):
            return found
        error = error.__cause__ or error.__context__
    return None
