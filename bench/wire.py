"""Bytes to columns and back: ours beside json.loads, pyarrow.json and json.dumps, CPU on one core.

python -m bench.wire --records 65536
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.json

from features.schema import Field, Schema
from features.sheet import Doubles, Ints, Layout, Sheet
from features.types import Kind
from sekisho.wire.encode import (
    DOUBLE,
    HEX,
    INT,
    MASK,
    TEXT,
    TIME,
    Columns,
    Piece,
    Words,
    compile_templates,
    encode_rows,
)
from sekisho.wire.ids import content_hash
from sekisho.wire.json_decode import decode_json
from sekisho.wire.plan import plan_wire

SCHEMA = Schema(
    (
        Field("event_id", "id", required=True),
        Field("kind", "category", required=True),
        Field("event_time", "time", required=True),
        Field("payment_id", "id"),
        Field("card_id", "id"),
        Field("merchant_id", "id", source="$.merchant.id"),
        Field("mcc", "category", source="$.merchant.mcc"),
        Field("amount", "money", exponent=2, source="$.amount.value", required=True),
        Field("currency", "category", source="$.amount.currency"),
        Field("device_id", "id"),
        Field("latitude", "double"),
        Field("longitude", "double"),
        Field("online", "bool"),
    )
)
LAYOUT = Layout()
for _name, _type in SCHEMA.columns().items():
    LAYOUT.add(_name, _type)
RULES = tuple(b'{"id":"rule_%d","outcome":"review","reason":{"en":"A reason","ja":"\xe7\x90\x86\xe7\x94\xb1"}}' % k
              for k in range(20))  # fmt: skip
RECORD = compile_templates([(
    b'{"v":1,"id":', Piece("id", HEX), b',"event_id":', Piece(LAYOUT["event_id"], TEXT), b',"payment_id":',
    Piece(LAYOUT["payment_id"], TEXT), b',"event_time":', Piece(LAYOUT["event_time"], TIME), b',"score":',
    Piece(LAYOUT["amount"], INT), b',"raw":', Piece("raw", DOUBLE), b',"probability":', Piece("raw", DOUBLE),
    b',"rules":', Piece("rules", MASK, RULES), b',"pack":"' + b"0" * 64 + b'"}\n',
)])  # fmt: skip


def make_records(n: int) -> list[bytes]:
    """Payments as JSON, about 290 bytes each."""
    draw = np.random.default_rng(1)
    return [
        json.dumps(
            {
                "event_id": f"evt-{k:010d}",
                "kind": "payment",
                "event_time": f"2026-03-01T12:{k // 60 % 60:02d}:{k % 60:02d}.{k % 1000000:06d}Z",
                "payment_id": f"p{k:09d}",
                "card_id": f"card-{draw.integers(10**6):06d}",
                "merchant": {"id": f"m{draw.integers(10**5):05d}", "mcc": "5411"},
                "amount": {"value": f"{draw.integers(10**4)}.{k % 100:02d}", "currency": "USD"},
                "device_id": None,
                "latitude": round(float(draw.random()) * 90, 6),
                "longitude": float(draw.random()) * 180,
                "online": bool(k % 2),
            },
            separators=(",", ":"),
        ).encode()
        for k in range(n)
    ]


def encode(sheet: Sheet, ids: Ints, scores: Doubles, hits: Words) -> int:
    """A decision-like record an event; the bytes written."""
    columns = Columns(sheet, np.arange(sheet.n))
    columns.hexes("id", ids)
    columns.ints("raw", scores.view(np.int64))
    return int(encode_rows(RECORD, columns, hits)[1][-1])


def measure(name: str, n: int, call: Callable[[], object]) -> float:
    """Microseconds of CPU a record, the best of seven."""
    best = np.inf
    for _ in range(7):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    print(f"{name:<28}{best / n * 1e6:8.2f} us a record")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=65_536)
    n = parser.parse_args().records
    records = make_records(n)
    blob = np.frombuffer(b"".join(records), np.uint8)
    lines = b"\n".join(records)
    offsets = np.cumsum([0, *map(len, records)], dtype=np.int64)
    plan = plan_wire(SCHEMA, LAYOUT)
    print(f"{n} records of {len(blob) / n:.0f} bytes, {len(SCHEMA.fields)} fields")
    pa.set_cpu_count(1)
    ours = measure("decode_json", n, lambda: decode_json(blob, offsets, plan))
    theirs = measure("pyarrow.json", n, lambda: pyarrow.json.read_json(io.BytesIO(lines)))
    python = measure("json.loads alone", n, lambda: [json.loads(raw) for raw in records])
    print(f"decode: {theirs / ours:.1f}x pyarrow.json, {python / ours:.1f}x json.loads")

    sheet = decode_json(blob, offsets, plan).sheet
    slots = [LAYOUT[field.name] for field in SCHEMA.fields]
    rows = np.array([slot.row for slot in slots])
    is_text = np.array([slot.type.kind is Kind.TEXT for slot in slots], np.uint8)
    ids = content_hash(sheet, rows, is_text)
    draw = np.random.default_rng(2)
    scores, hits = draw.random(n), (1 << draw.integers(0, 20, (n, 1))).astype(np.uint64)
    ours = measure("encode_rows", n, lambda: encode(sheet, ids, scores, hits))
    loaded = [json.loads(raw) for raw in records]
    python = measure("json.dumps of the input", n, lambda: [json.dumps(row).encode() for row in loaded])
    print(f"encode: {encode(sheet, ids, scores, hits) / n:.0f} bytes a record, {python / ours:.1f}x json.dumps")
    measure("content_hash", n, lambda: content_hash(sheet, rows, is_text))


if __name__ == "__main__":
    main()
