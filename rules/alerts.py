"""Grouping alerts: an attack is a handful of notifications, and every decision of it stands in one of them.

The clock is the log's watermark W (law L4), so a replay groups as live did. For each alert, in arrival order:
  1. The clock moves on. A group that no alert has joined for more than `quiet` of it is closed.
  2. The key is the first `group_by` field that is not NULL; an alert without a key is a group of its own.
  3. The alert joins the open group of its key, or opens one: count, money and members grow. A group that has been open
     for `max_open` takes no more: it is closed, and the alert opens the next.
  4. An alert that joins escalates its group when its outcome is stronger than the group's, its typology is new, or once
     a group its money has reached `amount_factor` times what was last told (whichever of them `escalate_on` names).
What goes out: `opened`, `escalated`, and `closed` if decisions joined after the last of those.
What people do about a group is marked on it, and told with whatever is told of it from then on. One that somebody
closes is told `closed` at once, and the next alert of its key opens another. A snoozed one is not told to have
escalated until W reaches the snooze's end; then it is, if it has.
Beyond `storm_limit` new groups of one leading rule in an hour of the clock, new ones are not told one by one: a single
`storm` lists the hour's groups, and `storm_over` lists what came after it, when the hour has passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

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
    build_alert,
    stable_id,
)
from rules.controls import CLOSE, SNOOZE, AlertMark
from rules.records import HOUR_US, OUTCOMES, AlertPolicy

__all__ = ["Alert", "AlertState", "Notification", "build_alert", "group_alerts", "mark_alert"]


@dataclass
class Gathering:
    """What has come together: a group, or a storm's hour. `told`: how many members have been sent already."""

    id: str
    first: Alert
    last_clock_us: int
    outcome: str
    amount: int = 0
    rule_ids: list[str] = field(default_factory=list)
    typologies: list[str] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    held: bool = False
    raised: bool = False  # its money has escalated it: money grows all day, and tells nothing new
    told: int = 0
    told_amount: int = 0
    sequence: int = 0
    marks: list[Mark] = field(default_factory=list)
    owed: Alert | None = None  # the last alert that escalated it while it was snoozed


@dataclass
class AlertState:
    """Open groups by key, the one joined longest ago first; the current hour's new groups by leading rule.

    snoozed: until when, by key.   unmatched: marks on groups that were not open.
    """

    hour: int | None = None
    groups: dict[str, Gathering] = field(default_factory=dict)
    storms: dict[str, Gathering] = field(default_factory=dict)
    snoozed: dict[str, int] = field(default_factory=dict)
    unmatched: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a snapshot. The order of the groups is part of the state."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> AlertState:
        """The state that `to_json` wrote."""
        groups, storms = (
            {key: _gathering(value) for key, value in plain[name].items()} for name in ("groups", "storms")
        )
        return cls(plain["hour"], groups, storms, plain["snoozed"], plain["unmatched"])


def group_alerts(policy: AlertPolicy, state: AlertState, alerts: Iterable[Alert]) -> list[Notification]:
    """Take alerts in, in arrival order; the state is changed. However they are cut into calls, the same goes out."""
    return [notification for alert in alerts for notification in _take_in(policy, state, alert)]


def _take_in(policy: AlertPolicy, state: AlertState, alert: Alert) -> list[Notification]:
    out = [*_wake(state, alert.clock_us), *_close_quiet(policy, state, alert.clock_us)]
    out += _end_storms(state, alert.clock_us)
    group = state.groups.get(alert.key)
    if group and alert.clock_us - group.first.clock_us >= policy.max_open_us:
        out += _close(state, alert.key)
        group = None
    if group is None:
        group = _gather(stable_id("group", alert.decision_id), alert)
        out += _opened(policy, state, group, alert)
    else:
        reasons = _escalations(policy, group, alert)
        _join(group, alert)
        if reasons:
            group.raised = group.raised or "amount" in reasons
            if alert.key in state.snoozed:
                group.owed = alert
            else:
                out.append(_tell(group, ESCALATED, alert))
        elif group.held and (storm := state.storms.get(group.first.leading_rule)) and storm.held:
            _join(storm, alert)
            group.told += 1
    if alert.key:
        state.groups.pop(alert.key, None)
        state.groups[alert.key] = group  # at the end: the order of the last joining
    return out


def mark_alert(state: AlertState, mark: AlertMark) -> list[Notification]:
    """Mark the open group, or the hour's storm, that has the id, and say what goes out. One that is over is counted."""
    note = Mark(mark.action, mark.by, mark.time_us, mark.why, mark.until_us, mark.disposition)
    for storm in (storm for storm in state.storms.values() if storm.id == mark.group):
        storm.marks.append(note)
        return []
    key = next((key for key, group in state.groups.items() if group.id == mark.group), None)
    if key is None:
        state.unmatched += 1
        return []
    state.groups[key].marks.append(note)
    if mark.action == SNOOZE and mark.until_us is not None:
        state.snoozed[key] = mark.until_us
    return _close(state, key, by_hand=True) if mark.action == CLOSE else []


