"""The SQL types of Sekisho, and how a cell holds each of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a value is.

    int: BIGINT, or HUGEINT when wide.   decimal: DECIMAL(width, scale).   double: DOUBLE.
    bool: BOOLEAN.   text: VARCHAR.   time: TIMESTAMPTZ, microseconds UTC.
    local: TIMESTAMP without zone, microseconds.   interval: microseconds (no months, no years).
    null: the type of a bare NULL, which fits every other.
    """

    INT = "int"
    DECIMAL = "decimal"
    DOUBLE = "double"
    BOOL = "bool"
    TEXT = "text"
    TIME = "time"
    LOCAL = "local"
    INTERVAL = "interval"
    NULL = "null"


@dataclass(frozen=True)
class Type:
    """A SQL type. `width` and `scale` are decimal digits and matter to INT and DECIMAL only."""

    kind: Kind
    width: int = 0
    scale: int = 0

    @property
    def wide(self) -> bool:
        """True when a value takes two cells (128 bits) instead of one."""
        if self.kind is Kind.INT:
            return self.width > 19
        return self.kind is Kind.DECIMAL and self.width > 18

    @property
    def numeric(self) -> bool:
        return self.kind in (Kind.INT, Kind.DECIMAL, Kind.DOUBLE)

    @property
    def exact(self) -> bool:
        """True for integers and decimals: int64 or int128 counts of 10^-scale."""
        return self.kind in (Kind.INT, Kind.DECIMAL)

    def __str__(self) -> str:
        match self.kind:
            case Kind.INT:
                return "HUGEINT" if self.wide else "BIGINT"
            case Kind.DECIMAL:
                return f"DECIMAL({self.width}, {self.scale})"
            case Kind.TEXT:
                return "VARCHAR"
            case Kind.TIME:
                return "TIMESTAMPTZ"
            case Kind.LOCAL:
                return "TIMESTAMP"
            case Kind.BOOL:
                return "BOOLEAN"
            case _:
                return self.kind.name


BIGINT = Type(Kind.INT, 19)
HUGEINT = Type(Kind.INT, 38)
DOUBLE = Type(Kind.DOUBLE)
BOOL = Type(Kind.BOOL)
TEXT = Type(Kind.TEXT)
TIME = Type(Kind.TIME)
LOCAL = Type(Kind.LOCAL)
INTERVAL = Type(Kind.INTERVAL)
NULL = Type(Kind.NULL)


def decimal(width: int, scale: int) -> Type:
    """DECIMAL(width, scale), capped at 38 digits as DuckDB caps it."""
    return Type(Kind.DECIMAL, min(width, 38), scale)
