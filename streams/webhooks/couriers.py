"""Delivery on an event loop: a courier for each subscriber, so that a slow or dead one delays no other.

Time and chance come from outside, so that a test's hour takes no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sekisho.webhook_settings import Webhook
from streams.broker import Broker
from streams.webhooks.deliveries import DeliveryFeed
from streams.webhooks.message import Message
from streams.webhooks.outbox import Item, Outbox, Undelivered
from streams.webhooks.policy import Answer

_PATIENCE_S = 30.0
_FEED_ENDS_S = 2.0
_T = TypeVar("_T")
Saves = tuple[list[tuple[str, dict[str, Any]]], list[Undelivered]]


class Clock(Protocol):
    """What delivery knows of time and chance."""

    def now(self) -> float:
        """Seconds since 1970."""

    def chance(self) -> float:
        """In [0, 1)."""

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event is set, at most so long."""


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def chance(self) -> float:
        """In [0, 1)."""
        return random.random()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event is set, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()


class Sends(Protocol):
    """What a courier asks of streams.webhooks.sender.Sender."""

    async def send(self, message: Message, at_s: float) -> Answer:
        """One try."""

    async def close(self) -> None:
        """Let go."""


class Courier:
    """Runs on an event loop. Everything of the outbox happens there."""

    def __init__(self, outbox: Outbox, sender: Sends, clock: Clock) -> None:
        self.outbox, self.sender, self.clock = outbox, sender, clock
        self.news = asyncio.Event()
        self._wakes_at_s = 0.0
        self._tries: set[asyncio.Task[None]] = set()

    def take(self, items: list[tuple[Item, int]], next_offset: int) -> None:
        """Messages from the topic, each with the offset behind it, and how far it is read."""
        for item, behind in items:
            self.outbox.take(item, behind)
        self.outbox.skip(next_offset)
        if items:
            self.news.set()

    def lose(self, offsets: list[int]) -> None:
        """Open items whose records are gone."""
        for offset in offsets:
            self.outbox.lose(offset)

    async def run(self) -> None:
        """Send what is due, until cancelled; what is in flight is cancelled with it."""
        try:
            while True:
                now = self.clock.now()
                for item in self.outbox.ready(now):
                    self._begin(item)
                self.news.clear()
                wake_s = self.outbox.wake_s(now)
                self._wakes_at_s = now + wake_s
                await self.clock.wait(self.news, wake_s)
        finally:
            for task in self._tries:
                task.cancel()
            await self.sender.close()

    def _begin(self, item: Item) -> None:
        task = asyncio.create_task(self._call(item))
        self._tries.add(task)
        task.add_done_callback(self._tries.discard)

    async def _call(self, item: Item | None) -> None:
        """Try one, then what is due in its place: a queue is worked off without waking the courier for each."""
        while item is not None:
            self.outbox.landed(item, await self._answer(item), self.clock.now(), self.clock.chance())
            now = self.clock.now()
            due = self.outbox.ready(now)
            item = due[0] if due else None
            for other in due[1:]:
                self._begin(other)
            if now + self.outbox.wake_s(now) < self._wakes_at_s:
                self.news.set()

    async def _answer(self, item: Item) -> Answer:
        assert item.message is not None
        try:
            return await self.sender.send(item.message, self.clock.now())
        except Exception as error:  # a mistake of ours must neither lose the item nor stop the others
            return Answer(None, f"the call failed here ({type(error).__name__})")


class Office(Protocol):
    """What the router asks of whoever delivers. Called from the router's thread."""

    def open(self, outboxes: Sequence[Outbox]) -> None:
        """Begin to deliver."""

    def shut(self) -> None:
        """Stop delivering; what was not collected is forgotten."""

    def collect(self) -> Saves:
        """The outboxes that have changed since the last time, and what they have given up."""


class CourierOffice:
    """Keeps Office on an event loop that runs in another thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        topic: str,
        clock: Clock,
        sender: Callable[[Webhook], Sends],
        log: Callable[[str], None],
    ) -> None:
        self.loop, self.broker, self.topic, self.clock, self.sender, self.log = loop, broker, topic, clock, sender, log
        self.couriers: dict[str, Courier] = {}
        self.feeds: list[DeliveryFeed] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def outboxes(self) -> Mapping[str, Outbox]:
        """Those that are delivered here and now, by subscriber."""
        return {name: courier.outbox for name, courier in self.couriers.items()}

    def open(self, outboxes: Sequence[Outbox]) -> None:
        """Begin to deliver."""
        self._on_loop(self._open(outboxes))
        for feed in self.feeds:
            feed.start()

    def shut(self) -> None:
        """Stop delivering."""
        for feed in self.feeds:
            feed.stop()
        for feed in self.feeds:
            feed.thread.join(_FEED_ENDS_S)
        self.feeds = []
        if self._tasks:
            self._on_loop(self._shut())

    def collect(self) -> Saves:
        """What must be saved."""
        return self._on_loop(self._collect())

    async def _open(self, outboxes: Sequence[Outbox]) -> None:
        for outbox in outboxes:
            courier = Courier(outbox, self.sender(outbox.webhook), self.clock)
            name = outbox.webhook.id
            self.couriers[name] = courier
            self._tasks[name] = asyncio.create_task(courier.run())
            self.feeds.append(self._feed(courier))

    def _feed(self, courier: Courier) -> DeliveryFeed:
        outbox, call = courier.outbox, self.loop.call_soon_threadsafe
        return DeliveryFeed(
            self.broker, self.topic, outbox.webhook, outbox.next_offset, outbox.items, lambda: outbox.has_room,
            lambda items, behind: call(courier.take, items, behind), lambda offsets: call(courier.lose, offsets),
            self.log,
        )  # fmt: skip

    async def _shut(self) -> None:
        tasks, self._tasks, self.couriers = list(self._tasks.values()), {}, {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _collect(self) -> Saves:
        saves: Saves = ([], [])
        for name, courier in self.couriers.items():
            if self._tasks[name].done():
                await self._tasks[name]  # raises what has ended it
            outbox = courier.outbox
            if outbox.changed:
                saves[0].append((name, outbox.to_json()))
                saves[1].extend(outbox.given_up)
                outbox.changed, outbox.given_up = False, []
        return saves

    def _on_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_PATIENCE_S)
