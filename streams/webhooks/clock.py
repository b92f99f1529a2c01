"""Time and chance come from outside, so that a test's hour takes no time."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol


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
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return
