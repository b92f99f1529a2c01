"""The bank world's events as arrays of integers: -1 is NULL, times are milliseconds UTC."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Events = dict[str, Array]


class Kind(IntEnum):
    """Kinds of events."""

    PAYMENT, OUTCOME, LABEL, LOGIN, LIMIT_CHANGE, NEW_PAYEE = range(6)


class Channel(IntEnum):
    """Where a payment is made. Transfers go from an account to a payee, without card and merchant."""

    POS, WEB, APP, ATM, TRANSFER = range(5)


class Outcome(IntEnum):
    """What happened to a payment."""

    APPROVE, HOLD, DECLINE, SETTLED, REFUNDED = range(5)


class Verdict(IntEnum):
    """Classes of labels."""

    FRAUD, SCAM_AUTHORISED, FIRST_PARTY, MULE, DISPUTE_NOT_FRAUD = range(5)


class Typology(IntEnum):
    """What the world knows of a payment, and no bank does."""

    STOLEN_CARD, COMPROMISED_TERMINAL, ACCOUNT_TAKEOVER, MULE, SCAM, CARD_TESTING, FIRST_PARTY = range(7)


COUNTRIES = ("JP", "US", "KR", "TW", "CN", "TH", "GB", "FR", "VN", "BR")
COLUMNS = {
    "kind": np.int8, "time": np.int64, "recorded": np.int64, "payment": np.int64, "card": np.int32,
    "account": np.int32, "merchant": np.int32, "terminal": np.int32, "device": np.int32, "payee": np.int32,
    "country": np.int8, "channel": np.int8, "amount": np.int64, "outcome": np.int8, "outcome_amount": np.int64,
    "label": np.int8, "reversal": np.int8, "occurred": np.int64, "typology": np.int8,
}  # fmt: skip


def events(n: int, **columns: npt.ArrayLike) -> Events:
    """n events with the given columns; the others are NULL. A column may be one value for all."""
    made = {name: np.full(n, -1, dtype) for name, dtype in COLUMNS.items() if name not in columns}
    for name, values in columns.items():
        made[name] = np.empty(n, COLUMNS[name])
        made[name][:] = values
    return made


def chain(parts: Sequence[Events]) -> Events:
    """The events of all parts, one part after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def pick(part: Events, index: Array | slice) -> Events:
    """The events at `index` (integers, a mask or a slice)."""
    return {name: column[index] for name, column in part.items()}


def size(part: Events) -> int:
    """How many events there are."""
    return len(part["kind"])
