"""A pack's stand-in whose outputs show every mistake, and the merge rule in its plainest form."""

import hashlib
from collections.abc import Callable, Sequence

from sekisho.decider import Outgoing, Placed
from sekisho.journal import Cold
from sekisho.log import Message
from streams.journal_tail import Place
from streams.outputs import Addressed, Outputs, PackRefused, Request


class Folding:
    """A scorer whose every output depends on the pack, the whole history and its order."""

    def __init__(self, prefix: str = "", pack: str = "p") -> None:
        self.prefix, self.pack = prefix, pack * 64
        self.reset()

    def reset(self, cold: Cold | None = None) -> None:
        self.state, self.count, self.cold = self.pack.encode(), 0, cold

    def told(self) -> dict[str, object]:
        return {}

    def decide(self, messages: Sequence[Message]) -> Outputs:
        decisions, alerts, dead = Outgoing(), Outgoing(), Outgoing()
        for message in messages:
            place = f"{message.partition}:{message.offset}".encode()
            if message.value == b"malformed":
                dead.add(Placed(message.partition, None, place))
                continue
            self.state = hashlib.sha1(self.state + place).digest()
            self.count += 1
            decisions.add(Placed(message.partition, None, place + b"=" + self.state.hex().encode()))
            if self.count % 5 == 0:
                alerts.add(Placed(message.partition, None, place))
        parts = zip(("decisions", "alerts", "dead"), (decisions, alerts, dead), strict=True)
        return Outputs(*(Addressed(self.prefix + name, part) for name, part in parts), self.count)


# The topics of a test, with names that no other test has: for str.format with `prefix`.
TOPICS_TOML = """\
[topics]
input = ["{prefix}payments"]
decisions = "{prefix}decisions"
alerts = "{prefix}alerts"
dead_letters = "{prefix}dead-letters"
journal = "{prefix}journal"
control = "{prefix}control"
packs = "{prefix}packs"
events = "{prefix}events"
deliveries = "{prefix}deliveries"
webhooks = "{prefix}webhooks"
undelivered = "{prefix}undelivered"
"""


Shelf = dict[str, tuple[bytes, int, Place]]


class Kept:
    """Snapshots in memory, one a pack; lanes that share a shelf share them."""

    failed = ""

    def __init__(self, shelf: Shelf | None = None, prefix: str = "") -> None:
        self.shelf, self.prefix, self.at = {} if shelf is None else shelf, prefix, 0.0

    def due(self, now: float, active: bool) -> bool:
        return now > self.at + (0.2 if active else 0.1)

    def save(self, scorer: Folding, place: Place, now: float, active: bool) -> None:  # type: ignore[override]
        self.shelf[scorer.pack[0]], self.at = (scorer.state, scorer.count, place), now

    def load(self, trust: bool) -> tuple[Folding, Place]:
        if not self.shelf or not trust:
            return Folding(self.prefix), Place()
        pack = max(self.shelf, key=lambda name: self.shelf[name][2].sequence)
        return self.of(pack)

    def of(self, pack: str) -> tuple[Folding, Place]:
        scorer = Folding(self.prefix, pack)
        scorer.state, scorer.count, place = self.shelf[pack]
        return scorer, place


class Offered:
    """Packs of one letter: any can be asked for, "x" is a bad one. slow: true while a state is still on its way."""

    def __init__(
        self, kept: Kept, wanted: Callable[[], Request | None] = lambda: None, slow: Callable[[], bool] = lambda: False
    ) -> None:
        self.kept, self.wanted, self.slow = kept, wanted, slow
        self.refusals: list[str] = []

    def warmed(self, request: Request, place: Place) -> tuple[Folding, Place] | None:
        name = request.pack[0]
        if name == "x":
            raise PackRefused("it does not parse", "mend it")
        if self.slow():
            return None
        if name in self.kept.shelf and self.kept.shelf[name][2].sequence <= place.sequence:
            return self.kept.of(name)
        return Folding(self.kept.prefix, name), Place()

    def drop(self) -> None:
        pass

    def refuse(self, request: Request, why: str) -> None:
        self.refusals.append(request.id)


def merged(parts: list[list[Message]]) -> list[Message]:
    """`log-time/1`, naively: the least head, again and again."""
    order = []
    while any(parts):
        head = min(
            (part for part in parts if part), key=lambda part: (part[0].time_us, part[0].topic, part[0].partition)
        )
        order.append(head.pop(0))
    return order
