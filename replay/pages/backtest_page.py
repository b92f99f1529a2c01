"""A back-test as a page: one section a question, in the order in which an analyst asks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from replay.backtest.records import Backtest
from replay.pages import backtest_arms, backtest_flips, backtest_plots
from replay.pages.backtest_answer import Case, Row, answer, case_of, warnings
from replay.pages.blocks import Cell, Column, Page, Section, Table
from replay.pages.render import render
from replay.pages.say import NOTHING, Say
from rules.records import OUTCOMES

_FRAME = ("skip", "warning", "contents", "data", "none")
_SIDES = (  # column of `summary`, how it is written
    ("payments", "count"), ("amount_minor", "money"), ("frauds", "count"), ("fraud_minor", "money"),
    ("caught", "count"), ("caught_minor", "money"), ("missed", "count"), ("missed_minor", "money"),
    ("settled_minor", "money"), ("net_minor", "money"), ("missed_net_minor", "money"),
    ("stopped_minor", "money"), ("prevented_minor", "money"), ("goods", "count"), ("goods_alerted", "count"),
    ("false_positive_ratio", "ratio"), ("adr", "share"), ("a_fpr", "ratio"), ("vdr", "share"), ("touched", "count"),
    ("touched_good", "count"), ("unknown", "count"), ("unknown_minor", "money"), ("alert_groups", "count"),
    ("notifications", "count"), ("fidelity", "share"),
)  # fmt: skip
_TRUTHS = ("fraud", "good", "presumed_good", "excluded", "immature", "censored")
_SPANS = ("act_by_us", "maturity_us", "settle_after_us")
_TERMS = ("alerts", "stopped", "prevented", "adr", "a_fpr", "vdr", "immature", "censored", "unknown", "cold", "value",
          "cause")  # fmt: skip


def backtest_page(result: Backtest, lang: str = "en") -> str:
    """The report of a back-test as one HTML file. lang: en or ja."""
    case, digest = case_of(result, lang), fingerprint(result)
    say, facts = case.say, case.facts
    lead = [
        say("lead.packs", current=facts.current.name, c=facts.current.hash[:12], candidate=facts.candidate.name,
            d=facts.candidate.hash[:12]),
        say("lead.span", first=say.day(facts.counted_from_us), last=say.day(facts.counted_to_us),
            known=say.day(facts.as_known_us), zone=facts.asked.zone),
        say("lead.print", digest=digest[:16]),
    ]  # fmt: skip
    sections = [
        answer(case), _sides(case), *backtest_arms.arms(case), _history(case), _open(case), backtest_flips.flips(case),
        backtest_flips.rules(case), _typologies(case), backtest_plots.thresholds(case), backtest_plots.budget(case),
        backtest_plots.hours(case), backtest_plots.drift(case), _excluded(case), _terms(case), _facts(case, digest),
    ]  # fmt: skip
    title = say("title", name=facts.candidate.name)
    return render(Page(lang, title, lead, warnings(say, facts), sections, {name: say(name) for name in _FRAME}))


def fingerprint(result: Backtest) -> str:
    """sha256 over facts and tables, but for how long it took: who has the same has seen the same."""
    seen = json.loads(result.to_json(most_flips=0))
    del seen["facts"]["seconds"]
    digest = sha256(json.dumps(seen, sort_keys=True, ensure_ascii=False).encode())
    for batch in result.tables["flips"].to_batches(max_chunksize=8_192):  # they may be millions
        for row in batch.to_pylist():
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()


def written(say: Say, kind: str) -> Callable[[Any], str]:
    """How a kind of figure is written."""
    kinds: dict[str, Callable[[Any], str]] = {
        "count": say.count, "money": say.money, "ratio": say.ratio, "share": say.share,
    }  # fmt: skip
    return kinds[kind]


def _sides(case: Case) -> Section:
    """Every figure of the strategies beside each other, with the difference; with `--collapse`, both ways to count."""
    say = case.say
    tables = [_side_by_side(case, case.rows["summary"], say("sides.caption"), say("sides.note"))]
    if case.rows["attempts"]:
        tables.append(_side_by_side(case, case.rows["attempts"], say("attempts.caption"), say("attempts.note")))
    return Section("sides", say("sides"), tables=tables)


def _side_by_side(case: Case, found: Sequence[Row], caption: str, note: str) -> Table:
    say, rows, sides = case.say, [], {row["strategy"]: row for row in found}
    for name, kind in _SIDES:
        values = [sides[strategy][name] for strategy in case.strategies]
        before, after = sides["current"][name], sides["candidate"][name]
        moved = after - before if after is not None and before is not None else None
        cells = [Cell(say(f"side.{name}")), *(Cell(written(say, kind)(value)) for value in values)]
        rows.append([*cells, Cell(_difference(say, kind, moved))])
    columns = [Column(say("measure"), "text"), *(Column(say.name("strategy", name)) for name in case.strategies)]
    return Table(caption, [*columns, Column(say("difference"))], rows, note)


def _difference(say: Say, kind: str, moved: float | None) -> str:
    if moved is None:
        return NOTHING
    if kind == "money":
        return say.money(moved, True)
    if kind == "count":
        return say.signed(moved)
    sign = "+" if moved > 0 else "−" if moved < 0 else "±"
    if kind == "share":
        return sign + say("points", n=say.real(100 * abs(moved), 1))
    return sign + written(say, kind)(abs(moved)).removesuffix(" : 1")


def _history(case: Case) -> Section:
    """What was applied, by what CANDIDATE decides; and each strategy's outcomes."""
    say, tables = case.say, []
    if any(row["recorded"] for row in case.rows["transitions"]):
        tables.append(_matrix(case, "recorded"))
    tables += [_matrix(case, "current"), _outcomes(case)]
    return Section("history", say("history"), [say("history.text")], tables=tables)


