"""Dead letters: events that could not be read, each with its reason and its place. Nothing is dropped in silence."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass

from features.sheet import Ints
from sekisho.wire.reasons import REASONS

MAX_RAW_BYTES = 2**18  # of a longer record only so much is kept, that the dead letter fits into a message


@dataclass(frozen=True)
class DeadLetters:
    """index: int64[k], rows or records of what was decoded.   code: int64[k], see REASONS.

    position: int64[k], the byte in the record, -1 where the source has no bytes (a table).
    field: int64[k], an index into `names`, or -1 where no single field is at fault.
    """

    index: Ints
    code: Ints
    position: Ints
    field: Ints
    names: tuple[str, ...]

    @property
    def n(self) -> int:
        return len(self.index)

    def reason(self, k: int) -> str:
        """A sentence that says what is wrong, where, and what to do. It never quotes the value."""
        reason = REASONS[int(self.code[k])]
        field, position = self._field(k), self._position(k)
        at = [f"field {field}"] * (field is not None) + [f"byte {position}"] * (position is not None)
        return f"{', '.join(at)}: {reason.what}; {reason.fix}" if at else f"{reason.what}; {reason.fix}"

    def record(self, k: int, topic: str, partition: int, offset: int, raw: bytes, size: int | None = None) -> bytes:
        """The dead letter as one JSON line without its end. `raw` is the record, or the row as JSON.

        size: of the record, where `raw` is but its beginning.
        """
        line = {
            "v": 1,
            "source": {"topic": topic, "partition": partition, "offset": offset},
            "code": REASONS[int(self.code[k])].name,
            "field": self._field(k),
            "position": self._position(k),
            "reason": self.reason(k),
            "size": len(raw) if size is None else size,
            "raw": b64encode(raw[:MAX_RAW_BYTES]).decode(),
        }
        return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()

    def _field(self, k: int) -> str | None:
        return self.names[self.field[k]] if self.field[k] >= 0 else None

    def _position(self, k: int) -> int | None:
        return int(self.position[k]) if self.position[k] >= 0 else None
