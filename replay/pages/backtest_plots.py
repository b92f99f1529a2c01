"""The parts of a back-test's page that are read from a plot: delays, thresholds, budget, days and hours, drift."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from itertools import accumulate

from models.drift import LARGE, SOME
from replay.backtest.records import SIDES
from replay.pages.backtest_answer import Case, Row
from replay.pages.blocks import Cell, Column, Figure, Section, Table
from replay.pages.plots import Bar, Series, bars, lines

_STEP = 25  # of the score, in the table of thresholds
_DRIFTS = 30
_BARS = 10
_AGES = (0, 7, 14, 30, 60, 90, 180)  # days


def development(case: Case) -> list[Figure]:
    """How many of the verdicts are in by an age, over all and for the two typologies with the most verdicts."""
    say, found = case.say, defaultdict[str, list[Row]](list)
    for row in case.rows["development"]:
        found[row["typology"]].append(row)
    if not found:
        return []
    most = sorted((name for name in found if name), key=lambda name: -found[name][0]["frauds"])
    names = [name for name in ("", *most) if name in found][:3]
    title = say("development")
    shown = dict(zip(("candidate", "current", "recorded"), names, strict=False))
    series = [
        Series(kind, say.name("typology", name or "all"), [(row["age_days"], row["reported"]) for row in found[name]])
        for kind, name in shown.items()
    ]
    data = [
        [Cell(say.name("typology", name or "all")), *(Cell(text) for text in _delays(case, rows))]
        for name, rows in found.items()
    ]
    columns = [Column(say("typology"), "text"), Column(say("frauds"))]
    columns += [Column(say("development.by", n=n)) for n in _AGES[1:]]
    oldest = max(row["age_days"] for rows in found.values() for row in rows)
    ages = [age for age in _AGES if age <= oldest]
    svg = lines(title, say("development.about"), series, say("development.days"), say.share0, say.count, ages)
    return [Figure(title, svg, Table(title, columns, data))]


def _delays(case: Case, rows: Sequence[Row]) -> list[str]:
    known = [max((row["reported"] for row in rows if row["age_days"] <= n), default=0.0) for n in _AGES[1:]]
    return [case.say.count(rows[0]["frauds"]), *(case.say.share(share) for share in known)]


def typologies(case: Case) -> list[Figure]:
    """Fraud money that alerts, by typology."""
    say, groups = case.say, defaultdict[str, list[Bar]](list)
    found = {(row["typology"], row["strategy"]): row["caught_minor"] for row in case.rows["typologies"]}
    for typology in dict.fromkeys(typology for typology, _ in found):
        for strategy in case.strategies:
            groups[typology].append(Bar(strategy, found.get((typology, strategy), 0)))
    if not groups:
        return []
    title = say("typologies.figure")
    names = {strategy: say.name("strategy", strategy) for strategy in case.strategies}
    shown = [(say.name("typology", typology), bars_) for typology, bars_ in groups.items()]
    data = [[Cell(name), *(Cell(say.money(bar.value)) for bar in group)] for name, group in shown]
    table = Table(title, [Column(say("typology"), "text"), *(Column(name) for name in names.values())], data)
    return [Figure(title, bars(title, say("typologies.about"), shown, names, say.short), table)]


def thresholds(case: Case) -> Section:
    """What alerting on the score alone would find and cost, for every score."""
    say, rows = case.say, {strategy: case.of("thresholds", strategy) for strategy in SIDES}
    if not any(rows.values()):
        return Section("thresholds", say("thresholds"), [say("thresholds.none")])
    figures = [_threshold_figure(case, rows, "value_recall"), _threshold_figure(case, rows, "alerts")]
    data = []
    for strategy, found in rows.items():
        for row in found:
            if row["score"] % _STEP == 0:
                texts = [say.count(row["score"]), say.name("strategy", strategy), say.count(row["alerts"])]
                texts += [say.count(row["frauds"]), say.share(row["recall"]), say.money(row["fraud_minor"])]
                texts += [say.share(row["value_recall"]), say.ratio(row["false_positive_ratio"])]
                data.append([Cell(text) for text in texts])
    columns = [Column(say("score")), Column(say("strategy"), "text")]
    names = ("thresholds.alerts", "frauds", "thresholds.recall", "fraud_money", "thresholds.value_recall")
    columns += [Column(say(name)) for name in (*names, "rule.ratio")]
    table = Table(say("thresholds.caption"), columns, data)
    return Section(
        "thresholds", say("thresholds"), [say("thresholds.text")], figures=figures, tables=[table], folded=True
    )


def _threshold_figure(case: Case, rows: dict[str, list[Row]], column: str) -> Figure:
    say, title = case.say, case.say(f"thresholds.{column}")
    series = [
        Series(strategy, say.name("strategy", strategy), [(row["score"], row[column] or 0) for row in found][::2])
        for strategy, found in rows.items()
    ]
    text = say.share0 if column == "value_recall" else say.short_count
    svg = lines(title, say("thresholds.about"), series, say("score"), text, say.count, _hundreds(rows))
    scores = sorted({row["score"] for found in rows.values() for row in found if row["score"] % (2 * _STEP) == 0})
    by = {(strategy, row["score"]): row[column] for strategy, found in rows.items() for row in found}
    exact = say.share if column == "value_recall" else say.count
    data = [[Cell(say.count(score)), *(Cell(exact(by.get((side, score)))) for side in SIDES)] for score in scores]
    columns = [Column(say("score")), *(Column(say.name("strategy", side)) for side in SIDES)]
    return Figure(title, svg, Table(title, columns, data))


def _hundreds(rows: dict[str, list[Row]]) -> list[int]:
    scores = [row["score"] for found in rows.values() for row in found]
    return [score for score in range(0, 1000, 100) if min(scores) <= score <= max(scores)]


def budget(case: Case) -> Section:
    """What a fixed number of alerts a day finds, with a threshold from the past; and the literature's measure."""
    say, asked = case.say, case.facts.asked
    if not case.rows["budget"]:
        return Section("budget", say("budget"), [say("budget.none")])
    texts = [say("budget.text", n=say.count(asked.budget))]
    return Section(
        "budget", say("budget"), texts, figures=_budget_figure(case), tables=[_budget_table(case), _hindsight(case)],
    )  # fmt: skip


