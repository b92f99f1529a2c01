"""The rule language: rules.yaml into a RuleSet, every error with its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from datetime import date
from typing import Any

import yaml

from features.expr import Expr
from features.refusal import Refusal, suggest
from rules.records import FALLBACKS, OUTCOMES, STAGES, Example, ListEntry, Reasons, Rule, RuleSet, ShadowRule
from rules.times import TIME_FIX, parse_time
from rules.yaml_nodes import QUOTED, Mapping, is_null, parse_yaml, place_of, source_positions

# Parses a condition over the pack's columns and lists; its refusals count lines within the condition.
ParseCondition = Callable[[str], Expr]

_KEYS = (
    "id", "when", "then", "stage", "on_unknown", "on_error", "owner", "typology", "rationale", "queue", "review_by",
    "reasons", "lifts", "expires", "shadow", "examples",
)  # fmt: skip
REASON_KEYS = ("en", "ja", "customer_en", "customer_ja")
ID = re.compile(r"[a-z][a-z0-9_]*")


def read_rules(
    text: str, parse: ParseCondition, lists: MappingOf[str, tuple[ListEntry, ...]]
) -> tuple[RuleSet, list[Refusal]]:
    """The rules that the text holds, and everything that is wrong with it. Wrong rules are left out."""
    refusals: list[Refusal] = []
    rules: list[Rule | ShadowRule] = []
    try:
        root = parse_yaml(text)
    except Refusal as refusal:
        return RuleSet(lists=lists), [refusal]
    if root is not None:
        for node in Mapping(root, "rules.yaml", ("rules",), refusals).items("rules"):
            rule = _rule(text, node, parse, refusals)
            rules += [rule] if rule else []
    _check_ids(rules, refusals)
    if not refusals:
        _check_lifts(rules, refusals)
    live = tuple(rule for rule in rules if isinstance(rule, Rule))
    shadows = tuple(rule for rule in rules if isinstance(rule, ShadowRule))
    return RuleSet(live, shadows, lists), refusals


def _rule(text: str, node: yaml.Node, parse: ParseCondition, refusals: list[Refusal]) -> Rule | ShadowRule | None:
    before = len(refusals)
    entry = Mapping(node, "this rule", _KEYS, refusals)
    if not isinstance(node, yaml.MappingNode):
        return None
    parts: dict[str, Any] = {
        "id": _id(entry),
        "when_sql": entry.text("when", required=True),
        "when": read_when(text, entry, parse),
        **_outcome(entry),
        "owner": entry.text("owner", required=True),
        "rationale": entry.text("rationale"),
        "queue": entry.text("queue"),
        "review_by": _review_by(entry),
        "reasons": _reasons(entry),
        "examples": _examples(entry),
        "place": place_of(node),
    }
    parts["typology"] = entry.text("typology", required=parts["stage"] != "exempt")
    shadow = entry.flag("shadow")
    if len(refusals) > before:
        return None
    return ShadowRule(**parts) if shadow else Rule(**parts)


def _id(entry: Mapping) -> str:
    name = entry.text("id", required=True)
    if name and not ID.fullmatch(name):
        entry.refuse("id", f"{name!r} cannot name a rule", "use lower-case letters, digits and _, a letter first")
    return name


def read_when(text: str, entry: Mapping, parse: ParseCondition) -> Expr | None:
    """The condition of an entry; None where there is none, or where it is refused, at its place in the text."""
    node = entry.entries.get("when")
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        return None
    try:
        return parse(node.value)
    except Refusal as refusal:
        place = source_positions(text, node)(refusal.place)
        entry.refusals.append(Refusal(refusal.what, refusal.fix, place))
        return None


def _outcome(entry: Mapping) -> dict[str, Any]:
    """stage, outcome, fallbacks, and what only an exempt has."""
    stage = entry.choice("stage", STAGES, "normal")
    exempt = stage == "exempt"
    outcome = entry.choice("then", OUTCOMES, "approve" if exempt else "")
    if exempt and outcome != "approve":
        entry.refuse("then", f"an exempt cannot {outcome}", "leave `then` out: an exempt only lifts rules")
    if stage == "hard_block" and outcome == "approve":
        entry.refuse("then", "a hard_block that approves blocks nothing", "use challenge, review, hold or decline")
    strict = outcome == "decline" or stage == "hard_block"
    for key in ("on_unknown", "on_error"):
        if strict and key not in entry.entries:
            entry.refuse(key, f"a rule that may stop a payment has no {key}", f"add `{key}: {' | '.join(FALLBACKS)}`")
    lifts, expires = entry.texts("lifts"), _expires(entry)
    for key, given in (("lifts", bool(lifts)), ("expires", expires is not None)):
        if exempt and not given and key not in entry.entries:
            entry.refuse(key, f"an exempt has no {key}", "an exempt names the rules that it lifts, and its end")
        if not exempt and key in entry.entries:
            entry.refuse(key, f"only an exempt has {key}", "add `stage: exempt`, or remove it")
    return {
        "stage": stage,
        "outcome": outcome,
        "on_unknown": entry.choice("on_unknown", FALLBACKS, "ignore"),
        "on_error": entry.choice("on_error", FALLBACKS, "review"),
        "lifts": lifts,
        "expires_us": expires,
    }


def _expires(entry: Mapping) -> int | None:
    text = entry.text("expires")
    at = parse_time(text) if text else None
    if text and at is None:
        entry.refuse("expires", f"{text!r} is no time", TIME_FIX)
    return at


def _review_by(entry: Mapping) -> str:
    text = entry.text("review_by")
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        entry.refuse("review_by", f"{text!r} is no date", "write a date, as 2026-12-31")
        return ""


def _reasons(entry: Mapping) -> Reasons:
    node = entry.entries.get("reasons")
    if node is None:
        entry.refuse("reasons", "this rule has no reasons", "add `reasons: {en: ..., ja: ...}`, for the analysts")
        return Reasons("", "")
    reasons = Mapping(node, "reasons", REASON_KEYS, entry.refusals)
    return read_texts(reasons) if isinstance(node, yaml.MappingNode) else Reasons("", "")


def read_texts(reasons: Mapping) -> Reasons:
    """The internal texts, and those for customers, which stand in both languages or in none."""
    en, ja = reasons.text("en", required=True), reasons.text("ja", required=True)
    customer_en, customer_ja = reasons.text("customer_en"), reasons.text("customer_ja")
    if bool(customer_en) != bool(customer_ja):
        missing = "customer_ja" if customer_en else "customer_en"
        reasons.refuse(missing, f"the customer's reason lacks {missing}", f"add `{missing}: ...`, or remove the other")
    return Reasons(en, ja, customer_en, customer_ja)


def _examples(entry: Mapping) -> tuple[Example, ...]:
    node = entry.entries.get("examples")
    if node is None:
        return ()
    keys = ("hit", "miss")
    examples = Mapping(node, "examples", keys, entry.refusals)
    return tuple(_example(each, key == "hit", entry.refusals) for key in keys for each in examples.items(key))


def _example(node: yaml.Node, must_hit: bool, refusals: list[Refusal]) -> Example:
    columns = Mapping(node, "an example", None, refusals)
    values = {}
    for name, value in columns.entries.items():
        if isinstance(value, yaml.ScalarNode):
            values[name] = _sql_literal(value)
        else:
            columns.refuse(value, f"{name} is not a single value", f"write `{name}: value`")
    return Example(values, must_hit, place_of(node))


def _sql_literal(node: yaml.ScalarNode) -> str:
    """The scalar as SQL: NULL and numbers as they stand, all else a quoted text (its column's type reads it)."""
    text = node.value.strip()
    if is_null(node):
        return "NULL"
    quoted = node.style in QUOTED or not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?|true|false", text)
    if re.fullmatch(r"(?is)(timestamptz\s*)?'.*'", text):
        return text
    return "'" + text.replace("'", "''") + "'" if quoted else text


def _check_ids(rules: list[Rule | ShadowRule], refusals: list[Refusal]) -> None:
    first: dict[str, Rule | ShadowRule] = {}
    for rule in rules:
        if first.setdefault(rule.id, rule) is not rule:
            what = f"the rule {rule.id!r} stands twice; the first is on line {first[rule.id].place.line}"
            refusals.append(Refusal(what, "give one of them another id", rule.place))


def _check_lifts(rules: list[Rule | ShadowRule], refusals: list[Refusal]) -> None:
    """An exempt lifts normal rules that exist. (Of a file with errors nobody can say which rules exist.)"""
    by_id = {rule.id: rule for rule in rules}
    normal = [rule.id for rule in rules if rule.stage == "normal"]
    for rule in rules:
        for name in rule.lifts:
            if name not in by_id:
                refusals.append(
                    Refusal(f"{rule.id} lifts {name!r}, which is no rule", suggest(name, normal), rule.place)
                )
            elif by_id[name].stage != "normal":
                what = f"{rule.id} lifts {name}, which is a {by_id[name].stage} rule"
                refusals.append(Refusal(what, "only normal rules can be lifted", rule.place))
