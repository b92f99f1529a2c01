"""The replay: the one step() driven from files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq

from features.sheet import SKIPPED, Bytes, Ints, Sheet, new_sheet
from replay.merge import Chunk
from rules.alert_records import Notification
from rules.evaluate import HIT
from rules.records import OUTCOMES
from sekisho import decision_arrow
from sekisho.compile import Engine
from sekisho.decision import encode_decisions
from sekisho.drift import DriftCounts
from sekisho.intake import FLAG_NAMES
from sekisho.notification import amount_scale, encode_notification
from sekisho.state import State
from sekisho.step import Decided, fold
from sekisho.wire.arrow import to_arrow

_T = TypeVar("_T")


@dataclass
class Totals:
    """What a run saw and did. digest: a sha256 over every decision record, in order.   held: the state's report."""

    events: int = 0
    decisions: int = 0
    duplicates: int = 0
    dead: int = 0
    alerts: int = 0
    first_us: int | None = None
    last_us: int | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    held: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    complete: bool = True


@dataclass(frozen=True)
class Step:
    """A piece of a run: what was decided (None: there were but dead letters or control events), and how far it is.

    told: every notification of the piece.
    """

    decided: Decided | None
    dead: tuple[bytes, ...]
    read: float
    told: tuple[Notification, ...] = ()


def run(engine: Engine, state: State, log: Iterator[Chunk], batch: int = 4096, threads: int = 1) -> Iterator[Step]:
    """Drive fold() over a log, `batch` events at a time.

    The next chunk is decoded meanwhile, and the next batches are decided while the caller does something with one: the
    state is that of the log's end when the last step has come, and nobody's before.
    """
    return ahead(_run(engine, state, ahead(log), batch, threads))


def _run(engine: Engine, state: State, log: Iterator[Chunk], batch: int, threads: int) -> Iterator[Step]:
    for chunk in log:
        dead = chunk.dead
        for start in range(0, chunk.batch.n, batch):
            part = chunk.batch.cut(start, min(start + batch, chunk.batch.n))
            for told, decided in fold(engine, state, part, threads):
                yield Step(decided, dead, chunk.read, told)
                dead = ()
        if dead:
            yield Step(None, dead, chunk.read)


def ahead(items: Iterator[_T], depth: int = 2) -> Iterator[_T]:
    """The same items, computed by a thread of their own, at most `depth` ahead."""
    queue: Queue[tuple[bool, _T | BaseException | None]] = Queue(depth)

    def work() -> None:
        try:
            for item in items:
                queue.put((True, item))
            queue.put((False, None))
        except BaseException as error:  # handed on to whoever reads
            queue.put((False, error))

    Thread(target=work, daemon=True).start()
    while True:
        more, item = queue.get()
        if more:
            yield item  # type: ignore[misc]
        elif isinstance(item, BaseException):
            raise item
        else:
            return


class Recorder:
    """Writes what a run decides, and counts it. Decisions outside [from_us, to_us) of event time are folded in only."""

    def __init__(
        self,
        engine: Engine,
        out: Path | None = None,
        features: Path | None = None,
        dead_letters: Path | None = None,
        from_us: int | None = None,
        to_us: int | None = None,
        alerts: Path | None = None,
    ) -> None:
        self.engine, self.totals, self.hash, self.drift = engine, Totals(), sha256(), DriftCounts(engine)
        self.from_us = -(2**63) if from_us is None else from_us
        self.to_us = 2**63 - 1 if to_us is None else to_us
        self.stack = ExitStack()
        self.write = self._writer_of(out) if out else None
        self.dead = self.stack.enter_context(dead_letters.open("wb")) if dead_letters else None
        self.alert_lines = self.stack.enter_context(alerts.open("wb")) if alerts else None
        self.features = features
        self.writer: Any = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.totals.digest = self.hash.hexdigest()
        if self.features and self.writer is None and kind is None:
            self._write_table(new_sheet(self.engine.layout, 0), np.empty(0, np.int64))
        self.stack.close()

    def record(self, part: Step) -> None:
        """Write and count one step."""
        totals = self.totals
        totals.dead += len(part.dead)
        if self.dead:
            for letter in part.dead:
                self.dead.write(letter + b"\n")
        if self.alert_lines:
            scale = amount_scale(self.engine.pack)
            self.alert_lines.writelines(encode_notification(each, scale) + b"\n" for each in part.told)
        if part.decided is None:
            totals.alerts += len(part.told)
            return
        decided = part.decided
        totals.events += decided.events
        times = decided.sheet.ints("event_time")
        wanted = (times[decided.rows] >= self.from_us) & (times[decided.rows] < self.to_us)
        rows = decided.rows[wanted]
        if not len(rows):
            return
        blob, _ = encode_decisions(self.engine, decided, rows)
        self.hash.update(blob.data)
        if self.write:
            self.write(blob)
        self._count(decided, rows)
        self.drift.note(decided, wanted)
        totals.alerts += len(part.told)
        if self.features:
            self._write_features(decided, rows)

    def _writer_of(self, out: Path) -> Callable[[Bytes], object]:
        """What writes records to a file: as Arrow where it is a .parquet, else as JSON lines."""
        if out.suffix == ".parquet":
            table = self.stack.enter_context(pq.ParquetWriter(out, decision_arrow.SCHEMA, compression="zstd"))
            return lambda blob: table.write_table(decision_arrow.decisions_table(blob))
        lines = self.stack.enter_context(out.open("wb"))
        return lambda blob: lines.write(blob.data)

    def _count(self, decided: Decided, rows: Ints) -> None:
        totals, times = self.totals, decided.sheet.ints("event_time")[rows]
        totals.first_us = int(min(times.min(), totals.first_us if totals.first_us is not None else times.min()))
        totals.last_us = int(max(times.max(), totals.last_us if totals.last_us is not None else times.max()))
        fresh = rows[decided.admission.fate[rows] != SKIPPED]
        totals.decisions += len(fresh)
        totals.duplicates += len(rows) - len(fresh)
        codes = np.bincount(decided.results.outcome[fresh], minlength=len(OUTCOMES))
        totals.outcomes.update({name: int(count) for name, count in zip(OUTCOMES, codes, strict=True)})
        for bit, name in FLAG_NAMES.items():
            totals.flags[name] += int(((decided.admission.flags[fresh] & bit) > 0).sum())
        totals.rules.update(_hits(decided))

    def _write_features(self, decided: Decided, rows: Ints) -> None:
        self._write_table(decided.sheet, rows[decided.admission.fate[rows] != SKIPPED])

    def _write_table(self, sheet: Sheet, rows: Ints) -> None:
        names = ["event_id", *(name for name, _ in self.engine.pack.query.features)]
        table = to_arrow(sheet, [(name, self.engine.layout[name]) for name in names], rows)
        if self.writer is None:
            assert self.features is not None
            self.writer = self.stack.enter_context(pq.ParquetWriter(self.features, table.schema, compression="zstd"))
        self.writer.write_table(table)


def _hits(decided: Decided) -> dict[str, int]:
    """How often each live rule hit."""
    results = decided.results
    return {rule.id: int(results.counts[k, HIT]) for k, rule in enumerate(results.rules)}
