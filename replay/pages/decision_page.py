"""One decision as a page: what the customer may be told, apart from what only the bank may read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from features.query import WindowCall
from features.sheet import ENTERS
from features.types import Kind
from replay.explain import Explanation, Seen
from replay.explain_view import FUNCTION_NAMES, age, calls_behind, is_personal, plain, rule_answers
from replay.pages.blocks import Cell, Column, Fact, Page, Section, Table
from replay.pages.render import render
from replay.pages.say import Say
from rules.alert_records import entity_token
from rules.evaluate import FAILED, HIT, NO_HIT, STATUS_NAMES, UNKNOWN
from rules.reasons import GivenReason
from rules.records import Condition, Rule

_FRAME = ("skip", "warning", "contents", "data", "none")
_SHOWN = 6


def decision_page(explanation: Explanation, lang: str = "en", unmask: bool = False) -> str:
    """An explanation as one HTML file. lang: en or ja.   unmask: show what pack.toml marks `pii` as it is."""
    say, record = Say(lang), json.loads(explanation.record)
    warnings = [] if explanation.matches else [say("decision.differs")]
    sections = [_verdict(explanation, say, record), _differences(explanation, say), _seen(explanation, say, unmask)]
    if "duplicate_of" not in record:
        sections = [
            _customer(explanation, say, record),
            *sections,
            _reasons(explanation, say),
            _rules(explanation, say),
        ]
        sections.append(_windows(explanation, say, unmask))
    sections.append(_record(explanation, say))
    lead = [say("decision.lead", time=record["event_time"], payment=record.get("payment_id") or record["event_id"])]
    title = say("decision.title", id=record["id"][:12])
    whole = [section for section in sections if section]
    return render(Page(lang, title, lead, warnings, whole, {name: say(name) for name in _FRAME}))


def _heard(explanation: Explanation) -> list[Rule]:
    """The live rules that hit, and that nothing has lifted or muted."""
    results, row = explanation.decided.results, explanation.row
    return [
        rule for k, rule in enumerate(results.rules)
        if results.status[k, row] == HIT and not results.lifted[k, row] and not results.muted[k, row]
    ]  # fmt: skip


def _given(explanation: Explanation) -> Sequence[GivenReason]:
    """What has raised the score."""
    return explanation.decided.reasons.get(explanation.row, ())


def _customer(explanation: Explanation, say: Say, record: dict[str, Any]) -> Section:
    """Only the texts that rules and reasons have for customers: an internal reason here would tip somebody off."""
    told = [*(rule.reasons for rule in _heard(explanation)), *(each.texts for each in _given(explanation))]
    texts = [getattr(each, f"customer_{say.lang}") for each in told]
    said = list(dict.fromkeys(text for text in texts if text)) or [say("customer.nothing")]
    return Section("customer", say("customer"), [say("customer.text"), *said])


def _verdict(explanation: Explanation, say: Say, record: dict[str, Any]) -> Section:
    facts = [Fact(say("decision.check"), say("decision.match" if explanation.matches else "decision.differs.short"))]
    texts = [say("internal")]
    if first := record.get("duplicate_of"):
        texts.append(say("decision.duplicate", id=first))
    else:
        flags = [", ".join(record["flags"])] if record["flags"] else []
        facts.append(Fact(say("outcome"), say.name("outcome", record["outcome"]), flags))
        for model in record["models"]:
            shown = say("decision.probability", p=say.share(model["probability"], 2))
            facts.append(Fact(say("decision.model", name=model["name"]), say.count(model["score"]), [shown]))
        if explanation.decided.admission.fate[explanation.row] != ENTERS:
            texts.append(say("decision.degraded"))
    return Section("verdict", say("verdict"), texts, facts, apart=True)


def _differences(explanation: Explanation, say: Say) -> Section | None:
    if explanation.matches:
        return None
    rows = [[Cell(str(part)) for part in found] for found in explanation.differences]
    columns = [Column(say(name), "code") for name in ("decision.field", "decision.on_file", "decision.again")]
    return Section("differences", say("differences"), tables=[Table(say("differences"), columns, rows)])


def _seen(explanation: Explanation, say: Say, unmask: bool) -> Section:
    """The event's own fields, as the engine had them."""
    sheet, rows = explanation.decided.sheet, []
    for field in explanation.engine.pack.schema.fields:
        value = sheet.value(field.name, explanation.row)
        text = plain(value, field.sql_type)
        if field.pii and value is not None and not unmask:
            text = entity_token(text, None, field.pii != "name")
        rows.append([Cell(field.name), Cell(text)])
    columns = [Column(say("decision.field"), "code"), Column(say("facts.value"), "code")]
    note = "" if unmask else say("seen.masked")
    return Section("seen", say("seen"), tables=[Table(say("seen.caption"), columns, rows, note)])


