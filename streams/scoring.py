"""A pack as the lane's scorer: where each of its outputs goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sekisho.compile import Engine
from sekisho.decider import Decider
from sekisho.log import Message
from streams.broker import Send
from streams.outputs import Outputs
from streams.settings import TopicSettings


class PackScorer:
    """Keeps streams.outputs.Scorer for a compiled pack.

    A decision and a dead letter have the key and the partition of their event, so that their order is kept. All about
    one alert group goes to one partition.
    """

    def __init__(self, engine: Engine, topics: TopicSettings, threads: int = 1) -> None:
        self.decider, self.topics = Decider(engine, threads), topics

    @property
    def pack(self) -> str:
        return self.decider.engine.pack.hash

    def reset(self) -> None:
        """Back to the state before the first event."""
        self.decider.reset()

    def warm(self) -> None:
        """Compile every kernel before the lane may lead."""
        self.decider.warm()

    def save(self, folder: Path, note: dict[str, object]) -> None:
        """Write the state as a snapshot."""
        self.decider.save(folder, note)

    def load(self, folder: Path) -> dict[str, object]:
        """Take the state of a snapshot; its note. Raises SnapshotError."""
        return self.decider.load(folder)

    def decide(self, messages: Sequence[Message]) -> Outputs:
        """Fold a batch, in its order."""
        verdicts, topics = self.decider.decide(messages), self.topics

        def beside(topic: str, record: tuple[int, bytes]) -> Send:
            event = messages[record[0]]
            return Send(topic, event.partition, event.key, record[1])

        return Outputs(
            [beside(topics.decisions, each) for each in verdicts.decisions],
            [Send(topics.alerts, int(group[:7], 16), group.encode(), raw) for group, raw in verdicts.alerts],
            [beside(topics.dead_letters, each) for each in verdicts.dead_letters],
            verdicts.watermark_us,
        )