def _budget_table(case: Case) -> Table:
    say, rows = case.say, {strategy: case.of("budget", strategy) for strategy in SIDES}

    def total(strategy: str, column: str) -> int | None:
        values = [row[column] for row in rows[strategy] if row[column] is not None]
        return sum(values) if values else None

    counts = ("alerts", "worked", "expired", "frauds", "night")
    table = [[Cell(say("budget.days")), *(Cell(say.count(_fitted(rows[side]))) for side in SIDES)]]
    table += [[Cell(say(f"budget.{name}")), *(Cell(say.count(total(s, name))) for s in SIDES)] for name in counts]
    for name in ("fraud_minor", "recoverable_alert_minor", "recoverable_turn_minor"):
        texts = [say.money(value) if (value := total(s, name)) is not None else say("unknown") for s in SIDES]
        table.append([Cell(say(f"budget.{name}")), *(Cell(text) for text in texts)])
    columns = [Column(say("measure"), "text"), *(Column(say.name("strategy", side)) for side in SIDES)]
    return Table(say("budget.caption"), columns, table, say("budget.note"))


def _fitted(rows: Sequence[Row]) -> int:
    return sum(row["threshold"] is not None for row in rows)


def _budget_figure(case: Case) -> list[Figure]:
    say, title = case.say, case.say("budget.figure")
    sums = {side: list(accumulate(row["fraud_minor"] or 0 for row in case.of("budget", side))) for side in SIDES}
    days = [row["day"] for row in case.of("budget", "candidate")]
    if not days or not any(any(values) for values in sums.values()):
        return []
    series = [Series(side, say.name("strategy", side), list(enumerate(values))) for side, values in sums.items()]
    svg = lines(title, say("budget.about"), series, say("day"), say.short, _day_of(days))
    rows = [
        [Cell(day), *(Cell(say.money(at)) for at in parts)] for day, *parts in zip(days, *sums.values(), strict=False)
    ]
    columns = [Column(say("day"), "text"), *(Column(say.name("strategy", side)) for side in SIDES)]
    return [Figure(title, svg, Table(title, columns, rows))]


def _day_of(days: Sequence[str]) -> Callable[[float], str]:
    """The month and day at a place of an axis of days."""
    return lambda place: days[min(round(place), len(days) - 1)][5:]


def _hindsight(case: Case) -> Table:
    say, rows = case.say, []
    for side in SIDES:
        found = case.of("hindsight", side)
        texts = [say.name("strategy", side), say.count(len(found))]
        for column in ("precision", "entity_precision", "ceiling"):
            values = [row[column] for row in found if row[column] is not None]
            texts.append(say.share(sum(values) / len(values)) if values else "–")
        rows.append([Cell(text) for text in texts])
    columns = [Column(say("strategy"), "text"), Column(say("hindsight.days"))]
    columns += [Column(say(f"hindsight.{name}")) for name in ("precision", "entity_precision", "ceiling")]
    return Table(say("hindsight.caption"), columns, rows, say("hindsight.note"))


