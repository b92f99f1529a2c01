"""Snapshots of a lane's state in a folder, each with its place in the journal; a few are kept.

    state/
      journal-000000001200/    arrays, a manifest with checksums, and the place: see sekisho.state
      journal-000000001900/

A standby writes them. An active lane does so only where nobody else has for a while, in a child process of low
priority, so that its payments do not wait. A damaged or foreign snapshot is named in the log and passed over.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sekisho.errors import SnapshotError
from streams.journal_tail import Place

_NAME = "journal-"
_PATIENCE = 2  # an active lane waits so many times as long


class Keeper(Protocol):
    """A scorer, as one whose state can be written and read."""

    def save(self, folder: Path, note: dict[str, object]) -> None:
        """Write it, whole or not at all. Raises OSError."""

    def load(self, folder: Path) -> dict[str, object]:
        """Read it; the note. Raises SnapshotError."""


class FolderSnapshots:
    """Keeps streams.outputs.Snapshots. every_s: between two snapshots.   kept: how many stay."""

    def __init__(self, scorer: Keeper, folder: Path, every_s: float, kept: int, log: Callable[[str], None]) -> None:
        self.scorer, self.folder, self.every_s, self.kept, self.log = scorer, folder, every_s, kept, log
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
        ages = [time.time() - path.stat().st_mtime for path in self._snapshots()]
        if ages and min(ages) < self.every_s:
            self.last = now - min(ages)
            return False
        return True

    def save(self, place: Place, now: float, active: bool) -> None:
        """Write one; a failure is told in the log and in `failed`, and tried again later."""
        self.last = now
        if not active:
            self._write(place)
            return
        self.child = os.fork()
        if self.child == 0:
            status = 1
            try:
                os.nice(19)
                status = 0 if self._write(place) else 1
            finally:
                os._exit(status)  # nothing of the parent's is closed or flushed twice

    def load(self) -> Place | None:
        """Put the newest good snapshot into the scorer."""
        for folder in reversed(self._snapshots()):
            try:
                place = _place(self.scorer.load(folder))
            except SnapshotError as error:
                self.log(str(error))
                continue
            self.log(f"{folder}: the state behind batch {place.sequence} is restored")
            return place
        return None

    def _write(self, place: Place) -> bool:
        target = self.folder / f"{_NAME}{place.sequence:012d}"
        try:
            if place.sequence >= 0 and not target.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                self.scorer.save(target, _note(place))
                for old in self._snapshots()[: -self.kept]:
                    shutil.rmtree(old, ignore_errors=True)
            self.failed = ""
        except OSError as error:
            shutil.rmtree(target.with_name(target.name + ".partial"), ignore_errors=True)
            self.failed = f"{target}: the snapshot was not written: {error}"
            self.log(self.failed)
        return not self.failed

    def _reap(self) -> None:
        if self.child is not None:
            child, status = os.waitpid(self.child, os.WNOHANG)
            if child:
                self.child = None
                self.failed = f"{self.folder}: a snapshot was not written, see above" if status else ""

    def _snapshots(self) -> list[Path]:
        """From the oldest to the newest."""
        found = self.folder.glob(f"{_NAME}*") if self.folder.is_dir() else ()
        return sorted(path for path in found if path.name.removeprefix(_NAME).isdigit())


def _note(place: Place) -> dict[str, object]:
    positions = [[topic, partition, offset] for (topic, partition), offset in sorted(place.positions.items())]
    return {
        "sequence": place.sequence,
        "epoch": place.epoch,
        "chain": place.chain.hex(),
        "positions": positions,
        "journal": place.journal,
    }


def _place(note: dict[str, Any]) -> Place:
    positions = {(topic, partition): offset for topic, partition, offset in note["positions"]}
    return Place(note["sequence"], note["epoch"], bytes.fromhex(note["chain"]), positions, note["journal"])
