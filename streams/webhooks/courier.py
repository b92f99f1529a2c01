"""Delivers one outbox: a task for each subscriber, so that a slow or dead one delays no other."""

from __future__ import annotations

import asyncio
from typing import Protocol

from streams.webhooks.clock import Clock
from streams.webhooks.outbox import Item, Outbox
from streams.webhooks.payload import Message
from streams.webhooks.policy import Answer


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
                    task = asyncio.create_task(self._try(item))
                    self._tries.add(task)
                    task.add_done_callback(self._tries.discard)
                self.news.clear()
                await self.clock.wait(self.news, self.outbox.wake_s(now))
        finally:
            for task in self._tries:
                task.cancel()
            await self.sender.close()

    async def _try(self, item: Item) -> None:
        assert item.message is not None
        try:
            answer = await self.sender.send(item.message, self.clock.now())
        except Exception as error:  # a mistake of ours must neither lose the item nor stop the others
            answer = Answer(None, f"the call failed here ({type(error).__name__})")
        self.outbox.landed(item, answer, self.clock.now(), self.clock.chance())
        self.news.set()
