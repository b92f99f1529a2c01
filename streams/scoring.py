"""A pack as the lane's scorer: where each of its outputs goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sekisho.compile import Engine
from sekisho.decider import Decider
from sekisho.journal import Cold
from sekisho.log import Message
from sekisho.settings import TopicSettings
from streams.outputs import Addressed, Outputs


class PackScorer:
    """Keeps streams.outputs.Scorer for a compiled pack."""

    def __init__(self, engine: Engine, topics: TopicSettings, threads: int = 1) -> None:
        self.decider, self.topics = Decider(engine, threads, topics.events), topics
        self.cold: Cold | None = None

    @property
    def pack(self) -> str:
        return self.decider.engine.pack.hash

    def reset(self, cold: Cold | None = None) -> None:
        """Back to the state before the first event that it is to know."""
        self.cold = cold
        self.decider.reset(None if cold is None else cold.watermark_us)

    def recall(self, said: Iterable[Message]) -> None:
        """Take in what people had said of lists and rules before the first event that it is to know."""
        self.decider.recall(said)

    def warm(self) -> None:
        """Compile every kernel before the lane may lead."""
        self.decider.warm()

    def save(self, folder: Path, note: dict[str, object]) -> None:
        """Write the state as a snapshot."""
        self.decider.save(folder, note | {"cold": self.cold})

    def load(self, folder: Path) -> dict[str, object]:
        """Take the state of a snapshot; its note. Raises SnapshotError."""
        note = self.decider.load(folder)
        self.cold = Cold(*cold) if isinstance(cold := note.get("cold"), list) else None
        return note

    def told(self) -> Mapping[str, Any]:
        """What people should know of it."""
        return self.decider.told()

    def decide(self, messages: Sequence[Message]) -> Outputs:
        """Fold a batch, in its order."""
        verdicts, topics = self.decider.decide(messages), self.topics
        return Outputs(
            Addressed(topics.decisions, verdicts.decisions),
            Addressed(topics.alerts, verdicts.alerts),
            Addressed(topics.dead_letters, verdicts.dead_letters),
            verdicts.watermark_us,
        )
