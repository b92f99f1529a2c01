"""What a back-test shows on a terminal: the strategies side by side, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from replay.backtest.records import Backtest, Facts
from replay.backtest.sweep import Told
from replay.pages.backtest_answer import warnings
from replay.pages.say import Say

_MOST_CAUSES = 8
_LINES = (  # column of `summary`, in English, in Japanese, what it is
    ("payments", "payments", "取引", "count"),
    ("amount_minor", "  amount", "  金額", "money"),
    ("frauds", "frauds known", "判明した不正", "count"),
    ("fraud_minor", "  amount", "  金額", "money"),
    ("caught", "  alerted", "  検知", "count"),
    ("caught_minor", "  alerted, amount", "  検知金額", "money"),
    ("missed_minor", "  missed, amount", "  見逃し金額", "money"),
    ("net_minor", "  net loss by known frauds", "  判明した不正の純損失", "money"),
    ("prevented_minor", "  prevented, amount", "  阻止金額", "money"),
    ("goods_alerted", "good payments alerted", "正常取引の誤検知", "count"),
    ("false_positive_ratio", "  for each fraud alerted", "  検知した不正1件あたり", "ratio"),
    ("adr", "defrauded customers detected", "被害者の検知率", "share"),
    ("a_fpr", "  good customers for each", "  誤検知した顧客の比", "ratio"),
    ("vdr", "fraud money from first detection on", "初回検知以降の不正金額", "share"),
    ("touched", "customers touched", "影響を受けた顧客", "count"),
    ("alert_groups", "alert groups", "アラート群", "count"),
    ("unknown", "refused then, approved now: unknown", "当時は拒否、今回は承認（真偽不明）", "count"),
    ("unknown_minor", "  amount", "  金額", "money"),
)
_WORDS = {
    "recorded": ("recorded", "記録"), "current": ("current", "現行"), "candidate": ("candidate", "候補"),
    "title": ("back-test", "バックテスト"), "counted": ("counted", "集計期間"), "known": ("as known on", "基準日"),
    "changed": ("{:,} payments change their outcome", "{:,}件の取引で判定が変わります"),
    "causes": ("because of", "原因"), "flips": ("payments", "取引"), "amount": ("amount", "金額"),
    "found": ("frauds found / lost", "不正の検知 増 / 減"), "good": ("good hit / freed", "誤検知 増 / 減"),
    "not": ("not counted", "集計対象外"), "more": ("... and {} more", "... ほか{}件"),
    "attempts": ("the same with every attempt counted", "全ての試行を数えた場合"),
    "arms": ("challenger, {}: net fraud per million attempted", "チャレンジャー（{}）：100万あたりの不正純損失"),
    "no_interval": ("no interval", "区間なし"),
    "holdout": ("refused payments that CANDIDATE does not stop hold, by the hold-out, fraud of",
                "候補が止めない当時拒否の取引に潜む不正（通過標本による推定、95％区間）"),
    "out_of_range": ("{:,} payments have no probability in {}: it is not between 0 and 1; they are left out",
                     "{1}が0～1の範囲にない取引が{0:,}件あります。推定から除きました"),
    "uncovered": ("not covered", "推定対象外"),
    "range": ("immature payments may hide", "未成熟の取引に潜む不正（5〜95％）"),
}  # fmt: skip


@contextmanager
def watched(console: Console) -> Iterator[Told]:
    """A progress bar with the time left, while a back-test lasts."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("replaying", total=1.0)
        yield lambda read, events: bar.update(task, completed=read, description=f"{events:,} events")


def show(result: Backtest, console: Console, lang: str = "en") -> None:
    """Print the summary of a back-test."""
    at, facts = int(lang == "ja"), result.facts
    say = Say(lang, facts.currency, facts.exponent, facts.asked.zone)
    for warning in warnings(say, facts):
        console.print(f"! {warning}", style="yellow")
    _sides(result, "summary", _title(facts, at), console, at)
    if result.tables["attempts"].num_rows:
        _sides(result, "attempts", _WORDS["attempts"][at], console, at)
    _ranges(result, console, at)
    _arms(result, console, at)
    _holdout(result, console, at)
    _causes(result, console, at)
    for row in result.tables["excluded"].to_pylist():
        console.print(f"{_WORDS['not'][at]}: {row['payments']:,} {say.name('reason', row['reason'])}", style="dim")


