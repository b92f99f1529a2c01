"""Times as pack files write them: RFC 3339, read exactly to microseconds UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TIME_FIX = "write an RFC 3339 time with its zone, as 2026-01-31T09:00:00+09:00"


def parse_time(text: str) -> int | None:
    """Microseconds UTC, or None where the text is no RFC 3339 time."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return (at - _EPOCH) // timedelta(microseconds=1)


def format_time(at_us: int) -> str:
    """The same time in UTC, as RFC 3339."""
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")
