"""Rules over sheets: statuses, stages, lifting, fallbacks, shadows."""

import numpy as np
import pytest

from features.expr import Call, Column
from features.lists import build_lists
from features.sheet import ERROR, NULL, VALID, Layout, new_sheet, sheet_of
from features.types import BOOL, TEXT, TIME
from rules import evaluate as ev
from rules.records import OUTCOMES, Reasons, Rule, RuleSet, ShadowRule

NO_LISTS = build_lists({})
STAGE, FALLBACK = ("hard_block", "exempt", "normal"), ("ignore", "review", "outcome")


def rule(id, when=None, outcome="review", cls=Rule, **more):
    when = Column(BOOL, id) if when is None else when
    return cls(id, when, "", outcome, Reasons("why", "理由"), "fraud desk", "card_not_present", **more)


def naive(rules, status, degraded, on_degraded):
    """The outcome of one event as a person would say it."""
    lifted = {
        name for r, s in zip(rules, status, strict=True) if r.stage == "exempt" and s == ev.HIT for name in r.lifts
    }
    asked = ["approve"]
    for r, s in zip(rules, status, strict=True):
        if s == ev.FAILED:
            asked.append(on_degraded)
        if r.id in lifted:
            continue
        wish = {ev.HIT: "outcome", ev.NO_HIT: "ignore", ev.UNKNOWN: r.on_unknown, ev.FAILED: r.on_error}[s]
        asked += {"ignore": [], "review": ["review"], "outcome": [r.outcome]}[wish]
    if degraded:
        asked.append(on_degraded)
    return max(map(OUTCOMES.index, asked)), [r.id in lifted for r in rules]


@pytest.mark.parametrize("seed", range(20))
def test_outcomes_are_those_of_a_naive_reading(seed):
    """On random rules and statuses the kernel gives what one event at a time gives."""
    draw = np.random.default_rng(seed)
    m, n = int(draw.integers(1, 12)), 40
    stages = [STAGE[k] for k in draw.integers(0, 3, m)]
    normal = [f"r{k}" for k in range(m) if stages[k] == "normal"]
    rules = tuple(
        rule(
            f"r{k}",
            outcome="approve" if stages[k] == "exempt" else OUTCOMES[draw.integers(0, 5)],
            stage=stages[k],
            on_unknown=FALLBACK[draw.integers(0, 3)],
            on_error=FALLBACK[draw.integers(0, 3)],
            lifts=tuple(name for name in normal if stages[k] == "exempt" and draw.random() < 0.5),
        )
        for k in range(m)
    )
    layout = Layout()
    layout.add("event_time", TIME)
    for each in rules:
        layout.add(each.id, BOOL)
    on_degraded = OUTCOMES[draw.integers(0, 5)]
    compiled = ev.compile_rules(RuleSet(rules), layout, {}, on_degraded)
    sheet = new_sheet(layout, n)
    sheet.ints("event_time")[:], sheet.validity("event_time")[:] = 0, VALID
    status = draw.choice(4, (m, n), p=(0.4, 0.3, 0.2, 0.1))
    for k, each in enumerate(rules):
        sheet.ints(each.id)[:] = status[k] == ev.HIT
        sheet.validity(each.id)[:] = np.array([VALID, VALID, NULL, ERROR])[status[k]]
    degraded = draw.integers(0, 2, n).astype(np.uint8)
    counted = draw.integers(0, 2, n).astype(np.uint8)
    results = ev.evaluate(compiled, sheet, NO_LISTS, degraded, counted)
    assert (results.status == status).all()
    for i in range(n):
        outcome, lifted = naive(rules, status[:, i], degraded[i], on_degraded)
        assert (results.outcome[i], list(results.lifted[:, i] == 1)) == (outcome, lifted)
    assert [list(row) for row in results.counts] == [
        [int(((status[k] == s) & (counted == 1)).sum()) for s in range(4)] for k in range(m)
    ]


def one_event(rules, shadows=(), degraded=0, **values):
    layout = Layout()
    layout.add("event_time", TIME)
    for name in values:
        layout.add(name, BOOL)
    compiled = ev.compile_rules(RuleSet(tuple(rules), tuple(shadows)), layout, {}, "review")
    sheet = sheet_of(layout, {"event_time": [1_000], **{name: [value] for name, value in values.items()}})
    return ev.evaluate(compiled, sheet, NO_LISTS, np.array([degraded], np.uint8))


def test_a_hard_block_cannot_be_lifted_and_a_normal_rule_can():
    """The exempt hits: the normal decline that it names is gone, the hard block stands."""
    rules = [
        rule("blocked", outcome="hold", stage="hard_block"),
        rule("known", outcome="approve", stage="exempt", lifts=("large",), expires_us=2_000),
        rule("large", outcome="decline"),
    ]
    results = one_event(rules, blocked=True, known=True, large=True)
    assert OUTCOMES[results.outcome[0]] == "hold"
    assert results.lifted[:, 0].tolist() == [0, 0, 1]


def test_an_exempt_that_expired_at_the_events_own_time_lifts_nothing():
    """expires_us is exclusive, and event time counts."""
    for expires_us, outcome in ((1_000, "decline"), (1_001, "approve")):
        exempt = rule("known", outcome="approve", stage="exempt", lifts=("large",), expires_us=expires_us)
        results = one_event([exempt, rule("large", outcome="decline")], known=True, large=True)
        assert OUTCOMES[results.outcome[0]] == outcome


def test_a_shadow_rule_is_counted_and_changes_no_outcome():
    """Law L9: the strongest shadow hit leaves an approval an approval."""
    shadow = rule("watch", outcome="decline", cls=ShadowRule)
    results = one_event([], [shadow], watch=True)
    assert (results.outcome[0], results.shadow_status.tolist(), results.shadow_counts.tolist()) == (
        0, [[ev.HIT]], [[0, 1, 0, 0]],
    )  # fmt: skip
    with pytest.raises(TypeError, match="only live rules"):
        ev.compile_rules(RuleSet((shadow,)), Layout(), {}, "review")


def test_a_degraded_event_gets_at_least_the_packs_outcome():
    """Law L7: back-dating a payment does not buy an approval."""
    assert OUTCOMES[one_event([], degraded=1).outcome[0]] == "review"
    assert OUTCOMES[one_event([rule("large", outcome="hold")], degraded=1, large=True).outcome[0]] == "hold"


def test_a_list_answers_by_event_time():
    """A blocked card hits while its entry is active."""
    from rules.records import ListEntry

    lists = build_lists({"blocked": (ListEntry("c1", 10, 20),)})
    layout = Layout()
    layout.add("event_time", TIME)
    layout.add("card_id", TEXT)
    when = Call(BOOL, "in_list", (Column(TEXT, "card_id"),), "blocked")
    compiled = ev.compile_rules(RuleSet((rule("block", when, "decline"),)), layout, lists.index, "review")
    sheet = sheet_of(layout, {"event_time": [9, 10, 19, 20, 15, 15], "card_id": ["c1", "c1", "c1", "c1", "c2", None]})
    results = ev.evaluate(compiled, sheet, lists, np.zeros(6, np.uint8))
    assert results.status[0].tolist() == [0, 1, 1, 0, 0, ev.UNKNOWN]
