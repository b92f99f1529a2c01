"""Alert grouping: which notifications go out (laws L1, L6, L9). No clock but the log's watermark W.

A group is the alerts of one key that came without a pause longer than `quiet`, and within `max_open` of its first.
It is told when it opens, when it escalates, and when it is over with members that nobody has been told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rules.alert_records import (
    CLOSED,
    ESCALATED,
    OPENED,
    STORM,
    STORM_OVER,
    Alert,
    Mark,
    Member,
    Notification,
    stable_id,
)
from rules.controls import AlertMark
from rules.records import HOUR_US, OUTCOMES, AlertPolicy


@dataclass
class Gathering:
    """A group, or the hour's alerts of one rule (a storm, once it is told).

    told: how many members have been told.   told_amount: their money when it was last told.   sent: notifications.
    quietly: of a group, that a storm spoke for it; of an hour, that it is a storm.   groups: of an hour, its new ones.
    raised: of a group, that its money has escalated it, which happens once.   marks: what people did about it.
    snoozed_us: until when its escalations wait, and owed: the last that does.
    """

    id: str
    members: list[Alert]
    told: int = 0
    told_amount: int = 0
    sent: int = 0
    quietly: bool = False
    raised: bool = False
    groups: list[str] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    snoozed_us: int | None = None
    owed: Alert | None = None

    @property
    def amount(self) -> int:
        return sum(alert.amount or 0 for alert in self.members)

    @property
    def outcome(self) -> str:
        return max((alert.outcome for alert in self.members), key=OUTCOMES.index)

    @property
    def typologies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for alert in self.members for name in alert.typologies))


@dataclass
class AlertState:
    """The open groups, the one joined longest ago first, and this hour's gathering of each leading rule."""

    groups: list[Gathering] = field(default_factory=list)
    hour: int | None = None
    hours: dict[str, Gathering] = field(default_factory=dict)


def group(policy: AlertPolicy, state: AlertState, alert: Alert) -> list[Notification]:
    """Take one alert in, and say what goes out because of it, in order."""
    now, out = alert.clock_us, list[Notification]()
    for woken in [g for g in state.groups if g.snoozed_us is not None and now >= g.snoozed_us]:
        woken.snoozed_us = None
        out += [_tell(woken, ESCALATED, woken.owed)] if woken.owed else []
    for silent in [g for g in state.groups if now - g.members[-1].clock_us > policy.quiet_us]:
        out += _end(state, silent)
    if now // HOUR_US != state.hour:
        storms = [storm for storm in state.hours.values() if storm.quietly and storm.told < len(storm.members)]
        out += [_tell(storm, STORM_OVER, storm.members[0]) for storm in storms]
        state.hour, state.hours = now // HOUR_US, {}
    mine = next((g for g in state.groups if g.members[0].key == alert.key), None)
    if mine and now - mine.members[0].clock_us >= policy.max_open_us:
        out += _end(state, mine)
        mine = None
    return out + (_join(policy, state, mine, alert) if mine else _open(policy, state, alert))


def mark(state: AlertState, what: AlertMark) -> list[Notification]:
    """Note what somebody does about an open group or this hour's storm; a group that they close is told, and over."""
    note = Mark(what.action, what.by, what.time_us, what.why, what.until_us, what.disposition)
    for found in [g for g in (*state.hours.values(), *state.groups) if g.id == what.group]:
        found.marks.append(note)
        if what.action == "snooze" and found in state.groups:
            found.snoozed_us = what.until_us
        if what.action == "close" and found in state.groups:
            state.groups.remove(found)
            return [_tell(found, CLOSED, found.members[0])]
    return []


def _end(state: AlertState, over: Gathering) -> list[Notification]:
    state.groups.remove(over)
    return [_tell(over, CLOSED, over.members[0])] if over.told < len(over.members) else []


def _open(policy: AlertPolicy, state: AlertState, alert: Alert) -> list[Notification]:
    """A new group. Beyond storm_limit of its leading rule in this hour, one storm speaks for all of them."""
    new = Gathering(stable_id("group", alert.decision_id), [alert])
    if alert.key:
        state.groups.append(new)
    rule = alert.leading_rule
    hour = state.hours.setdefault(rule, Gathering(stable_id("storm", rule, alert.decision_id), []))
    hour.members.append(alert)
    hour.groups.append(new.id)
    if len(hour.groups) <= policy.storm_limit:
        return [_tell(new, OPENED, alert)]
    new.quietly, new.told, new.told_amount = True, 1, new.amount
    if hour.quietly:
        return []
    hour.quietly = True
    return [_tell(hour, STORM, alert)]


def _join(policy: AlertPolicy, state: AlertState, mine: Gathering, alert: Alert) -> list[Notification]:
    """One more member: told at once if it escalates the group, else with the next telling, or with the storm's."""
    escalates = {
        "outcome": OUTCOMES.index(alert.outcome) > OUTCOMES.index(mine.outcome),
        "typology": not set(alert.typologies) <= set(mine.typologies),
        "amount": not mine.raised and 0 < policy.amount_factor * mine.told_amount <= mine.amount + (alert.amount or 0),
    }
    mine.members.append(alert)
    state.groups.remove(mine)
    state.groups.append(mine)
    if any(escalates[name] for name in policy.escalate_on):
        mine.raised |= escalates["amount"] and "amount" in policy.escalate_on
        if mine.snoozed_us is None:
            return [_tell(mine, ESCALATED, alert)]
        mine.owed = alert
        return []
    hour = state.hours.get(mine.members[0].leading_rule)
    if mine.quietly and hour and hour.quietly:
        hour.members.append(alert)
        mine.told += 1
    return []


def _tell(what: Gathering, kind: str, alert: Alert) -> Notification:
    members: Sequence[Alert] = what.members
    notification = Notification(
        id=stable_id("notification", what.id, str(what.sent)),
        group_id=what.id,
        kind=kind,
        sequence=what.sent,
        alert=alert,
        outcome=what.outcome,
        rule_ids=tuple(dict.fromkeys(id for each in members for id in each.rule_ids)),
        typologies=what.typologies,
        amount=what.amount,
        members=tuple(Member(a.decision_id, a.payment_id, a.event_time_us, a.amount) for a in members),
        groups=tuple(what.groups),
        marks=tuple(what.marks),
    )
    what.owed = None
    what.sent, what.told, what.told_amount = what.sent + 1, len(members), what.amount
    return notification
