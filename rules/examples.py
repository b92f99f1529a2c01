"""The examples of rules: each must hit or must miss, run through the compiled program that live events meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from features.expr import Call, walk
from features.lists import build_lists
from features.refusal import Refusal, suggest
from features.sheet import Layout, sheet_of
from features.sql import parse_literal
from features.types import Kind, Type
from rules.evaluate import HIT, STATUS_NAMES, compile_rules, evaluate
from rules.records import Condition, Example, RuleSet

Value = int | float | bool | str | None

_RULE_FIX = "correct the example, or the rule"


def check_examples(ruleset: RuleSet, columns: Mapping[str, Type]) -> list[Refusal]:
    """Run every example of every rule, live or shadow; one that fails is a refusal that says what the rule answered.

    columns: what rules may read. A column that an example does not name is NULL.
    """
    conditions = (*ruleset.rules, *ruleset.shadows)
    cases = [(rule, example) for rule in conditions for example in rule.examples]
    refusals: list[Refusal] = []
    rows = [_row(rule, example, columns, refusals) for rule, example in cases]
    if not cases or refusals:
        return refusals
    for (rule, example), answer in zip(cases, _answers(ruleset, columns, cases, rows), strict=True):
        if (answer == HIT) != example.must_hit:
            wanted = "hit" if example.must_hit else "miss"
            what = f"the rule {rule.id} must {wanted} on this example; it answers {STATUS_NAMES[answer]}"
            refusals.append(Refusal(what, _RULE_FIX, example.place))
    return refusals


def _answers(
    ruleset: RuleSet,
    columns: Mapping[str, Type],
    cases: Sequence[tuple[Condition, Example]],
    rows: Sequence[Mapping[str, Value]],
) -> list[int]:
    """Each case's status. Examples test the condition alone, so an exempt's end does not count."""
    layout, lists = Layout(), build_lists(ruleset.lists)
    for name, type in columns.items():
        layout.add(name, type)
    compiled = compile_rules(ruleset, layout, lists.index, "approve")
    compiled.live.answers.expires_us[:] = 2**63 - 1
    compiled.shadow_answers.expires_us[:] = 2**63 - 1
    sheet = sheet_of(layout, {name: [row.get(name) for row in rows] for name in columns})
    results = evaluate(compiled, sheet, lists, np.zeros(len(rows), np.uint8))
    place = {rule.id: k for k, rule in enumerate((*ruleset.rules, *ruleset.shadows))}
    status = np.concatenate([results.status, results.shadow_status])
    return [int(status[place[rule.id], k]) for k, (rule, _) in enumerate(cases)]


def _row(rule: Condition, example: Example, columns: Mapping[str, Type], refusals: list[Refusal]) -> dict[str, Value]:
    """The example's values, as a sheet takes them."""
    row: dict[str, Value] = {}
    for name, literal in example.values.items():
        try:
            if name not in columns:
                raise Refusal(f"there is no column {name}", suggest(name, columns))
            row[name] = _value(literal, columns[name])
        except Refusal as refusal:
            refusals.append(Refusal(refusal.what, refusal.fix, example.place))
    if "event_time" not in example.values and any(isinstance(e, Call) and e.op == "in_list" for e in walk(rule.when)):
        what = f"the rule {rule.id} reads a list, and this example has no event_time"
        refusals.append(Refusal(what, "add event_time: a list's entries start and expire", example.place))
    return row


def _value(literal: str, type: Type) -> Value:
    """The literal as a value of the column's type. A text needs no quotes: YAML has its own."""
    if type.kind is Kind.TEXT and literal != "NULL" and not literal.startswith("'"):
        return literal
    return parse_literal(literal, type)
