"""Encoding rows by a template, against Python's json."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from features.sheet import Layout, sheet_of
from features.types import BIGINT, TEXT, TIME
from sekisho.wire import encode
from sekisho.wire.encode import BOOL, CHOICE, HEX, INT, MASK, RAW, Columns, Piece
from sekisho.wire.encode import TEXT as QUOTED
from sekisho.wire.encode import TIME as CLOCK

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
            "extra": maybe({"en": text(), "ja": [1, None]}),
            "outcome": maybe(int(rng.integers(0, 3))),
            "rules": rng.integers(0, 2, 5).tolist(),
            "flags": (rng.random(2) < 0.1).tolist(),
        }
        for _ in range(n)
    ]


LAYOUT = Layout()
LAYOUT.literal("a literal")
for name, type in {"event_id": TEXT, "payment_id": TEXT, "event_time": TIME, "offset": BIGINT, "score": BIGINT}.items():
    LAYOUT.add(name, type)
OUTCOMES = ["approve", "review", "decline"]
RULES = [{"id": f"rule_{k}", "reason": {"en": "a\n" * k, "ja": "理由"}} for k in range(5)]
FLAGS = ["late", "id_conflict"]
FORMS = {
    "id": HEX, "event_id": QUOTED, "payment_id": QUOTED, "event_time": CLOCK, "offset": INT, "score": INT, "raw": RAW,
    "late": BOOL, "extra": RAW, "outcome": CHOICE, "rules": MASK, "flags": MASK,
}  # fmt: skip


def template() -> list[bytes | Piece]:
    pieces: list[bytes | Piece] = [b'{"v":1']
    for name, form in FORMS.items():
        pieces += [b',"%s":' % name.encode(), Piece(name, form)]
    return [*pieces, b"}\n"]


def encoded(rows: list[dict[str, Any]]) -> tuple[bytes, list[int]]:
    def column(name: str) -> list[Any]:
        return [row[name] for row in rows]

    sheet = sheet_of(LAYOUT, {name: column(name) for name in LAYOUT.slots})
    columns = Columns(len(rows), sheet.text)
    for name in LAYOUT.slots:
        columns.ints(name, sheet.ints(name), sheet.validity(name))
    columns.hexes("id", np.frombuffer(bytes.fromhex("".join(column("id"))), ">i8").astype(np.int64).reshape(-1, 2))
    late = column("late")
    columns.ints("late", np.array([bool(x) for x in late], np.int64), np.array([x is not None for x in late], np.uint8))
    raw = column("raw")
    valid = np.array([x is not None for x in raw], np.uint8)
    columns.strings("raw", encode.double_texts(np.array([x or 0.0 for x in raw]), valid))
    columns.strings("extra", [None if x is None else dumps(x).decode() for x in column("extra")])
    outcomes = np.array([-1 if x is None else x for x in column("outcome")], np.int64)
    columns.choices("outcome", outcomes, [dumps(x) for x in OUTCOMES])
    columns.flags("rules", np.array(column("rules"), np.uint8).T, [dumps(x) for x in RULES])
    columns.flags("flags", np.array(column("flags"), np.uint8).T, [dumps(x) for x in FLAGS])
    blob, offsets = encode.encode_rows(template(), columns)
    return blob.tobytes(), offsets.tolist()


def expected(row: dict[str, Any]) -> dict[str, Any]:
    return {"v": 1} | row | {
        "event_time": clock(row["event_time"]),
        "outcome": None if row["outcome"] is None else OUTCOMES[row["outcome"]],
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


def test_integers_and_texts_are_written_as_json_writes_them() -> None:
    """The extremes of int64 and every ASCII character, byte for byte as json.dumps has them."""
    values = [0, -1, 9, 10, -(2**63), 2**63 - 1, 10**18]
    texts = [chr(c) + "x" for c in range(1, 128)]
    columns = Columns(len(values))
    columns.ints("n", np.array(values, np.int64))
    blob, _ = encode.encode_rows([Piece("n", INT), b" "], columns)
    assert blob.tobytes().split() == [str(value).encode() for value in values]
    columns = Columns(len(texts))
    columns.strings("t", texts)
    blob, offsets = encode.encode_rows([Piece("t", QUOTED)], columns)
    for k, text in enumerate(texts):
        assert json.loads(blob[offsets[k] : offsets[k + 1]].tobytes()) == text
        assert blob[offsets[k] : offsets[k + 1]].tobytes() == dumps(text)


def test_every_day_of_the_calendar() -> None:
    """Times are what Python's calendar says, on every day from 1900 to 2250 and to the microsecond."""
    first, last = datetime(1900, 1, 1, tzinfo=UTC), datetime(2250, 1, 1, tzinfo=UTC)
    start = (first - EPOCH) // timedelta(microseconds=1)
    days = np.arange((last - first).days)
    us = start + days * 86_400_000_000 + days * 997_000_003 % 86_400_000_000
    columns = Columns(len(us))
    columns.ints("t", us)
    blob, _ = encode.encode_rows([Piece("t", CLOCK)], columns)
    assert blob.tobytes().decode() == "".join(f'"{clock(int(t))}"' for t in us)


def test_doubles_read_back() -> None:
    """The text of a double is JSON and reads back as the same double, for all sizes of doubles."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, 2**63, 5000).view(np.float64)
    values = np.concatenate([values[np.isfinite(values)], [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e22]])
    texts = encode.double_texts(values, np.ones(len(values), np.uint8)).to_pylist()
    assert [json.loads(text) for text in texts] == values.tolist()
    assert all(float(text) == float(repr(value)) for text, value in zip(texts, values.tolist(), strict=True))


def test_no_rows() -> None:
    """Nothing in, nothing out."""
    columns = Columns(0)
    columns.ints("n", np.empty(0, np.int64))
    columns.flags("m", np.empty((2, 0), np.uint8), [b"1", b"2"])
    blob, offsets = encode.encode_rows([b"[", Piece("n", INT), Piece("m", MASK), b"]"], columns)
    assert blob.tobytes() == b"" and offsets.tolist() == [0]
