"""What a back-test takes for true, on cases that fit a page: outcomes, delays of verdicts, an analyst's day."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from replay.backtest.budget import Alert, queue
from replay.backtest.development import Development, reported_by_age
from replay.backtest.records import DAY_US, Asked
from replay.backtest.truth import make_happened, maturity_of
from rules.records import OUTCOMES
from sekisho.pack import LabelPolicy

HOUR_US = 3_600_000_000


def test_recorded_is_what_was_applied_first_and_refused_what_stood_in_the_end() -> None:
    """A hold that was released settled; a settlement alone was an approval; what came after the day is not known."""
    said = [("p1", "hold", 0), ("p1", "approve", 1), ("p1", "settled", 2), ("p2", "settled", 3), ("p3", "approve", 4),
            ("p3", "decline", 5), ("p4", "decline", 99)]  # fmt: skip
    names, statuses, times = zip(*said, strict=True)
    columns = {"payment_id": names, "n": range(len(said)), "status": statuses, "at_us": times}
    with duckdb.connect() as db:
        db.register("said", pa.table({name: pa.array(values) for name, values in columns.items()}))
        db.execute("CREATE TABLE followups AS SELECT *, false AS is_label, 5 AS outcome_minor FROM said")
        make_happened(db, 10)
        found = db.execute("SELECT payment_id, recorded, settled, refused FROM happened ORDER BY 1").fetchall()
    assert [(name, OUTCOMES[code], settled, refused) for name, code, settled, refused in found] == [
        ("p1", "hold", True, False), ("p2", "approve", True, False), ("p3", "approve", False, True),
    ]  # fmt: skip


def test_an_alert_that_expires_takes_nobodys_time() -> None:
    """One an hour, worth 90 minutes: of four at once the third and fourth expire, and who comes then is next."""
    alerts = [Alert(n, "d", at * HOUR_US, 0, 1, False) for n, at in enumerate((0, 0, 0, 0, 2))]
    turns = [alert.turn_us for alert in queue(alerts, 24, HOUR_US * 3 // 2)]
    assert turns == [0, HOUR_US, None, None, 2 * HOUR_US]


def test_the_share_of_verdicts_that_are_in_is_counted_where_all_are_old() -> None:
    """Nothing is truncated: the curve is the plain distribution of the delays, and ends at 1."""
    delay = np.array([0, 1, 1, 3])
    assert reported_by_age(np.full(4, 10), delay).tolist() == pytest.approx([0.25, 0.75, 0.75, 1.0])


def test_young_frauds_do_not_make_verdicts_look_fast() -> None:
    """Old: half at once, half after two days. Young ones, of which only the fast are known, change nothing."""
    old, young = np.tile([0, 2], 50), np.zeros(30, np.int64)
    age = np.concatenate([np.full(100, 9), np.zeros(30, np.int64)])
    assert reported_by_age(age, np.concatenate([old, young])).tolist() == pytest.approx([0.5, 0.5, 1.0])


def test_maturity_is_as_asked_else_the_packs_else_what_the_delays_say() -> None:
    """Without a verdict the longest of the pack's classes counts."""
    seen = Development({"": np.array([0.5, 1.0]), "mule": np.array([0.9, 0.9, 1.0])}, {"": 2, "mule": 1})
    stated = LabelPolicy(fraud=("fraud", "mule"), maturity_us={"fraud": HOUR_US, "mule": 3 * HOUR_US})
    assert maturity_of(Asked(), stated, seen) == {"": 3 * HOUR_US, "fraud": HOUR_US, "mule": 3 * HOUR_US}
    assert maturity_of(Asked(), LabelPolicy(), seen) == {"": 2 * DAY_US, "mule": 3 * DAY_US}
    assert maturity_of(Asked(maturity_us=7), stated, seen) == {"": 7, "mule": 7}
