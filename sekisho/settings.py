"""sekisho.toml and the environment become one frozen Settings; every error names file, line, key and what to do.

Any key of a table can be set by the environment: SEKISHO_<TABLE>_<KEY>, as in SEKISHO_KAFKA_BOOTSTRAP; it wins over the
file. A secret stands in neither: write `"sasl.password" = { env = "NAME" }` or `{ file = "/run/secrets/kafka" }`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from sekisho.errors import SekishoError
from sekisho.webhook_settings import Webhook, WebhookReader

DELIVERIES = ("exactly-once", "at-least-once")
# What the lane sets itself: its guarantees rest on them.
_OURS = ("bootstrap.servers", "group.id", "transactional.id", "enable.auto.commit", "isolation.level", "acks")
# The settings of kafka-python that say what librdkafka's say; the others only tune librdkafka.
_PYTHON_KEYS = {
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "ssl.crl.location": "ssl_crlfile",
}
# A key of these says who is trusted or who asks: leaving one out would connect otherwise than the file says.
_PROTECTIVE = ("security.", "ssl.", "sasl.", "enable.ssl.", "enable.sasl.")
_SECRET = re.compile(r"password|secret|\.key\.pem|token", re.IGNORECASE)
_T = TypeVar("_T")
Check = Callable[[Any], str]


class SettingsError(SekishoError):
    """Settings that will not do: every problem, one a line."""

    def __init__(
        self, problems: tuple[str, ...], fix: str = "mend these lines, then run: sekisho config check"
    ) -> None:
        self.problems = problems
        super().__init__("\n".join(problems), fix)


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value else "must be a text that is not empty"


def _texts(value: Any) -> str:
    good = isinstance(value, list | tuple) and value and all(isinstance(item, str) and item for item in value)
    return "" if good else 'must be a list of texts, as in ["payments"]'


def _number(low: int, high: int) -> Check:
    def check(value: Any) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if good else f"must be a whole number from {low:,} to {high:,}"

    return check


def _choice(*choices: str) -> Check:
    return lambda value: "" if value in choices else f"must be one of: {', '.join(choices)}"


def _topic(value: Any) -> str:
    good = isinstance(value, str) and re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", value)
    return "" if good else "must be a topic's name: letters, digits, . _ -"


def _topics(value: Any) -> str:
    return _texts(value) or next(filter(None, map(_topic, value)), "")


def _key(check: Check, default: Any = MISSING) -> Any:
    return field(metadata={"check": check}, **({} if default is MISSING else {"default": default}))


@dataclass(frozen=True)
class KafkaSettings:
    """`[kafka]`: where the brokers are, and which cluster they must be of.

    `client` passes through to every client (TLS, SASL); it is never printed.
    """

    bootstrap: str = _key(_text)
    client: Mapping[str, str] = field(default_factory=dict, repr=False)
    cluster_id: str = _key(_text, "")

    @property
    def python_client(self) -> dict[str, str]:
        """`client` as kafka-python says it: TLS and SASL. Raises SettingsError: the keys it lacks."""
        # Checking the host's name is what kafka-python does anyway.
        given = self.client.items() - {("ssl.endpoint.identification.algorithm", "https")}
        unsaid = sorted(key for key, _ in given if key.startswith(_PROTECTIVE) and key not in _PYTHON_KEYS)
        if unsaid:
            known = ", ".join(_PYTHON_KEYS)
            what = "the Python client of topics and replay has no such setting"
            raise SettingsError(tuple(f"[kafka.client] {key}: {what}; use {known}" for key in unsaid))
        return {_PYTHON_KEYS[key]: value for key, value in self.client.items() if key in _PYTHON_KEYS}


@dataclass(frozen=True)
class TopicSettings:
    """`[topics]`: names, and how `sekisho topics create` makes them."""

    input: tuple[str, ...] = _key(_topics)
    decisions: str = _key(_topic, "decisions")
    alerts: str = _key(_topic, "alerts")
    dead_letters: str = _key(_topic, "dead-letters")
    journal: str = _key(_topic, "sekisho-journal")
    control: str = _key(_topic, "sekisho-control")
    packs: str = _key(_topic, "sekisho-packs")
    deliveries: str = _key(_topic, "sekisho-deliveries")
    webhooks: str = _key(_topic, "sekisho-webhooks")
    undelivered: str = _key(_topic, "undelivered-alerts")
    events: str = _key(_topic, "sekisho-events")
    input_partitions: int = _key(_number(1, 10_000), 4)
    output_partitions: int = _key(_number(1, 10_000), 1)
    replication: int = _key(_number(1, 15), 3)
    input_retention_days: int = _key(_number(1, 36_500), 90)
    output_retention_days: int = _key(_number(1, 36_500), 30)

    @property
    def consumed(self) -> tuple[str, ...]:
        """What the lane reads as the one log: the bank's topics, and Sekisho's own of labels and control events."""
        return (*self.input, self.events)


@dataclass(frozen=True)
class LaneSettings:
    """`[lane]`: how the lane batches, commits and keeps its state. Times in the unit that the name ends with."""

    name: str = _key(_topic, "sekisho")
    delivery: str = _key(_choice(*DELIVERIES), "exactly-once")
    batch_events: int = _key(_number(1, 65_536), 4096)
    merge_wait_ms: int = _key(_number(0, 10_000), 20)
    buffer_events: int = _key(_number(1_000, 10_000_000), 100_000)
    session_timeout_ms: int = _key(_number(1_000, 300_000), 6_000)
    snapshot_every_s: int = _key(_number(1, 86_400), 300)
    snapshots_kept: int = _key(_number(1, 100), 3)
    threads: int = _key(_number(1, 256), 1)


@dataclass(frozen=True)
class WebSettings:
    """`[web]`: where /healthz, /readyz, /metrics, /status and /v1 answer. labels_per_s: how many are taken at most."""

    host: str = _key(_text, "127.0.0.1")
    port: int = _key(_number(1, 65_535), 6066)
    labels_per_s: int = _key(_number(1, 100_000), 100)


@dataclass(frozen=True)
class Settings:
    """Everything a worker needs to know. `pack` and `state` are folders, resolved against the file's own folder."""

    pack: Path
    state: Path
    kafka: KafkaSettings
    topics: TopicSettings
    lane: LaneSettings
    web: WebSettings
    webhooks: tuple[Webhook, ...] = ()