def _reasons(explanation: Explanation, say: Say) -> Section | None:
    """What has raised the score, strongest first."""
    given = _given(explanation)
    if not given:
        return None
    rows = [
        [Cell(each.id), Cell(getattr(each.texts, say.lang)), Cell(f"{each.points:+}"), Cell(each.model)]
        for each in given
    ]
    columns = [Column(say("reason"), "code"), Column(say("reason.internal"), "text")]
    columns += [Column(say("reasons.points")), Column(say("reasons.model"), "code")]
    return Section(
        "reasons", say("reasons"), [say("internal"), say("reasons.text")], tables=[Table(say("reasons"), columns, rows)]
    )


def _rules(explanation: Explanation, say: Say) -> Section:
    """Every rule that did not answer no, and the others by name."""
    results, row = explanation.decided.results, explanation.row
    rows, silent = [], []

    def add(rule: Condition, status: int, asks: str, in_vain: str) -> None:
        if status == NO_HIT or (status in (UNKNOWN, FAILED) and asks == "ignore"):
            silent.append([Cell(rule.id), Cell(say(f"answer.{STATUS_NAMES[status]}"))])
            return
        answer = say(f"answer.{STATUS_NAMES[status]}") + (f", {say(f'answer.{in_vain}')}" if in_vain else "")
        reason = getattr(rule.reasons, say.lang)
        texts = [rule.id, answer, say.name("outcome", asks), reason, " ".join(rule.when_sql.split()), rule.owner]
        rows.append([Cell(text) for text in [*texts, rule.typology]])

    for each in rule_answers(explanation):
        add(*each)
    for k, shadow in enumerate(results.shadows):
        add(shadow, int(results.shadow_status[k, row]), shadow.outcome, "shadow")
    columns = [Column(say("rule"), "code"), Column(say("answer.title"), "text"), Column(say("rule.asks"), "text")]
    columns += [Column(say("reason.internal"), "text"), Column(say("rule.when"), "code")]
    columns += [Column(say("rule.owner"), "text"), Column(say("typology"), "text")]
    others = [Column(say("rule"), "code"), Column(say("answer.title"), "text")]
    tables = [Table(say("decision.rules"), columns, rows), Table(say("decision.silent"), others, silent)]
    return Section("rules", say("decision.rules"), [say("internal")], tables=tables)


def _windows(explanation: Explanation, say: Say, unmask: bool) -> Section:
    """Each feature with its value, and the events that its windows counted."""
    pack, sheet, rows = explanation.engine.pack, explanation.decided.sheet, []
    for name, type in pack.query.features:
        value = sheet.value(name, explanation.row)
        text = plain(value, type)
        if type.kind is Kind.TEXT and value is not None and not unmask and is_personal(pack, name):
            text = entity_token(text, None)
        calls = [call for call in calls_behind(pack.query, name) if call.name in explanation.windows]
        for k, call in enumerate(calls or [None]):
            head = [Cell(name), Cell(text if k == 0 else "")]
            rows.append([*head, *(_window(explanation, say, call, unmask) if call else (Cell(""), Cell(""), Cell("")))])
    columns = [Column(say("windows.feature"), "code"), Column(say("facts.value"), "code")]
    columns += [
        Column(say("windows.call"), "text"),
        Column(say("windows.events")),
        Column(say("windows.newest"), "text"),
    ]
    return Section("windows", say("windows"), [say("windows.text")], tables=[Table(say("windows"), columns, rows)])


def _window(explanation: Explanation, say: Say, call: WindowCall, unmask: bool) -> tuple[Cell, Cell, Cell]:
    seen = explanation.windows[call.name]
    at_us = int(explanation.decided.sheet.ints("event_time")[explanation.row])
    masked = not unmask and is_personal(explanation.engine.pack, call.name)

    def told(each: Seen) -> str:
        value = "" if call.argument is None or masked else f" {plain(each.argument, call.argument.type)}"
        return f"{each.event_id} {age(at_us - each.event_time)}{value}"

    newest = "; ".join(told(each) for each in reversed(seen[-_SHOWN:]))
    return Cell(FUNCTION_NAMES.get(call.function, call.function)), Cell(say.count(len(seen))), Cell(newest)


def _record(explanation: Explanation, say: Say) -> Section:
    """Where the decision stands and by what it was made."""
    rows = []
    for name, value in json.loads(explanation.record).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows.append([Cell(name), Cell(text)])
    columns = [Column(say("decision.field"), "code"), Column(say("facts.value"), "code")]
    return Section("record", say("record"), [say("record.text")], tables=[Table(say("record"), columns, rows)])
