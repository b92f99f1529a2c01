"""Seeded random logs: events with ties, late, too late and future ones, duplicates, id conflicts, NULLs, huge amounts.

Times lie on a grid of seconds, so that events stand exactly on the edges of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from rules.alert_records import stable_id
from rules.controls import ACTIONS, SNOOZE, AlertMark, Control, ListChange, RuleMute
from rules.lists import OPEN_ENDS
from sekisho.pack import EventPolicy
from sekisho.testing.reference.intake import Event, place
from sekisho.testing.reference.step import record_id

START_US = 1_711_843_200_000_000  # 2024-03-31 00:00 UTC, an hour before clocks change in Europe
SECOND_US = 1_000_000
STEPS_S = (0, 0, 0, 0, 1, 1, 9, 10, 50, 60, 600, 3600, 7200, 90_000)
HUGE = 10**15


def random_log(rng: Random, policy: EventPolicy, n: int, in_order: bool = False) -> list[Event]:
    """n events in arrival order, in the units of `Value`. In order: no ties, nothing late, nothing twice."""
    now, events = START_US, list[Event]()
    for offset in range(n):
        now += max(1 if in_order else 0, rng.choice(STEPS_S)) * SECOND_US
        event = _event(rng, offset, now)
        if not in_order:
            _disturb(rng, policy, event, events)
        events.append(event | {"topic": "payments", "partition": offset % 3, "offset": offset})
    return events


def with_controls(rng: Random, log: Sequence[Event], share: float = 0.3) -> list[Event | Control]:
    """The log, and behind about `share` of its events something that people did: lists, mutes, marks on alerts."""
    out: list[Event | Control] = []
    for number, event in enumerate(log):
        out.append(event)
        while rng.random() < share:
            out.append(_control(rng, f"c{number}", event["event_time"], log[: number + 1]))
    return out


def _control(rng: Random, id: str, at_us: int, before: Sequence[Event]) -> Control:
    """Mostly about what is there: the list and the rules of random packs, and groups that these events have opened."""
    head = (id, at_us, rng.choice(("sato", "suzuki")), rng.choice(("", "why")))
    until_us = at_us + rng.choice((0, 1, 60, 7200)) * SECOND_US
    kind = rng.random()
    if kind < 0.35:
        starts_us, expires_us = rng.choice((OPEN_ENDS, (OPEN_ENDS[0], until_us), (at_us, until_us + SECOND_US)))
        value = rng.choice(("c0", "c0", "c1", "t0", "t1", "JP", "a0"))
        name = rng.choice(("watched", "watched", "watched", "of_another_pack"))
        return ListChange(*head, name, value, starts_us, expires_us, remove=rng.random() < 0.3)
    if kind < 0.65:
        return RuleMute(*head, f"r{rng.randint(0, 6)}", rng.choice((until_us, until_us, None)))
    payments = [event for event in before if event["kind"] == "payment"] or before
    group = stable_id("group", record_id(place(rng.choice(payments[-5:]))))
    action = rng.choice((*ACTIONS, SNOOZE, SNOOZE))
    return AlertMark(*head, action, group, until_us if action == SNOOZE else None)


def _maybe(rng: Random, value: object, p: float = 0.8) -> object:
    return value if rng.random() < p else None


def _event(rng: Random, number: int, at_us: int) -> Event:
    """An event of any kind. Key k0 is hot, k1 to k3 are common, others are seen once."""
    kind = rng.choice(("payment",) * 6 + ("login", "outcome", "label", "label"))

    def key(prefix: str) -> str:
        return f"{prefix}{rng.choice((0, 0, 0, 0, 1, 2, 3, 10 + number))}"

    event: Event = {
        "event_id": f"e{number}",
        "event_time": at_us,
        "record_time": _maybe(rng, at_us + rng.choice((0, 5, 3600)) * SECOND_US),
        "kind": kind,
        "payment_id": f"p{number}" if kind == "payment" else None,
        "card_id": key("c"),
        "terminal_id": _maybe(rng, key("t")),
        "account_id": key("a"),
        "amount": _maybe(rng, _amount(rng)),
        "quantity": _maybe(rng, rng.choice((0, 1, 2, 3, -5, 1000))),
        "ratio": _maybe(rng, rng.choice((0.0, 0.1, 0.5, -2.75, 1e300, 1e-300))),
        "country": _maybe(rng, rng.choice(("JP", "JP", "FR", "US", "日本"))),
        "is_online": _maybe(rng, rng.random() < 0.5),
        "note": _maybe(rng, rng.choice(("", "c1", "12", "1.5", "x_y%", "é"))),
        "occurred_at": _maybe(rng, at_us - rng.choice((0, 1, 86_400)) * SECOND_US),
        "label_class": None,
        "reversal": None,
    }
    if kind in ("outcome", "label"):
        event["payment_id"] = _maybe(rng, f"p{max(0, number - rng.randint(1, 12))}", 0.9)
        event |= {"terminal_id": None, "account_id": f"a{rng.randint(0, 1)}", "note": _maybe(rng, "settled")}
    if kind == "label":
        event |= {
            "label_class": _maybe(rng, rng.choice(("fraud", "fraud", "genuine"))),
            "reversal": _maybe(rng, True, 0.2),
        }
    return event


def _amount(rng: Random) -> int:
    return rng.choice(
        (rng.randint(1, 500), rng.randint(1, 500), 100, -rng.randint(1, 500), HUGE, HUGE - rng.randint(0, 9), -HUGE, 0)
    )


def _disturb(rng: Random, policy: EventPolicy, event: Event, earlier: list[Event]) -> None:
    """Make some events late, too late, of the future, duplicates, or others under the same id."""
    fate = rng.random()
    if fate < 0.25:
        event["event_time"] -= rng.randint(0, max(policy.lateness_us // SECOND_US, 1)) * SECOND_US
    elif fate < 0.30:
        event["event_time"] -= policy.lateness_us + rng.choice((1, 100, 10_000)) * SECOND_US
    elif fate < 0.34:
        event["record_time"] = event["event_time"] - policy.max_clock_skew_us - rng.choice((0, 1, SECOND_US))
    elif fate < 0.42 and earlier:
        event |= rng.choice(earlier[-20:])
    elif fate < 0.46 and earlier:
        event["event_id"] = rng.choice(earlier[-20:])["event_id"]
