"""What a model's scores stand for beside its champion's, as it is told when a model is trained or published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.card import Thresholds

if TYPE_CHECKING:
    from rich.console import Console


def show_thresholds(thresholds: Thresholds, console: Console) -> None:
    """A row a score of the champion: where this model alerts as often, and where its risk is the same."""
    from rich.table import Table

    title = f"thresholds beside the champion's, model {thresholds.champion[:12]}"
    table = Table("champion's score", "equal alert rate", "equal risk", title=title, title_justify="left",
                  title_style="bold")  # fmt: skip
    for column in table.columns:
        column.justify = "right"
    for row in thresholds.rows:
        table.add_row(*map(str, row))
    console.print(table)
