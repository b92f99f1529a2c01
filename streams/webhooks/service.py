"""Webhooks inside the Faust worker: the router in a thread, the couriers on Faust's loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event, Thread

from mode import Service

from sekisho.settings import Settings
from streams.client import KafkaBroker
from streams.webhooks.couriers import CourierOffice, SystemClock
from streams.webhooks.router import ROUTING, WAITING, Router
from streams.webhooks.sender import Sender, tls_context

LOG = logging.getLogger("sekisho.webhooks")


def clients(settings: Settings) -> KafkaBroker:
    """Clients whose group and transactional id are the webhooks' own; their readers wait for what is new."""
    own = replace(settings, lane=replace(settings.lane, name=f"{settings.lane.name}-webhooks"))
    return KafkaBroker(own, end_known_ms=100)


class WebhookService(Service):  # type: ignore[misc]
    """Routes and delivers from start to stop. What it cannot go on from crashes the worker."""

    def __init__(self, settings: Settings, crash: Callable[[BaseException], object]) -> None:
        self.settings, self.crash_app = settings, crash
        self.router: Router | None = None
        self.office: CourierOffice | None = None
        self.problem = ""
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="webhooks")
        super().__init__()

    async def on_start(self) -> None:
        """Check what can be checked, and start the thread."""
        for webhook in self.settings.webhooks:
            tls_context(webhook)
        broker, loop, topics = clients(self.settings), asyncio.get_running_loop(), self.settings.topics
        self.office = CourierOffice(loop, broker, topics.deliveries, SystemClock(), Sender, LOG.warning)
        self.router = Router(broker, topics, self.settings.webhooks, self.office, LOG.warning)
        self._thread.start()

    async def on_stop(self) -> None:
        """Save what was delivered, and end."""
        self._stopping.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def not_ready(self) -> str:
        """Why alerts are not delivered with this worker, nor would be if another ended; or ""."""
        if self.problem or self.router is None:
            return self.problem or "webhooks are starting"
        status = self.router.status
        return f"webhooks {status.phase}: {status.last_error}" if status.phase == WAITING and status.last_error else ""

    def status(self) -> dict[str, object]:
        """For /status: what the router does, and each subscriber's figures."""
        if self.router is None or self.office is None:
            return {"phase": "starting"}
        subscribers = {
            name: {
                "sequence": self.router.status.sequences.get(name, 0),
                "open": len(outbox.items),
                "breaker": "open" if outbox.breaker.open else "closed",
                "gone": outbox.is_gone,
                **vars(outbox.counts),
            }
            for name, outbox in self.office.outboxes.items()
        }
        return {**{k: v for k, v in vars(self.router.status).items() if k != "sequences"}, "subscribers": subscribers}

    def metrics(self) -> Iterator[str]:
        """For /metrics."""
        routes = self.router is not None and self.router.status.phase == ROUTING
        yield from ("# TYPE sekisho_webhooks_active gauge", f"sekisho_webhooks_active {int(routes)}")
        outboxes = self.office.outboxes if self.office else {}
        for name, kind, text in _FIGURES:
            yield f"# HELP sekisho_webhook_{name} {text}"
            yield f"# TYPE sekisho_webhook_{name} {kind}"
            for id, outbox in outboxes.items():
                figures = {**vars(outbox.counts), "open": len(outbox.items), "breaker": int(outbox.breaker.open)}
                yield f'sekisho_webhook_{name}{{subscriber="{id}"}} {figures[name.removesuffix("_total")]}'

    def _run(self) -> None:
        assert self.router is not None
        try:
            while not self._stopping.is_set():
                self.router.turn()
            self.router.close()
        except BaseException as error:  # whatever it is, a worker that does not deliver must not idle
            self.problem = str(error) or type(error).__name__
            LOG.error("webhooks cannot go on: %s", error)
            self.crash_app(error)


_FIGURES = (
    ("delivered_total", "counter", "calls answered with 2xx"),
    ("failed_total", "counter", "calls that brought no 2xx, each tried again"),
    ("undelivered_total", "counter", "messages given up: they stand on the undelivered topic with the reason"),
    ("open", "gauge", "messages read and not delivered yet, 200 at most; the rest waits on the topic"),
    ("breaker", "gauge", "1 while a receiver that fails is only probed"),
)
