"""One pass over the log: every track decides every chunk, and what figures need of it goes to the row files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.sheet import SKIPPED, VALID, Ints
from features.types import Kind
from replay.backtest.causes import CANDIDATE, CURRENT, Hybrids, Place, causes_of, components, gather
from replay.backtest.roles import Roles
from replay.backtest.rows import RowFiles, answer_rows, followup_rows, kinds_of, payment_rows, rows_of_kind
from replay.backtest.track import Answers, Track, answers_of
from replay.merge import Chunk
from sekisho.batch import Batch
from sekisho.compile import Engine
from sekisho.drift import SAMPLED, DriftCounts
from sekisho.step import Decided
from sekisho.wire.arrow import to_arrow

_FIRST, _LAST = -(2**63), 2**63 - 1

Told = Callable[[float, int], object]


@dataclass
class Seen:
    """What a pass saw. first_us, last_us: event times.   notifications: by (side, kind), of payments that count.

    drift: of what CANDIDATE's models read and say, of payments that count, against their cards.
    empty: fields that only CANDIDATE reads, and that no event had.
    """

    drift: DriftCounts
    events: int = 0
    dead: int = 0
    first_us: int = _LAST
    last_us: int = _FIRST
    notifications: Counter[tuple[int, str]] = field(default_factory=Counter)
    flips: int = 0
    unresolved: int = 0
    empty: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Sweep:
    """What a pass needs. tracks: by Place; (CURRENT, CURRENT) and the candidate's own must be among them.

    from_us, to_us: the payments whose flips are explained and whose alerts are counted, none before the log's first
    event + warm_us.   added: the fields that only CANDIDATE reads.
    """

    engines: tuple[Engine, Engine]
    tracks: Mapping[Place, Track]
    roles: Roles
    from_us: int
    to_us: int
    warm_us: int
    feedback: bool
    added: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[Place, Place]:
        """The places of CURRENT and CANDIDATE as they are compared."""
        return (CURRENT, CURRENT), (CANDIDATE, CANDIDATE if self.feedback else CURRENT)

    def counts(self, at_us: Ints, seen: Seen) -> npt.NDArray[np.bool_]:
        """Where payments of these event times count."""
        return (at_us >= max(self.from_us, seen.first_us + self.warm_us)) & (at_us < self.to_us)

    def run(self, log: Iterator[Chunk], files: RowFiles, told: Told = lambda read, events: None) -> Seen:
        """Decide the whole log. `told` hears after each chunk how much is read (0 to 1), and of how many events."""
        seen = Seen(DriftCounts(self.engines[CANDIDATE]), empty=set(self.added))
        with ThreadPoolExecutor(len(self.tracks)) as pool:
            for chunk in log:
                seen.dead += len(chunk.dead)
                if chunk.batch.n:
                    self._chunk(chunk, files, seen, pool)
                told(chunk.read, seen.events)
        return seen

    def _chunk(self, chunk: Chunk, files: RowFiles, seen: Seen, pool: ThreadPoolExecutor) -> None:
        batch, first, times = chunk.batch, seen.events, chunk.batch.sheet.ints("event_time")
        seen.first_us, seen.last_us = min(seen.first_us, int(times.min())), max(seen.last_us, int(times.max()))
        leaders = {place for place in self.tracks if place in self.sides}
        waiting = {place: pool.submit(self._decide, place, batch, first) for place in leaders}
        seen.empty -= {name for name in seen.empty if (batch.sheet.validity(name) == VALID).any()}
        kinds, pack = kinds_of(batch), self.engines[0].pack
        rows = rows_of_kind(kinds, pack.policy.decide)
        label_kind = pack.labels.kind if pack.labels else ""
        files.write("followups", followup_rows(self.roles, label_kind, batch, kinds, first))
        facts = payment_rows(self.roles, batch, rows, first)
        done = {place: future.result() for place, future in waiting.items()}
        waiting = {place: pool.submit(self._decide, place, batch, first) for place in self.tracks.keys() - leaders}
        done |= {place: future.result() for place, future in waiting.items()}
        seen.events += batch.n
        if not len(rows):
            return
        decided = {place: parts for place, (parts, _) in done.items()}
        answers = [done[place][1] for place in self.sides]
        table = _beside(facts, answer_rows((answers[0], answers[1])))
        files.write("payments", table)
        self._explain(table, decided, (answers[0], answers[1]), files, seen)
        self._note(decided, seen)
        self._sample(decided[self.sides[1]], answers[1].ids[:, 1], facts["n"], files)

    def _decide(self, place: Place, batch: Batch, first: int) -> tuple[list[Decided], Answers]:
        track = self.tracks[place]
        decided = track.decide(batch, first)
        answers = answers_of(track.engine, decided)
        track.note(answers)
        return decided, answers

    def _explain(
        self, table: pa.Table, decided: Mapping[Place, list[Decided]], answers: tuple[Answers, Answers],
        files: RowFiles, seen: Seen,
    ) -> None:  # fmt: skip
        """Find the flips among a chunk's payments, and their causes."""
        counted = self.counts(table["at_us"].to_numpy(), seen)
        fresh = (answers[0].fate != SKIPPED) & (answers[1].fate != SKIPPED)
        index = np.flatnonzero(counted & fresh & (answers[0].outcome != answers[1].outcome))
        if not len(index):
            return
        gathered = {place: gather(parts, index) for place, parts in decided.items()}
        hybrids = Hybrids(
            self.engines, {place: sheet for place, (sheet, _, _) in gathered.items()},
            {place: fates for place, (_, fates, _) in gathered.items()},
            (gathered[self.sides[0]][2], gathered[self.sides[1]][2]),
        )  # fmt: skip
        causes = causes_of(hybrids, components(*self.engines, self.feedback), answers[0].outcome[index])
        seen.flips += len(index)
        seen.unresolved += causes.kind.count("unresolved")
        columns = {"n": table["n"].take(pa.array(index)), "restoring": causes.restoring, "cause": causes.kind}
        files.write("flips", pa.table(columns))

    def _note(self, decided: Mapping[Place, list[Decided]], seen: Seen) -> None:
        """Count drift, and what the alerting sent about payments that count, by the same code as live."""
        for part in decided[self.sides[CANDIDATE]]:
            seen.drift.note(part, self.counts(part.sheet.ints("event_time")[part.rows], seen))
        for side, place in enumerate(self.sides):
            for part in decided[place]:
                for told in part.notifications:
                    if self.counts(np.array([told.alert.event_time_us]), seen)[0]:
                        seen.notifications[side, told.kind] += 1

    def _sample(self, decided: list[Decided], ids: Ints, numbers: pa.ChunkedArray, files: RowFiles) -> None:
        """Keep all numeric features and raw scores of some payments, chosen by their ids."""
        engine = self.engines[CANDIDATE]
        names = [name for name, type in engine.pack.query.features if type.numeric or type.kind is Kind.BOOL]
        slots = [(name, engine.layout[name]) for name in names]
        slots += [(f"{scorer.scorer.name}_raw", scorer.raw) for scorer in engine.scorers]
        chosen, before, parts = ids % SAMPLED == 0, 0, []
        for part in decided:
            parts.append(to_arrow(part.sheet, slots, part.rows[chosen[before : before + len(part.rows)]]))
            before += len(part.rows)
        table = pa.concat_tables(parts)
        doubles = pa.schema([(name, pa.float64()) for name, _ in slots])
        files.write("sample", table.cast(doubles, safe=False).append_column("n", numbers.filter(pa.array(chosen))))


def _beside(left: pa.Table, right: pa.Table) -> pa.Table:
    return pa.table(dict(zip(left.column_names + right.column_names, left.columns + right.columns, strict=True)))
