"""What is owed to one subscriber: a state machine without I/O, told the time (seconds since 1970) and given its chance.

    take() what was routed -> ready() says what to send now -> landed() with the answer -> delivered, later, or given up

At most WINDOW items are open; while a receiver is away the rest waits on the deliveries topic. What `to_json` writes is
enough to go on after a crash: where to read on, and each open item with its tries. An item whose answer was not saved
yet is sent again, with the same id and sequence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

from sekisho.webhook_settings import Webhook
from streams.webhooks.message import Message
from streams.webhooks.policy import DELIVERED, GONE, Answer, Breaker, delay_s, pause_s

WINDOW = 200
_BUSY = 429


@dataclass
class Item:
    """One message on its way. offset: of its first record on the deliveries topic.   since_s: when it was routed.

    first, last: its sequences.   again: asked for by a person.   message: None until it is read (again).
    """

    offset: int
    first: int
    last: int
    since_s: float
    again: bool = False
    tries: int = 0
    due_s: float = 0.0
    problem: str = ""
    message: Message | None = None


@dataclass(frozen=True)
class Undelivered:
    """An item that was given up, and why."""

    subscriber: str
    item: Item
    reason: str


@dataclass
class Counts:
    """Since this worker took over. tries: calls that brought no 2xx."""

    delivered: int = 0
    failed: int = 0
    undelivered: int = 0


@dataclass
class Outbox:
    """See the module. next_offset: what has not been taken from the deliveries topic yet."""

    webhook: Webhook
    next_offset: int
    items: dict[int, Item] = field(default_factory=dict)
    breaker: Breaker = Breaker()
    paused_s: float = 0.0
    gone: str = ""  # a hash of the URL that asked for no more calls
    counts: Counts = field(default_factory=Counts)
    given_up: list[Undelivered] = field(default_factory=list)
    changed: bool = True
    _flying: set[int] = field(default_factory=set)
    _waiting: list[tuple[float, int]] = field(default_factory=list)  # a heap of (due_s, offset); may hold some given up
    _expiry_s: float = inf  # nothing that waits has to be given up before
    _tokens: float = 1.0
    _filled_s: float = 0.0

    @property
    def has_room(self) -> bool:
        return len(self.items) < WINDOW

    @property
    def is_gone(self) -> bool:
        """True while the receiver at this URL wants no calls."""
        return bool(self.gone) and self.gone == _digest(self.webhook.url)

    def take(self, item: Item, next_offset: int) -> None:
        """A message from the topic: a new one, or the content of an item that a restart has left without."""
        known = self.items.get(item.offset)
        if known is not None:
            if known.message is None:
                known.message = item.message
                self._wait(known)
            return
        self.items[item.offset] = item
        self._wait(item)
        self.next_offset = next_offset
        self.changed = True

    def skip(self, next_offset: int) -> None:
        """Records that are not for this subscriber."""
        self.changed |= next_offset >= self.next_offset + 1000
        self.next_offset = max(self.next_offset, next_offset)

    def lose(self, offset: int) -> None:
        """An open item is no longer on the topic."""
        self._give_up(self.items[offset], "its record is no longer on the deliveries topic: retention was too short")

    def ready(self, now_s: float) -> list[Item]:
        """What is to be sent now; each of them is in flight until it has landed."""
        if self.gone or now_s >= self._expiry_s:
            self._expire(now_s)
        sent: list[Item] = []
        if self.breaker.open:
            if not self._flying and now_s >= max(self.breaker.probe_s, self.paused_s):
                sent = self._probe()
        elif now_s >= self.paused_s:
            allowed = self._allowed(now_s)
            while len(sent) < allowed and self._first_due_s() <= now_s:
                sent.append(self.items[heappop(self._waiting)[1]])
            self._tokens -= len(sent)
        self._flying.update(item.offset for item in sent)
        return sent

    def landed(self, item: Item, answer: Answer, now_s: float, chance: float) -> None:
        """What a try brought."""
        self._flying.discard(item.offset)
        if item.offset not in self.items:
            return
        self.changed = True
        if answer.verdict == DELIVERED:
            self.counts.delivered += 1
            del self.items[item.offset]
            self._recovered(now_s)
            return
        self.counts.failed += 1
        item.tries += 1
        item.problem = str(answer)
        pause = pause_s(answer.retry_after, now_s)
        item.due_s = now_s + max(delay_s(item.tries, chance), pause)
        if answer.verdict == GONE:
            self.gone = _digest(self.webhook.url)
            self._give_up(item, "the receiver answered 410: it wants no more calls")
        elif answer.status == _BUSY:
            self.paused_s = max(self.paused_s, now_s + (pause or delay_s(1, chance)))
        else:
            self.paused_s = max(self.paused_s, now_s + pause)
            self.breaker = self.breaker.failed(now_s, chance)
        if item.offset in self.items:
            self._wait(item)

    def wake_s(self, now_s: float) -> float:
        """In how many seconds to ask again, if nothing happens meanwhile; at most a minute."""
        first_s = self._first_due_s()
        if first_s == inf:
            return 60.0
        if self.breaker.open:
            due = max(self.breaker.probe_s, self.paused_s) if not self._flying else inf
        elif len(self._flying) >= self.webhook.parallel:
            due = inf
        else:
            due = max(first_s, self.paused_s)
            if self.webhook.rate_per_s and self._tokens < 1:
                due = max(due, now_s + (1 - self._tokens) / self.webhook.rate_per_s)
        return max(0.001, min(60.0, min(due, self._expiry_s) - now_s))

    def to_json(self) -> dict[str, Any]:
        """All that must outlive a crash."""
        items = [{name: getattr(item, name) for name in _KEPT} for item in self.items.values()]
        return {
            "v": 1,
            "next_offset": self.next_offset,
            "items": items,
            "breaker": asdict(self.breaker),
            "paused_s": self.paused_s,
            "gone": self.gone,
        }

    @classmethod
    def from_json(cls, webhook: Webhook, kept: dict[str, Any]) -> Outbox:
        """The outbox that `to_json` wrote; its items have no content yet."""
        items = {each["offset"]: Item(**each) for each in kept["items"]}
        breaker = Breaker(**kept["breaker"])
        return cls(webhook, kept["next_offset"], items, breaker, kept["paused_s"], kept["gone"])

    def _allowed(self, now_s: float) -> int:
        """How many calls may begin: as many as are free at once, and as the rate allows."""
        free = self.webhook.parallel - len(self._flying)
        rate = self.webhook.rate_per_s
        if not rate:
            return free
        self._tokens = min(float(rate), self._tokens + (now_s - self._filled_s) * rate) if self._filled_s else 1.0
        self._filled_s = now_s
        return min(free, int(self._tokens))

    def _wait(self, item: Item) -> None:
        """One that has its message and is not in flight waits until it is due."""
        heappush(self._waiting, (item.due_s, item.offset))
        self._expiry_s = min(self._expiry_s, item.since_s + self._give_up_after_s)

    def _first_due_s(self) -> float:
        """When the first of those that wait is due; infinite where nothing waits."""
        while self._waiting and self._waiting[0][1] not in self.items:
            heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else inf

    def _probe(self) -> list[Item]:
        """The one to try a receiver with that fails: not the one that may be to blame."""
        if self._first_due_s() == inf:
            return []
        item = min((self.items[k] for _, k in self._waiting if k in self.items), key=lambda item: item.tries)
        self._waiting.remove((item.due_s, item.offset))
        heapify(self._waiting)
        return [item]

    def _recovered(self, now_s: float) -> None:
        """A receiver that answers again is given at once what it has failed to take."""
        if self.breaker.open:
            for item in self.items.values():
                item.due_s = now_s
            self._waiting = sorted((now_s, offset) for _, offset in self._waiting)
        self.breaker, self.gone, self.paused_s = Breaker(), "", 0.0

    @property
    def _give_up_after_s(self) -> float:
        return self.webhook.give_up_after_h * 3600.0

    def _expire(self, now_s: float) -> None:
        """Give up what nobody wants or has wanted for too long. What is in flight has its last chance."""
        self._expiry_s = inf
        for item in [item for item in self.items.values() if item.message and item.offset not in self._flying]:
            if self.is_gone and not item.again:
                self._give_up(item, "the receiver answered 410 before: it wants no more calls")
            elif now_s - item.since_s >= self._give_up_after_s:
                last = f"the last try: {item.problem}" if item.problem else "it was never tried, as others failed"
                self._give_up(item, f"not delivered within {self.webhook.give_up_after_h} h; {last}")
            else:
                self._expiry_s = min(self._expiry_s, item.since_s + self._give_up_after_s)

    def _give_up(self, item: Item, reason: str) -> None:
        del self.items[item.offset]
        self.given_up.append(Undelivered(self.webhook.id, item, reason))
        self.counts.undelivered += 1
        self.changed = True


_KEPT = tuple(each.name for each in fields(Item) if each.name != "message")


def _digest(url: str) -> str:
    return sha256(url.encode()).hexdigest()[:16]
