"""Times on the command line, for the commands of every room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click


def moment(text: str) -> int:
    """A date or an RFC 3339 time, without a zone in UTC, as microseconds since 1970. Raises ValueError."""
    found = datetime.fromisoformat(text)
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return (found - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class _Moment(click.ParamType):
    """A date or an RFC 3339 time in microseconds UTC; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Microseconds since 1970; what is no time is wrong usage."""
        try:
            return moment(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-01-31 or 2026-01-31T12:00:00+09:00", param, ctx)


MOMENT = _Moment()