def _matrix(case: Case, before: str) -> Table:
    """Payments and money by their outcome before and under CANDIDATE; equal outcomes are on the diagonal."""
    say, counts, money = case.say, Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in case.rows["transitions"]:
        pair = (row[before] or "", row["candidate"] or "")
        counts[pair] += row["payments"]
        money[pair] += row["amount_minor"]
    wanted = [*OUTCOMES, *sorted({name for pair in counts for name in pair} - set(OUTCOMES))]
    from_ = [name for name in wanted if any(pair[0] == name for pair in counts)]
    to = [name for name in wanted if any(pair[1] == name for pair in counts)]
    rows = []
    for name in from_:
        cells = [Cell(say.name("outcome", name or "nothing"))]
        for other in to:
            text = f"{say.count(counts[name, other])} · {say.money(money[name, other])}" if counts[name, other] else "0"
            unknown = name == "decline" and other == "approve" and before == "recorded" and counts[name, other]
            shade = 0.0 if name == other or not counts[name, other] else 0.45
            cells.append(Cell(f"{text} · {say('unknown')}" if unknown else text, shade, "muted" if text == "0" else ""))
        rows.append(cells)
    columns = [Column(say(f"matrix.from.{before}"), "text")]
    columns += [Column(say("matrix.to", outcome=say.name("outcome", name or "nothing"))) for name in to]
    return Table(say(f"matrix.{before}"), columns, rows, say("matrix.note"))


def _outcomes(case: Case) -> Table:
    """Outcome and truth of each strategy, in payments and money."""
    say, found = case.say, {(row["strategy"], row["outcome"], row["truth"]): row for row in case.rows["outcomes"]}
    truths = [truth for truth in _TRUTHS if any(key[2] == truth for key in found)]
    rows = []
    for strategy in case.strategies:
        outcomes = [name for name in (*OUTCOMES, "unknown") if any(key[:2] == (strategy, name) for key in found)]
        for outcome in outcomes:
            parts = [found.get((strategy, outcome, truth)) for truth in truths]
            amount = sum(part["amount_minor"] for part in parts if part)
            cells = [Cell(say.count(part["payments"] if part else 0), mark="" if part else "muted") for part in parts]
            head = [Cell(say.name("strategy", strategy)), Cell(say.name("outcome", outcome))]
            count = sum(part["payments"] for part in parts if part)
            rows.append([*head, Cell(say.count(count)), Cell(say.money(amount)), *cells])
    columns = [Column(say("strategy"), "text"), Column(say("outcome"), "text"), Column(say("payments"))]
    columns += [Column(say("amount")), *(Column(say.name("truth", truth)) for truth in truths)]
    return Table(say("outcomes.caption"), columns, rows)


def _open(case: Case) -> Section:
    """What is not known yet, as ranges, and how fast verdicts come."""
    say, rows = case.say, []
    for row in case.rows["ranges"]:
        cells = [say.name("strategy", row["strategy"]), say.name("truth", row["rows"])]
        cells += [say("yes" if row["caught"] else "no"), say.count(row["payments"]), say.money(row["amount_minor"])]
        cells += [say.money(row[name]) for name in ("low_minor", "likely_minor", "high_minor")]
        rows.append([Cell(text) for text in cells])
    titles = ("open.rows", "open.caught"), ("payments", "amount", "open.low", "open.likely", "open.high")
    columns = [Column(say("strategy"), "text"), *(Column(say(name), "text") for name in titles[0])]
    table = Table(say("open.caption"), [*columns, *(Column(say(name)) for name in titles[1])], rows, say("open.note"))
    return Section(
        "open", say("open"), [say("open.text")], figures=backtest_plots.development(case),
        tables=[table, *backtest_arms.holdout(case)],
    )  # fmt: skip


