"""Snapshots of a lane's state in a folder, each with its place in the journal; a few are kept.

    state/
      journal-000000001200-1b7f60d2a9c4/   arrays, a manifest with checksums, and the place: see sekisho.state
      journal-000000001900-1b7f60d2a9c4/   the number is the batch, the letters begin the pack's hash
      warm-000000001890-90aa41c07be2/      a pack on its way to its first batch
      seed-1b7f60d2a9c4/                   history before batch 0: sekisho state build

A standby writes them. An active lane does so only where nobody else has for a while, in a child process of low
priority, so that its payments do not wait. A damaged or foreign snapshot is named in the log and passed over.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sekisho.errors import SekishoError, SnapshotError
from sekisho.journal import Cold
from sekisho.state import read_note
from streams.journal_tail import Place
from streams.outputs import Request, Scorer

JOURNAL, WARM, SEED = "journal", "warm", "seed"
_NAME = re.compile(r"(journal|warm)-(\d+)-([0-9a-f]{12})|(seed)-([0-9a-f]{12})")
_PATIENCE = 2  # an active lane waits so many times as long
_FORGOTTEN_S = 86_400  # a pack on its way that has not moved for so long is no longer wanted
_OTHERS = 3  # of so many packs besides the running one the newest state stays, for a rollback


class Keeper(Scorer, Protocol):
    """A scorer, as one whose state can be written and read."""

    def save(self, folder: Path, note: dict[str, object]) -> None:
        """Write it, whole or not at all. Raises OSError."""

    def load(self, folder: Path) -> dict[str, Any]:
        """Read it; the note. Raises SnapshotError."""


class Makers(Protocol):
    """Where scorers come from."""

    def scorer(self, pack: str) -> Keeper:
        """A scorer of a pack that is known on this machine. Raises SekishoError."""

    def first(self) -> Keeper:
        """A scorer of the pack that the settings name."""


@dataclass(frozen=True)
class Found:
    """A snapshot, by its name. sequence: -1 of a seed."""

    path: Path
    kind: str
    sequence: int
    pack: str


class FolderSnapshots:
    """Keeps streams.outputs.Snapshots. every_s: between two snapshots.   kept: how many stay."""

    def __init__(self, packs: Makers, folder: Path, every_s: float, kept: int, log: Callable[[str], None]) -> None:
        self.packs, self.folder, self.every_s, self.kept, self.log = packs, folder, every_s, kept, log
        self.child: int | None = None
        self.last: float | None = None
        self.failed = ""

    def due(self, now: float, active: bool) -> bool:
        """True when the newest in the folder, whoever wrote it, is old enough."""
        if self.last is None:
            self.last = now
        self._reap()
        every = self.every_s * (_PATIENCE if active else 1)
        if self.child is not None or now - self.last < every:
            return False
        try:
            ages = [time.time() - found.path.stat().st_mtime for found in self.all(JOURNAL)]
        except OSError as error:
            self.last = now
            return self._fail(f"{self.folder}: the snapshots cannot be listed: {error}")
        if ages and min(ages) < self.every_s:
            self.last = now - min(ages)
            return False
        return True

    def save(self, scorer: Scorer, place: Place, now: float, active: bool) -> None:
        """Write one; a failure is told in the log and in `failed`, and tried again later."""
        self.last = now
        if not active:
            self.write(scorer, place)
            return
        try:
            self.child = os.fork()
        except OSError as error:
            self._fail(f"{self.folder}: no process for a snapshot: {error}")
            return
        if self.child == 0:
            status = 1
            try:
                os.nice(19)
                status = 0 if self.write(scorer, place) else 1
            finally:
                os._exit(status)  # nothing of the parent's is closed or flushed twice

    def load(self, trust: bool) -> tuple[Keeper, Place]:
        """The newest good snapshot, else a seed, else nothing known."""
        for found in reversed(self.all(JOURNAL) if trust else []):
            try:
                scorer = self.packs.scorer(read_note(found.path)[0])
                place = self.into(scorer, found)
            except SekishoError as error:
                self.log(str(error))
                continue
            self.log(f"{found.path}: the state behind batch {place.sequence} is restored")
            return scorer, place
        scorer = self.packs.first()
        seeds = self.of(scorer.pack, Request("", scorer.pack), -1)
        return scorer, self.into(scorer, seeds[-1]) if seeds else Place()

    def of(self, pack: str, request: Request, until: int) -> list[Found]:
        """A pack's snapshots of batches up to `until` that serve a request, from the oldest to the newest."""
        found = [
            each for each in self.all(JOURNAL, WARM, SEED) if pack.startswith(each.pack) and each.sequence <= until
        ]
        return [each for each in found if not request.journalled or self._cold(each) == request.cold]

    def into(self, scorer: Keeper, found: Found) -> Place:
        """Put a snapshot into a scorer; its place. Raises SnapshotError."""
        return _place(scorer.load(found.path))

    def write(self, scorer: Scorer, place: Place, kind: str = JOURNAL) -> bool:
        """Write one now; False when that failed."""
        target = self.folder / f"{kind}-{place.sequence:012d}-{scorer.pack[:12]}"
        try:
            if place.sequence >= 0 and not target.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                scorer.save(target, _note(place))  # type: ignore[attr-defined]
                for old in self._surplus():
                    shutil.rmtree(old.path, ignore_errors=True)
            self.failed = ""
        except OSError as error:
            shutil.rmtree(target.with_name(target.name + ".partial"), ignore_errors=True)
            return self._fail(f"{target}: the snapshot was not written: {error}")
        return True

    def _fail(self, what: str) -> bool:
        """Tell it; the decisions go on, and the next snapshot is due as ever."""
        self.failed = what
        self.log(what)
        return False

    def all(self, *kinds: str) -> list[Found]:
        """What is in the folder, from the oldest to the newest."""
        return sorted(self._listed(*kinds), key=lambda found: (found.sequence, found.path.name))

    def _listed(self, *kinds: str) -> Iterator[Found]:
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            match _NAME.fullmatch(path.name):
                case re.Match() as match if (kind := match[1] or match[4]) in kinds:
                    yield Found(path, kind, int(match[2]) if match[2] else -1, match[3] or match[5])

    def _surplus(self) -> list[Found]:
        """All but the newest few, the newest of each of some other packs, and what is on its way.

        Raises OSError.
        """
        journal, warm = self.all(JOURNAL), self.all(WARM)
        newest = {found.pack: found for found in journal}
        kept = {*journal[-self.kept :], *sorted(newest.values(), key=lambda f: f.sequence)[-_OTHERS - 1 :]}
        moving = [f for f in warm if time.time() - f.path.stat().st_mtime < _FORGOTTEN_S]
        waiting = {f.pack: f for f in moving if f.pack not in newest or newest[f.pack].sequence < f.sequence}
        return [found for found in (*journal, *warm) if found not in kept and found not in waiting.values()]

    def _cold(self, found: Found) -> Cold | None:
        try:
            cold = read_note(found.path)[1].get("cold")
        except SnapshotError:
            return Cold(-1, -1)
        return Cold(*cold) if cold else None

    def _reap(self) -> None:
        if self.child is not None:
            child, status = os.waitpid(self.child, os.WNOHANG)
            if child:
                self.child = None
                self.failed = f"{self.folder}: a snapshot was not written, see above" if status else ""


def _note(place: Place) -> dict[str, object]:
    positions = [[topic, partition, offset] for (topic, partition), offset in sorted(place.positions.items())]
    plain = ("sequence", "epoch", "journal", "since", "before", "seed")
    running = {"running": place.pack, "chain": place.chain.hex(), "positions": positions}
    return {key: getattr(place, key) for key in plain} | running


def _place(note: dict[str, Any]) -> Place:
    if "sequence" not in note:  # a seed
        return Place(chain=bytes.fromhex(note["seed"]), seed=note["seed"])
    positions = {(topic, partition): offset for topic, partition, offset in note["positions"]}
    plain = {key: note[key] for key in ("sequence", "epoch", "journal", "since", "before", "seed")}
    return Place(chain=bytes.fromhex(note["chain"]), positions=positions, pack=note["running"], **plain)