def _wake(state: AlertState, clock_us: int) -> list[Notification]:
    """End the snoozes that are over. Groups that escalated meanwhile are told, the one joined longest ago first."""
    over = {key for key, until_us in state.snoozed.items() if clock_us >= until_us}
    for key in over:
        del state.snoozed[key]
    groups = [group for key, group in state.groups.items() if key in over] if over else []
    return [_tell(group, ESCALATED, group.owed) for group in groups if group.owed is not None]


def _close_quiet(policy: AlertPolicy, state: AlertState, clock_us: int) -> list[Notification]:
    out: list[Notification] = []
    while state.groups:
        key, group = next(iter(state.groups.items()))
        if clock_us - group.last_clock_us <= policy.quiet_us:
            break
        out += _close(state, key)
    return out


def _end_storms(state: AlertState, clock_us: int) -> list[Notification]:
    """The first alert of another hour of the clock ends the storms of the last."""
    if clock_us // HOUR_US == state.hour:
        return []
    over = [storm for storm in state.storms.values() if storm.held and storm.told < len(storm.members)]
    state.hour, state.storms = clock_us // HOUR_US, {}
    return [_tell(storm, STORM_OVER, storm.first) for storm in over]


def _close(state: AlertState, key: str, by_hand: bool = False) -> list[Notification]:
    state.snoozed.pop(key, None)
    group = state.groups.pop(key)
    return [_tell(group, CLOSED, group.first)] if by_hand or group.told < len(group.members) else []


def _opened(policy: AlertPolicy, state: AlertState, group: Gathering, alert: Alert) -> list[Notification]:
    """Count the new group for its leading rule; tell it, or the storm that it begins, or nothing."""
    rule = alert.leading_rule
    storm = state.storms.get(rule)
    if storm is None:
        storm = state.storms[rule] = _gather(stable_id("storm", rule, alert.decision_id), alert)
    else:
        _join(storm, alert)
    storm.groups.append(group.id)
    if len(storm.groups) <= policy.storm_limit:
        return [_tell(group, OPENED, alert)]
    group.held, group.told, group.told_amount = True, 1, group.amount
    if storm.held:
        return []
    storm.held = True
    return [_tell(storm, STORM, alert)]


def _escalations(policy: AlertPolicy, group: Gathering, alert: Alert) -> list[str]:
    """Which of escalate_on an alert fulfils that is about to join."""
    amount = group.amount + (alert.amount or 0)
    fulfilled = {
        "outcome": OUTCOMES.index(alert.outcome) > OUTCOMES.index(group.outcome),
        "typology": not set(alert.typologies) <= set(group.typologies),
        "amount": not group.raised and group.told_amount > 0 and amount >= policy.amount_factor * group.told_amount,
    }
    return [name for name in policy.escalate_on if fulfilled[name]]


def _gather(id: str, alert: Alert) -> Gathering:
    gathering = Gathering(id, alert, alert.clock_us, alert.outcome)
    _join(gathering, alert)
    return gathering


def _join(gathering: Gathering, alert: Alert) -> None:
    gathering.last_clock_us = alert.clock_us
    gathering.outcome = max(gathering.outcome, alert.outcome, key=OUTCOMES.index)
    gathering.amount += alert.amount or 0
    gathering.members.append(Member(alert.decision_id, alert.payment_id, alert.event_time_us, alert.amount))
    gathering.rule_ids += [id for id in alert.rule_ids if id not in gathering.rule_ids]
    gathering.typologies += [name for name in alert.typologies if name not in gathering.typologies]


def _tell(gathering: Gathering, kind: str, alert: Alert) -> Notification:
    notification = Notification(
        id=stable_id("notification", gathering.id, str(gathering.sequence)),
        group_id=gathering.id,
        kind=kind,
        sequence=gathering.sequence,
        alert=alert,
        outcome=gathering.outcome,
        rule_ids=tuple(gathering.rule_ids),
        typologies=tuple(gathering.typologies),
        amount=gathering.amount,
        members=tuple(gathering.members),
        groups=tuple(gathering.groups),
        marks=tuple(gathering.marks),
    )
    gathering.sequence, gathering.owed = gathering.sequence + 1, None
    gathering.told, gathering.told_amount = len(gathering.members), gathering.amount
    return notification


def _gathering(plain: dict[str, Any]) -> Gathering:
    members = [Member(**member) for member in plain["members"]]
    marks = [Mark(**mark) for mark in plain["marks"]]
    owed = plain["owed"] and _alert(plain["owed"])
    return Gathering(**{**plain, "first": _alert(plain["first"]), "members": members, "marks": marks, "owed": owed})


def _alert(plain: dict[str, Any]) -> Alert:
    return Alert(**{name: _tuples(value) for name, value in plain.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