def _typologies(case: Case) -> Section:
    say, found = case.say, {(row["typology"], row["strategy"]): row for row in case.rows["typologies"]}
    rows = []
    for typology in dict.fromkeys(row["typology"] for row in case.rows["typologies"]):
        any_row = next(row for key, row in found.items() if key[0] == typology)
        cells = [Cell(say.name("typology", typology)), Cell(say.count(any_row["frauds"]))]
        cells.append(Cell(say.money(any_row["fraud_minor"])))
        for strategy in case.strategies:
            row = found.get((typology, strategy))
            cells += [Cell(say.count(row["caught"] if row else 0)), Cell(say.money(row["caught_minor"] if row else 0))]
        rows.append(cells)
    columns = [Column(say("typology"), "text"), Column(say("frauds")), Column(say("fraud_money"))]
    for strategy in case.strategies:
        name = say.name("strategy", strategy)
        columns += [Column(say("typology.caught", strategy=name)), Column(say("typology.money", strategy=name))]
    table = Table(say("typologies.caption"), columns, rows)
    return Section("typologies", say("typologies"), figures=backtest_plots.typologies(case), tables=[table])


def _excluded(case: Case) -> Section:
    say, rows = case.say, []
    for row in case.rows["excluded"]:
        cells = (say.name("reason", row["reason"]), say.count(row["payments"]), say.money(row["amount_minor"]))
        rows.append([Cell(text) for text in cells])
    columns = [Column(say("reason"), "text"), Column(say("payments")), Column(say("amount"))]
    return Section("excluded", say("excluded"), [say("excluded.text")], tables=[Table(say("excluded"), columns, rows)])


def _terms(case: Case) -> Section:
    say = case.say
    return Section("terms", say("terms"), terms=[(say(f"term.{name}"), say(f"meaning.{name}")) for name in _TERMS])


def _facts(case: Case, digest: str) -> Section:
    """What the run saw and was asked for."""
    say, facts = case.say, case.facts
    rows: list[tuple[str, str]] = [(say("facts.print"), digest)]
    for side in (facts.current, facts.candidate):
        name = say("strategy.current" if side is facts.current else "strategy.candidate")
        rows.append((say("facts.pack", strategy=name), f"{side.name} {side.hash}"))
        rows += [(say("facts.model", strategy=name), model) for model in side.models]
        rows.append((say("facts.alerts", strategy=name), ", ".join(side.alert_outcomes)))
        rows.append((say("facts.digest", strategy=name), side.digest))
    rows += [(say("facts.log", file=file), digest) for file, digest in facts.log.items()]
    rows += [
        (say("facts.events"), say.count(facts.events)), (say("facts.dead"), say.count(facts.dead_letters)),
        (say("facts.range"), f"{say.time(facts.first_us)} – {say.time(facts.last_us)}"),
        (say("facts.counted"), f"{say.time(facts.counted_from_us)} – {say.time(facts.counted_to_us)}"),
        (say("facts.known"), say.time(facts.as_known_us)), (say("facts.fidelity"), say.share(facts.fidelity, 4)),
        (say("facts.balances"), say("yes" if facts.balances_known else "no")),
        (say("facts.unresolved"), say.share(facts.unresolved, 2)), (say("facts.runs"), say.count(facts.runs)),
        (say("facts.order"), say("facts.order.assumed" if facts.order_assumed else "facts.order.known")),
    ]  # fmt: skip
    rows += [
        (say("facts.maturity", typology=say.name("typology", name or "all")), say.days(us))
        for name, us in facts.maturity_us.items()
    ]
    rows += [
        (say("facts.asked", name=name.removesuffix("_us").replace("_", "-")), _asked(say, name, value))
        for name, value in asdict(facts.asked).items()
    ]
    rows.append((say("facts.seconds"), say.real(facts.seconds, 1)))
    columns = [Column(say("facts.what"), "text"), Column(say("facts.value"), "code")]
    table = Table(say("facts.caption"), columns, [[Cell(name), Cell(value)] for name, value in rows])
    return Section("facts", say("facts"), [say("facts.text")], tables=[table])


def _asked(say: Say, name: str, value: Any) -> str:
    """What was asked for: a time, a span, or as it was typed; what was left to the log is a dash."""
    if value is None or value == "" or (name in _SPANS and not value):
        return NOTHING
    if name.endswith("_us"):
        return say.days(value) if name in _SPANS else say.time(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
