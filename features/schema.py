"""The events that a pack reads: their fields, and what each means to SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.types import BIGINT, BOOL, DOUBLE, TEXT, TIME, Type, decimal

FIELD_TYPES = ("id", "money", "number", "double", "category", "time", "bool", "text")

# Columns that Sekisho adds to every event; a pack may read them and may not declare them.
SYSTEM_COLUMNS: Mapping[str, Type] = {
    "record_time": TIME,  # when the log took the event; NULL where the source has no such clock
    "arrival_lag": BIGINT,  # record_time - event_time in microseconds
    "label_delta": BIGINT,  # +1 a new fraud verdict, -1 its reversal, 0 a repetition; NULL on other kinds
}


@dataclass(frozen=True)
class Field:
    """One field of the event schema.

    type: one of FIELD_TYPES.   exponent: e of money and number, stored as int64 in units of 10^-e.
    source: the JSON path or column that it is read from (default: its own name).
    required: an event without it is a dead letter.   pii: "", "account" or "name".
    encoding: of a time "" (RFC 3339 text), "epoch_s", "epoch_ms" or "epoch_us"; of money "" (major units) or "minor".
    default: of a text field, what an event without it gets ("" means NULL): `kind` in a log of payments alone.
    """

    name: str
    type: str
    exponent: int = 0
    source: str = ""
    required: bool = False
    pii: str = ""
    encoding: str = ""
    default: str = ""

    @property
    def sql_type(self) -> Type:
        match self.type:
            case "money" | "number":
                return decimal(18, self.exponent)
            case "double":
                return DOUBLE
            case "bool":
                return BOOL
            case "time":
                return TIME
            case _:
                return TEXT


@dataclass(frozen=True)
class Schema:
    """All fields of the pack's events, in the order of pack.toml.

    kinds: every kind of event that the log may hold.  `event_id`, `event_time` and `kind` are always fields.
    """

    fields: tuple[Field, ...]
    kinds: tuple[str, ...] = ("payment",)
    by_name: Mapping[str, Field] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {f.name: f for f in self.fields})

    def columns(self) -> dict[str, Type]:
        """Every column of the `events` view: the fields, then the system columns."""
        return {f.name: f.sql_type for f in self.fields} | dict(SYSTEM_COLUMNS)

    def nullable(self, column: str) -> bool:
        """True when the column can be NULL on some event."""
        found = self.by_name.get(column)
        return found is None or not (found.required or found.default)
