"""What an answer means and when to try again: pure, time in seconds since 1970, chance from outside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

DELIVERED, RETRY, GONE = "delivered", "retry", "gone"
_FIRST_S, _LONGEST_S = 5.0, 4 * 3600.0
_LONGEST_PAUSE_S = 24 * 3600.0
_BREAKS_AFTER = 5
_PROBE_FIRST_S, _PROBE_LONGEST_S = 15.0, 600.0


@dataclass(frozen=True)
class Answer:
    """What a try brought: a status, or why there was none. retry_after: the header, as it came."""

    status: int | None
    problem: str = ""
    retry_after: str = ""

    @property
    def verdict(self) -> str:
        """Delivered on 2xx; gone on 410, which asks for no more calls; everything else is tried again."""
        if self.status is not None and 200 <= self.status < 300:
            return DELIVERED
        return GONE if self.status == 410 else RETRY

    def __str__(self) -> str:
        return self.problem or f"status {self.status}"


def delay_s(tries: int, chance: float) -> float:
    """How long to wait after so many tries: doubled up to four hours, less up to a half by chance in [0, 1)."""
    return min(_LONGEST_S, _FIRST_S * 2.0 ** min(tries - 1, 30)) * (1.0 - chance / 2.0)


def pause_s(header: str, now_s: float) -> float:
    """What Retry-After asks for, seconds or a date, at most a day; 0 where it asks for nothing that makes sense."""
    try:
        seconds = float(header) if header.isascii() and header.isdigit() else _until(header) - now_s
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, min(_LONGEST_PAUSE_S, seconds))


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


@dataclass(frozen=True)
class Breaker:
    """Spares a receiver that fails: after five failures in a row only one call at a time goes out, to probe it.

    failures: in a row.   probe_s: when the next probe may go.
    """

    failures: int = 0
    probe_s: float = 0.0

    @property
    def open(self) -> bool:
        return self.failures >= _BREAKS_AFTER

    def failed(self, now_s: float, chance: float) -> Breaker:
        """After one more failure. Calls that were on their way when it opened do not make it wait longer."""
        if self.open and now_s < self.probe_s:
            return self
        failures = self.failures + 1
        wait = min(_PROBE_LONGEST_S, _PROBE_FIRST_S * 2.0 ** min(30, max(0, failures - _BREAKS_AFTER)))
        return replace(self, failures=failures, probe_s=now_s + wait * (1.0 - chance / 2.0))
