"""Arrow tables to sheets: the same values as JSON gives, whatever the column's type; dead letters row by row."""

import json
import os
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.refusal import Refusal
from features.schema import Field, Schema
from features.sheet import Layout
from sekisho.wire.json_decode import Decoded, decode_json
from sekisho.wire.plan import WirePlan, plan_wire
from sekisho.wire.reasons import REASONS
from sekisho.wire.table_decode import decode_table, missing, row_bytes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONE = "Asia/Tokyo"
DATA = Path(os.environ.get("SEKISHO_DATA", Path(__file__).parents[3] / "shared" / "data"))


def plan_of(*fields: Field, kinds: tuple[str, ...] = ("payment",)) -> WirePlan:
    names = {field.name for field in fields}
    basic = (Field("event_id", "id"), Field("event_time", "time"), Field("kind", "category", default="payment"))
    schema = Schema((*(field for field in basic if field.name not in names), *fields), kinds)
    layout = Layout()
    for name, type in schema.columns().items():
        layout.add(name, type)
    return plan_wire(schema, layout, ZONE)


def read(field: Field, column: pa.Array | pa.ChunkedArray) -> tuple[list[Any], list[str | None]]:
    """The values of one column, None where it is a dead letter; and the reasons."""
    plan = plan_of(field)
    decoded = decode_table(pa.table({field.name: column}), plan)
    values: list[Any] = [None] * len(column)
    reasons: list[str | None] = [None] * len(column)
    for k, i in enumerate(decoded.good.tolist()):
        values[i] = decoded.sheet.value(field.name, k)
    for k, i in enumerate(decoded.dead.index.tolist()):
        reasons[i] = REASONS[int(decoded.dead.code[k])].name
        assert decoded.dead.names[decoded.dead.field[k]] == field.name
    return values, reasons


