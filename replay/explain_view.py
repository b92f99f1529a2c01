"""An explanation as a person reads it, on a terminal of any width."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from features.expr import Column, walk
from features.query import Query, WindowCall
from features.sheet import ENTERS
from features.types import Kind, Type
from replay.explain import Explanation, Seen, Value
from rules.alert_records import entity_token
from rules.evaluate import FAILED, HIT, NO_HIT, STATUS_NAMES, UNKNOWN
from rules.records import Condition, Rule
from sekisho.pack import Pack

SHOWN = 6
_SECOND_US, _MINUTE_US, _HOUR_US, _DAY_US = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
_STYLES = {HIT: "bold red", UNKNOWN: "yellow", FAILED: "bold yellow"}
FUNCTION_NAMES = {"count_star": "count", "count_distinct": "count(DISTINCT)"}


def show(explanation: Explanation, console: Console) -> None:
    """Print the verdict, then scores, rules, features, and the events that each feature's windows counted."""
    record = json.loads(explanation.record)
    console.print(f"decision {record.get('id')}", style="bold")
    named = f"event {record.get('event_id')} at {record.get('event_time')}, {_place(record.get('source', {}))}"
    console.print(Text(_printable(named)))
    if explanation.matches:
        console.print("MATCH  the log gives this record, byte for byte", style="bold green")
    else:
        _show_differences(explanation, console)
    if first := record.get("duplicate_of"):
        console.print(f"A duplicate of decision {first}: it was decided there, and entered no window here.")
        return
    flags = ", ".join(record.get("flags", []))
    console.print(f"outcome {record.get('outcome')}{f', flags {flags}' if flags else ''}", style="bold")
    if explanation.decided.admission.fate[explanation.row] != ENTERS:
        console.print("It is too late or from the future: it saw no window, and is seen by none.", style="yellow")
    for model in record.get("models", []):
        console.print(f"model {model['name']}: score {model['score']}, probability {model['probability']}")
    for reason in explanation.decided.reasons.get(explanation.row, ()):
        said = f"reason {reason.id}: {reason.points:+} points of {reason.model}. {reason.texts.en}"
        console.print(Text(_printable(said)))
    _show_rules(explanation, console)
    _show_features(explanation, console)


def _place(source: dict[str, Any]) -> str:
    return f"{source.get('topic')} partition {source.get('partition')} offset {source.get('offset')}"


def _show_differences(explanation: Explanation, console: Console) -> None:
    console.print("DIFFERS  the log gives another record", style="bold red")
    table = Table("field", "on file", "recomputed")
    for name, ours, theirs in explanation.differences:
        table.add_row(*(Text(str(part)) for part in (name, ours, theirs)))
    console.print(table)


def rule_answers(explanation: Explanation) -> Iterator[tuple[Rule, int, str, str]]:
    """Each live rule with its status, what it asks for ("ignore": nothing), and why in vain: muted, lifted or ""."""
    results, row = explanation.decided.results, explanation.row
    for k, rule in enumerate(results.rules):
        status = int(results.status[k, row])
        wish = {UNKNOWN: rule.on_unknown, FAILED: rule.on_error}.get(status, "outcome")
        in_vain = "muted" if results.muted[k, row] else "lifted" if results.lifted[k, row] else ""
        yield rule, status, rule.outcome if wish == "outcome" else wish, in_vain


def _show_rules(explanation: Explanation, console: Console) -> None:
    """The rules that asked for something, and the names of the others by their answer."""
    results, row = explanation.decided.results, explanation.row
    table, silent = Table("rule", "answer", "asks for", "when"), dict[str, list[str]]()

    def add(rule: Condition, status: int, asks: str, in_vain: str = "") -> None:
        answer = STATUS_NAMES[status].replace("_", " ") + (f", {in_vain}" if in_vain else "")
        if asks == "ignore" or status == NO_HIT:
            silent.setdefault(answer, []).append(rule.id)
        else:
            table.add_row(rule.id, Text(answer, _STYLES[status]), asks, Text(" ".join(rule.when_sql.split())))

    for each in rule_answers(explanation):
        add(*each)
    for k, shadow in enumerate(results.shadows):
        add(shadow, int(results.shadow_status[k, row]), "nothing: shadow")
    console.print("\nRules", style="bold")
    if table.row_count:
        console.print(table)
    for answer, names in silent.items():
        console.print(Text(f"{answer}: {', '.join(names)}", "dim"))


