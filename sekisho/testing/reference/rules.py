"""Rules: each answers hit, no_hit, unknown or error; stages, lifting and fallbacks make the outcome (laws L7, L9)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rules.records import OUTCOMES, Condition, Rule, RuleSet
from sekisho.testing.reference.expressions import ERROR, Lists, Row, evaluate


@dataclass(frozen=True)
class Answers:
    """The outcome, and the rules behind it, in the order of rules.yaml. `lifted` and `muted` hit in vain."""

    outcome: str
    hits: tuple[Rule, ...] = ()
    lifted: tuple[str, ...] = ()
    muted: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()


def status(rule: Condition, row: Row, lists: Lists) -> str:
    """The rule's answer. A rule that has expired at the event's own time says no_hit."""
    if rule.expires_us is not None and row["event_time"] >= rule.expires_us:  # type: ignore[operator]
        return "no_hit"
    value = evaluate(rule.when, row, lists)
    if value is ERROR:
        return "error"
    return {True: "hit", False: "no_hit", None: "unknown"}[value]  # type: ignore[index]


def judge(
    rules: RuleSet, row: Row, lists: Lists, degraded: bool, on_degraded: str, muted: Collection[str] = ()
) -> Answers:
    """What the rules make of an event.

    An exempt rule that hits lifts the normal rules that it names; a hard_block cannot be lifted. The outcome is the
    strongest that is asked for: by hits, by the fallbacks of unknown and failed rules, and, where the event is
    degraded or a rule failed, by the pack (L7). Shadow rules are answered and ask for nothing (L9). A muted rule is
    answered too; it asks for nothing, lifts nothing and is not lifted.
    """
    answers = {rule.id: status(rule, row, lists) for rule in rules.rules}
    speaking = [rule for rule in rules.rules if rule.id not in muted]
    lifts = {id for rule in speaking if rule.stage == "exempt" and answers[rule.id] == "hit" for id in rule.lifts}
    lifted = {rule.id for rule in speaking if rule.stage == "normal" and rule.id in lifts}
    asked = [_asks(rule, answers[rule.id]) for rule in speaking if rule.id not in lifted]
    if degraded or "error" in answers.values():
        asked.append(on_degraded)

    def those(answer: str) -> Sequence[Rule]:
        return [rule for rule in rules.rules if answers[rule.id] == answer]

    return Answers(
        outcome=max(["approve", *asked], key=OUTCOMES.index),
        hits=tuple(rule for rule in those("hit") if rule in speaking and rule.id not in lifted),
        lifted=tuple(rule.id for rule in those("hit") if rule.id in lifted),
        muted=tuple(rule.id for rule in those("hit") if rule.id in muted),
        unknown=tuple(rule.id for rule in those("unknown")),
        errors=tuple(rule.id for rule in those("error")),
        shadow=tuple(rule.id for rule in rules.shadows if status(rule, row, lists) == "hit"),
    )


def _asks(rule: Rule, answer: str) -> str:
    """The least outcome that a rule asks for."""
    wish = {"hit": "outcome", "no_hit": "ignore", "unknown": rule.on_unknown, "error": rule.on_error}[answer]
    return {"ignore": "approve", "review": "review", "outcome": rule.outcome}[wish]