_TABLES: Mapping[str, type[Any]] = {
    "kafka": KafkaSettings,
    "topics": TopicSettings,
    "lane": LaneSettings,
    "web": WebSettings,
}


def load_settings(file: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check the file. Raises SettingsError with all problems at once."""
    try:
        text = file.read_text("utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError as error:
        raise SettingsError((f"{file}: there is no such file",), "name the settings' file with --config") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError((f"{file}: not readable as TOML: {error}",)) from error
    return _Reader(file, text, raw, os.environ if environment is None else environment).settings()


@dataclass
class _Reader:
    file: Path
    text: str
    raw: dict[str, Any]
    environment: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def settings(self) -> Settings:
        for key in self.raw.keys() - {"pack", "state", "webhooks", *_TABLES}:
            self._problem("", key, f"unknown; known are pack, state, {', '.join(f'[{name}]' for name in _TABLES)}")
        pack, state = self._folder("pack"), self._folder("state")
        tables = {name: self._table(name, record) for name, record in _TABLES.items()}
        webhooks = WebhookReader(self.file.parent, self.environment, self._webhook_problem).read(
            self.raw.get("webhooks", [])
        )
        if not self.problems:
            self._distinct(tables["topics"])
        if self.problems:
            raise SettingsError(tuple(self.problems))
        return Settings(pack, state, **tables, webhooks=webhooks)

    def _folder(self, key: str) -> Path:
        value = self.environment.get(f"SEKISHO_{key.upper()}", self.raw.get(key))
        if value is None:
            self._problem("", key, f'missing; write {key} = "folder" above the first table')
        elif problem := _text(value):
            self._problem("", key, problem)
        else:
            return (self.file.parent / value).resolve()
        return Path()

    def _table(self, name: str, record: type[_T]) -> _T:
        given = self.raw.get(name, {})
        if not isinstance(given, dict):
            self._problem("", name, f"must be a table: [{name}]")
            given = {}
        known = {each.name: each for each in fields(record)}  # type: ignore[arg-type]
        for key in given.keys() - known.keys():
            self._problem(name, key, f"unknown; known are {', '.join(known)}")
        values: dict[str, Any] = {}
        for key, each in known.items():
            if key == "client":
                values[key] = self._client(given.get(key, {}))
                continue
            variable = f"SEKISHO_{name}_{key}".upper()
            if variable in self.environment:
                values[key] = self._from_environment(variable, str(each.type), each.metadata["check"])
            elif key in given:
                values[key] = self._checked(name, key, given[key], each.metadata["check"])
            elif each.default is MISSING:
                self._problem(name, key, f"missing; write it under [{name}]")
        return record(**values) if not self.problems else None  # type: ignore[return-value]

    def _checked(self, table: str, key: str, value: Any, check: Check) -> Any:
        if problem := check(value):
            self._problem(table, key, problem)
        return tuple(value) if isinstance(value, list) else value

    def _from_environment(self, variable: str, type: str, check: Check) -> Any:
        text = self.environment[variable]
        value: Any = text
        if type == "int":
            value = int(text) if re.fullmatch(r"-?[0-9]+", text) else text
        elif type.startswith("tuple"):
            value = tuple(part.strip() for part in text.split(","))
        if problem := check(value):
            self.problems.append(f"environment: {variable}: {problem}")
        return value

    def _client(self, given: Any) -> dict[str, str]:
        """Client settings, secrets resolved. A secret that stands in the file is refused, and not repeated."""
        if not isinstance(given, dict):
            self._problem("kafka", "client", "must be a table: [kafka.client]")
            return {}
        found = {}
        for key, value in given.items():
            if key in _OURS:
                self._problem("kafka.client", key, "is set by Sekisho, its guarantees rest on it; remove it")
            elif isinstance(value, dict):
                found[key] = self._secret(key, value)
            elif _SECRET.search(key):
                self._problem("kafka.client", key, 'a secret; write { env = "NAME" } or { file = "PATH" }')
            else:
                found[key] = str(value).lower() if isinstance(value, bool) else str(value)
        return found

    def _secret(self, key: str, source: dict[str, Any]) -> str:
        match source:
            case {"env": str(name), **rest} if not rest:
                if name in self.environment:
                    return self.environment[name]
                self._problem("kafka.client", key, f"the environment has no {name}; set it")
            case {"file": str(name), **rest} if not rest:
                try:
                    return (self.file.parent / name).read_text("utf-8").rstrip("\n")
                except (OSError, UnicodeDecodeError) as error:
                    self._problem("kafka.client", key, f"{name} cannot be read ({type(error).__name__})")
            case _:
                self._problem("kafka.client", key, 'must be a text, { env = "NAME" } or { file = "PATH" }')
        return ""

    def _distinct(self, topics: TopicSettings) -> None:
        keys = ("decisions", "alerts", "dead_letters", "journal", "control", "packs", "events")
        named = [(key, getattr(topics, key)) for key in (*keys, "deliveries", "webhooks", "undelivered")]
        taken = set(topics.input)
        for key, topic in named:
            if topic in taken:
                self._problem("topics", key, f"{topic!r} is used twice; give each topic a name of its own")
            taken.add(topic)

    def _webhook_problem(self, number: int, key: str, what: str) -> None:
        self._problem("webhooks", key, what, number)

    def _problem(self, table: str, key: str, what: str, number: int = 0) -> None:
        line = _line(self.text, table, key, number)
        name = f"[{table}] {key}" if table else key
        self.problems.append(f"{self.file}:{line}: {name}: {what}" if line else f"{self.file}: {name}: {what}")


def _line(text: str, table: str, key: str, number: int = 0) -> int:
    """The line where the key stands, else its table's, else 0. It reads headers and keys as people write them.

    number: which of the tables of that name, from 0.
    """
    current, header, seen = "", 0, -1
    for place, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[{1,2}([^\[\]]+)\]", line):
            current = match[1].strip()
            seen += current == table
            if (current == table and seen == number) or (not table and current == key):
                header = place
        elif current == table and seen in (-1, number) and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return place
    return header
