"""The long part of a warm-up, in a child process of low priority: the running lane's payments do not wait for it.

thread   takes the pack from the topic, loads and compiles it: what does not load is refused here
child    folds the log from the newest snapshot of that pack, or from the beginning, until it is close to the lane,
         and writes a snapshot, so that a crash costs nothing and the state is safe before the pack decides
thread   reads the snapshot; the lane folds what has come meanwhile, a slice a turn
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from features.refusal import Refusal
from sekisho.check import duration_text
from sekisho.compile import compile_pack, longest_reach
from sekisho.errors import SekishoError, SnapshotError
from sekisho.load import load_pack
from sekisho.settings import Settings
from sekisho.tokens import token_key
from streams.broker import BrokerError
from streams.client import KafkaBroker
from streams.events import said_before
from streams.journal_tail import Place
from streams.outputs import PackRefused, Request
from streams.scoring import PackScorer
from streams.snapshots import WARM, FolderSnapshots
from streams.warming import Beginning, Warming, beginning

if TYPE_CHECKING:
    from streams.packs import PackRoom

_CLOSE = 20  # batches: the lane folds these itself
_PATIENCE_S = 60.0  # for the bytes of a pack that was asked for
_REMEDY = (
    "publish it with --accept-cold: these windows are then NULL; or give it history with `sekisho state build`, "
    "or let the topics retain more"
)


class WarmUp:
    """One pack on its way. `result` is asked for again and again."""

    def __init__(
        self, room: PackRoom, settings: Settings, request: Request, place: Place, log: Callable[[str], None]
    ) -> None:
        self.room, self.settings, self.request, self.place, self.log = room, settings, request, place, log
        self.snapshots = FolderSnapshots(room, settings.state, 0.0, settings.lane.snapshots_kept, log)
        self.until: Any = multiprocessing.get_context("spawn").Value("q", place.sequence)
        self._stopping = Event()
        self._found: tuple[PackScorer, Place] | None = None
        self._error: PackRefused | None = None
        self._thread = Thread(target=self._run, name="warm-up", daemon=True)
        self._thread.start()

    def result(self, place: Place) -> tuple[PackScorer, Place] | None:
        """The scorer and its place; None while it is on its way towards this place. Raises PackRefused."""
        self.until.value = place.sequence
        if self._error is not None:
            raise self._error
        return self._found

    def stop(self) -> None:
        """Nobody waits any more."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            self._found = self._bring()
        except PackRefused as error:
            self._error = error
        except (SekishoError, Refusal) as error:
            self._error = PackRefused(*_parts(error))
        except Exception as error:
            self._error = PackRefused(f"{type(error).__name__}: {error}", "look at the worker's log, publish it again")

    def _bring(self) -> tuple[PackScorer, Place] | None:
        if not self._fetched():
            return None
        request = self.request
        scorer = self.room.scorer(request.pack)
        scorer.warm()
        if self.place.sequence < 0:
            return scorer, self._before_the_log(scorer)
        if not self._folded():
            return None
        place = _newest(self.snapshots, request, self.place.seed, scorer, int(self.until.value))
        if place is not None:
            return scorer, place
        raise PackRefused(f"{self.settings.state}: the warmed state was not kept", "look at the disk, publish it again")

    def _before_the_log(self, scorer: PackScorer) -> Place:
        """A place before the first batch: with the same history as the running pack's, or none."""
        if (place := _newest(self.snapshots, self.request, self.place.seed, scorer, -1)) is not None:
            return place
        scorer.reset()
        if self.place.seed is not None:
            raise PackRefused(f"pack {scorer.pack[:12]} lacks the history that the lane begins with", _REMEDY)
        return Place()

    def _fetched(self) -> bool:
        started = time.monotonic()
        while not self._stopping.is_set():
            if self.room.fetch(self.request.pack):
                return True
            if time.monotonic() - started > _PATIENCE_S and not self.request.journalled:
                raise PackRefused(f"pack {self.request.pack[:12]} is not on the topic of packs", "publish it again")
            self._stopping.wait(0.1)
        return False

    def _folded(self) -> bool:
        """Let a child fold the log; False when nobody waits any more."""
        context = multiprocessing.get_context("spawn")
        answers, answer = context.Pipe(duplex=False)
        given = (self.settings, self.request, self.place.seed, self.until, answer)
        child = context.Process(target=warm_up, args=given, name="sekisho-warm-up", daemon=True)
        child.start()
        answer.close()
        while child.is_alive() and not self._stopping.wait(0.05):
            pass
        if self._stopping.is_set():
            child.terminate()
            return False
        child.join()
        try:
            raise PackRefused(*answers.recv())
        except EOFError:
            pass  # it had nothing to say
        if child.exitcode:
            raise PackRefused(f"its warm-up ended with {child.exitcode}", "look at the worker's log, publish it again")
        return True


