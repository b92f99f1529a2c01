"""What can go wrong outside a pack: each error says what, where, and what to do."""

from __future__ import annotations

from pathlib import Path


class SekishoError(Exception):
    """An error that a person can act on: `what` happened and what to do (`fix`)."""

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(f"{what}\n  fix: {fix}")


class SnapshotError(SekishoError):
    """A snapshot that will not be read."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder}: this snapshot is refused: {why}", "remove it; an older one or the log takes over")


class SourceError(SekishoError):
    """A source of events that cannot be read as asked."""
