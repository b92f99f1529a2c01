"""The bank world as Arrow tables and as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sekisho.testing.world.events import (
    COUNTRIES,
    Array,
    Channel,
    Events,
    Kind,
    Outcome,
    Typology,
    Verdict,
    size,
)
from sekisho.testing.world.population import CATEGORIES, Population

# Columns whose texts are dictionary-encoded.
DICTIONARIES = (
    "kind", "card_id", "account_id", "merchant_id", "terminal_id", "device_id", "payee_id", "mcc", "country", "channel",
    "currency", "outcome", "label_class", "typology",
)  # fmt: skip
ZONE_MS = 9 * 3_600_000  # Asia/Tokyo, which has no summer time
DAY_S = 86_400
_TIME = pa.timestamp("us", "UTC")
_FOUR = np.array([f"{k:04d}".encode() for k in range(10_000)], "S4").view(np.uint32)


class Names:
    """The texts of everything that has a name. Dictionaries are built once and shared by all tables."""

    def __init__(self, people: Population) -> None:
        self.category = people.category
        accounts = _numbered_names("acct", people.payees)
        self.texts: Mapping[str, pa.Array] = {
            "kind": _enum_names(Kind),
            "card": _numbered_names("card", people.cards),
            "account": accounts,
            "payee": accounts,
            "merchant": _numbered_names("shop", people.merchants),
            "mcc": pa.array([code for code, _, _ in CATEGORIES]),
            "terminal": _numbered_names("term", people.terminal_count),
            "device": _numbered_names("dev", 2 * people.accounts + people.foreign_devices),
            "country": pa.array(COUNTRIES),
            "channel": _enum_names(Channel),
            "outcome": _enum_names(Outcome),
            "label": _enum_names(Verdict),
            "typology": _enum_names(Typology),
        }

    def index(self, part: Events, column: str) -> Array:
        """The places of a column's values in its dictionary, -1 where it is NULL."""
        if column != "mcc":
            return part[column]
        return np.where(part["merchant"] >= 0, self.category[part["merchant"]], -1).astype(np.int32)


