"""The first screen of a back-test's report: what would have changed, in money, with what nobody knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.backtest.records import Backtest, Facts
from replay.pages.blocks import Cell, Column, Fact, Figure, Section, Table
from replay.pages.plots import Interval, intervals
from replay.pages.say import Say

FAITHFUL = 0.99
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A back-test as its page reads it: facts, rows by table, and the strategies that have figures.

    flips: a table still, of which a page shows a few rows.
    """

    facts: Facts
    rows: Mapping[str, Sequence[Row]]
    flips: pa.Table
    say: Say

    @property
    def strategies(self) -> list[str]:
        return [name for name in ("recorded", "current", "candidate") if name in self.summary]

    @property
    def summary(self) -> dict[str, Row]:
        return {row["strategy"]: row for row in self.rows["summary"]}

    def of(self, table: str, strategy: str) -> list[Row]:
        return [row for row in self.rows[table] if row["strategy"] == strategy]


def case_of(result: Backtest, lang: str) -> Case:
    """The case in a language."""
    facts = result.facts
    say = Say(lang, facts.currency, facts.exponent, facts.asked.zone)
    rows = {name: table.to_pylist() for name, table in result.tables.items() if name != "flips"}
    return Case(facts, rows, result.tables["flips"], say)


def warnings(say: Say, facts: Facts) -> list[str]:
    """What a reader must know before any figure."""
    found = []
    if facts.fidelity is not None and facts.fidelity < FAITHFUL:
        found.append(say("warn.fidelity", share=say.share(facts.fidelity, 2)))
    if not facts.outcomes_known:
        found.append(say("warn.outcomes"))
    if not facts.labels_known:
        found.append(say("warn.labels"))
    if facts.labels_unmatched:
        found.append(say("warn.unmatched", n=say.count(facts.labels_unmatched)))
    if facts.labels_early:
        found.append(say("warn.early", n=say.count(facts.labels_early)))
    if facts.empty:
        found.append(say("warn.empty", names=", ".join(facts.empty)))
    if facts.dead_letters:
        found.append(
            say("warn.dead", n=say.count(facts.dead_letters), all=say.count(facts.events + facts.dead_letters))
        )
    if facts.order_assumed:
        found.append(say("warn.order"))
    return found


def answer(case: Case) -> Section:
    """The headline figures and their ranges."""
    say, summary = case.say, case.summary
    current, candidate = summary["current"], summary["candidate"]
    moved = pc.sum(case.flips["amount_minor"], min_count=0).as_py()
    changed = Fact(
        say("fact.changed"), say.count(case.flips.num_rows),
        [say("fact.changed.of", all=say.count(candidate["payments"]), money=say.money(moved))],
    )  # fmt: skip
    facts = [_caught(case), changed, _prevented(case), _goods(case), _unknown(case)]
    if candidate["alert_groups"] is not None:
        facts.append(_moved(case, "fact.groups", "alert_groups", say.count, say.signed))
    figures = [_range_figure(case, True), _range_figure(case, False)] if current["frauds"] is not None else []
    return Section("answer", say("answer"), [_sentence(case)], facts, figures)


def _sentence(case: Case) -> str:
    say, current, candidate = case.say, case.summary["current"], case.summary["candidate"]
    caught = candidate["caught_minor"] - current["caught_minor"]
    goods = candidate["goods_alerted"] - current["goods_alerted"]
    return say(
        "answer.sentence",
        candidate=case.facts.candidate.name,
        more=say("answer.more" if caught >= 0 else "answer.less", money=say.money(abs(caught))),
        goods=say(
            "answer.more" if goods >= 0 else "answer.less", money=say("answer.payments", n=say.count(abs(goods)))
        ),
    )


def _caught(case: Case) -> Fact:
    say, current, candidate = case.say, case.summary["current"], case.summary["candidate"]
    known = candidate["caught_minor"] - current["caught_minor"]
    low, high = bounds(case)
    notes = [
        say(
            "fact.caught.from",
            current=say.money(current["caught_minor"]),
            candidate=say.money(candidate["caught_minor"]),
            all=say.money(candidate["fraud_minor"]),
        ),
        say("fact.caught.bounds", low=say.money(known - low, True), high=say.money(known + high, True)),
    ]
    return Fact(say("fact.caught"), say.money(known, True), notes)


def bounds(case: Case) -> tuple[int, int]:
    """How far fraud money that alerts may still move from the known difference, down and up.

    Of payments whose truth is open, only those that alert under one strategy alone can move it.
    """
    alerts = {"current": case.facts.current.alert_outcomes, "candidate": case.facts.candidate.alert_outcomes}
    low = high = 0
    for row in case.rows["transitions"]:
        if row["truth"] in ("immature", "censored"):
            before, after = row["current"] in alerts["current"], row["candidate"] in alerts["candidate"]
            low += row["amount_minor"] if before and not after else 0
            high += row["amount_minor"] if after and not before else 0
    return low, high


def _prevented(case: Case) -> Fact:
    fact = _moved(case, "fact.prevented", "prevented_minor", case.say.money, lambda v: case.say.money(v, True))
    return Fact(fact.name, fact.value, [*fact.notes, case.say("fact.prevented.how")])


def _goods(case: Case) -> Fact:
    say, candidate = case.say, case.summary["candidate"]
    fact = _moved(case, "fact.goods", "goods_alerted", say.count, say.signed)
    touched = say("fact.touched", current=say.count(case.summary["current"]["touched_good"]),
                  candidate=say.count(candidate["touched_good"]))  # fmt: skip
    return Fact(fact.name, fact.value, [*fact.notes, touched])


def _unknown(case: Case) -> Fact:
    say, candidate = case.say, case.summary["candidate"]
    value = say("fact.unknown.value", n=say.count(candidate["unknown"]), money=say.money(candidate["unknown_minor"]))
    return Fact(say("fact.unknown"), value, [say("fact.unknown.how")])


def _moved(case: Case, name: str, column: str, text: Any, signed: Any) -> Fact:
    current, candidate = case.summary["current"][column] or 0, case.summary["candidate"][column] or 0
    notes = [case.say("fact.from", current=text(current), candidate=text(candidate))]
    return Fact(case.say(name), signed(candidate - current), notes)


def _range_figure(case: Case, caught: bool) -> Figure:
    """Known fraud money that alerts, or not, and what open payments may add to it."""
    say, key = case.say, "caught" if caught else "missed"
    rows, table = [], []
    for strategy in case.strategies:
        known = case.summary[strategy][f"{key}_minor"]
        open_rows = {row["rows"]: row for row in case.of("ranges", strategy) if row["caught"] == caught}
        immature, censored = open_rows.get("immature", {}), open_rows.get("censored", {})
        low, high, worst = immature.get("low_minor"), immature.get("high_minor"), censored.get("high_minor")
        most = known + (high or 0) + (worst or 0)
        name = say.name("strategy", strategy)
        rows.append(Interval(strategy, name, known, known + (low or 0), known + (high or 0), most))
        texts = (say.money(known), say.span(low, high) if immature else say("none"), say.money(worst or 0))
        table.append([Cell(name), *(Cell(text) for text in texts), Cell(say.money(most))])
    title = say(f"figure.{key}")
    columns = [Column(say("strategy"), "text"), *(Column(say(f"figure.{part}")) for part in _PARTS)]
    svg = intervals(title, say("figure.range.about"), rows, say.short)
    return Figure(title, svg, Table(title, columns, table, say("figure.range.note")))


_PARTS = ("known", "immature", "censored", "most")
