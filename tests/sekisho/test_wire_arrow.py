"""What goes into a sheet comes out of its Arrow form."""

from decimal import Decimal

import numpy as np
import pyarrow as pa

from features.sheet import Layout, sheet_of
from features.types import BIGINT, BOOL, DOUBLE, HUGEINT, TEXT, TIME, decimal
from sekisho.wire.arrow import to_arrow

COLUMNS = {
    "n": (BIGINT, [1, None, -(2**62)], [1, None, -(2**62)]),
    "h": (HUGEINT, [2**70, -(2**70), None], [Decimal(2**70), Decimal(-(2**70)), None]),
    "d": (decimal(18, 2), [-1, None, 12345], [Decimal("-0.01"), None, Decimal("123.45")]),
    "x": (DOUBLE, [0.1, -0.0, None], [0.1, -0.0, None]),
    "b": (BOOL, [True, False, None], [True, False, None]),
    "s": (TEXT, ["関所", "", None], ["関所", "", None]),
}


def test_every_type_survives():
    """Values and NULLs of every type are equal in Arrow, in any order of rows."""
    layout = Layout()
    for name, (type, _, _) in COLUMNS.items():
        layout.add(name, type)
    sheet = sheet_of(layout, {name: values for name, (_, values, _) in COLUMNS.items()})
    table = to_arrow(sheet, layout.slots.items(), np.array([2, 0, 1]))
    table.validate(full=True)
    for name, (_, _, expected) in COLUMNS.items():
        assert table[name].to_pylist() == [expected[2], expected[0], expected[1]]


def test_times_are_microseconds_in_utc():
    """A TIMESTAMPTZ is a UTC timestamp of microseconds."""
    layout = Layout()
    layout.add("t", TIME)
    table = to_arrow(sheet_of(layout, {"t": [1_700_000_000_000_001]}), layout.slots.items(), np.array([0]))
    assert table["t"].type == pa.timestamp("us", "UTC")
    assert table["t"].cast(pa.int64()).to_pylist() == [1_700_000_000_000_001]
