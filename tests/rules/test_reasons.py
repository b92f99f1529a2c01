"""reasons.yaml: what is read, what is refused with its line, and how values stand in a sentence."""

from __future__ import annotations

import pytest

from features.sql import parse_condition
from features.types import BIGINT, DOUBLE, TEXT, Type, decimal
from rules.reasons import value_text
from rules.reasons_language import Speakable, read_book

COLUMNS: dict[str, Type] = {
    "amount": decimal(18, 0), "channel": TEXT, "card_id": TEXT, "frauds_28d": BIGINT, "ratio": DOUBLE, "z": DOUBLE,
}  # fmt: skip
MAY = Speakable(COLUMNS, ("amount", "frauds_28d", "ratio", "z"), ("channel",), ("amount", "channel", "card_id"))
BOOK = """\
above: 700
reasons:
  - id: reported
    features: [frauds_28d]
    when: frauds_28d >= 1
    en: The terminal had {frauds_28d} confirmed frauds in 28 days.
    ja: この端末では28日間に{frauds_28d}件の不正がありました。
  - id: large
    features: [ratio, amount]
    when: ratio > 2
    en: "{amount:,} yen is {ratio:.1} times the usual, by {channel}."
    ja: "{amount:,}円は普段の{ratio:.1}倍です（{channel}）。"
    customer_en: "We are confirming a payment of {amount:,} yen."
    customer_ja: "{amount:,}円のお取引を確認しております。"
"""


def read(text):
    return read_book(text, lambda sql: parse_condition(sql, COLUMNS), MAY)


def test_a_book_is_read():
    """Groups, conditions, texts; four reasons at most where nothing is said."""
    book, refusals = read(BOOK)
    assert not refusals
    assert (book.above, book.most, [code.id for code in book.codes]) == (700, 4, ["reported", "large"])
    assert book.codes[1].features == ("ratio", "amount") and set(book.codes[1].values()) == {
        "amount",
        "ratio",
        "channel",
    }


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("above: 700\n", "", 1, "has no above"),
        ("above: 700", "above: 1000", 1, "from 0 to 999"),
        ("above: 700", "above: 700\nmost: many", 2, "most is not a whole number"),
        ("id: large", "id: reported", 3, "two reasons have the id"),
        ("id: large", "id: Large", 8, "cannot name a reason"),
        ("[frauds_28d]", "[frauds_29d]", 4, "no model of the pack reads 'frauds_29d'"),
        ("[ratio, amount]", "[ratio, frauds_28d]", 9, "belongs to reported already"),
        ("    features: [frauds_28d]\n", "", 3, "has no features"),
        ("    when: ratio > 2\n", "", 8, "has no when"),
        ("when: ratio > 2", "when: ratoi > 2", 10, "ratoi"),
        ("{frauds_28d} confirmed", "{card_id} confirmed", 6, "cannot say card_id"),
        ("{frauds_28d} confirmed", "{frauds_28d confirmed", 6, "brace that fills nothing"),
        ("is {ratio:.1}", "is {ratio}", 11, "DOUBLE without end"),
        ("payment of {amount:,}", "payment of {frauds_28d}", 13, "a customer is not told the feature"),
        ("    customer_ja: \"{amount:,}円のお取引を確認しております。\"\n", "", 8, "lacks customer_ja"),
        ("reasons:\n", "reasons: []\nextra:\n", 3, "no key 'extra'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_line(old, new, line, what):
    """Whatever an author gets wrong."""
    assert old in BOOK
    _, refusals = read(BOOK.replace(old, new, 1))
    assert (line, True) in [(r.place.line, what in r.what) for r in refusals], refusals


@pytest.mark.parametrize(
    ("value", "type", "grouped", "digits", "text"),
    [
        (3, BIGINT, False, None, "3"),
        (1234567, BIGINT, True, None, "1,234,567"),
        (-1234567, decimal(18, 2), True, None, "-12,345.67"),
        (100, decimal(18, 2), False, None, "1.00"),
        (125, decimal(18, 2), False, 1, "1.2"),
        (-4, decimal(18, 2), False, 1, "0.0"),
        (2.5, DOUBLE, False, 0, "2"),
        (1e300, DOUBLE, True, 0, f"{10**300 + (int(1e300) - 10**300):,}"),
        (0.1, DOUBLE, False, 3, "0.100"),
        ("web", TEXT, False, None, "web"),
        (2**100, BIGINT, False, None, str(2**100)),
    ],
)  # fmt: skip
def test_values_in_a_sentence(value, type, grouped, digits, text):
    """Rounded half to even from the exact value; no minus in front of a zero."""
    assert value_text(value, type, grouped, digits) == text
