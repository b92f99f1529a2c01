"""Decisions as Arrow: the JSON records read back under one fixed schema, so that both forms say the same."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.json

from features.sheet import Bytes

_TEXTS = pa.list_(pa.string())
_REASON = pa.struct([("en", pa.string()), ("ja", pa.string())])
_POINTS = pa.struct([("id", pa.string()), ("model", pa.string()), ("points", pa.int64()), *_REASON])
_RULE = pa.struct([("id", pa.string()), ("outcome", pa.string()), ("reason", _REASON)])
_MODEL = pa.struct(
    [
        ("name", pa.string()),
        ("sha256", pa.string()),
        ("score", pa.int64()),
        ("raw", pa.float64()),
        ("probability", pa.float64()),
        ("arm", pa.string()),
        ("propensity", pa.float64()),
    ]
)
_SOURCE = pa.struct([("topic", pa.string()), ("partition", pa.int64()), ("offset", pa.int64())])

# Columns stand in the order of the JSON's keys; those that a record lacks are null.
SCHEMA = pa.schema(
    [
        ("v", pa.int64()),
        ("id", pa.string()),
        ("event_id", pa.string()),
        ("payment_id", pa.string()),
        ("event_time", pa.timestamp("us", "UTC")),
        ("source", _SOURCE),
        ("outcome", pa.string()),
        ("score", pa.int64()),
        ("models", pa.list_(_MODEL)),
        ("reasons", pa.list_(_POINTS)),
        ("customer_reasons", pa.list_(_REASON)),
        ("rules", pa.list_(_RULE)),
        ("lifted", _TEXTS),
        ("muted", _TEXTS),
        ("unknown", _TEXTS),
        ("errors", _TEXTS),
        ("shadow", _TEXTS),
        ("shadow_models", pa.list_(_MODEL)),
        ("flags", _TEXTS),
        ("duplicate_of", pa.string()),
        ("pack", pa.string()),
    ]
)
_PARSE = pyarrow.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error")


def decisions_table(blob: Bytes) -> pa.Table:
    """The records of `encode_decisions` (uint8, JSON lines) as a table of SCHEMA."""
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=max(1 << 16, 2 * len(blob)))
    return pyarrow.json.read_json(io.BytesIO(blob.tobytes()), options, _PARSE)