def warm_up(settings: Settings, request: Request, seed: str | None, until: Any, answer: Connection) -> None:
    """The child: fold up to batch `until`, which moves on, and leave a snapshot. Sends what and fix of a refusal."""
    os.nice(19)
    try:
        _warm_up(settings, request, seed, until)
    except (SekishoError, Refusal) as error:
        answer.send(_parts(error))
    except KeyboardInterrupt:
        pass


def _warm_up(settings: Settings, request: Request, seed: str | None, until: Any) -> None:
    parent, broker = os.getppid(), KafkaBroker(settings)
    engine = compile_pack(load_pack(settings.state / "packs" / request.pack), token_key(), os.urandom(16))
    scorer = PackScorer(engine, settings.topics, settings.lane.threads)
    snapshots = FolderSnapshots(_Alone(scorer), settings.state, 0.0, settings.lane.snapshots_kept, print)
    place = _newest(snapshots, request, seed, scorer, int(until.value))
    if place is None:
        start = beginning(broker, settings.topics, int(until.value), request.cold)
        if not request.journalled and not request.accept_cold:
            demand_enough(start, scorer)
        scorer.reset(start.cold)
        if start.cold is not None:
            scorer.recall(said_before(broker, settings.topics.events, start.place.positions))
        place = start.place
    warming, saved = Warming(broker, scorer, place, settings.topics, settings.lane), time.monotonic()
    while (missing := until.value - warming.place.sequence) > 0 and (missing > _CLOSE or warming.events == 0):
        if os.getppid() != parent:
            return
        try:
            warming.follow(settings.lane.batch_events, until.value)
        except BrokerError:
            warming.close()
            time.sleep(0.5)
        if time.monotonic() - saved > settings.lane.snapshot_every_s:
            snapshots.write(scorer, warming.place, WARM)
            saved = time.monotonic()
    warming.examine()
    if warming.events and not snapshots.write(scorer, warming.place, WARM):
        raise PackRefused(snapshots.failed, "make room on the disk, publish it again")


def _newest(
    snapshots: FolderSnapshots, request: Request, seed: str | None, scorer: PackScorer, until: int
) -> Place | None:
    """The newest snapshot with the lane's own history, in the scorer; its place."""
    for found in reversed(snapshots.of(request.pack, request, until)):
        try:
            if (place := snapshots.into(scorer, found)).seed == seed:
                return place
        except SnapshotError as error:
            snapshots.log(str(error))
    return None


def demand_enough(start: Beginning, scorer: PackScorer) -> None:
    """Raise PackRefused where the topics hold too little of the log for the pack's windows."""
    engine = scorer.decider.engine
    reach = longest_reach(engine.stages)
    if start.cold is not None and start.lacks(reach, engine.pack.policy.lateness_us):
        far = "all of it" if reach is None else f"{duration_text(reach)} back"
        raise PackRefused(
            f"the topics hold the log only behind batch {start.cold.sequence}, and windows of pack {scorer.pack[:12]} "
            f"reach {far}",
            _REMEDY,
        )


def _parts(error: SekishoError | Refusal) -> tuple[str, str]:
    """What and what to do; of a pack's errors all that are told."""
    text = str(error)
    return (error.what, error.fix) if text.count("\n") < 3 else (text, "mend what stands above, publish it again")


class _Alone:
    """Keeps streams.snapshots.Makers for a child, which has one scorer."""

    def __init__(self, scorer: PackScorer) -> None:
        self.own = scorer

    def scorer(self, pack: str) -> PackScorer:
        return self.own

    def first(self) -> PackScorer:
        return self.own
