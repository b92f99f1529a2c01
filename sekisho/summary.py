"""What `sekisho pack check` prints: the whole pack on a page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from features.schema import Field
from models.scorer import Model
from rules.records import Condition, ShadowRule
from sekisho.check import Summary, duration_text, overdue

Fact = tuple[str, Text]

OUTCOME_STYLES = {
    "approve": "green", "challenge": "cyan", "review": "yellow", "hold": "dark_orange", "decline": "bold red",
}  # fmt: skip


def render_summary(summary: Summary, console: Console, today: date) -> None:
    """Print a checked pack, and what of it is overdue today."""
    pack = summary.pack
    head = Text.assemble(
        (pack.description or "no description", "italic"), f"\nowner {pack.owner}\nhash  ", (pack.hash, "dim")
    )
    console.print(Panel(head, title=f"[bold]{pack.name}[/]", title_align="left", border_style="cyan", padding=(0, 1)))
    console.print(_facts(_events(summary)))
    for table in (_fields(pack.schema.fields), _features(summary), _windows(summary), _rules(summary)):
        if table.row_count:
            console.print(table)
    console.print(_facts((*_lists(summary), *_models(summary))))
    console.print()
    for line in _verdicts(summary):
        console.print(Padding(line, (0, 2)))
    for text in overdue(summary.pack, today):
        console.print(Padding(Text.assemble(("! ", "yellow"), text), (0, 2)))


def _facts(lines: Iterable[Fact]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", min_width=8)
    for label, text in lines:
        table.add_row(f"  {label}", text)
    return table


def _events(summary: Summary) -> Iterable[Fact]:
    pack, policy = summary.pack, summary.pack.policy
    kinds = Text()
    for kind in pack.schema.kinds:
        kinds.append(f"{kind} ", "bold cyan" if kind in policy.decide else "")
    yield "events", kinds.append(f"(decided: {', '.join(policy.decide)})", "dim")
    spans = {
        "late up to": policy.lateness_us,
        "clocks ahead up to": policy.max_clock_skew_us,
        "duplicates within": policy.dedup_horizon_us,
    }
    clocks = [f"{name} {duration_text(us)}" for name, us in spans.items()]
    yield "clocks", Text(" · ".join([*clocks, f"degraded events: {policy.on_degraded}"]))
    if policy.inherit:
        within = duration_text(policy.inherit_horizon_us)
        yield "inherit", Text.assemble(", ".join(policy.inherit), (f" within {within}", "dim"))
    for leg in pack.legs:
        fields = ", ".join(f"{target} = {source}" for target, source in leg.fields.items())
        yield "leg", Text.assemble((leg.kind, "cyan"), f" {fields}")
    if alert := pack.alert:
        grouping = f"{', '.join(alert.outcomes)} by {' or '.join(alert.group_by) or 'decision'}"
        yield "alerts", Text(f"{grouping} · quiet {duration_text(alert.quiet_us)}")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, header_style="dim", padding=(0, 1)
    )
    for column in columns:
        table.add_column(column, no_wrap=column not in ("SQL", "why", "calls by frame"))
    return table


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _fields(fields: tuple[Field, ...]) -> Table:
    table = _table(_count(len(fields), "field"), "name", "type", "SQL type", "from", "")
    for field in fields:
        notes = [("required", field.required), (f"personal: {field.pii}", field.pii), (field.encoding, field.encoding)]
        marks = ", ".join(text for text, shown in notes if shown)
        table.add_row(field.name, field.type, str(field.sql_type), Text(field.source or field.name), Text(marks, "dim"))
    return table


def _features(summary: Summary) -> Table:
    table = _table(_count(len(summary.features), "feature"), "name", "type", "SQL")
    for feature in summary.features:
        table.add_row(Text(feature.name, "cyan"), str(feature.type), Text(feature.sql, "dim"))
    return table


def _windows(summary: Summary) -> Table:
    calls = sum(sum(windows.frames.values()) for windows in summary.windows)
    table = _table(
        f"{_count(calls, 'window call')} over {_count(len(summary.windows), 'key')}", "key", "calls by frame"
    )
    for windows in summary.windows:
        frames = "   ".join(f"{frame} × {count}" for frame, count in windows.frames.items())
        table.add_row(Text(windows.key, "cyan"), frames)
    return table


def _rules(summary: Summary) -> Table:
    rules = summary.pack.rules
    title = _count(len(rules.rules), "rule") + (f", {len(rules.shadows)} in shadow" if rules.shadows else "")
    table = _table(title, "outcome", "rule", "why")
    for rule in (*rules.rules, *rules.shadows):
        table.add_row(_outcome(rule), Text(rule.id, "cyan"), Text(rule.reasons.en, "dim"))
    return table


def _outcome(rule: Condition) -> Text:
    if isinstance(rule, ShadowRule):
        return Text(f"({rule.outcome})", "dim")
    if rule.stage == "exempt":
        return Text("lifts", "green")
    text = Text(rule.outcome, OUTCOME_STYLES[rule.outcome])
    return text.append(" (hard)", "dim") if rule.stage == "hard_block" else text


def _lists(summary: Summary) -> Iterable[Fact]:
    for name, entries in summary.pack.rules.lists.items():
        size = f"{len(entries):,} {'entry' if len(entries) == 1 else 'entries'}"
        yield "list", Text.assemble((name, "cyan"), f" {size}")


def _models(summary: Summary) -> Iterable[Fact]:
    for scorer in summary.pack.models:
        yield "model", _model(scorer, "")
        if challenger := scorer.challenger:
            yield (
                "model",
                _model(challenger, f", in the place of {scorer.name} on {challenger.share:.2%} of {challenger.by}"),
            )
    for shadow in summary.pack.shadow_models:
        yield "model", _model(shadow, ", in shadow")
    if book := summary.pack.reasons:
        yield (
            "reasons",
            Text(f"{_count(len(book.codes), 'reason')} for scores from {book.above}, at most {book.most} each"),
        )


def _model(model: Model, part: str) -> Text:
    size = f"{_count(model.forest.trees, 'tree')} over {_count(len(model.features), 'column')}"
    part += ", a segment" if model.segment else ""
    part += f", expires {model.card.expires}" if model.card.expires else ""
    return Text.assemble((model.name, "cyan"), f" {size}, sha256 {model.sha256[:12]}{part}")


def _verdicts(summary: Summary) -> Iterable[Text]:
    yield Text.assemble(("✓ ", "green"), "DuckDB runs features.sql and gives its columns the same types")
    yield Text.assemble(
        ("✓ ", "green"), f"{_count(summary.examples, 'rule example')} tried on the compiled rules: all as stated"
    )
    if not summary.pack.rules.rules:
        yield Text.assemble(("! ", "yellow"), "there are no rules: every event that is not degraded is approved")
    if missing := summary.rules_without_examples:
        yield Text.assemble(("! ", "yellow"), f"without examples: {', '.join(missing)}")
