"""Champion against challenger: the arms beside each other, and how sure their difference is."""

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
    return [Section("arms", case.say("arms"), [case.say("arms.text")], tables=tables)]


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
        texts += [say.count(row["goods"]), say.count(row["goods_touched"]), *_unknown(case, row)]
        rows.append([Cell(text) for text in [*texts, say.share(row["fidelity"], 2)]])
    columns = [Column(say("arm.trial"), "text"), Column(say("arm"), "text"), *_numbers(case)]
    return Table(say("arms.caption"), columns, rows, say("arms.note"))


def _numbers(case: Case) -> Sequence[Column]:
    names = ("arm.share", "payments", "arm.entities", "arm.attempted", "frauds", "arm.net", "arm.goods", "arm.touched",
             "unknown", "arm.fidelity")  # fmt: skip
    return [Column(case.say(name)) for name in names]


def _unknown(case: Case, row: Row) -> list[str]:
    """What was refused in history and would not be stopped; of what was recorded, nothing is."""
    if row["outcomes"] == "recorded":
        return [NOTHING]
    say = case.say
    return [say("fact.unknown.value", n=say.count(row["unknown"]), money=say.money(row["unknown_minor"]))]
