"""Reads what each column of a sample means, by its name and its cells: a few plain rules, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from features.schema import SYSTEM_COLUMNS
from replay.drafting import words
from replay.drafting.meaning import Doubt, Guess, Meaning
from replay.drafting.sample import Column, Sample
from replay.drafting.shape import Shape, shape_of
from sekisho.errors import SekishoError
from sekisho.pack_toml import EXPONENTS

_UNIQUE = 0.99  # of the rows: a log may hold a few events twice
# Fields that mean something by their names; what a follow-up says of its payment.
_KNOWN = {
    "payment_id": "payment_id", "outcome": "outcome", "outcome_status": "outcome", "outcome_amount": "outcome_amount",
    "outcome_amount_value": "outcome_amount", "label_class": "label_class", "label_reversal": "label_reversal",
}  # fmt: skip


def read_meaning(sample: Sample, currency: str = "") -> Meaning:
    """What the columns mean. currency: of the amounts, where it is known. Raises SekishoError without id or time."""
    return _Reader(sample, currency).read()


class _Reader:
    """Each rule takes the columns that it knows; what is left is a field by its cells alone."""

    def __init__(self, sample: Sample, currency: str) -> None:
        self.sample, self.currency = sample, currency
        self.shapes = {column.source: shape_of(column) for column in sample.columns}
        self.left = {column.source: column for column in sample.columns}
        self.meaning = Meaning()
        self.taken: dict[str, Guess] = {}

    def read(self) -> Meaning:
        self.useless()
        self.kind()
        self.known()
        self.verdicts()
        self.event_id()
        self.times()
        self.money()
        self.entities()
        for source, column in list(self.left.items()):
            self.plain(source, column, self.shapes[source])
        self.nameless()
        order = [column.source for column in self.sample.columns]
        self.meaning.guesses = sorted(self.taken.values(), key=lambda guess: order.index(guess.source))
        return self.meaning

    # --- taking columns ---

    def take(self, source: str, name: str, type: str, why: str, **options: str | bool | int | list[str]) -> None:
        """The column becomes a field, under a name that no other has."""
        taken = {guess.name for guess in self.taken.values()} | set(SYSTEM_COLUMNS)
        name, k = name or f"column_{self.place(source)}", 2
        base = name
        while name in taken:
            name, k = f"{base}_{k}", k + 1
        self.taken[source] = Guess(source, name, type, why, options)
        self.left.pop(source)

    def leave(self, source: str, why: str) -> None:
        self.taken[source] = Guess(source, "", "", why)
        self.left.pop(source)

    def place(self, source: str) -> int:
        return 1 + [column.source for column in self.sample.columns].index(source)

    def doubt(self, line: str, what: str, fix: str) -> None:
        self.meaning.doubts.append(Doubt(line, what, fix))

    def those(self, fits: Callable[[str, Shape], bool]) -> list[str]:
        return [source for source in self.left if fits(source, self.shapes[source])]

    # --- rules ---

    def useless(self) -> None:
        for source, column in list(self.left.items()):
            if column.written == "nested":
                self.leave(source, "a list: no field can hold it")
            elif not self.shapes[source].known:
                self.leave(source, "empty in all of the sample")
            elif any(c in '"\\' or ord(c) < 32 for c in source) or ("." in source and not source.startswith("$.")):
                self.leave(source, "its name cannot stand in `from`: no quotes, backslashes or points")

    def kind(self) -> None:
        """A column that says `payment` says what kind of event each is."""
        for source in self.those(lambda _, shape: "payment" in shape.words)[:1]:
            self.meaning.kinds = self.shapes[source].words
            rows = self.shapes[source].known
            full = {"required": True} if rows == self.sample.rows else {"default": "payment"}
            self.take(source, "kind", "category", "says payment", **full)

    def known(self) -> None:
        """In a log of several kinds, what follows a payment."""
        if len(self.meaning.kinds) == 1:
            return
        for source in self.those(lambda source, _: words.slug(source) in _KNOWN):
            name, shape = _KNOWN[words.slug(source)], self.shapes[source]
            if name == "payment_id":
                self.take(source, name, "id", "by it outcomes and labels name their payment")
            elif name == "label_reversal" and shape.truth:
                self.take(source, name, "bool", "takes a verdict back")
            elif name == "outcome_amount" and shape.decimals is not None:
                self.take(source, name, "money", "money that moved")
            elif name in ("outcome", "label_class"):
                self.take(source, name, "category", "what came of a payment" if name == "outcome" else "the verdict")

    def verdicts(self) -> None:
        """A column that nobody knew when the payment was made is no field: a rule could read the answer."""
        if "label" in self.meaning.kinds:
            return
        for source in self.those(lambda source, _: words.says(source, words.VERDICT)):
            if self.shapes[source].truth and not self.meaning.label:
                self.meaning.label = source
                self.leave(source, "the verdict: no field, so that no rule reads the answer; see --label-column")
            else:
                self.leave(source, "tells of the verdict: no field, so that no rule reads the answer")
        if self.meaning.label:
            self.meaning.kinds = ("payment", "label")

    def event_id(self) -> None:
        rows = self.sample.rows
        unique = self.those(
            lambda source, shape: (
                self.left[source].written in ("text", "whole") and shape.distinct >= _UNIQUE * rows and not shape.time
            )
        )
        named = [source for source in unique if words.says(source, words.NUMBERED)]
        found = self.first(named, words.PAYMENT)
        if found is None:
            fix = "add a column that numbers them, and name it id"
            raise SekishoError(f"{self.sample.path}: no column names each event: an id, other in every row", fix)
        self.take(found, "event_id", "id", "other in every row, and named as an id", required=True)
        if len(named) > 1:
            others = ", ".join(source for source in named if source != found)
            self.doubt("event_id", f"other columns differ in every row, too: {others}", 'write its name behind "from"')
        if (again := rows - self.shapes[found].distinct) > 0:
            self.doubt("event_id", f"{again:,} rows repeat an id: with equal content they are duplicates", "nothing")

    def times(self) -> None:
        rows = self.sample.rows
        timed = self.those(lambda source, shape: self.is_time(source, shape) and shape.known >= _UNIQUE * rows)
        for source in [each for each in timed if words.says(each, words.ARRIVED)][:1]:
            if len(timed) > 1 and self.ordered(source):
                timed.remove(source)
                self.meaning.record_time = source
                self.leave(source, "when the log took the event: record_time")
        dated = [source for source in timed if words.says(source, words.MOMENT)]
        found = self.first(dated, words.PAYMENT) or next(iter(timed), None)
        if found is None:
            raise self.no_time()
        shape, why = self.shapes[found], "the first full column of times"
        self.take(found, "event_time", "time", why, **self.encoding(shape), required=True)
        if others := [source for source in timed if source != found]:
            self.doubt(
                "event_time", f"other columns hold times, too: {', '.join(others)}", 'write its name behind "from"'
            )
        if shape.time and not shape.zoned:
            self.meaning.zone = "Asia/Tokyo" if self.japanese() else "UTC"
            self.doubt(
                "default_zone", f"times are written without a zone: {self.meaning.zone} is a guess", "its IANA name"
            )

    def is_time(self, source: str, shape: Shape) -> bool:
        return shape.time or (bool(shape.epoch) and words.says(source, words.MOMENT))

    def encoding(self, shape: Shape) -> dict[str, str | bool | int | list[str]]:
        return {} if shape.time else {"encoding": shape.epoch}

    def ordered(self, source: str) -> bool:
        """Whether a column of times stands in order and in every row, as an arrival must."""
        column, shape = self.left[source], self.shapes[source]
        texts = column.texts.to_pylist()
        return shape.time and shape.known == self.sample.rows and all(a <= b for a, b in pairwise(texts))

    def no_time(self) -> SekishoError:
        what = f"{self.sample.path}: no column holds the time of every event"
        for source in self.those(lambda source, _: words.says(source, words.MOMENT)):
            seen = next(text for text in self.left[source].texts.to_pylist() if text)
            fix = "write times as 2026-01-31T12:00:00+09:00 or 2026-01-31 12:00:00, or as seconds since 1970"
            return SekishoError(f"{what}; {source} has {seen!r}", fix)
        return SekishoError(what, "add a column named time, as 2026-01-31T12:00:00+09:00")

    def money(self) -> None:
        codes = self.currencies()
        able = self.those(
            lambda source, shape: (
                words.says(source, words.AMOUNT) and not words.says(source, words.ASIDE) and shape.decimals is not None
            )
        )
        for source in able[:1]:
            self.amount(source, self.shapes[source].decimals or 0, codes)
            if len(able) > 1:
                self.doubt(
                    "amount", f"other columns may be the amount: {', '.join(able[1:])}", 'write its name behind "from"'
                )
        if not able:
            self.no_amount()
        for source, guess in self.taken.items():
            if guess.name == "outcome_amount":
                amount = next((each for each in self.taken.values() if each.name == "amount"), None)
                options = amount.options if amount else {"scale": self.shapes[source].decimals or 0}
                self.taken[source] = Guess(source, guess.name, amount.type if amount else "number", guess.why, options)

    def currencies(self) -> tuple[str, ...]:
        """The codes of the column of currencies, which becomes a field."""
        for source in self.those(lambda source, shape: words.says(source, words.CURRENCY) and bool(shape.words))[:1]:
            found = self.shapes[source].words
            if set(found) <= set(EXPONENTS):
                self.take(source, "currency", "category", f"ISO 4217: {', '.join(found[:5])}")
                return found
        return ()

    def amount(self, source: str, decimals: int, codes: tuple[str, ...]) -> None:
        """Money of the currency that is given, that the column says, or that the digits suggest."""
        given = (self.currency,) if self.currency else codes
        known = bool(given)
        if not known:
            given = ("JPY",) if decimals == 0 else ("USD",)
        if decimals > max(EXPONENTS[code] for code in given):
            why = f"{decimals} digits behind the point, more than {given[0]} has"
            self.take(source, "amount", "number", why, scale=min(decimals, 15))
            self.doubt("amount", f"{why}: a number, no money", 'type = "money", currency = "..."')
        elif len(given) > 1:
            self.take(source, "amount", "money", "of several currencies", currencies=list(given))
        else:
            self.take(source, "amount", "money", f"{decimals} digits behind the point", currency=given[0])
            if not known:
                self.doubt(
                    "amount", f"no column says the currency: {given[0]} is a guess", 'currency = "...", or --currency'
                )

    def no_amount(self) -> None:
        for source in self.those(lambda source, _: words.says(source, words.AMOUNT))[:1]:
            seen = next(text for text in self.left[source].texts.to_pylist() if text)
            self.doubt(
                "[fields]",
                f"{source} would be the amount, but is written {seen!r}",
                "plain numbers in the log: 1234.50",
            )

    def entities(self) -> None:
        for entity, names in words.ENTITIES.items():
            able = self.those(
                lambda source, shape, names=names: (  # type: ignore[misc]
                    words.says(source, names)
                    and not words.says(source, words.ASIDE)
                    and self.left[source].written in ("text", "whole")
                    and not shape.time
                )
            )
            able = [source for source in able if entity in ("merchant", "ip") or not words.says(source, words.PERSONAL)]
            found = self.first(able, words.NUMBERED)
            if found is not None:
                pii = {"pii": words.HELD[entity]} if entity in words.HELD else {}
                self.take(found, f"{entity}_id", "id", f"named as {'an' if entity[0] in 'ai' else 'a'} {entity}", **pii)

    def plain(self, source: str, column: Column, shape: Shape) -> None:
        """A field by its cells."""
        name = words.slug(source)
        if self.is_time(source, shape):
            self.take(source, name, "time", "times", **self.encoding(shape))
        elif words.says(source, words.PERSONAL) and column.written in ("text", "whole"):
            self.take(source, name, "id", "tells who somebody is", pii="name")
        elif shape.truth and column.written in ("text", "whole", "bool"):
            self.take(source, name, "bool", "true or false")
        elif column.written != "fraction" and words.says(source, words.ASIDE + words.NUMBERED) and not shape.decimals:
            few = bool(shape.words)
            self.take(source, name, "category" if few else "id", "named as a code" + ("" if few else ", of many"))
        elif shape.decimals is not None and shape.decimals <= 15:
            self.take(source, name, "number", f"{shape.decimals} digits behind the point", scale=shape.decimals)
        elif shape.number:
            self.take(source, name, "double", "numbers")
        elif shape.words:
            self.take(
                source,
                name,
                "category",
                f"few values: {', '.join(shape.words[:3])}" + (" ..." if len(shape.words) > 3 else ""),
            )
        else:
            self.take(source, name, "text", "text")

    def nameless(self) -> None:
        """Fields whose columns have no Latin letter."""
        names = [guess.name for guess in self.taken.values() if guess.name.startswith("column_")]
        if names:
            what = f"a field's name is Latin, so some are but numbered: {', '.join(names)}"
            self.doubt(names[0], what, "any name of lower-case letters on the left; `from` says the column")

    def first(self, sources: Iterable[str], names: tuple[str, ...]) -> str | None:
        """The first that has one of the words, else the first."""
        given = list(sources)
        return next((source for source in given if words.says(source, names)), given[0] if given else None)

    def japanese(self) -> bool:
        """Whether a header is Japanese, or the money is yen."""
        headers = any(not column.source.isascii() for column in self.sample.columns)
        return headers or self.currency == "JPY" or any("JPY" in shape.words for shape in self.shapes.values())