def us(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


MONEY = Field("x", "money", exponent=2)


@pytest.mark.parametrize(
    ("column", "values", "reasons"),
    [
        (pa.array(["1.5", None, "1.505", "-0.01", "x"]), [150, None, None, -1, None], {2: "decimals", 4: "number"}),
        (pa.array(["7.10", "8"]).dictionary_encode(), [710, 800], {}),
        (pa.array([b"7.10", b"8"], pa.binary()), [710, 800], {}),
        (pa.array([3, None, -4, 10**14], pa.int64()), [300, None, -400, None], {3: "too_large"}),
        (pa.array([2**64 - 1, 5], pa.uint64()), [None, 500], {0: "too_large"}),
        (pa.array([True, False]).cast(pa.uint8()), [100, 0], {}),
        (pa.array([57.16, 0.1 + 0.2, None, 1.234, float("nan"), float("inf")]), [5716, 30, None, None, None, None],
         {3: "decimals", 4: "not_finite", 5: "not_finite"}),
        (pa.array([123456789012.37, 9999999999999.99, 1e13, 1.1e13]), [12345678901237, 999999999999999, 10**15, None],
         {3: "too_large"}),
        (pa.array([0.0100000001, 0.01000002, -0.01]), [1, None, -1], {1: "decimals"}),
        (pa.array([Decimal("1.5"), Decimal("-2.125"), None], pa.decimal128(10, 3)), [150, None, None], {1: "decimals"}),
        (pa.array([Decimal("1.20000"), Decimal(99999999999999)], pa.decimal256(60, 5)), [120, None], {1: "too_large"}),
        (pa.nulls(3), [None, None, None], {}),
        (pa.chunked_array([["1"], ["2", "y"]]), [100, 200, None], {2: "number"}),
    ],
)  # fmt: skip
def test_money(column: pa.Array, values: list[int | None], reasons: dict[int, str]) -> None:
    """Money of every column type is an exact count of minor units, or a dead letter."""
    assert read(MONEY, column) == (values, [reasons.get(i) for i in range(len(column))])


AT = us("2024-05-06T07:08:09.123456+00:00")


@pytest.mark.parametrize(
    ("encoding", "column", "values", "reasons"),
    [
        ("", pa.array(["2024-05-06T07:08:09.123456Z", "2024-05-06 16:08:09.123456", None, "soon"]),
         [AT, AT, None, None], {3: "time"}),
        ("", pa.array([AT, -1, None], pa.timestamp("us", "UTC")), [AT, None, None], {1: "absurd_time"}),
        ("", pa.array([AT + 9 * 3_600_000_000], pa.timestamp("us")), [AT], {}),
        ("", pa.array([AT * 1000, AT * 1000 + 1], pa.timestamp("ns", "Asia/Tokyo")), [AT, None], {1: "time_digits"}),
        ("", pa.array([AT // 1000, 2**62, -(2**62)], pa.timestamp("ms", "UTC")), [AT // 1000 * 1000, None, None],
         {1: "absurd_time", 2: "absurd_time"}),
        ("epoch_s", pa.array([AT // 10**6], pa.timestamp("s", "UTC")), [AT // 10**6 * 10**6], {}),
        ("", pa.array([date(2024, 5, 6), None]), [us("2024-05-05T15:00:00+00:00"), None], {}),
        ("", pa.array([date(2024, 5, 6)]).cast(pa.date64()), [us("2024-05-05T15:00:00+00:00")], {}),
        ("epoch_s", pa.array([AT // 10**6, 2**40, -1]), [AT // 10**6 * 10**6, None, None],
         {1: "absurd_time", 2: "absurd_time"}),
        ("epoch_ms", pa.array([AT // 1000], pa.int64()), [AT // 1000 * 1000], {}),
        ("epoch_us", pa.array([str(AT), "1e3", "0.5"]), [AT, 1000, None], {2: "time_digits"}),
        ("epoch_s", pa.array([1714979289.25, 1e300, 0.0000005]), [1714979289250000, None, None],
         {1: "absurd_time", 2: "time_digits"}),
    ],
)  # fmt: skip
def test_times(encoding: str, column: pa.Array, values: list[int | None], reasons: dict[int, str]) -> None:
    """Times of every column type are microseconds UTC; naive ones are local to the default zone."""
    assert read(Field("x", "time", encoding=encoding), column) == (
        values,
        [reasons.get(i) for i in range(len(column))],
    )


@pytest.mark.parametrize(
    ("type", "column", "values", "reasons"),
    [
        ("id", pa.array(["a", "", None, "関"]), ["a", None, None, "関"], {}),
        ("text", pa.array(["a", "", None, "n\0l"]), ["a", "", None, None], {3: "nul"}),
        ("text", pa.array([b"ok", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80"]), ["ok", None, None, "😀"],
         {1: "utf8", 2: "utf8"}),
        ("id", pa.array([596, None, -3], pa.int32()), ["596", None, "-3"], {}),
        ("category", pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"], {}),
        ("category", pa.array(["xx", "b", None, "cc"])[1:], ["b", None, "cc"], {}),
        ("category", pa.array(["b", "a"], pa.string_view()), ["b", "a"], {}),
        ("double", pa.array([1.5, float("nan"), None, -0.0]), [1.5, None, None, 0.0], {1: "not_finite"}),
        ("double", pa.array([1.5, -1e308], pa.float64()), [1.5, None], {1: "too_large"}),
        ("double", pa.array([0.5], pa.float32()), [0.5], {}),
        ("double", pa.array(["0.1", "35.6812361234567891234", "nan"]), [0.1, 35.68123612345679, None],
         {2: "number"}),
        ("double", pa.array([2**63 - 1, 3]), [float(2**63 - 1), 3.0], {}),
        ("double", pa.array([Decimal("0.1")]), [0.1], {}),
        ("bool", pa.array([True, False, None]), [True, False, None], {}),
        ("bool", pa.array(["true", "FALSE", "1", "yes"]), [True, False, True, None], {3: "boolean"}),
        ("bool", pa.array([0, 1, 2], pa.int8()), [False, True, None], {2: "boolean"}),
        ("number", pa.array([3, 4], pa.int16()), [3, 4], {}),
    ],
)  # fmt: skip
def test_all_other_types(type: str, column: pa.Array, values: list[Any], reasons: dict[int, str]) -> None:
    """Text is valid UTF-8 without NUL, an empty id is NULL, doubles are finite, booleans are 0 or 1."""
    assert read(Field("x", type), column) == (values, [reasons.get(i) for i in range(len(column))])


@pytest.mark.parametrize(
    ("type", "column"),
    [
        ("id", pa.array([1.0])), ("text", pa.array([1])), ("money", pa.array([True])), ("time", pa.array([1])),
        ("bool", pa.array([0.5])), ("category", pa.array([["a"]])), ("money", pa.array([datetime(2024, 1, 1)])),
    ],
)  # fmt: skip
def test_a_column_that_can_never_fit_is_refused(type: str, column: pa.Array) -> None:
    """A wrong column is the source's fault, said once and not a million times."""
    with pytest.raises(Refusal, match="'x'"):
        read(Field("x", type), column)


def test_a_row_falls_out_with_its_first_reason_and_the_others_stay() -> None:
    """Required fields, unknown kinds and bad values cost one row each; the rest of the table is untouched."""
    plan = plan_of(
        Field("event_id", "id", required=True),
        Field("event_time", "time", required=True),
        Field("amount", "money", exponent=0, source="$.payment.amount"),
        Field("kind", "category", required=True),
        kinds=("payment", "label"),
    )
    table = pa.table(
        {
            "event_id": ["a", None, "c", "d", "e"],
            "event_time": ["2024-01-01T00:00:00Z"] * 3 + ["never", None],
            "payment": [{"amount": 5}, {"amount": 6}, None, {"amount": 8}, {"amount": 9}],
            "kind": ["payment", "payment", "label", "payment", "refund"],
        }
    )
    decoded = decode_table(table, plan, np.array([us("2024-01-01T00:00:01+00:00")] * 5))
    assert decoded.good.tolist() == [0, 2]
    assert [decoded.sheet.value("amount", k) for k in (0, 1)] == [5, None]
    assert [decoded.sheet.value("arrival_lag", k) for k in (0, 1)] == [1_000_000, 1_000_000]
    assert [decoded.dead.reason(k).split(";")[0] for k in range(3)] == [
        "field event_id: a required field is missing or null",
        "field event_time: the value is not a time of the field's encoding",
        "field event_time: a required field is missing or null",
    ]
    line = json.loads(decoded.dead.record(1, "file", 0, 3, row_bytes(table, 3)))
    assert (line["field"], line["position"], line["source"]["offset"]) == ("event_time", None, 3)
    kind = decode_table(table.slice(4).set_column(1, "event_time", pa.array(["2024-01-01T00:00:00Z"])), plan)
    assert REASONS[int(kind.dead.code[0])].name == "kind"


def test_columns_are_found_by_source_path_or_name() -> None:
    """A source names a column, a dotted column or a place in a struct; else the field's own name is tried."""
    plan = plan_of(
        Field("a", "text", source="A"),
        Field("b", "text", source="$.p.b"),
        Field("c", "text", source="$.q.r.c"),
        Field("d", "text", source="$.elsewhere.d"),
        Field("e", "text"),
    )
    table = pa.table({"A": ["1"], "p.b": ["2"], "q": [{"r": {"c": "3"}}], "d": ["4"]})
    sheet = decode_table(table, plan).sheet
    assert [sheet.value(name, 0) for name in "abcde"] == ["1", "2", "3", "4", None]
    assert missing(table, plan) == ("event_id", "event_time", "kind", "e")
    assert sheet.value("kind", 0) == "payment"


def test_record_batches_and_empty_tables() -> None:
    """A record batch is read like a table, and no rows give no rows."""
    plan = plan_of(MONEY)
    batch = pa.record_batch({"x": ["1.25"]})
    assert decode_table(batch, plan).sheet.value("x", 0) == 125
    assert decode_table(pa.table({"x": pa.array([], pa.string())}), plan).sheet.n == 0


def test_a_table_and_its_json_are_the_same_events() -> None:
    """Ten thousand random values: CSV text, typed columns and JSON give the same sheets."""
    rng = np.random.default_rng(17)
    n = 2000
    fields = (
        Field("event_id", "id", required=True),
        Field("event_time", "time", required=True),
        Field("x", "money", exponent=2),
        Field("lat", "double"),
        Field("on", "bool"),
    )
    plan = plan_of(*fields)
    cents = rng.integers(-(10**12), 10**12, n).tolist()
    times = rng.integers(0, 7_289_654_400_000_000, n).tolist()
    doubles = (rng.normal(size=n) * 10.0 ** rng.integers(-20, 20, n)).tolist()
    flags = (rng.random(n) < 0.5).tolist()
    clocks = [(EPOCH + timedelta(microseconds=t)).astimezone(timezone(timedelta(hours=9))).isoformat() for t in times]
    money = [str(Decimal(c).scaleb(-2)) for c in cents]
    ids = [f"e{k}" for k in range(n)]
    text = pa.table({"event_id": ids, "event_time": clocks, "x": money, "lat": [repr(x) for x in doubles],
                     "on": [str(flag) for flag in flags]})  # fmt: skip
    typed = pa.table({"event_id": ids, "event_time": pa.array(times, pa.timestamp("us", "UTC")),
                      "x": [c / 100 for c in cents], "lat": doubles, "on": flags})  # fmt: skip
    rows = zip(ids, clocks, money, doubles, flags, strict=True)
    records = [json.dumps(dict(zip(text.schema.names, row, strict=True))).encode() for row in rows]
    offsets = np.cumsum([0, *map(len, records)], dtype=np.int64)
    spoken = decode_json(np.frombuffer(b"".join(records), np.uint8), offsets, plan)

    def values(decoded: Decoded) -> list[list[Any]]:
        assert decoded.dead.n == 0
        return [[decoded.sheet.value(field.name, k) for field in fields] for k in range(n)]

    expected = [list(row) for row in zip(ids, times, cents, doubles, flags, strict=True)]
    assert values(decode_table(text, plan)) == values(decode_table(typed, plan)) == values(spoken) == expected


@pytest.mark.skipif(not DATA.exists(), reason=f"the public data sets are not at {DATA}; set SEKISHO_DATA")
def test_the_handbook_is_read_whole() -> None:
    """Every amount of the Fraud Detection Handbook's table is within reach of a cent; no row is lost."""
    table = pq.read_table(DATA / "fdh_simulated" / "transactions.parquet").slice(0, 200_000)
    plan = plan_of(
        Field("event_id", "id", source="TRANSACTION_ID", required=True),
        Field("event_time", "time", source="TX_DATETIME", required=True),
        Field("amount", "money", exponent=2, source="TX_AMOUNT", required=True),
    )
    decoded = decode_table(table, plan)
    assert decoded.dead.n == 0
    assert np.array_equal(decoded.sheet.ints("amount"), np.rint(table["TX_AMOUNT"].to_numpy() * 100).astype(np.int64))
