"""Encoding rows by a template, against Python's json."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.sheet import VALID, Doubles, Ints, Layout, Sheet, new_sheet, sheet_of
from features.types import BIGINT, BOOL, DOUBLE, TEXT, TIME, Type
from sekisho.wire import encode
from sekisho.wire.doubles import WIDEST
from sekisho.wire.encode import CHOICE, HEX, INT, MASK, Columns, Piece, Words, compile_templates, encode_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AWKWARD = ["", '"', "\\", "関所", "😀", "\x01\x1f\x7f", "\b\f\n\r\t", 'a"b\\c/d', "é" * 40, "\u2028"]


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def clock(us: int) -> str:
    return (EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def random_rows(seed: int, n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)

    def maybe(value: object) -> object:
        return None if rng.random() < 0.2 else value

    def text() -> str:
        return "".join(AWKWARD[k] for k in rng.integers(0, len(AWKWARD), rng.integers(0, 4)))

    return [
        {
            "id": rng.bytes(16).hex(),
            "event_id": text(),
            "payment_id": maybe(text()),
            "event_time": int(rng.integers(0, 7_289_654_400_000_000)),
            "offset": int(rng.integers(-(2**63), 2**63 - 1)) >> int(rng.integers(0, 63)),
            "score": maybe(int(rng.integers(0, 1000))),
            "raw": maybe(float(rng.normal()) * 10.0 ** int(rng.integers(-300, 300))),
            "late": maybe(bool(rng.integers(0, 2))),
            "outcome": maybe(int(rng.integers(0, 3))),
            "topic": int(rng.integers(0, 2)),
            "rules": (rng.random(70) < 0.1).tolist(),
            "flags": (rng.random(2) < 0.1).tolist(),
        }
        for _ in range(n)
    ]


LAYOUT = Layout()
LAYOUT.literal("a literal")
COLUMNS = {
    "event_id": TEXT, "payment_id": TEXT, "event_time": TIME, "offset": BIGINT, "score": BIGINT, "raw": DOUBLE,
    "late": BOOL,
}  # fmt: skip
for name, type in COLUMNS.items():
    LAYOUT.add(name, type)
OUTCOMES = ["approve", "review", "decline"]
TOPICS = ["payments", "関所\n"]
RULES = [{"id": f"rule_{k}", "reason": {"en": "a\n" * k, "ja": "理由"}} for k in range(70)]
FLAGS = ["late", "id_conflict"]
FORMS = {
    "id": HEX, "event_id": encode.TEXT, "payment_id": encode.TEXT, "event_time": encode.TIME, "offset": INT,
    "score": INT, "raw": encode.DOUBLE, "late": encode.BOOL, "outcome": CHOICE, "topic": CHOICE, "rules": MASK,
    "flags": MASK,
}  # fmt: skip
FRAGMENTS = {"outcome": OUTCOMES, "rules": RULES, "flags": FLAGS}


def template(names: Iterable[str]) -> list[bytes | Piece]:
    pieces: list[bytes | Piece] = [b'{"v":1']
    for name in names:
        pieces += [
            b',"%s":' % name.encode(),
            Piece(LAYOUT.slots.get(name, name), FORMS[name], tuple(map(dumps, FRAGMENTS.get(name, [])))),
        ]
    return [*pieces, b"}\n"]


LONG, SHORT = FORMS, ("id", "flags", "raw", "event_id")
TEMPLATES = compile_templates([template(LONG), template(SHORT)])


def bits(masks: list[list[bool]], size: int) -> Words:
    """The masks' bits in whole words."""
    packed = np.packbits(np.array(masks, np.uint8).reshape(-1, size), axis=1, bitorder="little")
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def encoded(rows: list[dict[str, Any]], which: Ints | None = None) -> tuple[bytes, list[int]]:
    """Encode the rows, which stand backwards in their sheet."""

    def column(name: str) -> list[Any]:
        return [row[name] for row in rows]

    sheet = sheet_of(LAYOUT, {name: column(name)[::-1] for name in LAYOUT.slots})
    columns = Columns(sheet, np.arange(len(rows))[::-1].copy())
    columns.hexes("id", np.frombuffer(bytes.fromhex("".join(column("id"))), ">i8").astype(np.int64).reshape(-1, 2))
    known = np.array([x is not None for x in column("outcome")], np.uint8)
    columns.choices("outcome", np.array([x or 0 for x in column("outcome")], np.int64))
    columns.valid["outcome"] = known
    columns.choices("topic", np.array(column("topic")), [dumps(x) for x in TOPICS])
    masks = np.concatenate([bits(column("rules"), 70), bits(column("flags"), 2)], axis=1)
    blob, offsets = encode_rows(TEMPLATES, columns, masks[::-1].copy(), which)
    return blob.tobytes(), offsets.tolist()


