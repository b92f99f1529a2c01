"""`sekisho pack new`."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=_PATH)
@click.argument("sample", type=_PATH)
@click.option("--currency", default="", help="The currency of the amounts, where the sample does not say it: JPY.")
@click.option("--owner", default="fraud-team", show_default=True, help="Who answers for the pack and its rules.")
def new(folder: Path, sample: Path, currency: str, owner: str) -> None:
    """Draft a pack in FOLDER from SAMPLE: some days of your own events, as .parquet, .csv or .jsonl.

    What each column means is inferred from its name and its cells; first features and rules are proposed, and nothing
    that declines. What is unsure is said, with the line to change.
    """
    from rich.console import Console

    from replay.drafting.draft import draft_pack
    from replay.drafting.view import show_draft
    from sekisho.pack_toml import EXPONENTS

    if currency and currency not in EXPONENTS:
        raise click.UsageError(f"--currency: {currency!r} is no currency; write its ISO 4217 code, as JPY")
    show_draft(draft_pack(folder, sample, owner, currency), Console(highlight=False))
