"""What was drawn at random: champion against challenger, and what a hold-out tells of refused payments."""

from __future__ import annotations

from collections.abc import Sequence

from replay.pages.backtest_answer import Case, Row
from replay.pages.blocks import Cell, Column, Section, Table
from replay.pages.say import NOTHING

_TRIAL = ("strategy", "outcomes", "champion", "challenger")


def arms(case: Case) -> list[Section]:
    """One section where a pack has a challenger, else none."""
    if not case.rows["arms"]:
        return []
    tables = [_differences(case), _arms(case)]
    texts = [case.say("arms.text"), case.say("arms.challenge", share=case.say.share(case.facts.asked.pass_fraud))]
    return [Section("arms", case.say("arms"), texts, tables=tables)]


def _trial(case: Case, row: Row) -> str:
    """Whose arms, and by which outcomes."""
    say = case.say
    return f"{say.name('strategy', row['strategy'])}: {row['champion']} / {row['challenger']}, " + say.name(
        "outcomes", row["outcomes"]
    )


def _differences(case: Case) -> Table:
    say, rows = case.say, []
    ends = {tuple(row[name] for name in (*_TRIAL, "arm")): row for row in case.rows["arms"]}
    for row in case.rows["arm_differences"]:
        trial, measure = tuple(row[name] for name in _TRIAL), row["measure"]
        values = [ends.get((*trial, arm), {}).get(measure) for arm in ("champion", "challenger")]
        texts = [say(f"arm.{measure}"), *(_value(case, measure, value) for value in values)]
        texts += [_value(case, measure, row[name], signed=True) for name in ("difference", "low", "high")]
        rows.append([Cell(_trial(case, row)), *(Cell(text) for text in texts)])
    names = ("arm.champion", "arm.challenger", "arm.difference", "arm.low", "arm.high")
    columns = [Column(say("arm.trial"), "text"), Column(say("measure"), "text"), *(Column(say(name)) for name in names)]
    return Table(say("arms.differences"), columns, rows, say("arms.differences.note"))


def _value(case: Case, measure: str, value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return NOTHING
    sign = "" if not signed else "+" if value > 0 else "−" if value < 0 else "±"
    shown = abs(value) if signed else value
    return sign + (case.say.real(shown, 1) if measure == "net_per_million" else case.say.share(shown, 2))


def _arms(case: Case) -> Table:
    say, rows = case.say, []
    for row in case.rows["arms"]:
        texts = [_trial(case, row), say.name("arm", row["arm"]), say.share(row["share"])]
        texts += [say.count(row["payments"]), say.count(row["entities"]), say.money(row["attempted_minor"])]
        texts += [say.count(row["frauds"]), say.money(row["net_minor"])]
        texts += [
            say.count(row["goods"]),
            say.count(row["goods_touched"]),
            NOTHING if row["outcomes"] == "recorded" else _amount(case, row, "unknown"),
        ]
        rows.append([Cell(text) for text in [*texts, say.share(row["fidelity"], 2)]])
    columns = [Column(say("arm.trial"), "text"), Column(say("arm"), "text"), *_numbers(case)]
    return Table(say("arms.caption"), columns, rows, say("arms.note"))


def _numbers(case: Case) -> Sequence[Column]:
    names = ("arm.share", "payments", "arm.entities", "arm.attempted", "frauds", "arm.net", "arm.goods", "arm.touched",
             "unknown", "arm.fidelity")  # fmt: skip
    return [Column(case.say(name)) for name in names]


def holdout(case: Case) -> list[Table]:
    """The estimates of what refused payments hold, and what they rest on; none where no propensity was named."""
    if not case.rows["holdout"]:
        return []
    say, rows = case.say, []
    for row in case.rows["holdout"]:
        frauds = say.span_of(say.count, row["frauds_low"], row["frauds_high"])
        money = say.span(row["fraud_minor_low"], row["fraud_minor_high"])
        texts = [say.name("strategy", row["strategy"]), _amount(case, row, "unknown"), _amount(case, row, "covered")]
        texts += [say.count(row["let_through"]), say.count(row["let_through_frauds"])]
        texts += [say.real(row["effective_size"], 1), say.share(row["fraud_rate"], 2)]
        texts += [say.count(row["frauds"]), frauds, say.money(row["fraud_minor"]), money]
        rows.append([Cell(text) for text in texts])
    names = ("unknown", "holdout.covered", "holdout.let_through", "frauds", "holdout.size", "holdout.rate",
             "holdout.frauds", "holdout.interval", "holdout.money", "holdout.interval")  # fmt: skip
    columns = [Column(say("strategy"), "text"), *(Column(say(name)) for name in names)]
    return [Table(say("holdout"), columns, rows, say("holdout.note")), _propensities(case)]


def _amount(case: Case, row: Row, name: str) -> str:
    return case.say("fact.unknown.value", n=case.say.count(row[name]), money=case.say.money(row[f"{name}_minor"]))


def _propensities(case: Case) -> Table:
    say, rows = case.say, []
    for row in case.rows["propensities"]:
        texts = (say.name("use", row["use"]), say.count(row["payments"]), say.money(row["amount_minor"]))
        rows.append([Cell(text) for text in texts])
    columns = [Column(say("use"), "text"), Column(say("payments")), Column(say("amount"))]
    return Table(say("propensities", field=case.facts.asked.propensity), columns, rows)
