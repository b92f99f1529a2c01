"""The seeded bank world: a log of payments and all that follows them, as a bank would see it.

Cards pay at home, online and on their travels; shops are popular by Zipf's law; nights are quiet, Saturdays and pay
days (the 25th) are not; money moves by transfer. Fraud comes in campaigns of seven typologies and is reported days to
weeks later. Times are those of Tokyo, amounts are yen. Equal parameters give equal events, whatever is read of them.

    world = World(seed=7, cards=5_000, payments_per_day=4_000)
    world.write_parquet("log.parquet", 100_000)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sekisho.testing.world.aftermath import aftermath
from sekisho.testing.world.events import Events, Kind, chain, events, pick, size
from sekisho.testing.world.files import DICTIONARIES, ZONE_MS, JsonLines, Names, to_table
from sekisho.testing.world.frauds import Scene, campaigns, compromise
from sekisho.testing.world.population import Population, populate
from sekisho.testing.world.traffic import DAY_MS, busyness, context, genuine_payments

_ROWS_A_GROUP = 500_000
_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "store_schema": False,  # readers see plain texts
    "use_dictionary": list(DICTIONARIES),
    "dictionary_pagesize_limit": 1 << 24,
    "write_statistics": ["event_time", "recorded_at"],
}
_LINES_A_WRITE = 65_536


@dataclass(frozen=True)
class World:
    """A bank and its days.

    cards: how many there are.   payments_per_day: on an average day; each payment brings about 2.1 other events.
    start: the first day, in Tokyo.   fraud: a factor on the number of campaigns; 1 makes about 0.5 % of payments fraud.
    truth: adds the column `typology` to tables and Parquet; no bank knows it.
    """

    seed: int = 1
    cards: int = 20_000
    payments_per_day: int = 20_000
    start: date = date(2026, 1, 5)
    fraud: float = 1.0
    truth: bool = False

    def days(self) -> Iterator[pa.Table]:
        """The log without end, a table a day, in order of arrival (recorded_at, the table's days are cut by it).

        Columns: event_id, kind (payment, outcome, label, login, limit_change, new_payee), event_time, recorded_at
        (timestamps in UTC, milliseconds), payment_id, card_id, account_id, merchant_id, mcc, terminal_id, device_id,
        payee_id, country, channel, amount (yen), currency; of outcomes: outcome (approve, hold, decline, settled,
        refunded), outcome_amount; of labels: label_class, label_reversal, occurred_at. NULL where nothing applies:
        outcomes and labels name their payment and nothing else.
        """
        people = populate(self.seed, self.cards)
        names, first = Names(people), 0
        for day in self._days(people):
            yield to_table(names, day, first, self.truth)
            first += size(day)

    def write_parquet(self, path: str | Path, n: int) -> None:
        """The first n events as a Parquet file."""
        people = populate(self.seed, self.cards)
        names = Names(people)
        with pq.ParquetWriter(path, to_table(names, events(0), 0, self.truth).schema, **_PARQUET) as writer:
            for part, first in _grouped(self._days(people), n):
                writer.write_table(to_table(names, part, first, self.truth), row_group_size=size(part))

    def write_jsonl(self, path: str | Path, n: int) -> None:
        """The first n events as JSON, one object a line."""
        people = populate(self.seed, self.cards)
        lines = JsonLines(Names(people))
        with Path(path).open("wb") as file:
            for part, first in _grouped(self._days(people), n):
                for at in range(0, size(part), _LINES_A_WRITE):
                    file.write(lines.encode(pick(part, np.s_[at : at + _LINES_A_WRITE]), first + at))

    def _days(self, people: Population) -> Iterator[Events]:
        """Each day's arrivals: what happens on it is generated, what arrives later waits."""
        waiting, number = events(0), 0
        for k in count():
            today = self.start + timedelta(k)
            midnight = _epoch_ms(self.start) + k * DAY_MS
            happened = self._day(people, today, k, midnight, number)
            number += int((happened[0]["kind"] == Kind.PAYMENT).sum())
            pool = chain([waiting, *happened])
            arrived = pool["recorded"] < midnight + DAY_MS
            waiting = pick(pool, ~arrived)
            now = np.flatnonzero(arrived)
            yield pick(pool, now[np.argsort(pool["recorded"][now], kind="stable")])

    def _day(self, people: Population, today: date, k: int, midnight: int, number: int) -> list[Events]:
        rng = np.random.default_rng([self.seed, 2, k])
        scene = Scene(rng, people, midnight, k)
        expected = self.payments_per_day * busyness(today)
        honest = genuine_payments(rng, people, today, midnight, int(rng.poisson(expected)), number)
        if self.fraud > 0:
            compromise(scene, self.seed, honest)
        crimes = campaigns(scene, expected * self.fraud)
        paying = crimes["kind"] == Kind.PAYMENT
        crimes["payment"][paying] = number + size(honest) + np.arange(int(paying.sum()))
        payments = chain([honest, pick(crimes, paying)])
        after = aftermath(rng, payments, midnight + DAY_MS)
        return [payments, pick(crimes, ~paying), context(rng, people, midnight, int(expected)), after]


def world_of(events: int, *, seed: int = 1, days: int = 60, truth: bool = False) -> World:
    """A world in which `events` events take about so many days, with a card for every three payments a month."""
    payments = max(50, round(events / days / 3.1))
    return World(seed=seed, cards=max(300, payments * 2), payments_per_day=payments, truth=truth)


def _epoch_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) - ZONE_MS


def _grouped(days: Iterator[Events], n: int) -> Iterator[tuple[Events, int]]:
    """The first n events in parts of some size, each with the number of events before it."""
    done, held, parts = 0, 0, list[Events]()
    while done < n:
        parts.append(pick(next(days), np.s_[: n - done - held]))
        held += size(parts[-1])
        if held >= min(_ROWS_A_GROUP, n - done):
            yield chain(parts), done
            done, held, parts = done + held, 0, []
