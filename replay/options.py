"""How times and durations are written on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: str) -> int:
    """ "90s", "10m", "24h" or "7d" in microseconds. Raises click.BadParameter."""
    found = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is no duration; write 90s, 10m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]] * 1_000_000


def parse_moment(text: str) -> int:
    """A date or an RFC 3339 time in microseconds UTC; without a zone it is UTC. Raises click.BadParameter."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time; write 2026-01-31 or 2026-01-31T12:00:00+09:00") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