def expected(row: dict[str, Any]) -> dict[str, Any]:
    return {"v": 1} | row | {
        "event_time": clock(row["event_time"]),
        "outcome": None if row["outcome"] is None else OUTCOMES[row["outcome"]],
        "topic": TOPICS[row["topic"]],
        "rules": [RULES[k] for k, on in enumerate(row["rules"]) if on],
        "flags": [FLAGS[k] for k, on in enumerate(row["flags"]) if on],
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_what_json_says(seed: int) -> None:
    """Every row parses to its values, keys in the template's order, and offsets cut the blob into rows."""
    rows = random_rows(seed, 200)
    blob, offsets = encoded(rows)
    assert offsets[-1] == len(blob)
    for k, row in enumerate(rows):
        line = blob[offsets[k] : offsets[k + 1]]
        assert line.endswith(b"}\n")
        read, want = json.loads(line), expected(row)
        assert read == want
        assert list(read) == list(want)
        texts = {name: value for name, value in want.items() if name != "raw"}
        assert dumps(texts) == dumps({name: value for name, value in read.items() if name != "raw"})


def test_bytes_do_not_depend_on_the_cut() -> None:
    """Rows encoded together or one by one are the same bytes."""
    rows = random_rows(11, 40)
    assert encoded(rows)[0] == b"".join(encoded([row])[0] for row in rows)


def test_each_row_follows_its_template() -> None:
    """Templates alternate, and texts far longer than the usual make the output grow; not a byte depends on it."""
    rows = random_rows(7, 60)
    for row in rows[::7]:
        row["event_id"] = "x" * 20_000
    blob, offsets = encoded(rows, np.arange(60) % 2)
    for k, row in enumerate(rows):
        read, want = json.loads(blob[offsets[k] : offsets[k + 1]]), expected(row)
        assert read == ({"v": 1} | {name: want[name] for name in SHORT} if k % 2 else want)


def column_of(sheet: Sheet, form: int) -> tuple[bytes, list[int]]:
    """The only column of a sheet, a value a row."""
    (slot,) = sheet.layout.slots.values()
    blob, offsets = encode_rows(compile_templates([[Piece(slot, form)]]), Columns(sheet, np.arange(sheet.n)))
    return blob.tobytes(), offsets.tolist()


def one(type: Type) -> Layout:
    layout = Layout()
    layout.add("x", type)
    return layout


def test_integers_and_texts_are_written_as_json_writes_them() -> None:
    """The extremes of int64 and every ASCII character, byte for byte as json.dumps has them."""
    values = [0, -1, 9, 10, 99, 100, -(2**63), 2**63 - 1, *(10**k - 1 for k in range(19)), *(10**k for k in range(19))]
    blob, _ = column_of(sheet_of(one(BIGINT), {"x": values}), INT)
    assert blob == b"".join(map(dumps, values))
    texts = [chr(c) + "x" for c in range(1, 128)]
    blob, offsets = column_of(sheet_of(one(TEXT), {"x": texts}), encode.TEXT)
    for k, text in enumerate(texts):
        assert json.loads(blob[offsets[k] : offsets[k + 1]]) == text
        assert blob[offsets[k] : offsets[k + 1]] == dumps(text)


def test_every_day_of_the_calendar() -> None:
    """Times are what Python's calendar says, on every day from 1900 to 2250 and to the microsecond."""
    first, last = datetime(1900, 1, 1, tzinfo=UTC), datetime(2250, 1, 1, tzinfo=UTC)
    start = (first - EPOCH) // timedelta(microseconds=1)
    days = np.arange((last - first).days)
    us = (start + days * 86_400_000_000 + days * 997_000_003 % 86_400_000_000).tolist()
    blob, _ = column_of(sheet_of(one(TIME), {"x": us}), encode.TIME)
    assert blob.decode() == "".join(f'"{clock(t)}"' for t in us)


def of_all_sizes() -> Doubles:
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 2**64, 50_000, dtype=np.uint64).view(np.float64)
    powers = np.ldexp(1.0, np.arange(-1074, 1024))
    return np.concatenate(
        [
            drawn[np.isfinite(drawn)], powers, -np.nextafter(powers, 0.0), 10.0 ** np.arange(-320, 309),
            rng.integers(-(10**15), 10**15, 20_000) / 10.0 ** rng.integers(0, 16, 20_000), rng.random(20_000),
            [0.0, -0.0, 1.7976931348623157e308, 2.2250738585072014e-308, 9.5, 9007199254740993.0],
        ]
    )  # fmt: skip


def test_doubles_are_the_shortest_that_read_back() -> None:
    """A double's text is what Arrow's double-conversion writes, and Python reads the same double from it."""
    values = of_all_sizes()
    sheet = new_sheet(one(DOUBLE), len(values))
    sheet.doubles("x")[:], sheet.validity("x")[:] = values, VALID
    blob, offsets = column_of(sheet, encode.DOUBLE)
    texts = [blob[start:end].decode() for start, end in pairwise(offsets)]
    assert texts == pc.cast(pa.array(values), pa.string()).to_pylist()
    assert [json.loads(text) for text in texts] == values.tolist()
    assert max(map(len, texts)) <= WIDEST


def test_no_rows() -> None:
    """Nothing in, nothing out."""
    assert encoded([]) == (b"", [0])
