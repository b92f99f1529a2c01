"""`[[webhooks]]` of sekisho.toml: who is told of alerts. Secrets stand in the environment or in files."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from features.refusal import Refusal

AUDIENCES = ("internal", "customer")
_KEYS = (
    "id", "url", "secrets", "filter", "audience", "batch", "rate_per_s", "parallel", "timeout_s", "give_up_after_h",
    "ed25519", "ca", "certificate", "key", "allow", "catch_up_token",
)  # fmt: skip
_NUMBERS = {  # lowest, highest, default
    "batch": (1, 100, 1),
    "rate_per_s": (0, 10_000, 0),
    "parallel": (1, 64, 8),
    "timeout_s": (1, 60, 10),
    "give_up_after_h": (1, 336, 72),
}
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Webhook:
    """One subscriber.

    secrets: one or two, `whsec_` and base64.   ed25519: "" or a private key, `whsk_` and base64.
    filter: a SQL condition, "" for every alert.   audience: internal, or customer, who is given no internal reason.
    batch: most alerts in one call.   rate_per_s: most calls a second, 0 without a limit.   parallel: calls at once.
    allow: networks that are refused otherwise.   catch_up_token: "" where nobody may read what was sent.
    """

    id: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    filter: str = ""
    audience: str = AUDIENCES[0]
    batch: int = 1
    rate_per_s: int = 0
    parallel: int = 8
    timeout_s: int = 10
    give_up_after_h: int = 72
    ed25519: str = field(default="", repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    allow: tuple[Network, ...] = ()
    catch_up_token: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """The receiver's host: all of the URL that is ever shown, as the rest may hold a secret."""
        return urlsplit(self.url).hostname or ""


@dataclass
class WebhookReader:
    """Reads the tables; every problem goes to `told` with the table's number (from 0), the key, and what is wrong."""

    folder: Path
    environment: Mapping[str, str]
    told: Callable[[int, str, str], None]

    def read(self, tables: Any) -> tuple[Webhook, ...]:
        """The subscribers that are right."""
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.told(0, "", "must be tables: [[webhooks]]")
            return ()
        found, names = [], set[str]()
        for number, table in enumerate(tables):
            webhook = _Table(self, number, table).webhook()
            if webhook and webhook.id in names:
                self.told(number, "id", f"{webhook.id!r} stands twice; give each subscriber an id of its own")
            elif webhook:
                names.add(webhook.id)
                found.append(webhook)
        return tuple(found)


