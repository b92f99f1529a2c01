"""What `sekisho pack new` prints: what each column was taken for and why, what is unsure, and what to do next."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from replay.drafting.draft import Draft
from replay.drafting.texts import conditions


def show_draft(draft: Draft, console: Console) -> None:
    """Print a draft."""
    sample, meaning = draft.sample, draft.meaning
    rows = f"{sample.rows:,} events" if sample.whole else f"the first {sample.rows:,} events"
    console.print(Text.assemble((draft.summary.name, "bold"), f"  drafted from {rows} of {sample.path.name}", ("", "")))
    console.print(_columns(draft))
    if meaning.payer:
        console.print(_rules(draft))
    console.print(f"{len(draft.summary.features)} features: counts and sums by {_listed(draft)}.")
    for doubt in meaning.doubts:
        place = f"{draft.folder}/pack.toml:{draft.line(doubt)}"
        console.print(
            Text.assemble(("\n? ", "yellow"), doubt.what, f"\n  {place}", (f"  {doubt.fix}", "dim")), soft_wrap=True
        )
    console.print(
        Text.assemble(("\n✓ ", "green"), f"{draft.folder} is a pack: it loads, and its rules' examples come out.")
    )
    _next(draft, console)


def _columns(draft: Draft) -> Table:
    table = Table("column", "field", "type", "because", box=SIMPLE_HEAD, header_style="dim", padding=(0, 1))
    doubted = {doubt.line for doubt in draft.meaning.doubts}
    for guess in draft.meaning.guesses:
        unsure = Text(" ?", "yellow") if guess.name and guess.name in doubted else Text("")
        name = Text(guess.name or "-", "cyan" if guess.name else "dim").append_text(unsure)
        kind = " ".join([guess.type, *_said(guess.options)])
        table.add_row(Text(guess.source), name, kind, Text(guess.why, "dim"))
    return table


def _said(options: object) -> list[str]:
    given = dict(options) if isinstance(options, dict) else {}
    words = [str(given[key]) for key in ("currency", "encoding", "scale") if key in given]
    return [*words, " ".join(given["currencies"][:4])] if "currencies" in given else words


def _rules(draft: Draft) -> Table:
    table = Table("rule", "when", "hits in the sample", box=SIMPLE_HEAD, header_style="dim", padding=(0, 1))
    shadows = {rule.id for rule in draft.summary.pack.rules.shadows}
    for id, when in conditions(draft.meaning, draft.limits).items():
        outcome = Text(" shadow", "dim") if id in shadows else Text(" review", "yellow")
        share = f"{draft.hits[id]:,} of {draft.payments:,}"
        table.add_row(Text(id, "cyan").append_text(outcome), Text(when, "dim"), share)
    return table


def _listed(draft: Draft) -> str:
    names = draft.meaning.entities or ("nothing",)
    return ", ".join(names)


def _next(draft: Draft, console: Console) -> None:
    folder, file, label = draft.folder, draft.sample.path, draft.meaning.label
    commands = [f"sekisho pack check {folder}", f"sekisho replay run {folder} {file} --out decisions.jsonl"]
    if label:
        commands.append(
            f"sekisho replay backtest {folder} CHANGED {file} --label-column {_quoted(label)} --report out.html"
        )
    console.print("\nNext:")
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


def _quoted(word: str) -> str:
    return word if word.isidentifier() else f"'{word}'"
