"""All couriers of a worker: made when it may deliver, ended when it may not, asked what must be saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sekisho.webhook_settings import Webhook
from streams.broker import Broker
from streams.webhooks.clock import Clock
from streams.webhooks.courier import Courier, Sends
from streams.webhooks.feed import Feed
from streams.webhooks.outbox import Outbox, Undelivered

_PATIENCE_S = 30.0
_FEED_ENDS_S = 2.0
_T = TypeVar("_T")
Saves = tuple[list[tuple[str, dict[str, Any]]], list[Undelivered]]


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
        self.feeds: list[Feed] = []
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

    def _feed(self, courier: Courier) -> Feed:
        outbox, call = courier.outbox, self.loop.call_soon_threadsafe
        return Feed(
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
