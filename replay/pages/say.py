"""Numbers, money and times as a reader of English or Japanese writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from replay.pages.words import WORDS

LANGUAGES = ("en", "ja")
NOTHING = "–"
_SHORT = {
    "en": ((1e9, "B"), (1e6, "M"), (1e3, "k")),
    "ja": ((1e8, "億"), (1e4, "万")),
}


@dataclass(frozen=True)
class Say:
    """A language with a currency and a time zone. exponent: amounts are in 10^-exponent of the currency."""

    lang: str
    currency: str = ""
    exponent: int = 0
    zone: str = "UTC"

    def __call__(self, key: str, **values: object) -> str:
        """A text of the table of words. KeyError where there is none."""
        text = WORDS[key][LANGUAGES.index(self.lang)]
        return text.format(**values) if values else text

    def name(self, kind: str, value: str | None) -> str:
        """A word of a closed set, such as an outcome; a value that the table does not know stays as it is."""
        if value is None:
            return NOTHING
        key = f"{kind}.{value}"
        return self(key) if key in WORDS else value.replace("_", " ")

    def count(self, value: float | None) -> str:
        return NOTHING if value is None else f"{value:,.0f}"

    def signed(self, value: float | None) -> str:
        return NOTHING if value is None else _minus(f"{value:+,.0f}") if value else "±0"

    def share(self, value: float | None, digits: int = 1) -> str:
        return NOTHING if value is None else f"{value:.{digits}%}"

    def share0(self, value: float) -> str:
        """A share for an axis."""
        return self.share(value, 0)

    def short_count(self, value: float) -> str:
        """A count for an axis."""
        return f"{value:,.3g}" if value < 10 else self._scaled(value)

    def ratio(self, value: float | None) -> str:
        return NOTHING if value is None else f"{value:,.2f} : 1"

    def real(self, value: float | None, digits: int = 3) -> str:
        return NOTHING if value is None else _minus(f"{value:,.{digits}f}")

    def money(self, minor: float | None, signed: bool = False) -> str:
        """Exact, with the currency."""
        if minor is None:
            return NOTHING
        sign = "+" if signed and minor > 0 else "−" if minor < 0 else "±" if signed else ""
        return sign + self._with_currency(f"{abs(minor) / 10**self.exponent:,.{self.exponent}f}")

    def short(self, minor: float) -> str:
        """For an axis: 40M or 4,000万."""
        return self._scaled(minor / 10**self.exponent)

    def _scaled(self, value: float) -> str:
        for unit, name in _SHORT[self.lang]:
            if abs(value) >= unit:
                return _minus(f"{value / unit:,.3g}" if value < 1000 * unit else f"{value / unit:,.0f}") + name
        return _minus(f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}")

    def span(self, low: float | None, high: float | None) -> str:
        """A range of money."""
        return self.span_of(self.money, low, high)

    def span_of(self, text: Callable[[float | None], str], low: float | None, high: float | None) -> str:
        """A range of what `text` writes."""
        return NOTHING if low is None and high is None else self("range", low=text(low), high=text(high))

    def day(self, us: int) -> str:
        return self._moment(us).strftime("%Y-%m-%d")

    def time(self, us: int) -> str:
        return f"{self._moment(us):%Y-%m-%d %H:%M:%S}"

    def days(self, us: int) -> str:
        return self("days", n=f"{us / 86_400_000_000:,.3g}")

    def _moment(self, us: int) -> datetime:
        zone: tzinfo = UTC if self.zone == "UTC" else ZoneInfo(self.zone)
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(zone)

    def _with_currency(self, digits: str) -> str:
        if self.currency == "JPY":
            return f"{digits}円" if self.lang == "ja" else f"¥{digits}"
        return f"{digits} {self.currency}".rstrip()


def _minus(text: str) -> str:
    return text.replace("-", "−")
