"""Alert grouping against hand-written ledgers."""

import json

import numpy as np
import pytest

from rules.alert_records import build_alert, entity_token
from rules.alerts import AlertState, group_alerts, mark_alert
from rules.controls import AlertMark
from rules.records import HOUR_US, AlertPolicy, Reasons, Rule, ShadowRule

MINUTE = 60_000_000
POLICY = AlertPolicy(
    group_by=("terminal_id", "card_id"), amount_field="amount", escalate_on=("outcome", "typology", "amount"),
    quiet_us=10 * MINUTE, max_open_us=3 * HOUR_US,
)  # fmt: skip


def rule(id="cnp_burst", outcome="review", typology="cnp", cls=Rule):
    reasons = Reasons("internal why", "内部の理由", "please call us", "お電話ください")
    return cls(id, None, "", outcome, reasons, "fraud desk", typology, queue="cards")


def alert(k, minute, outcome="review", rules=None, amount=1_000, terminal="terminal-0000001", card=None, **more):
    at = minute * MINUTE
    return build_alert(
        POLICY, [rule()] if rules is None else rules, decision_id=f"d{k}", payment_id=f"p{k}", event_time_us=at,
        clock_us=at, outcome=outcome, score=700, amount=amount, keys={"terminal_id": terminal, "card_id": card}, **more,
    )  # fmt: skip


def told(notifications):
    return [(n.kind, n.count, n.amount) for n in notifications]


