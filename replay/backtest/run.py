"""`backtest()`: two packs over one log, and everything that is to be said of it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from replay.backtest import arms, budget, drift, figures, flips, holdout
from replay.backtest.audit import check_asked, check_counted, labels_early, labels_unmatched
from replay.backtest.causes import CANDIDATE, CURRENT, FEATURES, Place, components
from replay.backtest.database import one, open_rows, rows
from replay.backtest.feedback import FeedbackTrack, FollowingTrack
from replay.backtest.figures import Case
from replay.backtest.history import History, collapse, collapsed, history_of
from replay.backtest.records import Asked, Backtest, Facts, Strategy
from replay.backtest.roles import Roles, roles_of
from replay.backtest.rows import RowFiles
from replay.backtest.shared_log import SharedLog, added, project, share_log, with_field
from replay.backtest.sweep import Seen, Sweep, Told
from replay.backtest.track import Track
from replay.backtest.truth import Span, alert_codes, judge
from replay.label_files import check_labels
from replay.sources import Input, file_topic
from replay.topic_input import TopicInput
from rules.records import OUTCOMES
from sekisho.compile import Engine, compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack

_FIRST, _LAST = -(2**63), 2**63 - 1


def _silent(read: float, events: int) -> None:
    """Nobody watches."""


def run_backtest(
    current: Engine,
    candidate: Engine,
    inputs: Sequence[Input | TopicInput],
    asked: Asked = Asked(),
    told: Told = _silent,
) -> Backtest:
    """Replay a log through two packs and judge them. `told` hears how much of the log is read, and of how many events.

    Raises SekishoError where the packs read different logs, and where no payment counts.
    """
    started = time.perf_counter()
    check_asked(asked)
    log, roles = _log_and_roles(current, candidate, inputs, asked)
    check_labels(log.pack, log.read, inputs)
    attempts = None
    if asked.collapse:
        attempts = run_backtest(current, candidate, inputs, replace(asked, collapse=False), told).tables["summary"]
    with tempfile.TemporaryDirectory(prefix="sekisho-backtest-") as name:
        case = _Run((current, candidate), log, roles, tuple(inputs), asked, Path(name), told)
        found = case.judged(*case.replayed(), started)
    return found if attempts is None else replace(found, tables={**found.tables, "attempts": attempts})


def _log_and_roles(
    current: Engine, candidate: Engine, inputs: Sequence[Input | TopicInput], asked: Asked
) -> tuple[SharedLog, Roles]:
    """What reads the log, and which field plays which part; a propensity may stand in a column of no pack."""
    log = share_log(current, candidate)
    roles = replace(roles_of(log.pack, log.pack.schema), drawn=arms.drawn_by((current, candidate)))
    if not asked.propensity:
        return log, roles
    field = holdout.propensity_field(log.pack.schema, asked.propensity)
    if not any(isinstance(source, TopicInput) for source in inputs):  # records say only as they are read
        holdout.check_column([file for source in inputs for file in source.files()], field)
    return with_field(log, field), replace(roles, propensity=field.name)


@dataclass(frozen=True)
class _Run:
    """One back-test on its way. folder: where the row files lie."""

    engines: tuple[Engine, Engine]
    log: SharedLog
    roles: Roles
    inputs: tuple[Input | TopicInput, ...]
    asked: Asked
    folder: Path
    told: Told

    def replayed(self) -> tuple[Sweep, Seen]:
        """Replay the log; with feedback until decisions and log agree."""
        history = None
        if self.asked.feedback or self.asked.collapse:
            history = history_of(self.log.read(self.inputs), self.log.pack, self.roles, self.asked)
        sweep = self._sweep(collapsed(history) if history and self.asked.collapse else history)
        while True:
            chunks = self.log.read(self.inputs)
            chunks = collapse(chunks, history) if history and self.asked.collapse else chunks
            with RowFiles(self.folder) as files:
                seen = sweep.run(chunks, files, self.told)
            tracks = sweep.tracks.values()
            if not any(isinstance(track, FeedbackTrack) and track.dirty for track in tracks):
                break
            for track in tracks:
                track.again()
        for track in tracks:
            track.end()
        return sweep, seen

    def _sweep(self, history: History | None) -> Sweep:
        asked, engines = self.asked, self.engines
        places = [project(self.log, engine) for engine in engines]
        tracks: dict[Place, Track] = {}
        for side in (CURRENT, CANDIDATE):
            if asked.feedback and history:
                leader = FeedbackTrack(engines[side], places[side], self.roles, history, asked.settle_after_us)
                tracks[side, side] = leader
                if FEATURES in components(*engines, True):
                    tracks[1 - side, side] = FollowingTrack(engines[1 - side], places[1 - side], leader)
            else:
                tracks[side, CURRENT] = Track(engines[side], places[side])
        from_us = _FIRST if asked.from_us is None else asked.from_us
        to_us = _LAST if asked.to_us is None else asked.to_us
        warm_us = 0 if asked.accept_cold else max(longest_window_us(engine) for engine in engines)
        return Sweep(engines, tracks, self.roles, from_us, to_us, warm_us, asked.feedback, added(*engines))

    def judged(self, sweep: Sweep, seen: Seen, started: float) -> Backtest:
        """Every figure of a log that has been replayed."""
        return _judged(sweep, seen, self.inputs, self.folder, self.asked, started)


def longest_window_us(engine: Engine) -> int:
    """The longest finite span of time that a window of the pack reaches back."""
    calls = (call for stage in engine.pack.query.stages for call in stage.windows)
    return max((call.frame.start or 0 for call in calls if call.frame.mode == "range"), default=0)


def _judged(
    sweep: Sweep, seen: Seen, inputs: Sequence[Input | TopicInput], folder: Path, asked: Asked, started: float
) -> Backtest:
    span = _span(sweep, seen, asked)
    db = open_rows(folder)
    try:
        known = judge(db, sweep.engines, sweep.roles, asked, span)
        case = Case(db, sweep.engines, asked, span, known, seen.notifications)
        excluded = figures.excluded(case)
        check_counted(case)
        unmatched, early = labels_unmatched(case, sweep.roles), labels_early(case)
        fidelity = one(db, "SELECT avg((recorded = current)::INT) FILTER (recorded IS NOT NULL) FROM counted")
        tables = {
            "summary": figures.summary(case, fidelity), "attempts": figures.fitted("attempts", []),
            "outcomes": figures.outcomes(case),
            "transitions": figures.transitions(case), "ranges": figures.ranges(case),
            "development": figures.development(case), "typologies": figures.typologies(case),
            "rules": figures.rules(case), "overlaps": figures.overlaps(case), "thresholds": figures.thresholds(case),
            "budget": budget.budget(case), "hindsight": budget.hindsight(case), "hours": figures.hours(case),
            "drift": drift.drift(case), "card_drift": drift.card_drift(seen.drift),
            "flips": flips.flips(case), "causes": flips.causes(case), "excluded": excluded,
            **dict(zip(("arms", "arm_differences"), arms.arms(case), strict=True)),
            **dict(zip(("holdout", "propensities"), holdout.holdout(case), strict=True)),
        }  # fmt: skip
        facts = _facts(sweep, seen, inputs, asked, case, fidelity, (unmatched, early), time.perf_counter() - started)
    finally:
        db.close()
    return Backtest(facts, tables)


def _span(sweep: Sweep, seen: Seen, asked: Asked) -> Span:
    if not seen.events:
        raise SekishoError("the log holds no event", "look at the dead letters with `sekisho replay run`")
    known = seen.last_us if asked.as_known_us is None else asked.as_known_us
    return Span(seen.first_us, seen.last_us, sweep.from_us, sweep.to_us, seen.first_us + sweep.warm_us, known)


def _facts(
    sweep: Sweep,
    seen: Seen,
    inputs: Sequence[Input | TopicInput],
    asked: Asked,
    case: Case,
    fidelity: float | None,
    labels: tuple[int, int],
    seconds: float,
) -> Facts:
    first, last = rows(case.db, "SELECT min(at_us), max(at_us) FROM counted")[0]
    files = dict.fromkeys(file for source in inputs for file in source.files())
    return Facts(
        asked=asked,
        current=_strategy(sweep, CURRENT),
        candidate=_strategy(sweep, CANDIDATE),
        log={file.name: file_topic(file).removeprefix("file:") for file in files},
        events=seen.events,
        dead_letters=seen.dead,
        first_us=seen.first_us,
        last_us=seen.last_us,
        counted_from_us=first,
        counted_to_us=last,
        as_known_us=case.span.as_known_us,
        maturity_us=case.known.maturity_us,
        currency=sweep.roles.currency,
        exponent=sweep.roles.exponent,
        fidelity=fidelity,
        outcomes_known=case.known.outcomes,
        labels_known=case.known.labels,
        balances_known=bool(sweep.roles.balance),
        unresolved=seen.unresolved / seen.flips if seen.flips else 0.0,
        runs=max((track.runs for track in sweep.tracks.values() if isinstance(track, FeedbackTrack)), default=1),
        seconds=seconds,
        labels_unmatched=labels[0],
        labels_early=labels[1],
        empty=tuple(sorted(seen.empty)),
        order_assumed=_order_assumed(sweep, inputs),
    )


def _strategy(sweep: Sweep, side: int) -> Strategy:
    engine = sweep.engines[side]
    models = tuple(scorer.sha256 for scorer in engine.pack.models)
    alerting = tuple(OUTCOMES[code] for code in alert_codes(engine))
    return Strategy(engine.pack.name, engine.pack.hash, models, alerting, sweep.tracks[sweep.sides[side]].digest)


def _order_assumed(sweep: Sweep, inputs: Sequence[Input | TopicInput]) -> bool:
    """Whether nothing says when some events arrived, so that a file's own order was taken."""
    ingest = sweep.engines[CURRENT].pack.policy.ingest
    return not ingest and any(isinstance(source, Input) and not source.arrived_at for source in inputs)


def backtest(
    current: str | Path, candidate: str | Path, source: str | Path | Sequence[str | Path], *,
    labels: str | Path | None = None, label_column: str | None = None, label_delay_us: int = 7 * 86_400_000_000,
    label_class: str = "fraud", arrived_at: str = "", asked: Asked = Asked(),
) -> Backtest:  # fmt: skip
    """Back-test two pack folders over a log of files; see docs/analyst.md. The tables: `.frame("summary")` and so on.

    Raises SekishoError, with what to do, where a pack, the log or the range is wrong.
    """
    from replay.report import inputs_of

    sources = [source] if isinstance(source, str | Path) else list(source)
    inputs = inputs_of(
        [Path(path) for path in sources], Path(labels) if labels else None, label_column, label_delay_us, label_class,
        arrived_at,
    )  # fmt: skip
    engines = [compile_pack(load_pack(Path(pack)), hash_key=os.urandom(16)) for pack in (current, candidate)]
    return run_backtest(engines[0], engines[1], inputs, asked)
