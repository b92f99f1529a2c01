from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sekisho.testing.world import World, world_of
from sekisho.testing.world.traffic import paid_on

SMALL = World(seed=3, cards=900, payments_per_day=700, fraud=6.0, truth=True)
DAYS = 30


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return pa.concat_tables(itertools.islice(SMALL.days(), DAYS)).unify_dictionaries()


def rows(table: pa.Table, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as database:
        database.execute("SET timezone = 'UTC'")
        database.register("log", table)
        return database.execute(sql).fetchall()


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    """The same world writes the same files; another seed writes others."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        world = World(seed=seed, cards=300, payments_per_day=200)
        world.write_parquet(tmp_path / f"{name}.parquet", 3_000)
        world.write_jsonl(tmp_path / f"{name}.jsonl", 3_000)
    for suffix in ("parquet", "jsonl"):
        a, b, c = (digest(tmp_path / f"{name}.{suffix}") for name in "abc")
        assert a == b != c


def test_a_shorter_log_begins_a_longer_one(log: pa.Table, tmp_path: Path) -> None:
    """Whatever is read of a world, its events are the same: a file of n events is the first n of the days."""
    SMALL.write_parquet(tmp_path / "log.parquet", 5_000)
    read = pq.read_table(tmp_path / "log.parquet")
    assert read.schema.field("card_id").type == pa.string()
    assert read.to_pylist() == log.slice(0, 5_000).to_pylist()


def test_json_lines_say_what_the_table_says(log: pa.Table, tmp_path: Path) -> None:
    """Every value of the table stands at its place in the JSON, and nothing else does."""
    SMALL.write_jsonl(tmp_path / "log.jsonl", 4_000)
    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    for line, row in zip(lines, log.slice(0, 4_000).to_pylist(), strict=True):
        assert flat(json.loads(line)) == {
            name: value for name, value in row.items() if value is not None and name != "typology"
        }


PATHS = {
    "id": "event_id", "type": "kind", "time": "event_time", "payment.id": "payment_id",
    "payment.amount.value": "amount", "payment.amount.currency": "currency", "merchant.mcc": "mcc",
    "outcome.status": "outcome", "outcome.amount.value": "outcome_amount", "label.class": "label_class",
    "label.reversal": "label_reversal", "label.occurred_at": "occurred_at",
    **{f"{name}.id": f"{name}_id" for name in ("card", "account", "merchant", "terminal", "device", "payee")},
}  # fmt: skip


def flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        path = prefix + key
        name = PATHS.get(path, path)
        if isinstance(value, dict):
            found |= flat(value, path + ".")
        elif path != "outcome.amount.currency":
            number = int(value) if name in ("amount", "outcome_amount") else value
            time = name in ("event_time", "recorded_at", "occurred_at")
            found[name] = datetime.fromisoformat(value) if time else number
    return found


def test_the_typology_is_no_banks_to_know(tmp_path: Path) -> None:
    """Without `truth` no column tells what is fraud."""
    World(cards=300, payments_per_day=200).write_parquet(tmp_path / "log.parquet", 500)
    assert "typology" not in pq.read_schema(tmp_path / "log.parquet").names


def test_arrival_order(log: pa.Table) -> None:
    """The log rises by recorded_at, events arrive after they happen, a few in another order and a few hours late."""
    recorded, happened = (log.column(name).cast(pa.int64()).to_numpy() for name in ("recorded_at", "event_time"))
    assert (recorded[1:] >= recorded[:-1]).all()
    assert (recorded > happened).all()
    behind = (happened[1:] < happened[:-1]).mean()
    assert 0.001 < behind < 0.2
    assert 3_600_000_000 < (recorded - happened).max() < 7 * 3_600_000_000
    assert pc.count_distinct(log.column("event_id")).as_py() == len(log)


def test_followups_follow_their_payment(log: pa.Table) -> None:
    """Every outcome and label names a payment that came before it, and nothing else; labels are days late."""
    (bad,) = rows(log, """
        SELECT count(*) FILTER (WHERE p.event_id IS NULL OR f.event_time <= p.event_time OR f.card_id IS NOT NULL)
        FROM log f LEFT JOIN log p ON p.payment_id = f.payment_id AND p.kind = 'payment'
        WHERE f.kind IN ('outcome', 'label')""")[0]  # fmt: skip
    assert bad == 0
    (days,) = rows(log, """
        SELECT avg(epoch(l.event_time - p.event_time)) / 86400 FROM log l JOIN log p USING (payment_id)
        WHERE l.kind = 'label' AND p.kind = 'payment'""")[0]  # fmt: skip
    assert 2 < days < 20


def test_settlement_follows_approval(log: pa.Table) -> None:
    """What settles was approved, for the whole amount; what was declined never settles."""
    found = rows(log, """
        SELECT list(o.outcome ORDER BY o.event_time), bool_and(o.outcome_amount = p.amount OR o.outcome <> 'settled')
        FROM log o JOIN log p USING (payment_id) WHERE o.kind = 'outcome' AND p.kind = 'payment'
        GROUP BY o.payment_id""")  # fmt: skip
    paths = Counter(tuple(path) for path, _ in found)
    whole = {("approve", "settled"), ("hold", "approve", "settled"), ("decline",), ("hold", "decline")}
    known = {path[:k] for path in whole for k in range(1, 4)} | {(*path, "refunded") for path in whole}
    assert set(paths) <= known
    assert whole <= set(paths)
    assert all(equal in (None, True) for _, equal in found)


def test_every_typology_happens_and_is_rare(log: pa.Table) -> None:
    """All seven kinds of fraud occur, and together they stay far below honest payments."""
    found = dict(rows(log, "SELECT typology, count(*) FROM log WHERE kind = 'payment' GROUP BY ALL"))
    honest = found.pop(None)
    assert len(found) == 7
    assert 0.003 < sum(found.values()) / honest / SMALL.fraud < 0.012


def test_days_have_their_shape(log: pa.Table) -> None:
    """Nights are quiet, pay day is busy and full of transfers."""
    hours = dict(rows(log, """
        SELECT extract(hour FROM event_time AT TIME ZONE 'Asia/Tokyo'), count(*) FROM log
        WHERE kind = 'payment' AND typology IS NULL GROUP BY ALL"""))  # fmt: skip
    assert hours[3] < hours[18] / 8
    days = dict(rows(log, """
        SELECT (event_time AT TIME ZONE 'Asia/Tokyo')::DATE, count(*) FILTER (WHERE channel = 'transfer')
        FROM log WHERE kind = 'payment' GROUP BY ALL"""))  # fmt: skip
    pay_day = next(day for day in days if paid_on(day))
    assert days[pay_day] == max(days.values())


def test_pay_day_is_never_a_weekend() -> None:
    """The 25th, or the Friday before."""
    assert [day for day in (date(2026, 1, 1) + timedelta(k) for k in range(90)) if paid_on(day)] == [
        date(2026, 1, 23), date(2026, 2, 25), date(2026, 3, 25),
    ]  # fmt: skip


def test_merchants_are_popular_by_rank(log: pa.Table) -> None:
    """A few merchants get much of the traffic: hot keys are part of a bank's life."""
    counts = [
        n
        for (n,) in rows(log, "SELECT count(*) n FROM log WHERE kind = 'payment' GROUP BY merchant_id ORDER BY n DESC")
    ]
    assert counts[0] > 20 * counts[len(counts) // 2]


def test_payments_have_a_card_or_a_payee(log: pa.Table) -> None:
    """A transfer has a payee and no card; any other payment a card, a merchant, and a terminal or a device."""
    (bad,) = rows(log, """
        SELECT count(*) FILTER (WHERE (channel = 'transfer') <> (payee_id IS NOT NULL)
            OR (card_id IS NULL) <> (channel = 'transfer') OR (merchant_id IS NULL) <> (channel = 'transfer')
            OR (terminal_id IS NULL) = (device_id IS NULL) OR account_id IS NULL OR amount < 1)
        FROM log WHERE kind = 'payment'""")[0]  # fmt: skip
    assert bad == 0


def test_a_world_of_a_given_size(tmp_path: Path) -> None:
    """world_of makes the number of events that was asked for last about so many days."""
    world_of(20_000, days=10).write_parquet(tmp_path / "log.parquet", 20_000)
    table = pq.read_table(tmp_path / "log.parquet", columns=["recorded_at"])
    assert len(table) == 20_000
    last = table.column("recorded_at")[-1].as_py()
    assert timedelta(days=8) < last - datetime(2026, 1, 4, 15, tzinfo=UTC) < timedelta(days=12)
