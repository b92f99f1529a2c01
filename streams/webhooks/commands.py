"""`sekisho webhook`: secret, test, listen, redeliver."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sekisho.errors import SekishoError
from sekisho.options import MOMENT
from sekisho.settings import load_settings
from sekisho.webhook_settings import Webhook, WebhookReader
from streams.commands import CONFIG
from streams.webhooks.policy import Answer


@click.group()
def webhook() -> None:
    """Alerts to receivers over HTTPS: make secrets, try an integration, send again."""


@webhook.command("secret")
@click.option("--ed25519", is_flag=True, help="A key pair instead: the receiver gets the public key only.")
def webhook_secret(ed25519: bool) -> None:
    """Print a new secret.

    Put it where [[webhooks]] reads it, and give it to the receiver.
    """
    from streams.webhooks.message import new_key_pair, new_secret

    for line in new_key_pair() if ed25519 else (new_secret(),):
        click.echo(line)


@webhook.command("test")
@click.argument("url", required=False)
@CONFIG
@click.option("--subscriber", default="", help="Call this one of the settings, with its secrets and certificates.")
@click.option("--secret-env", default="WEBHOOK_SECRET", show_default=True, help="For URL: where the secret stands.")
@click.option("--allow", multiple=True, help="For URL: a network that is refused otherwise, as 127.0.0.1.")
def webhook_test(url: str | None, file: Path, subscriber: str, secret_env: str, allow: tuple[str, ...]) -> None:
    """Send one signed call of type webhook.test.

    To URL, or to a subscriber of the settings; says what was answered, and ends with 1 unless that was 2xx.
    """
    if bool(url) == bool(subscriber):
        raise click.UsageError("name a URL, or --subscriber ID")
    found = _subscriber(file, subscriber) if subscriber else _made(url or "", [secret_env], allow)
    answer, seconds = asyncio.run(_call(found))
    click.echo(f"{found.host}, {seconds * 1000:.0f} ms: {answer}")
    if answer.status is None or not 200 <= answer.status < 300:
        sys.exit(1)


@webhook.command("listen")
@click.option("--port", type=click.IntRange(1, 65_535), default=8080, show_default=True, help="On 127.0.0.1.")
@click.option("--secret-env", multiple=True, default=["WEBHOOK_SECRET"], show_default=True, help="Two while rotating.")
@click.option("--catch-up", default="", help="The worker's web side: read from it what is missing.")
@click.option("--token-env", default="WEBHOOK_TOKEN", show_default=True, help="Where its token stands.")
def webhook_listen(port: int, secret_env: tuple[str, ...], catch_up: str, token_env: str) -> None:
    """Receive alerts on this machine.

    Verifies every signature, and says which sequences are missing: a model of what a receiver has to do.
    """
    from streams.webhooks.receiver import Listener

    secrets = _made("https://unused.invalid/", secret_env, ()).secrets
    source = (catch_up.rstrip("/"), _environment(token_env)) if catch_up else None
    try:
        listener = Listener(port, secrets, click.echo, source)
    except OSError as error:
        raise SekishoError(f"port {port} cannot be listened on: {error.strerror}", "name another: --port") from error
    click.echo(f"listening on http://127.0.0.1:{port}; Ctrl-C ends it")
    listener.serve()


@webhook.command("redeliver")
@click.argument("subscriber")
@CONFIG
@click.option("--id", "ids", multiple=True, help="An alert's id; may be given several times.")
@click.option("--from-sequence", type=click.IntRange(1), help="From this sequence on.")
@click.option("--to-sequence", type=click.IntRange(1), help="Up to this sequence, with it.")
@click.option("--since", "since_us", type=MOMENT, help="What was routed from this time on.")
@click.option("--until", "until_us", type=MOMENT, help="What was routed before this time.")
def webhook_redeliver(
    subscriber: str,
    file: Path,
    ids: tuple[str, ...],
    from_sequence: int | None,
    to_sequence: int | None,
    since_us: int | None,
    until_us: int | None,
) -> None:
    """Send alerts to SUBSCRIBER again.

    Under the same ids and sequences; also to a receiver that has answered 410.
    """
    from streams.broker import BrokerError
    from streams.desk import unanswered
    from streams.webhooks.archive import redeliver
    from streams.webhooks.records import Delivery
    from streams.webhooks.service import clients

    if not ids and all(each is None for each in (from_sequence, to_sequence, since_us, until_us)):
        raise click.UsageError("say what: --id, --from-sequence, --to-sequence, --since or --until")
    low, high = from_sequence or 1, to_sequence or 2**63
    first, last = since_us or 0, 2**63 if until_us is None else until_us

    def chosen(delivery: Delivery, sequence: int) -> bool:
        named = not ids or delivery.alert["id"] in ids
        return named and low <= sequence <= high and first <= delivery.time_s * 1e6 < last

    settings = load_settings(file)
    _subscriber(file, subscriber)
    try:
        count = redeliver(clients(settings), settings.topics.deliveries, subscriber, low - 1, chosen)
    except BrokerError as error:
        raise unanswered(error) from error
    click.echo(f"{count:,} alerts go to {subscriber} again")


async def _call(webhook: Webhook) -> tuple[Answer, float]:
    import json
    import time
    from uuid import uuid4

    from streams.webhooks.message import Message
    from streams.webhooks.sender import Sender

    sender = Sender(webhook)
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": "webhook.test", "timestamp": now, "data": {}}).encode()
    started = time.monotonic()
    try:
        return await sender.send(Message(f"test-{uuid4().hex}", body, ()), time.time()), time.monotonic() - started
    finally:
        await sender.close()


_FIXES = {
    "url": "give the receiver's https URL; for one on this machine http, and --allow 127.0.0.1",
    "secrets": "put what `sekisho webhook secret` prints into the environment; --secret-env names another variable",
    "allow": "give --allow an address or a network",
}


def _made(url: str, secret_env: Sequence[str], allow: tuple[str, ...]) -> Webhook:
    """A subscriber of the command line."""
    problems: list[tuple[str, str]] = []
    reader = WebhookReader(Path(), os.environ, lambda number, key, what: problems.append((key, what)))
    table = {"id": "test", "url": url, "secrets": [{"env": name} for name in secret_env], "allow": list(allow)}
    found = reader.read([table])
    if not found:
        told = "\n".join(f"{key}: {what}" for key, what in problems)
        raise SekishoError(told, _FIXES[problems[0][0]])
    return found[0]


def _subscriber(file: Path, id: str) -> Webhook:
    webhooks = {each.id: each for each in load_settings(file).webhooks}
    if id not in webhooks:
        raise SekishoError(f"{file}: there is no subscriber {id}", f"known are: {', '.join(webhooks) or 'none'}")
    return webhooks[id]


def _environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SekishoError(f"the environment has no {name}", "set it to the subscriber's catch_up_token")
    return value