@dataclass
class _Table:
    reader: WebhookReader
    number: int
    given: dict[str, Any]
    good: bool = True

    def webhook(self) -> Webhook | None:
        for key in self.given.keys() - set(_KEYS):
            self.wrong(key, f"unknown; known are {', '.join(_KEYS)}")
        allow = tuple(self.networks())
        webhook = Webhook(
            id=self.text("id", _ID, "lower-case letters, digits, - and _, at most 64", required=True),
            url=self.url(allow),
            secrets=self.secrets(),
            filter=self.filter(),
            audience=self.text("audience", re.compile("|".join(AUDIENCES)), " or ".join(AUDIENCES)) or AUDIENCES[0],
            **{key: self.number_of(key, *limits) for key, limits in _NUMBERS.items()},
            ed25519=self.secret("ed25519", self.given["ed25519"], "whsk_", 32, 64) if "ed25519" in self.given else "",
            ca=self.file("ca"),
            certificate=self.file("certificate"),
            key=self.file("key"),
            allow=allow,
            catch_up_token=self.token(),
        )
        if webhook.key and not webhook.certificate:
            self.wrong("key", "a key without a certificate; name the client certificate too")
        return webhook if self.good else None

    def wrong(self, key: str, what: str) -> None:
        self.good = False
        self.reader.told(self.number, key, what)

    def text(self, key: str, form: re.Pattern[str], told: str, required: bool = False) -> str:
        value = self.given.get(key)
        if value is None and not required:
            return ""
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self.wrong(key, "missing" if value is None else f"must be {told}")
        return ""

    def number_of(self, key: str, low: int, high: int, default: int) -> int:
        value = self.given.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong(key, f"must be a whole number from {low:,} to {high:,}")
        return default

    def url(self, allow: tuple[Network, ...]) -> str:
        value = self.text("url", re.compile(r"[!-~]+"), "a URL", required=True)
        if not value:
            return ""
        try:
            parts = urlsplit(value)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", 0
        if not host or port == 0:
            self.wrong("url", "must be a URL with a host, as in https://cases.bank.example/alerts")
        elif parts.username is not None or parts.fragment:
            self.wrong("url", "must have neither a user nor a fragment")
        elif parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host, allow)):
            self.wrong("url", 'must be https; http is for loopback alone, with allow = ["127.0.0.1"]')
        return value

    def networks(self) -> Iterator[Network]:
        values = self.given.get("allow", [])
        if not isinstance(values, list):
            self.wrong("allow", 'must be a list of addresses or networks, as in ["10.1.2.0/24"]')
            return
        for value in values:
            try:
                yield ipaddress.ip_network(value)
            except (ValueError, TypeError):
                self.wrong("allow", f"{value!r} is no address and no network, as in 10.1.2.0/24")

    def filter(self) -> str:
        value = self.given.get("filter", "")
        if not isinstance(value, str):
            self.wrong("filter", "must be a SQL condition, as in outcome = 'decline'")
            return ""
        if value.strip():
            # Here, as it brings the kernels, and settings are imported for a --help, too.
            from sekisho.alert_filter import AlertFilter

            try:
                AlertFilter(value)
            except Refusal as refusal:
                self.wrong("filter", f"column {refusal.place.column}: {refusal.what}; {refusal.fix}")
        return value.strip()

    def secrets(self) -> tuple[str, ...]:
        values = self.given.get("secrets", [])
        if not isinstance(values, list) or not 1 <= len(values) <= 2:
            self.wrong("secrets", 'must be a list of one or two, as in [{ env = "NAME" }]; two while one is replaced')
            return ()
        return tuple(self.secret("secrets", value, "whsec_", 24, 64) for value in values)

    def secret(self, key: str, source: Any, prefix: str, low: int, high: int) -> str:
        """A secret of low to high bytes. Its value never stands in an error."""
        value = self.resolve(key, source)
        if not value:
            return ""
        try:
            size = len(base64.b64decode(value.removeprefix(prefix), validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if not value.startswith(prefix) or not low <= size <= high:
            self.wrong(key, f"must be {prefix} and the base64 of {low} to {high} bytes: sekisho webhook secret")
        return value

    def token(self) -> str:
        if "catch_up_token" not in self.given:
            return ""
        value = self.resolve("catch_up_token", self.given["catch_up_token"])
        if value and len(value) < 16:
            self.wrong("catch_up_token", "must have 16 characters or more")
        return value

    def resolve(self, key: str, source: Any) -> str:
        value = ""
        match source:
            case {"env": str(name), **rest} if not rest:
                value = self.reader.environment.get(name, "")
                if not value:
                    self.wrong(key, f"the environment has no {name}; set it")
            case {"file": str(name), **rest} if not rest:
                try:
                    value = (self.reader.folder / name).read_text("utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    self.wrong(key, f"{name} cannot be read ({type(error).__name__})")
            case _:
                self.wrong(key, 'a secret; write { env = "NAME" } or { file = "PATH" }')
        return value

    def file(self, key: str) -> Path | None:
        value = self.given.get(key)
        if value is None:
            return None
        if isinstance(value, str) and (path := self.reader.folder / value).is_file():
            return path
        self.wrong(key, f"{value!r} is no file")
        return None


def _is_loopback(host: str, allow: tuple[Network, ...]) -> bool:
    """True for a host that is loopback and listed; a name other than localhost is judged when it is connected to."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    return address.is_loopback and any(address in network for network in allow)
