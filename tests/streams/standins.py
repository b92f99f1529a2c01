"""A pack's stand-in whose outputs show every mistake, and the merge rule in its plainest form."""

import hashlib
from collections.abc import Sequence

from sekisho.log import Message
from streams.broker import Send
from streams.journal_tail import Place
from streams.outputs import Outputs


class Folding:
    """A scorer whose every output depends on the whole history and its order."""

    pack = "p" * 64

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.reset()

    def reset(self) -> None:
        self.state, self.count = b"", 0

    def decide(self, messages: Sequence[Message]) -> Outputs:
        decisions, alerts, dead = [], [], []
        for message in messages:
            place = f"{message.partition}:{message.offset}".encode()
            if message.value == b"malformed":
                dead.append(Send(self.prefix + "dead", message.partition, None, place))
                continue
            self.state = hashlib.sha1(self.state + place).digest()
            self.count += 1
            decisions.append(
                Send(self.prefix + "decisions", message.partition, None, place + b"=" + self.state.hex().encode())
            )
            if self.count % 5 == 0:
                alerts.append(Send(self.prefix + "alerts", message.partition, None, place))
        return Outputs(decisions, alerts, dead, self.count)


class Kept:
    """Snapshots in memory; lanes that share a shelf share them."""

    def __init__(self, scorer: Folding, shelf: dict[str, tuple[bytes, int, Place]] | None = None) -> None:
        self.scorer, self.shelf, self.at = scorer, {} if shelf is None else shelf, 0.0

    def due(self, now: float, active: bool) -> bool:
        return now > self.at + (0.2 if active else 0.1)

    def save(self, place: Place, now: float, active: bool) -> None:
        self.shelf["last"], self.at = (self.scorer.state, self.scorer.count, place), now

    def load(self) -> Place | None:
        if not self.shelf:
            return None
        self.scorer.state, self.scorer.count, place = self.shelf["last"]
        return place


def merged(parts: list[list[Message]]) -> list[Message]:
    """`log-time/1`, naively: the least head, again and again."""
    order = []
    while any(parts):
        head = min(
            (part for part in parts if part), key=lambda part: (part[0].time_us, part[0].topic, part[0].partition)
        )
        order.append(head.pop(0))
    return order