def test_an_attack_of_500_payments_is_a_few_notifications_that_list_them_all():
    """Opened, one escalation at ten times the money, and a last word with every member."""
    attack = [alert(k, k // 10) for k in range(500)]
    state = AlertState()
    sent = group_alerts(POLICY, state, attack) + group_alerts(POLICY, state, [alert(500, 61)])
    assert told(sent) == [
        ("opened", 1, 1_000), ("escalated", 10, 10_000), ("closed", 500, 500_000), ("opened", 1, 1_000),
    ]  # fmt: skip
    assert [m.decision_id for m in sent[2].members] == [f"d{k}" for k in range(500)]
    assert len({n.group_id for n in sent[:3]}) == 1 and sent[3].group_id != sent[0].group_id
    assert [n.sequence for n in sent] == [0, 1, 2, 0] and len({n.id for n in sent}) == 4


def test_a_stronger_outcome_and_a_new_typology_send_again_and_a_weaker_one_does_not():
    """escalate_on: outcome, typology."""
    strong, other = [rule("mule", "decline", "cnp")], [rule("scam", "review", "scam_authorised")]
    alerts = [
        alert(0, 0),
        alert(1, 1, "decline", strong),
        alert(2, 2),
        alert(3, 3, rules=other),
        alert(4, 4, rules=other),
    ]
    sent = group_alerts(POLICY, AlertState(), alerts)
    assert told(sent) == [("opened", 1, 1_000), ("escalated", 2, 2_000), ("escalated", 4, 4_000)]
    assert (sent[2].outcome, sent[2].typologies) == ("decline", ("cnp", "scam_authorised"))
    assert sent[2].rule_ids == ("cnp_burst", "mule", "scam")


def test_quiet_and_max_open_end_a_group():
    """Ten minutes of silence, or three hours of noise; each ends exactly at its limit."""
    assert [n.kind for n in group_alerts(POLICY, AlertState(), [alert(0, 0), alert(1, 10)])] == ["opened"]
    assert [n.kind for n in group_alerts(POLICY, AlertState(), [alert(0, 0), alert(1, 11)])] == ["opened", "opened"]
    noise = [alert(k, 5 * k, amount=1) for k in range(37)]
    sent = group_alerts(AlertPolicy(**{**vars(POLICY), "escalate_on": ()}), AlertState(), noise)
    assert told(sent) == [("opened", 1, 1), ("closed", 36, 36), ("opened", 1, 1)]


def test_the_key_is_the_first_field_that_is_not_null_and_no_key_is_no_group():
    """A card groups where there is no terminal; nothing pools strangers."""
    sent = group_alerts(POLICY, AlertState(), [
        alert(0, 0, terminal=None, card="card-00000001"), alert(1, 1, terminal=None, card="card-00000001"),
        alert(2, 2, card="card-00000001"), alert(3, 3, terminal=None), alert(4, 3, terminal=None),
    ])  # fmt: skip
    assert [n.alert.decision_id for n in sent] == ["d0", "d2", "d3", "d4"]


def test_a_late_alert_joins_while_the_clock_says_so():
    """An outage of one terminal: its alerts come two hours late, together, and are one group."""
    late = [alert(k, 0) for k in range(5)]
    late = [type(a)(**{**vars(a), "clock_us": 120 * MINUTE}) for a in late]
    assert len(group_alerts(POLICY, AlertState(), late)) == 1


def test_a_storm_is_told_once_and_again_when_its_hour_is_over():
    """60 terminals in an hour: 50 groups one by one, one storm that lists 51, one storm_over that lists 60."""
    state = AlertState()
    storm = [alert(k, k // 2, terminal=f"t{k}") for k in range(60)]
    sent = group_alerts(POLICY, state, storm) + group_alerts(POLICY, state, [alert(60, 60, terminal="t60")])
    kinds = [n.kind for n in sent]
    assert kinds == ["opened"] * 50 + ["storm", "storm_over", "opened"]
    assert [(n.count, len(n.groups)) for n in sent[50:52]] == [(51, 51), (60, 60)]
    assert sent[50].group_id == sent[51].group_id


def test_a_group_that_a_storm_holds_reports_its_members_in_the_storm():
    """What joins a held group is in storm_over, so that nothing is told twice and nothing is left out."""
    policy = AlertPolicy(**{**vars(POLICY), "storm_limit": 1})
    alerts = [alert(0, 0, terminal="a"), alert(1, 1, terminal="b"), alert(2, 2, terminal="b"), alert(3, 61)]
    assert told(group_alerts(policy, AlertState(), alerts)) == [
        ("opened", 1, 1_000), ("storm", 2, 2_000), ("storm_over", 3, 3_000), ("opened", 1, 1_000),
    ]  # fmt: skip


def random_alerts(seed):
    draw = np.random.default_rng(seed)
    minutes = np.cumsum(draw.integers(0, 6, 300))
    outcomes, terminals = ("review", "hold", "decline"), [None, "a", "b", "c", "d", "e"]
    return draw, [
        alert(
            k,
            int(minutes[k]),
            outcomes[draw.integers(0, 3)],
            [rule(f"r{draw.integers(0, 2)}", typology=f"t{draw.integers(0, 3)}")],
            int(draw.integers(0, 9_000)),
            terminals[draw.integers(0, 6)],
        )
        for k in range(300)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_groups_are_those_of_a_naive_reading(seed):
    """An alert joins the last group of its key if that is neither quiet nor full; all members are told at the end."""
    _, alerts = random_alerts(seed)
    groups = []
    for each in alerts:
        last = next((group for group in reversed(groups) if each.key and group[0].key == each.key), None)
        fresh = last and each.clock_us - last[-1].clock_us <= POLICY.quiet_us
        if fresh and each.clock_us - last[0].clock_us < POLICY.max_open_us:
            last.append(each)
        else:
            groups.append([each])
    end = [alert(300, 10_000, terminal=None)]
    policy = AlertPolicy(**{**vars(POLICY), "storm_limit": 1_000})
    told_last = {n.group_id: n.members for n in group_alerts(policy, AlertState(), alerts + end)}
    expected = [[a.decision_id for a in group] for group in [*groups, end]]
    assert sorted([m.decision_id for m in members] for members in told_last.values()) == sorted(expected)


@pytest.mark.parametrize("seed", range(10))
def test_cuts_and_snapshots_change_nothing(seed):
    """Law L6: any cut, with the state written to JSON and read back at each, gives the same notifications."""
    draw, alerts = random_alerts(seed)
    policy = AlertPolicy(**{**vars(POLICY), "storm_limit": 4})
    whole, state, parts, at = group_alerts(policy, AlertState(), alerts), AlertState(), [], 0
    while at < len(alerts):
        step = int(draw.integers(1, 40))
        parts += group_alerts(policy, state, alerts[at : at + step])
        state, at = AlertState.from_json(json.loads(json.dumps(state.to_json()))), at + step
    assert parts == whole
    listed = {m.decision_id for n in whole for m in n.members} | {
        m.decision_id for g in (*state.groups.values(), *state.storms.values()) for m in g.members
    }
    assert listed == {f"d{k}" for k in range(300)}


def test_a_shadow_rule_cannot_reach_an_alert():
    """Law L9, at run time as in the types."""
    with pytest.raises(TypeError, match="shadow"):
        alert(0, 0, rules=[rule(cls=ShadowRule)])


def test_entities_leave_as_tokens_and_customer_reasons_stay_apart():
    """Joinable under the bank's key, masked without one; no identifier is readable in an alert."""
    masked, keyed = alert(0, 0), alert(0, 0, token_key=b"secret")
    assert masked.entities == (("terminal_id", "****0001"),)
    assert keyed.entities[0][1] == entity_token("terminal-0000001", b"secret") and len(keyed.entities[0][1]) == 32
    assert "terminal-0000001" not in json.dumps([vars(masked), vars(keyed)])
    assert masked.reasons == (("internal why", "内部の理由"),)
    assert masked.customer_reasons == (("please call us", "お電話ください"),)


def mark(action, group, until=None, disposition="", note=""):
    until_us = None if until is None else until * MINUTE
    return AlertMark("c", 0, "sato", note, action, group, until_us, disposition)


def test_a_snoozed_group_is_told_once_when_its_snooze_is_over():
    """Escalations wait for W to reach the snooze's end, whichever key's alert moves it; the last one is told."""
    strong, other = [rule("mule", "decline", "mule")], [rule("scam", "review", "scam")]
    state = AlertState()
    (opened,) = group_alerts(POLICY, state, [alert(0, 0)])
    assert not mark_alert(state, mark("snooze", opened.group_id, until=6))
    assert not group_alerts(POLICY, state, [alert(1, 1, "decline", strong), alert(2, 2, rules=other), alert(3, 3)])
    sent = group_alerts(POLICY, state, [alert(4, 6, terminal="terminal-0000002"), alert(5, 7)])
    assert told(sent) == [("escalated", 4, 4_000), ("opened", 1, 1_000)]
    assert sent[0].alert.decision_id == "d2" and sent[0].sequence == 1 and sent[0].outcome == "decline"
    assert [(each.action, each.until_us) for each in sent[0].marks] == [("snooze", 6 * MINUTE)]


def test_a_snooze_loses_nobody():
    """A group that goes quiet while it is snoozed is told closed, with its members; without news nothing is said."""
    state = AlertState()
    (opened,) = group_alerts(POLICY, state, [alert(0, 0)])
    mark_alert(state, mark("snooze", opened.group_id, until=600))
    sent = group_alerts(POLICY, state, [alert(1, 1, "decline"), alert(2, 30, terminal="terminal-0000002")])
    assert told(sent) == [("closed", 2, 2_000), ("opened", 1, 1_000)] and not state.snoozed
    mark_alert(state, mark("snooze", sent[1].group_id, until=31))
    assert told(group_alerts(POLICY, state, [alert(3, 32, terminal="terminal-0000003")])) == [("opened", 1, 1_000)]


def test_a_group_that_is_closed_by_hand_is_over_and_says_who_did_what():
    """Told closed even without news; the next alert opens another; marks on what is not open are counted."""
    state = AlertState()
    (opened,) = group_alerts(POLICY, state, [alert(0, 0)])
    assert not mark_alert(state, mark("acknowledge", opened.group_id))
    assert not mark_alert(state, mark("disposition", opened.group_id, disposition="false_positive", note="called"))
    (closed,) = mark_alert(state, mark("close", opened.group_id))
    assert (closed.kind, closed.group_id, closed.sequence) == ("closed", opened.group_id, 1)
    assert [(each.action, each.disposition, each.note) for each in closed.marks] == [
        ("acknowledge", "", ""), ("disposition", "false_positive", "called"), ("close", "", ""),
    ]  # fmt: skip
    (again,) = group_alerts(POLICY, state, [alert(1, 1)])
    assert again.kind == "opened" and again.group_id != opened.group_id and not again.marks
    assert not mark_alert(state, mark("close", opened.group_id)) and state.unmatched == 1
