"""Grouping alerts: one attack is a handful of notifications, and every decision is in one of them.

The clock is the log's watermark W (law L4), so a replay groups as live did. For each alert, in arrival order:
  1. The clock moves on. A group into which no alert came for `quiet` of it is closed.
  2. The group's key is the first `group_by` field that is not NULL; an alert without a key is a group of its own.
  3. It opens a group, or joins the open one: count, money and members grow. A group that has been open for `max_open`
     takes no more: it is closed and the alert opens the next.
  4. An alert that joins *escalates* its group when its outcome is stronger, its typology new, or the group's money has
     grown `amount_factor` times since it was last told (whichever of these `escalate_on` names).
Notifications: `opened`, `escalated`, and `closed` where members came after the last one. Beyond `storm_limit` new groups
of one leading rule within an hour of the clock none is sent on its own: one `storm` lists the first, `storm_over` the rest.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from rules.records import HOUR_US, OUTCOMES, AlertPolicy, Rule

OPENED, ESCALATED, CLOSED, STORM, STORM_OVER = "opened", "escalated", "closed", "storm", "storm_over"
Text2 = tuple[str, str]


@dataclass(frozen=True)
class Alert:
    """One decision that somebody should see. Times in microseconds; amounts in units of the amount field.

    clock_us: W once the event had been taken in.   key: the group's, "" where all of group_by is NULL.
    rule_ids: the live rules that hit, the leading one first.   reasons: internal, (en, ja) each.
    customer_reasons: what the customer may be told, apart from the internal ones: tipping off is illegal.
    entities: (field, token), see `entity_token`.
    """

    decision_id: str
    payment_id: str | None
    event_time_us: int
    clock_us: int
    act_by_us: int
    outcome: str
    score: int | None
    amount: int | None
    key: str
    rule_ids: tuple[str, ...]
    typologies: tuple[str, ...]
    reasons: tuple[Text2, ...]
    customer_reasons: tuple[Text2, ...]
    owner: str
    queue: str
    entities: tuple[Text2, ...]

    @property
    def leading_rule(self) -> str:
        """The rule that storms are counted by; "" for an alert that only a degraded event raised."""
        return self.rule_ids[0] if self.rule_ids else ""


@dataclass(frozen=True)
class Member:
    """A decision in a group."""

    decision_id: str
    payment_id: str | None
    event_time_us: int
    amount: int | None


@dataclass
class Group:
    """An open group: its first alert, and what has come together since. `told` counts members already sent."""

    first: Alert
    last_clock_us: int
    outcome: str
    rule_ids: list[str]
    typologies: list[str]
    amount: int
    members: list[Member]
    told: int
    told_amount: int
    sequence: int


@dataclass(frozen=True)
class Notification:
    """What goes out. `id` is stable: a replay gives the same.

    kind: opened, escalated, closed, storm or storm_over.   sequence: its number within the group.
    alert: the decision that caused it; of `closed` the group's first.   group_ids: the groups that a storm lists.
    outcome, rule_ids, typologies, amount, members: of the whole group so far (of a storm: of all that it lists).
    """

    id: str
    group_id: str
    kind: str
    sequence: int
    alert: Alert
    outcome: str
    rule_ids: tuple[str, ...]
    typologies: tuple[str, ...]
    amount: int
    members: tuple[Member, ...]
    group_ids: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.members)


@dataclass
class Storm:
    """The new groups of one leading rule in the current hour: the first alert of each beyond the limit."""

    groups: int = 0
    held: list[Alert] = field(default_factory=list)
    told: int = 0


@dataclass
class AlertState:
    """Open groups by key, the least recently joined first; storms by leading rule; the clock."""

    clock_us: int | None = None
    groups: dict[str, Group] = field(default_factory=dict)
    storms: dict[str, Storm] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a snapshot."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> AlertState:
        """The state that `to_json` wrote."""
        groups = {key: _group(value) for key, value in plain["groups"].items()}
        storms = {
            rule: Storm(value["groups"], [_alert(alert) for alert in value["held"]], value["told"])
            for rule, value in plain["storms"].items()
        }
        return cls(plain["clock_us"], groups, storms)


def build_alert(policy: AlertPolicy, rules: Sequence[Rule], token_key: bytes | None = None, **decision: Any) -> Alert:
    """The alert of a decision, from the live rules that hit and were not lifted, in pack order.

    decision: decision_id, payment_id, event_time_us, clock_us, outcome, score, amount, and keys: for each group_by
    field its value or None. Raises TypeError for a shadow rule (law L9).
    """
    if not all(type(rule) is Rule for rule in rules):
        raise TypeError("a shadow rule cannot reach an alert")
    ranked = sorted(rules, key=lambda rule: -OUTCOMES.index(rule.outcome))
    keys: dict[str, str | None] = decision.pop("keys")
    given = [(name, keys[name]) for name in policy.group_by if keys[name] is not None]
    leading = ranked[0] if ranked else None
    return Alert(
        **decision,
        act_by_us=decision["clock_us"] + policy.act_by_us,
        key=group_key(*given[0]) if given else "",
        rule_ids=tuple(rule.id for rule in ranked),
        typologies=tuple(dict.fromkeys(rule.typology for rule in ranked if rule.typology)),
        reasons=tuple((rule.reasons.en, rule.reasons.ja) for rule in ranked),
        customer_reasons=tuple(
            (rule.reasons.customer_en, rule.reasons.customer_ja) for rule in ranked if rule.reasons.customer_en
        ),
        owner=leading.owner if leading else "",
        queue=leading.queue if leading else "",
        entities=tuple((name, entity_token(str(value), token_key)) for name, value in given),
    )
