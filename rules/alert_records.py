"""The records of alerting: a decision that somebody should see, and what goes out about a group of them."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from rules.records import OUTCOMES, AlertPolicy, Reasons, Rule

OPENED, ESCALATED, CLOSED, STORM, STORM_OVER = "opened", "escalated", "closed", "storm", "storm_over"


@dataclass(frozen=True)
class Alert:
    """One decision that somebody should see. Times in microseconds, `amount` in units of the amount field.

    clock_us: W once the event has been taken in; below 0 where there is no W yet.
    key: of its group, hashed; "" where all of group_by is NULL.   act_by_us: until when it is worth looking.
    rule_ids: the live rules that hit, the strongest first.   reasons: internal, (en, ja) each.
    customer_reasons: what the customer may be told, apart from the internal ones: tipping off is illegal.
    entities: (field, token) of group_by, see `entity_token`.
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
    reasons: tuple[tuple[str, str], ...]
    customer_reasons: tuple[tuple[str, str], ...]
    owner: str
    queue: str
    entities: tuple[tuple[str, str], ...]

    @property
    def leading_rule(self) -> str:
        """The rule that storms are counted by; "" where no rule hit, but the event was degraded."""
        return self.rule_ids[0] if self.rule_ids else ""


@dataclass(frozen=True)
class Member:
    """A decision in a group."""

    decision_id: str
    payment_id: str | None
    event_time_us: int
    amount: int | None


@dataclass(frozen=True)
class Mark:
    """What somebody did about a group, when (microseconds UTC, as they say), and their note."""

    action: str
    by: str
    time_us: int
    note: str
    until_us: int | None = None
    disposition: str = ""


@dataclass(frozen=True)
class Notification:
    """What goes out. `id` and `group_id` are stable: a replay gives the same.

    kind: opened, escalated, closed, storm or storm_over.   sequence: its number within the group, from 0.
    alert: the decision that caused it; of `closed` and `storm_over` the first of all.
    outcome, rule_ids, typologies, amount, members: of the whole group so far; of a storm, of all that it lists.
    groups: the ids of the groups that a storm lists.   marks: what people have done about the group so far.
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
    groups: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def count(self) -> int:
        return len(self.members)


def build_alert(
    policy: AlertPolicy,
    rules: Sequence[Rule],
    *,
    decision_id: str,
    payment_id: str | None,
    event_time_us: int,
    clock_us: int,
    outcome: str,
    score: int | None,
    amount: int | None,
    keys: Mapping[str, object],
    told: Sequence[Reasons] = (),
    token_key: bytes | None = None,
    names: Collection[str] = (),
) -> Alert:
    """The alert of a decision, from the live rules that hit and were not lifted, in pack order.

    told: what has raised the score, behind the rules' own reasons.

    keys: for each field of group_by its value.   token_key: the bank's key for entity tokens.   names: which of the
    fields are people's names.
    Raises TypeError for a shadow rule: it has no side effects (law L9).
    """
    if not all(type(rule) is Rule for rule in rules):
        raise TypeError("a shadow rule cannot reach an alert")
    ranked = sorted(rules, key=lambda rule: -OUTCOMES.index(rule.outcome))
    reasons = [*(rule.reasons for rule in ranked), *told]
    given = [(name, str(keys[name])) for name in policy.group_by if keys[name] is not None]
    return Alert(
        decision_id=decision_id,
        payment_id=payment_id,
        event_time_us=event_time_us,
        clock_us=clock_us,
        act_by_us=(clock_us if clock_us >= 0 else event_time_us) + policy.act_by_us,
        outcome=outcome,
        score=score,
        amount=amount,
        key=stable_id("key", *given[0]) if given else "",
        rule_ids=tuple(rule.id for rule in ranked),
        typologies=tuple(dict.fromkeys(rule.typology for rule in ranked if rule.typology)),
        reasons=tuple((reason.en, reason.ja) for reason in reasons),
        customer_reasons=tuple((r.customer_en, r.customer_ja) for r in reasons if r.customer_en),
        owner=ranked[0].owner if ranked else "",
        queue=ranked[0].queue if ranked else "",
        entities=tuple((name, entity_token(value, token_key, name not in names)) for name, value in given),
    )


def entity_token(value: str, key: bytes | None, last_four: bool = True) -> str:
    """An entity as it may leave the bank: joinable and not readable by HMAC-SHA256; masked where there is no key.

    last_four: whether a mask may show the end of a long value; not of a name.
    """
    if key is not None:
        return hmac.new(key, value.encode(), "sha256").hexdigest()[:32]
    return "****" + (value[-4:] if last_four and len(value) >= 8 else "")


def stable_id(*parts: str) -> str:
    """128 bits of sha256 over the parts, in hex."""
    return sha256("\0".join(parts).encode()).hexdigest()[:32]