def _show_features(explanation: Explanation, console: Console) -> None:
    """Each feature with its value and, for each of its window calls, the events counted there, newest first."""
    pack, sheet, row = explanation.engine.pack, explanation.decided.sheet, explanation.row
    console.print("\nFeatures, and the events in their windows, newest first", style="bold")
    width, unknown = max((len(name) for name, _ in pack.query.features), default=0), list[str]()
    for name, type in pack.query.features:
        value = sheet.value(name, row)
        calls = [call for call in calls_behind(pack.query, name) if call.name in explanation.windows]
        if value is None and not calls:
            unknown.append(name)
            continue
        shown = plain(value, type)
        if type.kind is Kind.TEXT and value is not None and is_personal(pack, name):
            shown = entity_token(shown, None)
        console.print(Text.assemble(f"{name:<{width}}  ", (shown, "bold")))
        for call in calls:
            console.print(Padding(_events(explanation, call), (0, 0, 0, 4), expand=False))
    if unknown:
        console.print(Text(f"NULL: {', '.join(unknown)}", "dim"))


def calls_behind(query: Query, feature: str) -> list[WindowCall]:
    """The window calls that a feature is computed from, through the columns of earlier stages, in order."""
    wanted, found = {feature}, list[WindowCall]()
    for stage in reversed(query.stages):
        outputs = dict(stage.outputs)
        exprs = [outputs[name] for name in wanted if name in outputs]
        wanted -= set(outputs)
        wanted |= {node.name for expr in exprs for node in walk(expr) if isinstance(node, Column)}
        found = [call for call in stage.windows if call.name in wanted] + found
    return found


def is_personal(pack: Pack, feature: str) -> bool:
    """Whether a feature's text comes from a field that pack.toml marks `pii`: a terminal shows the mask of it."""
    exprs = {name: expr for stage in pack.query.stages for name, expr in stage.outputs}
    arguments = {call.name: call.argument for stage in pack.query.stages for call in stage.windows}
    seen, todo = set[str](), [feature]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            found = [expr for expr in (exprs.get(name), arguments.get(name)) if expr is not None]
            todo += [node.name for expr in found for node in walk(expr) if isinstance(node, Column)]
    return any(field.pii and field.name in seen for field in pack.schema.fields)


def _printable(text: str) -> str:
    """An event's text without what a terminal would obey: control characters and marks of direction."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _events(explanation: Explanation, call: WindowCall) -> Text:
    """As in `sum of 8 events: e9 0s 150, e4 -2m05s 1200, ... and 2 older`."""
    seen = explanation.windows[call.name]
    at_us = int(explanation.decided.sheet.ints("event_time")[explanation.row])
    head = f"{FUNCTION_NAMES.get(call.function, call.function)} of {len(seen):,} event{'' if len(seen) == 1 else 's'}"
    if not seen:
        return Text(head, "dim")
    masked = call.argument is not None and is_personal(explanation.engine.pack, call.name)
    newest = [_event(each, call, at_us, masked) for each in reversed(seen[-SHOWN:])]
    older = len(seen) - len(newest)
    return Text(f"{head}: {', '.join(newest)}{f', and {older:,} older' if older else ''}", "dim")


def _event(seen: Seen, call: WindowCall, at_us: int, masked: bool) -> str:
    argument = "" if call.argument is None or masked else f" {plain(seen.argument, call.argument.type)}"
    return f"{_printable(seen.event_id)} {age(at_us - seen.event_time)}{argument}".replace(" ", "\u00a0")


def age(us: int) -> str:
    """How long before the explained event; 0 s for itself and for what has its time."""
    if us < _MINUTE_US:
        return f"-{us / _SECOND_US:.3g}s" if us else "0s"
    for unit, name, smaller, below in ((_DAY_US, "d", _HOUR_US, "h"), (_HOUR_US, "h", _MINUTE_US, "m")):
        if us >= unit:
            return f"-{us // unit}{name}{us % unit // smaller:02d}{below}"
    return f"-{us // _MINUTE_US}m{us % _MINUTE_US // _SECOND_US:02d}s"


def plain(value: Value, type: Type) -> str:
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    if type.kind in (Kind.TIME, Kind.LOCAL):
        moment = datetime(1970, 1, 1) + timedelta(microseconds=int(value))
        return moment.isoformat(sep=" ") + ("Z" if type.kind is Kind.TIME else "")
    if isinstance(value, bool):
        return "true" if value else "false"
    if type.exact and type.scale:
        return str(Decimal(int(value)).scaleb(-type.scale))
    return _printable(str(value))
