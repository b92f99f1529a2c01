"""Which alerts a subscriber wants: a SQL condition over an alert's fields, by the parser and machine of the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from features.lists import build_lists
from features.program import compile_program
from features.sheet import ERROR, VALID, Layout, sheet_of
from features.sql import parse_condition
from features.types import BIGINT, BOOL, TEXT, TIME, Type, decimal

_SCALE = 15  # the finest that an amount can be
COLUMNS: Mapping[str, Type] = {
    "kind": TEXT,
    "outcome": TEXT,
    "score": BIGINT,
    "amount": decimal(38, _SCALE),
    "count": BIGINT,
    "payment_id": TEXT,
    "event_time": TIME,
    "act_by": TIME,
    "owner": TEXT,
    "queue": TEXT,
    "rule": TEXT,  # the leading one
    "typology": TEXT,
    "rules": TEXT,  # all of them, as ",one,two,", for LIKE
    "typologies": TEXT,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Alert = Mapping[str, Any]


class AlertFilter:
    """A compiled condition; an empty one takes every alert. Raises Refusal with the column and the fix."""

    def __init__(self, sql: str) -> None:
        self.sql, self.layout, self.lists = sql.strip(), Layout(), build_lists({})
        if not self.sql:
            return
        for name, type in COLUMNS.items():
            self.layout.add(name, type)
        condition = parse_condition(self.sql, COLUMNS)
        self.answer = self.layout.temporary(BOOL)
        self.program = compile_program([(condition, self.answer)], self.layout, self.lists.index)

    def taken(self, alerts: Sequence[Alert]) -> list[int]:
        """Indices of the alerts where the condition is true.

        Where it overflows, too: one alert too many is better than one too few.
        """
        if not self.sql or not alerts:
            return list(range(len(alerts)))
        rows = [_row(alert) for alert in alerts]
        sheet = sheet_of(self.layout, {name: [row[name] for row in rows] for name in COLUMNS})
        self.program.run(sheet, self.lists)
        known, answer = sheet.validity(self.answer), sheet.ints(self.answer)
        return np.flatnonzero((known == ERROR) | ((known == VALID) & (answer == 1))).tolist()


def _row(alert: Alert) -> dict[str, Any]:
    same = ("kind", "outcome", "score", "count", "payment_id", "owner", "queue")
    return {
        **{name: alert[name] for name in same},
        "amount": alert["amount"] * 10 ** (_SCALE - alert["amount_scale"]),
        **{name: _microseconds(alert[name]) for name in ("event_time", "act_by")},
        "rule": _first(alert["rules"]),
        "typology": _first(alert["typologies"]),
        "rules": f",{','.join(alert['rules'])},",
        "typologies": f",{','.join(alert['typologies'])},",
    }


def _first(values: list[str]) -> str | None:
    return values[0] if values else None


def _microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
