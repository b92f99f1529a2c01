from __future__ import annotations

from datetime import UTC, datetime

import pytest

from features.refusal import Refusal
from models.card import Calibration, Feature, ModelCard
from models.card_toml import read_card, write_card
from models.drift import Bins

CARD = ModelCard(
    name="card_fraud",
    sha256="0" * 64,
    features=(Feature("amount"), Feature("mcc", "categorical", ("5411", 'quo"te', "空\\\n"))),
    trained_from=datetime(2026, 1, 1, tzinfo=UTC),
    trained_to=datetime(2026, 3, 1, 12, tzinfo=UTC),
    rows=1000,
    positives=7,
    owner="fraud analytics",
    intended_use="card payments, 人の確認と共に",
    metrics={"average_precision": 0.5, "auc": 0.9},
    calibration=Calibration(0.9, -1e-05),
    reference={"amount": Bins((1.0, 2.5), (7.0,), (3, 4, 0, 9, 1)), "mcc": Bins((), (), (0, 5))},
    scores=Bins((400.0,), (), (1, 2, 3)),
)


def test_a_card_is_read_back_as_it_was_written() -> None:
    """write_card and read_card are each other's inverse."""
    assert read_card(write_card(CARD).encode()) == CARD


TEXT = write_card(CARD)
BROKEN = [
    ('name = "card_fraud"', 'name = "Card Fraud"', "cannot name a model"),
    ('name = "card_fraud"', "name = 3", "`name` is not of type str"),
    ("rows = 1000", "rows = true", "`rows` is not of type int"),
    ("rows = 1000", "lines = 1000", "no `lines`"),
    ("rows = 1000\n", "", "no `rows`"),
    ("rows = 1000", "rows = ", "not TOML"),
    ("0" * 64, "0" * 63, "64 hexadecimal digits"),
    ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "no zone"),
    ("a = 0.9", "a = -0.9", "strictly increasing"),
    ("edges = [1.0, 2.5]", "edges = [2.5, 1.0]", "do not rise"),
    ("edges = [1.0, 2.5]", "edges = [nan]", "no list of numbers"),
    ("edges = [1.0, 2.5]", "edges = 3", "no list of numbers"),
    ("counts = [3, 4, 0, 9, 1]", "counts = [3, 4, 0, 9]", "needs 5 counts"),
    ("counts = [3, 4, 0, 9, 1]", "counts = [3, 4, 0, 9, -1]", "whole numbers from 0 on"),
    ('[reference."mcc"]', '[reference."mmc"]', "no feature of the model"),
    ("masses = [7.0]", "lumps = [7.0]", "has not the keys"),
    ("a = 0.9", "a = nan", "strictly increasing"),
    ("a = 0.9", "c = 0.9", "strictly increasing"),
    ('name = "amount", kind = "numeric"', 'name = "mcc", kind = "numeric"', "`mcc` stands twice"),
    ('kind = "numeric"', 'kind = "number"', "neither numeric nor categorical"),
    ('kind = "numeric"', 'kind = "numeric", categories = ["1"]', "categories of `amount`"),
    ('"5411", ', '"5411", "5411", ', "categories of `mcc`"),
    ('"5411", ', "5411, ", "categories of `mcc`"),
    ("auc = 0.9", 'auc = "high"', "metric `auc`"),
]


@pytest.mark.parametrize(("old", "new", "says"), BROKEN)
def test_a_wrong_card_is_refused(old: str, new: str, says: str) -> None:
    """Whatever is missing, unknown or of another type is named, with what to do."""
    assert old in TEXT
    with pytest.raises(Refusal, match=says) as refused:
        read_card(TEXT.replace(old, new, 1).encode())
    assert refused.value.fix


def test_a_refusal_names_the_line() -> None:
    """A wrong value is refused at its own line."""
    with pytest.raises(Refusal) as refused:
        read_card(TEXT.replace("rows = 1000", "rows = 1.5", 1).encode())
    assert TEXT.split("\n")[refused.value.place.line - 1].startswith("rows")


def test_a_card_that_is_not_utf8_is_refused() -> None:
    """Bytes that are no text are refused with their position."""
    with pytest.raises(Refusal, match="byte 0"):
        read_card(b"\xff")