def _sides(result: Backtest, name: str, title: str, console: Console, at: int) -> None:
    """The strategies beside each other; measures that no strategy has are left out."""
    rows = {row["strategy"]: row for row in result.tables[name].to_pylist()}
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(overflow="fold")  # Japanese has no spaces to break at
    for strategy in rows:
        table.add_column(_WORDS[strategy][at], justify="right")
    for column, *names, what in _LINES:
        values = [row[column] for row in rows.values()]
        if any(value not in (None, 0) for value in values) or column in ("frauds", "payments"):
            table.add_row(names[at], *(_text(value, what, result.facts) for value in values))
    console.print(table)


def _title(facts: Facts, at: int) -> str:
    span = f"{_day(facts.counted_from_us)} - {_day(facts.counted_to_us)}"
    known = f"{_WORDS['known'][at]} {_day(facts.as_known_us)}"
    return (
        f"{_WORDS['title'][at]}: {facts.current.name} / {facts.candidate.name}, {_WORDS['counted'][at]} {span}, {known}"
    )


def _day(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d")


def _text(value: Any, what: str, facts: Facts) -> str:
    if value is None:
        return "-"
    return {
        "money": lambda: money(value, facts),
        "share": lambda: f"{value:.1%}",
        "ratio": lambda: f"{value:.1f}:1",
    }.get(what, lambda: f"{value:,}")()


def money(minor: int, facts: Facts) -> str:
    """An amount with its currency."""
    return f"{minor / 10**facts.exponent:,.{facts.exponent}f} {facts.currency}".rstrip()


def _ranges(result: Backtest, console: Console, at: int) -> None:
    for row in result.tables["ranges"].to_pylist():
        if row["rows"] == "immature" and row["strategy"] == "candidate" and not row["caught"] and row["high_minor"]:
            low, high = (money(row[name], result.facts) for name in ("low_minor", "high_minor"))
            console.print(f"{_WORDS['range'][at]}: {low} - {high} ({row['payments']:,})", style="dim")


def _arms(result: Backtest, console: Console, at: int) -> None:
    """What a challenger costs, beside its champion, as replayed."""
    values = {
        (row["strategy"], row["challenger"], row["arm"]): row["net_per_million"]
        for row in result.tables["arms"].to_pylist()
        if row["outcomes"] == "replayed"
    }
    for row in result.tables["arm_differences"].to_pylist():
        if row["outcomes"] == "replayed" and row["measure"] == "net_per_million" and row["difference"] is not None:
            who = row["strategy"], row["challenger"]
            ends = " - ".join(f"{values[(*who, arm)]:,.1f}" for arm in ("challenger", "champion"))
            sure = (
                _WORDS["no_interval"][at] if row["low"] is None else f"95 %: {row['low']:+,.1f} - {row['high']:+,.1f}"
            )
            title = _WORDS["arms"][at].format(f"{_WORDS[who[0]][at]} {who[1]}")
            console.print(f"{title}: {ends} = {row['difference']:+,.1f} ({sure})", style="dim")


def _holdout(result: Backtest, console: Console, at: int) -> None:
    """What a hold-out says of refused payments that CANDIDATE does not stop."""
    for row in result.tables["propensities"].to_pylist():
        if row["use"] == "out_of_range":
            said = _WORDS["out_of_range"][at].format(row["payments"], result.facts.asked.propensity)
            console.print(f"! {said}", style="yellow")
    for row in result.tables["holdout"].to_pylist():
        if row["strategy"] == "candidate" and row["fraud_minor"] is not None:
            names = ("fraud_minor", "fraud_minor_low", "fraud_minor_high")
            told, low, high = ("-" if row[name] is None else money(row[name], result.facts) for name in names)
            left = f"{_WORDS['uncovered'][at]}: {row['unknown'] - row['covered']:,}"
            console.print(f"{_WORDS['holdout'][at]}: {told} (95 %: {low} - {high}; {left})", style="dim")


def _causes(result: Backtest, console: Console, at: int) -> None:
    rows = result.tables["causes"].to_pylist()
    console.print("\n" + _WORDS["changed"][at].format(sum(row["flips"] for row in rows)), style="bold")
    if not rows:
        return
    table = Table(show_edge=False)
    table.add_column(_WORDS["causes"][at], overflow="fold", ratio=1)
    for title in ("flips", "amount", "found", "good"):
        table.add_column(_WORDS[title][at], justify="right")
    for row in rows[:_MOST_CAUSES]:
        frauds = f"{row['fraud_found']:,} / {row['fraud_lost']:,}"
        goods = f"{row['good_hit']:,} / {row['good_freed']:,}"
        amount = money(row["amount_minor"], result.facts)
        table.add_row(row["restoring"] or row["cause"], f"{row['flips']:,}", amount, frauds, goods)
    console.print(table)
    if len(rows) > _MOST_CAUSES:
        console.print(_WORDS["more"][at].format(len(rows) - _MOST_CAUSES), style="dim")
