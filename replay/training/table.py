"""The payments of a log, cut into what a model learns from and what judges it, by what was known when."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.sheet import Bytes, Doubles, Ints
from models.entities import Detection, detection, precision_at
from models.measures import TOP_CARDS, Ranking, not_compromised, rank
from models.prequential import Window
from models.training import NOT_MONOTONE, Fitted, fit
from replay.backtest.database import Db, arrays, open_rows
from replay.backtest.roles import Roles, roles_of
from replay.backtest.sweep import Told
from replay.sources import Input
from replay.topic_input import TopicInput
from replay.training.rows import Span, Truth, counts, read_features, settled_of, truth_at, write_rows
from sekisho.compile import Engine
from sekisho.errors import SekishoError

DAY_US = 86_400_000_000


@dataclass(frozen=True, eq=False)
class Split:
    """The payments that a model learns from (learn, learn_labels), and those that judge it (test, test_labels).

    cards, days, at_us: int64[test], whose payment it is (-1: nobody's), the day of the test, and event_time.
    settled: int64[test], what of its amount went out, minor units.
    fresh: bool[test], whether no fraud of that card since the training began was known when that day began.
    known, later: payments by Truth, of the training and of the test range.
    """

    window: Window
    learn: Ints
    learn_labels: Bytes
    test: Ints
    test_labels: Bytes
    cards: Ints
    days: Ints
    at_us: Ints
    settled: Ints
    fresh: npt.NDArray[np.bool_]
    known: dict[str, int]
    later: dict[str, int]


@dataclass(frozen=True, eq=False)
class Fold:
    """A model and its raw scores of its test."""

    split: Split
    fitted: Fitted
    raw: Doubles

    def ranking(self, fresh: bool = False) -> Ranking:
        """How it ranks its test: all of it, or the cards not yet known to be compromised. NaN where there are none."""
        s = self.split
        rows = s.fresh & (s.cards >= 0).any() if fresh else np.ones(len(self.raw), bool)
        return rank(self.raw[rows], s.test_labels[rows], s.cards[rows], s.days[rows])

    def detection(self) -> Detection:
        """What it finds of defrauded cards and their money, at five good cards alerted for each."""
        s = self.split
        return detection(self.raw, s.test_labels, s.cards, s.at_us, s.settled)

    def measures(self) -> dict[str, float]:
        """Every measure of its test by its name in a card; NaN where there is none."""
        found, s = self.detection(), self.split
        return {
            **asdict(self.ranking()),
            f"precision_{TOP_CARDS}": precision_at(self.raw, s.test_labels, s.days, TOP_CARDS),
            "adr_5_to_1": found.adr, "vdr_5_to_1": found.vdr, "recall_5_to_1": found.recall,
        }  # fmt: skip


class Table:
    """The payments of a log and their truth at any moment.   newest_us: event_time of the log's newest event."""

    def __init__(self, db: Db, roles: Roles, fraud: tuple[str, ...], features: pa.Table, newest_us: int) -> None:
        self.db, self.roles, self.fraud, self.features, self.newest_us = db, roles, fraud, features, newest_us
        card = "CASE WHEN entity IS NULL THEN -1 ELSE dense_rank() OVER (ORDER BY entity) END"
        found = arrays(db, f"SELECT at_us, {card} AS card FROM payments ORDER BY n")
        self.at_us, self.cards = found["at_us"], found["card"]

    def split(self, window: Window, maturity_us: int, judged_us: int) -> Split:
        """Learn by what was known when the test begins, judge by what was known before `judged_us`.

        Raises SekishoError where one of the two has no fraud, or no good payment.
        """
        known, later = (self._truth(at_us, maturity_us) for at_us in (window.known_us, judged_us))
        learn, test = (
            self._rows(window.train_from_us, window.train_to_us),
            self._rows(window.known_us, window.test_to_us),
        )
        for what, truth in (("training", known[learn]), ("test", later[test])):
            _check(window, what, counts(truth))
        kept, judges = learn[known[learn] <= Truth.FRAUD], test[later[test] <= Truth.FRAUD]
        days = (self.at_us[judges] - window.known_us) // DAY_US
        frauds = np.flatnonzero((later == Truth.FRAUD) & (self.at_us >= window.train_from_us))
        horizons = window.known_us + days * DAY_US - window.delay_us
        return Split(
            window,
            kept,
            known[kept].astype(np.uint8),
            judges,
            later[judges].astype(np.uint8),
            self.cards[judges],
            days,
            self.at_us[judges],
            settled_of(self.db)[judges],
            not_compromised(self.cards[judges], self.at_us[frauds], self.cards[frauds], horizons),
            counts(known[learn]),
            counts(later[test]),
        )

    def fit(
        self, split: Split, names: Sequence[str], params: Mapping[str, Any], seed: int,
        monotone: Mapping[str, int] = NOT_MONOTONE,
    ) -> Fold:  # fmt: skip
        """A model of some features, and what it says of its test."""
        rows, labels = self.rows(split, names)
        n = len(split.learn)
        fitted = fit(rows, labels, np.arange(n), params, seed, monotone)
        return Fold(split, fitted, fitted.raw[n:])

    def rows(self, split: Split, names: Sequence[str]) -> tuple[pa.Table, Bytes]:
        """Features and labels of what a model learns from, and behind them of what judges it."""
        rows = self.features.select(names).take(pa.array(np.concatenate([split.learn, split.test])))
        return rows, np.concatenate([split.learn_labels, split.test_labels])

    def _rows(self, from_us: int, to_us: int) -> Ints:
        return np.flatnonzero((self.at_us >= from_us) & (self.at_us < to_us))

    def _truth(self, at_us: int, maturity_us: int) -> Ints:
        return truth_at(self.db, self.roles, self.fraud, at_us, maturity_us)


@contextmanager
def table_of_log(
    engine: Engine, inputs: Sequence[Input | TopicInput], span: Span, told: Told, threads: int = 1
) -> Iterator[Table]:
    """Replay the log once; its payments of the span lie in files while the table is used."""
    if engine.pack.labels is None:
        raise SekishoError(f"pack {engine.pack.name}: it has no [labels] table", "add one: nothing says what is fraud")
    roles = roles_of(engine.pack, engine.pack.schema)
    with tempfile.TemporaryDirectory(prefix="sekisho-train-") as name:
        folder = Path(name)
        newest_us = write_rows(engine, roles, inputs, span, folder, told, threads)
        if not (folder / "payments.parquet").is_file():
            raise SekishoError("the log holds no event", "look at the dead letters with `sekisho replay run`")
        db = open_rows(folder)
        try:
            yield Table(db, roles, engine.pack.labels.fraud, read_features(folder), newest_us)
        finally:
            db.close()


def _check(window: Window, what: str, found: dict[str, int]) -> None:
    if found["fraud"] and found["good"]:
        return
    said = ", ".join(f"{count:,} {name}" for name, count in found.items())
    days = (window.train_to_us - window.train_from_us) / DAY_US
    raise SekishoError(
        f"the {what} range of a fold has not both frauds and good payments: {said} (its training lasts {days:g} days)",
        "give longer ranges, a longer --delay, fewer --folds, or the labels of this log",
    )
