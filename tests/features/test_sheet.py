"""A sheet keeps what is put into it, taken, joined and widened."""

import numpy as np

from features.sheet import Layout, concat, sheet_of, take, widen
from features.types import BIGINT, HUGEINT, TEXT


def _layout() -> Layout:
    layout = Layout()
    layout.add("who", TEXT)
    layout.add("how_much", HUGEINT)
    layout.literal("constant")
    layout.alias("person", layout["who"])
    return layout


def _rows(sheet):
    return [(sheet.value("who", i), sheet.value("how_much", i)) for i in range(sheet.n)]


ROWS = [("a", 2**100), ("関所", -1), (None, None), ("", -(2**100))]


def test_values_come_back():
    """Text, wide integers and NULL come back as they went in."""
    who, much = zip(*ROWS, strict=True)
    assert _rows(sheet_of(_layout(), {"who": who, "how_much": much})) == ROWS


def test_concat_of_takes_is_a_list_of_rows():
    """Taking and joining are what they are for lists, and the joined text holds nothing but what is used."""
    layout = _layout()
    who, much = zip(*ROWS, strict=True)
    sheet = sheet_of(layout, {"who": who, "how_much": much})
    parts = [take(sheet, np.array(index)) for index in ([3, 0], [1, 1, 2])]
    joined = concat(parts)
    assert _rows(joined) == [ROWS[k] for k in (3, 0, 1, 1, 2)]
    assert [joined.value("person", i) for i in range(joined.n)] == [ROWS[k][0] for k in (3, 0, 1, 1, 2)]
    assert len(joined.text) == len("constant") + len("a") + 2 * len("関所".encode())


def test_a_wider_sheet_has_the_same_beginning():
    """Widening adds columns of NULL and changes nothing else."""
    short = _layout()
    long = short.beginning()
    long.add("later", BIGINT)
    who, much = zip(*ROWS, strict=True)
    wide = widen(sheet_of(short, {"who": who, "how_much": much}), long)
    assert _rows(wide) == ROWS
    assert [wide.value("later", i) for i in range(wide.n)] == [None] * len(ROWS)
