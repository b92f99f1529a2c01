"""`python -m sekisho.warm`: half of a first start, for another core: JSON records and the windows."""

from __future__ import annotations

import numpy as np

from features.schema import Field, Schema
from features.sheet import Layout
from features.warm import warm as warm_windows
from sekisho.wire.json_decode import decode_json
from sekisho.wire.plan import plan_wire


def warm() -> None:
    """Decode one record of three fields, then take one event into one window: the kernels serve every pack."""
    fields = (("event_id", "id"), ("event_time", "time"), ("kind", "category"))
    schema, layout = Schema(tuple(Field(name, type, required=True) for name, type in fields), ("payment",)), Layout()
    for name, type in schema.columns().items():
        layout.add(name, type)
    decode_json(np.zeros(2, np.uint8), np.array([0, 2]), plan_wire(schema, layout))
    warm_windows()


if __name__ == "__main__":
    warm()
