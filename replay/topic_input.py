"""A Kafka topic as a SOURCE: kafka://host:port/topic?from=..&to=.., the brokers' part of a replay's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from sekisho.errors import SourceError
from sekisho.options import moment
from sekisho.settings import TopicSettings, load_settings

SCHEME = "kafka://"
_FIX = "write kafka://host:port/topic?from=..&to=.. with times (RFC 3339) or offsets; quote it for the shell"


class Place(NamedTuple):
    """A place in each partition: an offset, or the first record whose record time is not before `time_us`."""

    offset: int | None = None
    time_us: int | None = None


@dataclass(frozen=True)
class TopicRange:
    """The records [first, end) of each partition of a topic; None is the topic's beginning, and its end by now."""

    topic: str
    first: Place | None = None
    end: Place | None = None


@dataclass(frozen=True)
class TopicInput:
    """Topics of one cluster, merged by record time as the lane merges them.

    bootstrap: "" stands for the brokers of the settings.   client: kafka-python's settings for TLS and SASL.
    events: the topic of control events.
    """

    bootstrap: str
    ranges: tuple[TopicRange, ...]
    client: Mapping[str, str] = field(default_factory=dict, repr=False)
    events: str = TopicSettings.events

    def files(self) -> list[Path]:
        """None: what a run writes cannot overwrite a topic."""
        return []

    def __str__(self) -> str:
        return f"{SCHEME}{self.bootstrap}/{','.join(part.topic for part in self.ranges)}"


def parse_topics(url: str) -> TopicInput:
    """A kafka:// address. Raises ValueError with what is wrong and how it is written."""
    parts = urlsplit(url)
    topics = [unquote(name) for name in parts.path.strip("/").split(",") if name]
    if not topics or "/" in parts.path.strip("/"):
        raise ValueError(f"{url!r} names no topic; {_FIX}")
    bounds = dict.fromkeys(("from", "to"), "")
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        if name not in bounds or not value or bounds[name]:
            raise ValueError(f"{url!r}: {pair!r} is not understood; {_FIX}")
        bounds[name] = unquote(value)  # a plus is a plus: it stands in times
    first, end = (_place(url, name, text) if text else None for name, text in bounds.items())
    if first and end and any(a is not None and b is not None and a >= b for a, b in zip(first, end, strict=True)):
        raise ValueError(f"{url!r}: from is not before to, so nothing would be read")
    return TopicInput(parts.netloc, tuple(TopicRange(name, first, end) for name in topics))


def _place(url: str, name: str, text: str) -> Place:
    if text.isascii() and text.isdigit():
        return Place(offset=int(text))
    try:
        return Place(time_us=moment(text))
    except ValueError:
        raise ValueError(f"{url!r}: {name}={text} is neither an offset nor a time; {_FIX}") from None


def on_cluster(inputs: Iterable[TopicInput], settings: Path | None) -> list[TopicInput]:
    """The inputs, those of one cluster joined into one; with TLS, SASL and absent brokers from the settings' file.

    Raises SettingsError, and SourceError where nothing says where the brokers are.
    """
    ranges: dict[str, list[TopicRange]] = {}
    inputs = list(inputs)
    found = load_settings(settings) if settings and inputs else None
    for each in inputs:
        bootstrap = each.bootstrap or (found.kafka.bootstrap if found else "")
        if not bootstrap:
            raise SourceError(f"{each}: it names no brokers", "write kafka://host:port/topic, or give --config")
        ranges.setdefault(bootstrap, []).extend(each.ranges)
    client = found.kafka.python_client if found else {}
    events = found.topics.events if found else TopicSettings.events
    return [TopicInput(bootstrap, tuple(parts), client, events) for bootstrap, parts in ranges.items()]