def to_table(names: Names, part: Events, first: int, truth: bool) -> pa.Table:
    """The events as a table whose event_ids count from `first`. Texts are dictionary-encoded.

    truth adds the column `typology`: what the world knows and no bank does, NULL for honest events.
    """

    def text(column: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(_nullable(names.index(part, column), pa.int32()), names.texts[column])

    def time(column: str) -> pa.Array:
        return _nullable(part[column], pa.int64(), 1000).cast(_TIME)

    columns = {
        "event_id": _ids(b"evt-", first + np.arange(size(part))),
        "kind": text("kind"),
        "event_time": time("time"),
        "recorded_at": time("recorded"),
        "payment_id": _ids(b"pay-", part["payment"]),
        **{f"{name}_id": text(name) for name in ("card", "account", "merchant", "terminal", "device", "payee")},
        "mcc": text("mcc"),
        "country": text("country"),
        "channel": text("channel"),
        "amount": _nullable(part["amount"], pa.int64()),
        "currency": _constant("JPY", part["amount"] >= 0).dictionary_encode(),
        "outcome": text("outcome"),
        "outcome_amount": _nullable(part["outcome_amount"], pa.int64()),
        "label_class": text("label"),
        "label_reversal": _nullable(part["reversal"], pa.int8()).cast(pa.bool_()),
        "occurred_at": time("occurred"),
    }
    return pa.table(columns | ({"typology": text("typology")} if truth else {}))


class JsonLines:
    """Writes events as the JSON that a payment switch would send, one object a line.

    Every value is a fragment with its key; a NULL is an empty fragment; a line is its fragments joined.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.fragments = {
            "kind": _wrapped('","type":"', names.texts["kind"], '","time":"'),
            **{
                name: _wrapped(f',"{name}":{{"id":"', names.texts[name], '"}')
                for name in ("card", "account", "terminal", "device", "payee")
            },
            "merchant": _wrapped(',"merchant":{"id":"', names.texts["merchant"], '"'),
            "mcc": _wrapped(',"mcc":"', names.texts["mcc"], '"}'),
            "country": _wrapped(',"country":"', names.texts["country"], '"'),
            "channel": _wrapped(',"channel":"', names.texts["channel"], '"'),
            "outcome": _wrapped(',"outcome":{"status":"', names.texts["outcome"], '"'),
            "label": _wrapped(',"label":{"class":"', names.texts["label"], '"'),
            "reversal": pa.array([',"reversal":false', ',"reversal":true']),
        }
        self.second = pa.array([f"T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(DAY_S)])
        self.milli = pa.array([f".{ms:03d}+09:00" for ms in range(1000)])

    def encode(self, part: Events, first: int) -> bytes:
        """The lines of the events, whose ids count from `first`."""
        paid, paying = part["payment"] >= 0, part["amount"] >= 0
        outcome, label, priced = part["outcome"] >= 0, part["label"] >= 0, part["outcome_amount"] >= 0
        pieces = [
            pa.scalar('{"id":"'), _ids(b"evt-", first + np.arange(size(part))), self._text(part, "kind"),
            *self._time(part["time"]),
            _constant('","payment":{"id":"', paid), _ids(b"pay-", part["payment"]), _constant('"', paid),
            *_yen(',"amount":{"value":"', part["amount"], '","currency":"JPY"}', paying & paid), _constant("}", paid),
            _constant('"', ~paid), *(self._text(part, name) for name in ("channel", "country", "card", "account")),
            *(self._text(part, name) for name in ("merchant", "mcc", "terminal", "device", "payee", "outcome")),
            *_yen(',"amount":{"value":"', part["outcome_amount"], '","currency":"JPY"}', priced),
            _constant("}", outcome), self._text(part, "label"), self._text(part, "reversal"),
            _constant(',"occurred_at":"', label), *self._time(part["occurred"]), _constant('"}', label),
            pa.scalar(',"recorded_at":"'), *self._time(part["recorded"]), pa.scalar('"}\n'),
        ]  # fmt: skip
        lines = pc.binary_join_element_wise(*pieces, "", null_handling="replace", null_replacement="")
        return bytes(_data(lines))

    def _text(self, part: Events, column: str) -> pa.Array:
        index = part[column] if column == "reversal" else self.names.index(part, column)
        return self.fragments[column].take(_nullable(index, pa.int32()))

    def _time(self, time: Array) -> Iterable[pa.Array]:
        """Date, time of day and milliseconds, at the offset of Tokyo."""
        known = time >= 0
        local = np.where(known, time + ZONE_MS, 0)
        day = local // (1000 * DAY_S)
        least = int(day[known].min()) if known.any() else 0
        span = np.arange(least, int(day.max()) + 1)
        dates = pa.array(span.astype("M8[D]").astype(str))
        yield dates.take(pa.array(day - least, mask=~known))
        yield self.second.take(pa.array(local // 1000 % DAY_S, mask=~known))
        yield self.milli.take(pa.array(local % 1000, mask=~known))


def _enum_names(members: type[IntEnum]) -> pa.Array:
    return pa.array([member.name.lower() for member in members])


def _numbered_names(prefix: str, count: int) -> pa.Array:
    numbers = pc.utf8_lpad(pa.array(np.arange(count)).cast(pa.string()), 8, "0")
    return pc.binary_join_element_wise(prefix, numbers, "-")


def _nullable(values: Array, type: pa.DataType, factor: int = 1) -> pa.Array:
    null = values < 0
    return pa.array(values * factor if factor != 1 else values, type, mask=null if null.any() else None)


def _constant(text: str, where: Array) -> pa.Array:
    return pa.array([text]).take(_nullable(where.astype(np.int32) - 1, pa.int32()))


def _ids(prefix: bytes, number: Array) -> pa.Array:
    """Texts of a prefix of four bytes and twelve digits; NULL for -1."""
    n, known = len(number), number >= 0
    digits = np.where(known, number, 0)
    text = np.empty((n, 4), np.uint32)
    text[:, 0] = np.frombuffer(prefix, np.uint32)
    text[:, 1] = _FOUR[digits // 100_000_000]
    text[:, 2] = _FOUR[digits // 10_000 % 10_000]
    text[:, 3] = _FOUR[digits % 10_000]
    offsets = np.arange(n + 1, dtype=np.int32) * 16
    valid = pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), n, [valid, pa.py_buffer(offsets), pa.py_buffer(text)])


def _wrapped(before: str, texts: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(before, texts, after, "")


def _yen(before: str, amount: Array, after: str, where: Array) -> Iterable[pa.Array]:
    yield _constant(before, where)
    yield pa.array(amount, mask=~where).cast(pa.string())
    yield _constant(after, where)


def _data(texts: pa.Array) -> pa.Buffer:
    """The bytes of all texts, one after the other."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)
    return data.slice(int(bounds[texts.offset]), int(bounds[texts.offset + len(texts)] - bounds[texts.offset]))
