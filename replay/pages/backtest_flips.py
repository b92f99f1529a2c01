"""Which payments change and why; what each rule is worth."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc

from replay.pages.backtest_answer import Case, Row
from replay.pages.blocks import Cell, Column, Figure, Section, Table
from replay.pages.plots import Bar, bars

_FLIPS = 100
_EXAMPLES = 10
_CAUSES = 30
_BARS = 8
_MATRIX = 30
_KINDS = ("fraud_lost", "good_hit", "fraud_found", "good_freed")


def flips(case: Case) -> Section:
    """Causes first, then the examples that speak against and for the change, then the largest flips."""
    say, causes, count = case.say, case.rows["causes"], case.flips.num_rows
    texts = [say("flips.text", n=say.count(count), share=say.share(case.facts.unresolved))]
    figures = [_cause_figure(case)] if causes else []
    tables = [_causes(case)]
    for kind in _KINDS:
        found = case.flips.filter(pc.equal(case.flips["example"], kind))
        if found.num_rows:
            caption = say("flips.example", kind=say(f"example.{kind}"), n=say.count(found.num_rows))
            tables.append(_flips(case, caption, found.slice(0, _EXAMPLES).to_pylist()))
    largest = case.flips.slice(0, _FLIPS).to_pylist()
    tables.append(_flips(case, say("flips.largest", n=say.count(len(largest))), largest))
    return Section("flips", say("flips"), texts, figures=figures, tables=tables)


def _reason(case: Case, row: Row) -> str:
    return row["restoring"] or case.say.name("cause", row["cause"])


def _cause_figure(case: Case) -> Figure:
    say, rows = case.say, case.rows["causes"][:_BARS]
    title = say("causes.figure")
    groups = [(_reason(case, row), [Bar("candidate", row["amount_minor"])]) for row in rows]
    data = [[Cell(_reason(case, row)), Cell(say.money(row["amount_minor"]))] for row in rows]
    table = Table(title, [Column(say("restoring"), "code"), Column(say("amount"))], data)
    return Figure(title, bars(title, say("causes.about"), groups, {}, say.short), table)


def _causes(case: Case) -> Table:
    say, rows = case.say, []
    for row in case.rows["causes"][:_CAUSES]:
        texts = [_reason(case, row), say.name("cause", row["cause"]), say.count(row["flips"])]
        texts += [say.money(row["amount_minor"]), say.count(row["fraud_found"]), say.money(row["fraud_found_minor"])]
        texts += [say.count(row["fraud_lost"]), say.money(row["fraud_lost_minor"])]
        texts += [say.count(row["good_hit"]), say.count(row["good_freed"])]
        rows.append([Cell(text) for text in texts])
    columns = [Column(say("restoring"), "code"), Column(say("cause"), "text")]
    names = ("payments", "amount", "example.fraud_found", "cause.found_money", "example.fraud_lost", "cause.lost_money")
    columns += [Column(say(name)) for name in (*names, "example.good_hit", "example.good_freed")]
    more = len(case.rows["causes"]) - len(rows)
    note = say("causes.note") + (" " + say("causes.more", n=say.count(more)) if more else "")
    return Table(say("causes.caption"), columns, rows, note)


def _flips(case: Case, caption: str, rows: Sequence[Row]) -> Table:
    say, cells = case.say, []
    for row in rows:
        scores = [say.count(row[name]) for name in ("current_score", "candidate_score")]
        label = say.name("truth", row["truth"])
        if row["label_class"] and row["label_class"] != row["truth"]:
            label += f" ({say.name('typology', row['label_class'])})"
        outcomes = [say.name("outcome", row[name]) for name in ("recorded", "current", "candidate")]
        texts = [row["payment_id"] or row["event_id"], say.time(row["at_us"]), row["entity"] or "", *outcomes]
        texts += [
            say.money(row["amount_minor"]),
            " → ".join(dict.fromkeys(scores)),
            label,
            say.name("cause", row["cause"]),
        ]
        cells.append([Cell(text) for text in [*texts, row["restoring"] or ""]])
    names = ("payment", "code"), ("time", "when"), ("entity", "code"), ("strategy.recorded", "text"), (
        "strategy.current", "text"), ("strategy.candidate", "text"), ("amount", "number"), (
        "score", "number"), ("truth", "text"), ("cause", "text"), (
        "restoring", "code")  # fmt: skip
    zone = case.facts.asked.zone
    titles = [say(name, zone=zone) if name == "time" else say(name) for name, _ in names]
    columns = [Column(title, kind) for title, (_, kind) in zip(titles, names, strict=True)]
    return Table(caption, columns, cells)


def rules(case: Case) -> Section:
    """Each rule of CANDIDATE, and of CURRENT what CANDIDATE no longer has."""
    say = case.say
    mine = {row["rule"]: row for row in case.of("rules", "candidate")}
    old = {row["rule"]: row for row in case.of("rules", "current")}
    names = [*mine, *(name for name in old if name not in mine)]
    rows = [_rule(case, mine.get(name), old.get(name)) for name in names]
    columns = [Column(say("rule"), "code"), Column(say("rule.asks"), "text"), Column(say("rule.state"), "text")]
    titles = ("rule.before", "rule.hits", "rule.unique", "frauds", "fraud_money", "rule.goods", "rule.ratio")
    columns += [Column(say(name)) for name in (*titles, "rule.unknown", "rule.errors", "rule.changed", "rule.value",
                                               "rule.cost")]  # fmt: skip
    tables = [Table(say("rules.caption"), columns, rows, say("rules.note"))]
    tables += [table for strategy in ("candidate", "current") if (table := _overlap(case, strategy))]
    return Section("rules", say("rules"), [say("rules.text")], figures=_rule_figure(case), tables=tables)


def _rule(case: Case, row: Row | None, old: Row | None) -> list[Cell]:
    say, it = case.say, row or old or {}
    states = [
        say("rule.state." + name)
        for name, holds in (
            ("shadow", it["shadow"]), ("silent", it["silent"]), ("new", old is None), ("gone", row is None),
        )
        if holds
    ]  # fmt: skip
    head = [Cell(it["rule"]), Cell(say.name("outcome", it["outcome"])), Cell(", ".join(states) or say("rule.state.on"))]
    before = Cell(say.count(old["hits"]) if old else "–")
    if row is None:
        return [*head, before, *(Cell("–") for _ in range(11))]
    texts = [say.count(row["hits"]), say.count(row["unique_hits"]), say.count(row["frauds"])]
    texts += [say.money(row["fraud_minor"]), say.count(row["goods"]), say.ratio(row["false_positive_ratio"])]
    texts += [say.count(row[name]) for name in ("unknown", "errors", "changed")]
    texts += [say.money(row["value_minor"]), say.count(row["cost_goods"])]
    return [*head, before, *(Cell(text) for text in texts)]


def _rule_figure(case: Case) -> list[Figure]:
    say = case.say
    rows = [row for row in case.of("rules", "candidate") if row["value_minor"]]
    rows = sorted(rows, key=lambda row: -row["value_minor"])[:_BARS]
    if not rows:
        return []
    title = say("rules.figure")
    groups = [(row["rule"], [Bar("candidate", row["value_minor"])]) for row in rows]
    data = [[Cell(row["rule"]), Cell(say.money(row["value_minor"]))] for row in rows]
    table = Table(title, [Column(say("rule"), "code"), Column(say("rule.value"))], data)
    return [Figure(title, bars(title, say("rules.about"), groups, {}, say.short), table)]


def _overlap(case: Case, strategy: str) -> Table | None:
    """The rules that hit together, as a square; darker where more of the smaller rule's hits are shared."""
    say = case.say
    both = {(row["rule"], row["other"]): row["both"] for row in case.of("overlaps", strategy)}
    both |= {(other, rule): count for (rule, other), count in both.items()}
    hits = {row["rule"]: row["hits"] for row in case.of("rules", strategy)}
    names = [name for name in hits if any(pair[0] == name for pair in both)][:_MATRIX]
    if not names:
        return None
    rows = []
    for k, name in enumerate(names):
        row = [Cell(f"{k + 1}. {name}")]
        for other in names:
            count = hits[name] if other == name else both.get((name, other), 0)
            share = count / max(1, min(hits[name], hits[other])) if other != name else 0.0
            row.append(Cell(say.count(count), min(1.0, share), "" if count else "muted"))
        rows.append(row)
    columns = [Column(say("rule"), "code"), *(Column(str(k + 1)) for k in range(len(names)))]
    caption = say("overlap.caption", strategy=say.name("strategy", strategy))
    return Table(caption, columns, rows, say("overlap.note"), square=True)
