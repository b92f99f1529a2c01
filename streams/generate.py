"""A bank's days as events on the input topic, for demonstrations and load: the seeded world of sekisho.testing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from sekisho.settings import Settings
from sekisho.testing.world import world_of
from streams.broker import Send
from streams.client import KafkaBroker

_TICK_S = 0.05


def generate(settings: Settings, events: int, rate: float, seed: int, told: Callable[[int], None]) -> None:
    """Send `events` events at `rate` a second, 0 is as fast as it goes; `told` hears how many are out.

    Raises BrokerError.
    """
    writer = KafkaBroker(settings).writer(transactional=False)
    topic, started, sent = settings.topics.input[0], time.monotonic(), 0
    lines = _lines(events, seed)
    while True:
        allowed = int((time.monotonic() - started + _TICK_S) * rate) - sent if rate else 10_000
        sends = [Send(topic, sent + k, None, line) for k, line in enumerate(islice(lines, max(0, allowed)))]
        writer.send(sends)
        writer.flush()
        sent += len(sends)
        told(sent)
        if sent == events:
            break
        if rate:
            time.sleep(_TICK_S)
    writer.close()


def _lines(events: int, seed: int) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "world.jsonl"
        world_of(events, seed=seed).write_jsonl(file, events)
        with file.open("rb") as handle:
            for line in handle:
                yield line.rstrip(b"\n")
