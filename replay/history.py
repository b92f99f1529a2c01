"""`sekisho state build`: history older than the topics, folded into the state with which a worker begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from replay.run import run
from replay.sources import Input, file_topic, read_log
from sekisho.compile import Engine
from sekisho.ledger import NEVER
from sekisho.state import new_state, save_state


@dataclass(frozen=True)
class History:
    """What was folded. seed: names it in the journal.   watermark_us: W behind it, None without an event."""

    folder: Path
    seed: str
    events: int
    dead: int
    watermark_us: int | None


def build_state(
    engine: Engine, inputs: Sequence[Input], state_folder: Path, batch: int = 4096, threads: int = 1
) -> History:
    """Fold a history, and write the state as a worker's seed: it stands for the place before the journal's first batch.

    Equal histories give equal seeds, whichever pack folds them. Raises SourceError, OSError.
    """
    seed = _name(inputs)
    state, events, dead = new_state(engine), 0, 0
    for part in run(engine, state, read_log(engine, inputs), batch, threads):
        dead += len(part.dead)
        events += part.decided.events if part.decided else 0
    folder = state_folder / f"seed-{engine.pack.hash[:12]}"
    state_folder.mkdir(parents=True, exist_ok=True)
    save_state(state, engine, folder, {"seed": seed, "cold": None})
    watermark = int(state.intake.watermark[0])
    return History(folder, seed, events, dead, None if watermark == NEVER else watermark)


def _name(inputs: Sequence[Input]) -> str:
    """A hash of the files' contents, their order, and how they are read."""
    digest = sha256()
    for source in inputs:
        how = (
            source.arrived_at,
            source.kind,
            source.labels,
            source.controls,
            [file_topic(file) for file in source.files()],
        )
        digest.update(repr(how).encode())
    return digest.hexdigest()
