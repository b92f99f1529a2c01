"""What training takes a payment for, on one case of each kind: by what the log held when the model was made."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from replay.backtest.roles import Roles
from replay.training.rows import Truth, counts, settled_of, truth_at, undated

MADE, MATURITY, YOUNG_US = 100, 10, 95
ROLES = Roles("payment_id", "amount", ("card_id",), "", "", "", "outcome", "outcome_amount", "label_class",
              "label_reversal", "", "occurred_at", ("card_id",), "JPY", 0)  # fmt: skip
SETTLED, DECLINED = ("settled", None, 0, 20), ("decline", None, 0, 20)


def label(name: str | None, at_us: int, reversal: int = 0) -> tuple[str | None, str | None, int, int]:
    return None, name, reversal, at_us


# Follow-ups of a payment, (status, class, reversal, when); what it is taken for; what settled of its 7 yen.
CASES = {
    "settled and silent": ([SETTLED], Truth.GOOD, 7),
    "our own decline is no label": ([DECLINED], Truth.UNSETTLED, 0),
    "nothing came after it": ([], Truth.UNSETTLED, 0),
    "declined, and somebody else confirmed it": ([DECLINED, label("fraud", 50)], Truth.FRAUD, 0),
    "declined, and it was the customer": ([DECLINED, label("genuine_confirmed", 50)], Truth.GOOD, 0),
    "fraud": ([SETTLED, label("fraud", 50)], Truth.FRAUD, 7),
    "of another class that counts": ([SETTLED, label("mule", 50)], Truth.FRAUD, 7),
    "taken back": ([SETTLED, label("fraud", 50), label("fraud", 60, 1)], Truth.GOOD, 7),
    "taken back by a word without a class": ([SETTLED, label("fraud", 50), label(None, 60, 1)], Truth.GOOD, 7),
    "taken back and given again": ([label("fraud", 50), label(None, 60, 1), label("fraud", 70)], Truth.FRAUD, 0),
    "a dispute": ([SETTLED, label("dispute_not_fraud", 50)], Truth.GOOD, 7),
    "neither": ([SETTLED, label("first_party", 50)], Truth.OTHER, 7),
    "the latest verdict stands": ([SETTLED, label("dispute_not_fraud", 50), label("fraud", 60)], Truth.FRAUD, 7),
    "in the log a moment before": ([SETTLED, label("fraud", MADE - 1)], Truth.FRAUD, 7),
    "in the log as it is made": ([SETTLED, label("fraud", MADE)], Truth.GOOD, 7),
    "settles only then": ([("settled", None, 0, MADE)], Truth.UNSETTLED, 0),
}


def log(extra: list[tuple[str, int, str | None]] = ()) -> duckdb.DuckDBPyConnection:  # type: ignore[assignment]
    """The cases as the row files hold them, and more payments (id, at_us, card)."""
    paid = [(name, 0, None) for name in CASES] + list(extra)
    said = [(name, *each) for name, (followups, *_) in CASES.items() for each in followups]
    # fmt: off
    payments = {"payment_id": [p[0] for p in paid], "n": range(len(paid)), "at_us": [p[1] for p in paid],
                "name_card_id": pa.array([p[2] for p in paid], pa.string()), "amount_minor": [7] * len(paid)}
    names = ("payment_id", "status", "class", "reversal", "at_us")
    rows = {name: pa.array([each[k] for each in said]) for k, name in enumerate(names)}
    nothing = pa.nulls(len(said), pa.int64())
    rows |= {"n": pa.array(range(100, 100 + len(said))), "is_label": pa.array([each[1] is None for each in said]),
             "name_card_id": pa.nulls(len(said), pa.string()), "occurred_us": nothing, "outcome_minor": nothing}
    # fmt: on
    db = duckdb.connect()
    for name, table in (("payments", payments), ("followups", rows)):
        db.register(f"{name}_", pa.table({key: pa.array(value) for key, value in table.items()}))
        db.execute(f"CREATE TABLE {name} AS FROM {name}_")
    return db


def truths(db: duckdb.DuckDBPyConnection, maturity_us: int = MATURITY) -> list[Truth]:
    return [Truth(each) for each in truth_at(db, ROLES, ("fraud", "mule"), MADE, maturity_us)]


def test_each_kind_of_payment_is_taken_for_what_it_is() -> None:
    """A decline of our own is no label; verdicts count from when they entered the log; the latest stands."""
    with log() as db:
        found = dict(zip(CASES, truths(db), strict=True))
        settled = dict(zip(CASES, settled_of(db).tolist(), strict=True))
    assert found == {name: truth for name, (_, truth, _) in CASES.items()}
    assert settled == {name: yen for name, (*_, yen) in CASES.items()}


def test_the_young_are_young_with_or_without_a_verdict() -> None:
    """A payment at the maturity is in, one a moment younger is out; a verdict does not help it in."""
    with log([("old", MADE - MATURITY - 1, None), ("quick", YOUNG_US, None), ("edge", MADE - MATURITY, None)]) as db:
        db.execute("INSERT INTO followups BY NAME SELECT 'quick' AS payment_id, 500 AS n, true AS is_label, "
                   "'fraud' AS class, 0 AS reversal, 98 AS at_us")  # fmt: skip
        for name in ("old", "edge"):
            db.execute(f"INSERT INTO followups BY NAME SELECT '{name}' AS payment_id, 501 AS n, false AS is_label, "
                       "'settled' AS status, 99 AS at_us")  # fmt: skip
        assert truths(db)[-3:] == [Truth.GOOD, Truth.YOUNG, Truth.YOUNG]
        found = counts(truth_at(db, ROLES, ("fraud", "mule"), MADE, MATURITY))
    assert (found["young"], sum(found.values())) == (2, len(CASES) + 3)


@pytest.mark.parametrize(("occurred_us", "fraud"), [(5, ["after"]), (0, ["before", "after"]), (None, [])])
def test_a_label_of_a_card_means_its_payments_from_when_it_happened(occurred_us, fraud) -> None:
    """Up to the label; without occurred_at nothing says which."""
    with log([("before", 3, "c"), ("after", 8, "c"), ("later", 60, "c"), ("another's", 8, "d")]) as db:
        db.execute("INSERT INTO followups BY NAME SELECT 900 AS n, true AS is_label, 'fraud' AS class, 0 AS reversal, "
                   "50 AS at_us, 'c' AS name_card_id, ?::BIGINT AS occurred_us", [occurred_us])  # fmt: skip
        found = truths(db)[-4:]
        assert undated(db) == (occurred_us is None)
    assert [name for name, truth in zip(("before", "after", "later", "another's"), found, strict=True)
            if truth is Truth.FRAUD] == fraud  # fmt: skip
