"""L9: a shadow rule or model has no side effects. Each is a type of its own that neither outcomes nor alerts take."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from features.expr import Literal
from features.refusal import Refusal
from features.sheet import Layout
from features.sql import parse_condition
from features.types import BOOL, TIME
from models.scorer import Scorer, ShadowModel, compile_scorer
from rules.alert_records import build_alert
from rules.evaluate import compile_rules
from rules.records import AlertPolicy, Reasons, Rule, RuleSet, ShadowRule
from sekisho.compile import compile_pack
from sekisho.pack import Pack
from sekisho.testing.random_models import scored
from sekisho.testing.random_packs import random_case
from sekisho.testing.runs import Run, run_engine


def shadow_of(rule: Rule) -> ShadowRule:
    return ShadowRule(**vars(rule) | {"id": f"shadow_of_{rule.id}", "outcome": "decline", "on_unknown": "outcome",
                                      "on_error": "outcome", "stage": "hard_block"})  # fmt: skip


ALWAYS = ShadowRule("always", Literal(BOOL, True), "true", "decline", Reasons("", ""), "me", "t", stage="exempt")
LIVE = Rule("live", Literal(BOOL, True), "true", "hold", Reasons("why", "理由"), "me", "t")


def test_the_outcome_takes_no_shadow_rule() -> None:
    """A shadow rule among the live ones is a TypeError when the pack is compiled; no shadow rule is a Rule."""
    layout = Layout()
    layout.add("event_time", TIME)
    with pytest.raises(TypeError, match="live"):
        compile_rules(RuleSet((LIVE, ALWAYS)), layout, {}, "review")  # type: ignore[arg-type]
    assert not isinstance(ALWAYS, Rule) and not issubclass(ShadowRule, Rule)


def test_the_alert_path_takes_no_shadow_rule() -> None:
    """An alert that would speak for a shadow rule is a TypeError."""
    given: dict[str, Any] = {
        "decision_id": "d", "payment_id": "p", "event_time_us": 0, "clock_us": 0, "outcome": "hold", "score": None,
        "amount": None, "keys": {},
    }  # fmt: skip
    assert build_alert(AlertPolicy(), [LIVE], **given).rule_ids == ("live",)
    with pytest.raises(TypeError, match="shadow"):
        build_alert(AlertPolicy(), [LIVE, ALWAYS], **given)  # type: ignore[list-item]


def without_shadow(run: Run) -> list[tuple[dict[str, Any], str]]:
    """The records with an empty "shadow" list, as fields and as bytes in their order."""
    records = [json.loads(line) for line in run.records]
    emptied = [record | {"shadow": []} if "shadow" in record else record for record in records]
    return [(record, json.dumps(record, ensure_ascii=False, separators=(",", ":"))) for record in emptied]


def shadowed(pack: Pack) -> Pack:
    """The pack with a shadow of each live rule, as strict as can be, and one that always hits."""
    shadows = (*pack.rules.shadows, *map(shadow_of, pack.rules.rules), ALWAYS)
    return replace(pack, rules=replace(pack.rules, shadows=shadows))


@pytest.mark.parametrize("seed", range(8000, 8010))
def test_shadow_rules_change_no_byte_but_their_own_list(seed: int) -> None:
    """With and without them: equal records but for "shadow", equal notifications, and the new rules' hits in there."""
    pack, log = random_case(seed, overflow=seed % 2 == 0)
    plain = replace(pack, rules=replace(pack.rules, shadows=()))
    with_them = shadowed(pack)
    _, ours = run_engine(compile_pack(plain), log, 7)
    _, theirs = run_engine(compile_pack(with_them), log, 7)
    assert without_shadow(theirs) == without_shadow(ours)
    assert [line.decode().rstrip("\n") for line in ours.records] == [line for _, line in without_shadow(ours)]
    assert theirs.notifications == ours.notifications
    decisions = [json.loads(line) for line in theirs.records]
    decisions = [record for record in decisions if "duplicate_of" not in record]
    assert all(record["shadow"][-1] == "always" for record in decisions)
    for record in decisions:
        hits = {rule["id"] for rule in record["rules"]} | set(record["lifted"])
        assert {f"shadow_of_{id}" for id in hits} <= set(record["shadow"])


def test_the_cases_have_what_a_shadow_could_change() -> None:
    """Among the cases above there are outcomes below decline, and notifications to spoil."""
    runs = [run_engine(compile_pack(pack), log, 60)[1] for pack, log in map(random_case, range(8000, 8003))]
    outcomes = {json.loads(line).get("outcome") for run in runs for line in run.records}
    assert {"approve", "review", "decline"} <= outcomes
    assert all(run.notifications for run in runs)


def test_no_rule_can_name_a_shadow_model() -> None:
    """A shadow model is no Scorer; compiled as one it is a TypeError; its scores have no name in the layout."""
    pack = scored(random_case(8000)[0], 8000)
    (shadow,), layout = pack.shadow_models, Layout()
    assert not isinstance(shadow, Scorer) and not issubclass(ShadowModel, Scorer)
    with pytest.raises(TypeError, match="live"):
        compile_scorer(shadow, layout)  # type: ignore[arg-type]
    engine = compile_pack(pack)
    assert not [name for name in engine.layout.slots if name.startswith(shadow.name)]
    condition = parse_condition("looker_score > 0", {"looker_score": engine.layout["first_score"].type})
    rule = replace(LIVE, when=condition)
    with pytest.raises(Refusal, match="no column looker_score"):
        compile_pack(replace(pack, rules=replace(pack.rules, rules=(rule,))))


@pytest.mark.parametrize("seed", range(8010, 8020))
def test_shadow_models_change_no_byte_but_their_own_list(seed: int) -> None:
    """With and without: equal notifications, and equal bytes but for the key `shadow_models`."""
    plain, log = random_case(seed)
    pack = scored(plain, seed)
    pack = replace(pack, shadow_models=tuple(replace(each, segment=None) for each in pack.shadow_models))
    _, theirs = run_engine(compile_pack(pack), log, 7)
    _, ours = run_engine(compile_pack(replace(pack, shadow_models=())), log, 7)
    assert ours.notifications == theirs.notifications
    assert ours.records == [re.sub(rb'"shadow_models":\[[^]]*\],', b"", record) for record in theirs.records]
    assert any(b'"shadow_models":[{"name":"looker"' in record for record in theirs.records)
