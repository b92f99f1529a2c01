"""L7: unknown and failed are not false. L9: a shadow rule asks for nothing."""

from __future__ import annotations

import pytest

from features.expr import Column, Expr, Literal
from features.types import BOOL
from rules.records import OUTCOMES, Reasons, Rule, RuleSet, ShadowRule
from sekisho.testing.judges import judge_conditions, view_of
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference.expressions import ERROR
from sekisho.testing.reference.rules import Answers, judge

ANSWERS = {"hit": True, "no_hit": False, "unknown": None, "error": ERROR}


def rule(id: str, outcome: str = "hold", **more: object) -> Rule:
    when: Expr = Column(BOOL, id)
    return Rule(id, when, id, outcome, Reasons("why", "理由"), "me", "t", **more)  # type: ignore[arg-type]


def answers(*rules: Rule, degraded: bool = False, shadows: tuple[ShadowRule, ...] = (), **given: str) -> Answers:
    row = {"event_time": 100} | {id: ANSWERS[answer] for id, answer in given.items()}
    return judge(RuleSet(rules, shadows), row, {}, degraded, "challenge")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "fallback", "outcome"),
    [
        ("hit", "ignore", "hold"), ("no_hit", "outcome", "approve"),
        ("unknown", "ignore", "approve"), ("unknown", "review", "review"), ("unknown", "outcome", "hold"),
        ("error", "ignore", "challenge"), ("error", "review", "review"), ("error", "outcome", "hold"),
    ],
)  # fmt: skip
def test_what_each_answer_asks_for(answer: str, fallback: str, outcome: str) -> None:
    """A hit asks for the rule's outcome, unknown and error for the fallback; an error degrades the decision."""
    found = answers(rule("a", on_unknown=fallback, on_error=fallback), a=answer)
    assert found.outcome == outcome
    assert [r.id for r in found.hits] == (["a"] if answer == "hit" else [])
    assert (found.unknown, found.errors) == (("a",) if answer == "unknown" else (), ("a",) if answer == "error" else ())


def test_the_strongest_outcome_wins() -> None:
    """Whatever the order of the rules."""
    rules = [rule(f"r{k}", outcome) for k, outcome in enumerate(reversed(OUTCOMES))]
    assert answers(*rules, **{r.id: "hit" for r in rules}).outcome == "decline"


def test_an_exempt_lifts_the_normal_rules_that_it_names() -> None:
    """Not the others, not a hard block, and not when it is unknown or has expired."""
    rules = [rule("block", "decline", stage="hard_block"), rule("a"), rule("b", "review")]
    exempt = rule("vip", "approve", stage="exempt", lifts=("a", "block"), expires_us=101)
    hit = {"a": "hit", "b": "hit"}
    found = answers(*rules, exempt, block="no_hit", vip="hit", **hit)
    assert (found.outcome, found.lifted, [r.id for r in found.hits]) == ("review", ("a",), ["b", "vip"])
    assert answers(*rules, exempt, block="hit", vip="hit", **hit).outcome == "decline"
    assert answers(*rules, exempt, block="no_hit", vip="unknown", **hit).outcome == "hold"
    expired = rule("vip", "approve", stage="exempt", lifts=("a",), expires_us=100)
    assert answers(*rules, expired, block="no_hit", vip="hit", **hit).outcome == "hold"


def test_a_lifted_rule_asks_for_nothing_when_it_is_unknown() -> None:
    """It is still reported as unknown."""
    exempt = rule("vip", "approve", stage="exempt", lifts=("a",), expires_us=101)
    found = answers(rule("a", on_unknown="outcome"), exempt, a="unknown", vip="hit")
    assert (found.outcome, found.unknown, found.lifted) == ("approve", ("a",), ())


def test_a_degraded_event_is_not_approved() -> None:
    """It gets at least the pack's outcome for degraded events."""
    assert answers(rule("a"), a="no_hit", degraded=True).outcome == "challenge"


def test_a_shadow_rule_has_no_effect() -> None:
    """It is reported when it hits, and neither its hit nor its failure changes the outcome."""
    shadow = ShadowRule("s", Literal(BOOL, True), "true", "decline", Reasons("", ""), "me", "t")
    failed = ShadowRule("f", Column(BOOL, "f"), "f", "decline", Reasons("", ""), "me", "t", on_error="outcome")
    found = answers(rule("a"), a="no_hit", shadows=(shadow, failed), f="error")
    assert (found.outcome, found.shadow, found.hits, found.errors) == ("approve", ("s",), (), ())


@pytest.mark.parametrize("block", range(5))
def test_conditions_are_sql(block: int) -> None:
    """Random conditions over fields, features and lists are true, false or NULL where DuckDB says so."""
    for seed in range(4000 + 20 * block, 4020 + 20 * block):
        pack, log = random_case(seed, events=30)
        differences = judge_conditions(pack, view_of(pack, log))
        assert not differences, (pack.name, differences[:3])