def hours(case: Case) -> Section:
    """Alerts by day, by hour, and by weekday and hour."""
    say, rows = case.say, case.rows["hours"]
    if not rows:
        return Section("hours", say("hours"), [say("none")])
    days = sorted({row["day"] for row in rows})
    by_day, by_hour = defaultdict[tuple[str, str], int](int), defaultdict[tuple[str, int], int](int)
    for row in rows:
        by_day[row["strategy"], row["day"]] += row["alerted"]
        by_hour[row["strategy"], row["hour"]] += row["alerted"]
    sides = case.strategies
    columns = [Column(say.name("strategy", side)) for side in sides]
    daily = [Series(s, say.name("strategy", s), [(k, by_day[s, day]) for k, day in enumerate(days)]) for s in sides]
    hourly = [Series(s, say.name("strategy", s), [(hour, by_hour[s, hour]) for hour in range(24)]) for s in sides]
    first, second = say("hours.by_day"), say("hours.by_hour")
    day_rows = [[Cell(day), *(Cell(say.count(by_day[s, day])) for s in sides)] for day in days]
    hour_rows = [[Cell(f"{hour}:00"), *(Cell(say.count(by_hour[s, hour])) for s in sides)] for hour in range(24)]
    about, zone = say("hours.about"), case.facts.asked.zone
    figures = [
        Figure(
            first,
            lines(first, about, daily, say("day"), say.short_count, _day_of(days)),
            Table(first, [Column(say("day"), "text"), *columns], day_rows),
        ),
        Figure(
            second,
            lines(second, about, hourly, say("hour", zone=zone), say.short_count, say.count, (0, 6, 12, 18, 23)),
            Table(second, [Column(say("hour", zone=zone), "text"), *columns], hour_rows),
        ),
    ]
    return Section("hours", say("hours"), figures=figures, tables=[_week(case)])


def _week(case: Case) -> Table:
    """CANDIDATE's alerts, a weekday a row and an hour a column."""
    say, cells = case.say, defaultdict[tuple[int, int], int](int)
    for row in case.of("hours", "candidate"):
        cells[date.fromisoformat(row["day"]).weekday(), row["hour"]] += row["alerted"]
    top = max(cells.values(), default=0) or 1
    rows = [
        [
            Cell(say(f"weekday.{day}")),
            *(Cell(say.count(cells[day, hour]), cells[day, hour] / top) for hour in range(24)),
        ]
        for day in range(7)
    ]
    columns = [Column(say("weekday"), "text"), *(Column(str(hour)) for hour in range(24))]
    return Table(say("hours.week"), columns, rows, say("hours.note"), square=True)


def drift(case: Case) -> Section:
    """Whether what CANDIDATE reads looks as it did in the baseline."""
    say, found = case.say, sorted(case.rows["drift"], key=lambda row: -(row["psi"] or 0))
    if not found:
        return Section("drift", say("drift"), [say("drift.none")])
    rows = []
    for row in found[:_DRIFTS]:
        texts = [row["column"], say(f"drift.{size_of(row['psi'])}"), say.real(row["psi"]), say.real(row["expected"], 4)]
        texts += [say.count(row["baseline_rows"]), say.count(row["rows"])]
        texts += [say.share(row["null_share_before"]), say.share(row["null_share"])]
        rows.append([Cell(text) for text in texts])
    columns = [Column(say("drift.column"), "code"), Column(say("drift.size"), "text")]
    names = ("psi", "expected", "baseline_rows", "rows", "null_before", "null")
    columns += [Column(say(f"drift.{name}")) for name in names]
    title = say("drift.figure")
    groups = [(row["column"], [Bar("candidate", row["psi"] or 0)]) for row in found[:_BARS]]
    data = [[Cell(row["column"]), Cell(say.real(row["psi"]))] for row in found[:_BARS]]
    figure = Figure(
        title, bars(title, say("drift.about"), groups, {}, say.real),
        Table(title, [Column(say("drift.column"), "code"), Column(say("drift.psi"))], data),
    )  # fmt: skip
    table = Table(say("drift.caption", n=say.count(len(rows)), all=say.count(len(found))), columns, rows)
    tables = [table, *_card_drift(case)]
    return Section("drift", say("drift"), [say("drift.text")], figures=[figure], tables=tables)


def _card_drift(case: Case) -> list[Table]:
    """The same against the cards of CANDIDATE's models, where they have a reference."""
    say, found, rows = case.say, case.rows["card_drift"], []
    for row in found[:_DRIFTS]:
        texts = [
            row["column"],
            say(f"drift.{size_of(row['psi'])}"),
            say.real(row["psi"]),
            say.real(row["by_chance"], 4),
        ]
        rows.append([Cell(text) for text in [*texts, say.count(row["values"]), row["model"]]])
    columns = [Column(say("drift.column"), "code"), Column(say("drift.size"), "text")]
    columns += [Column(say(f"drift.{name}")) for name in ("psi", "expected", "rows")]
    columns.append(Column(say("reasons.model"), "text"))
    caption = say("drift.card", n=say.count(len(rows)), all=say.count(len(found)))
    return [Table(caption, columns, rows, say("drift.card.note"))] if rows else []


def size_of(psi: float | None) -> str:
    """A shift in a word, by custom."""
    return "large" if (psi or 0) > LARGE else "some" if (psi or 0) > SOME else "small"
