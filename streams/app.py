"""The worker: Faust hosts the scoring lane as a service in its own thread, and answers on the web side.

Faust gives lifecycle, signals and the web server. Payments never travel through its streams: an agent that does nothing
costs 80 us a message, the lane's clients 2 us.

    /healthz   200 while its threads run                  /readyz   200 while it is active, or follows the journal
    /metrics   counters and gauges for Prometheus         /status   the same and more as JSON
    /v1/alerts what a webhook's subscriber has missed      /v1/labels (POST) takes labels in
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Callable
from threading import Event, Thread

import faust
from faust.app.base import BootStrategy
from faust.web import Request, Response, View
from mode import Service

from sekisho.pack import Pack
from sekisho.settings import Settings
from sekisho.wire.plan import WirePlan
from streams.client import KafkaBroker
from streams.label_page import add_label_page
from streams.lane import Lane
from streams.metrics import render_metrics
from streams.packs import PackRoom
from streams.readiness import why_not_ready
from streams.scoring import PackScorer
from streams.snapshots import FolderSnapshots
from streams.webhooks.pages import add_catch_up_page
from streams.webhooks.service import WebhookService

LOG = logging.getLogger("sekisho")
LANE, WEBHOOKS = "lane", "webhooks"


class _Boot(BootStrategy):  # type: ignore[misc]
    """No agent reads anything, so Faust opens no client: a worker starts, and says why it waits, without a broker."""

    enable_kafka = False


class WorkerApp(faust.App):  # type: ignore[misc]
    """The Faust application that hosts the lane."""

    BootStrategy = _Boot


class LaneService(Service):  # type: ignore[misc]
    """Runs a lane from start to stop. A lane that cannot go on crashes the worker: a supervisor starts another."""

    def __init__(self, make: Callable[[], Lane], session_s: float, crash: Callable[[BaseException], object]) -> None:
        self.make, self.session_s, self.crash_app = make, session_s, crash
        self.lane: Lane | None = None
        self.problem = "the pack is being loaded"
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="lane")
        super().__init__()

    async def on_start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def on_stop(self) -> None:
        """Let the current turn end, and the thread with it."""
        self._stopping.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def not_ready(self) -> str:
        """Why payments are not safe with this worker right now, or ""."""
        if self.problem or self.lane is None:
            return self.problem
        return why_not_ready(self.lane.status, self.lane.broker.now(), self.session_s)

    def worry(self) -> str:
        """What a person should mend though payments are safe, or ""."""
        return self.lane.fold.snapshots.failed if self.lane else ""

    def reading(self) -> tuple[Pack, WirePlan] | None:
        """The pack that decides and how its events are read; None before there is one."""
        scorer = self.lane.fold.running if self.lane else None
        return (scorer.decider.engine.pack, scorer.decider.plan) if isinstance(scorer, PackScorer) else None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.lane = lane = self.make()
            self.problem = ""
            while not self._stopping.is_set():
                lane.turn()
            lane.close()
        except BaseException as error:  # whatever it is, a worker without a lane must not idle
            self.problem = str(error)
            LOG.error("the lane cannot go on: %s", error)
            if self.lane is not None:
                self.lane.close()
            self.crash_app(error)


def make_app(settings: Settings, only: str = "") -> WorkerApp:
    """The Faust application of a worker. only: "lane" or "webhooks", "" for all that the settings ask for."""
    app = WorkerApp(
        f"{settings.lane.name}-worker",
        broker=[f"kafka://{address}" for address in settings.kafka.bootstrap.split(",")],
        web_bind=settings.web.host,
        web_port=settings.web.port,
        datadir=settings.state / "faust",
        autodiscover=False,
    )
    loops: list[asyncio.AbstractEventLoop] = []

    def crash(error: BaseException) -> None:
        loops[0].call_soon_threadsafe(lambda: asyncio.ensure_future(app.crash(error)))

    session_s = settings.lane.session_timeout_ms / 1000
    lane = LaneService(lambda: make_lane(settings), session_s, crash) if only != WEBHOOKS else None
    webhooks = WebhookService(settings, crash) if settings.webhooks and only != LANE else None

    @app.service
    class Hosted(Service):  # type: ignore[misc]
        async def on_start(self) -> None:
            loops.append(asyncio.get_running_loop())
            for service in filter(None, (lane, webhooks)):
                await self.add_runtime_dependency(service)

    _pages(app, lane, webhooks)
    if webhooks:
        add_catch_up_page(app, settings)
    if lane:
        add_label_page(app, settings, lane.reading)
    return app


def make_lane(settings: Settings) -> Lane:
    """A lane with its pack, on a real cluster."""
    LOG.info("%s: loading the pack and compiling its kernels, the first time about half a minute", settings.pack)
    packs, lane = PackRoom(settings, LOG.info), settings.lane
    packs.first().warm()
    gc.freeze()  # what a worker keeps for ever is never walked again: collections took up to 0.2 s from a batch
    packs.start()
    snapshots = FolderSnapshots(packs, settings.state, lane.snapshot_every_s, lane.snapshots_kept, LOG.info)
    return Lane(KafkaBroker(settings, owner=True), packs, snapshots, settings.topics, lane, LOG.info)


def _pages(app: faust.App, lane: LaneService | None, webhooks: WebhookService | None) -> None:
    async def healthz(view: View, request: Request) -> Response:
        dead = [f"{service.problem}\n" for service in (lane, webhooks) if service and not service.alive]
        return view.text("".join(dead) or "ok\n", status=500 if dead else 200)

    async def readyz(view: View, request: Request) -> Response:
        why = next(filter(None, (service.not_ready() for service in (lane, webhooks) if service)), "")
        lines = [why or "ready", *([worry] if lane and (worry := lane.worry()) else [])]
        return view.text("".join(f"{line}\n" for line in lines), status=503 if why else 200)

    async def metrics(view: View, request: Request) -> Response:
        lines = [render_metrics(lane.lane)] if lane else []
        lines += [f"{line}\n" for line in webhooks.metrics()] if webhooks else []
        return view.text("".join(lines), content_type="text/plain")

    async def status(view: View, request: Request) -> Response:
        shown = _status(lane) if lane else {}
        shown |= {"webhooks": webhooks.status()} if webhooks else {}
        return view.text(json.dumps(shown, indent=1) + "\n", content_type="application/json")

    for page in (healthz, readyz, metrics, status):
        app.page(f"/{page.__name__}")(page)


def _status(service: LaneService) -> dict[str, object]:
    lane = service.lane
    if lane is None:
        return {"phase": "starting", "problem": service.problem}
    shown = {key: value for key, value in vars(lane.status).items() if key != "positions"}
    positions = {f"{topic}[{k}]": offset for (topic, k), offset in sorted(lane.status.positions.items())}
    return {
        **shown,
        **vars(lane.fold.status),
        "pack": lane.fold.pack,
        **lane.fold.switching.told(),
        **lane.fold.told(),
        "snapshot_failed": lane.fold.snapshots.failed,
        "positions": positions,
    }
