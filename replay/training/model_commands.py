"""`sekisho model`: what people ask of a model that has been trained."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.group()
def model() -> None:
    """Ask about a trained model."""


@model.command()
@click.argument("file", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="The page's file, a .html.")
@click.option("--lang", type=click.Choice(("en", "ja")), default="en", show_default=True, help="Of the page.")
@click.option(
    "--seeds", type=click.IntRange(0, 20), default=2, show_default=True,
    help="How many other seeds train it again, to see what of its ranking is chance.",
)  # fmt: skip
def dossier(file: Path, out: Path, lang: str, seeds: int) -> None:
    """Make the model FILE (a .txt) again from its card, and write one page for those who review its risk.

    Begin it in the folder where the model was trained: the card's command names pack and log as they were typed.
    Where anything comes out otherwise, the page and the terminal name it, and the exit status is 1.
    """
    from rich.console import Console

    from replay.outputs import check_outputs
    from replay.pages.dossier_page import dossier_page
    from replay.training.again import card_of, make_again
    from sekisho.errors import SekishoError

    if out.suffix != ".html" or not out.parent.is_dir():
        raise SekishoError(f"{out}: a page cannot be written here", "name a .html file in a folder that is there")
    check_outputs([file], [out])
    console, card = Console(highlight=False), card_of(file)
    made, found = make_again(card, file.read_bytes(), console, seeds)
    out.write_text(dossier_page(made, card, found, lang), "utf-8")
    if not found:
        console.print(f"MATCH: the model and every figure of its card\n  Look at it: {out}")
        return
    first = found[0]
    raise SekishoError(
        f"DIFFERS: {first.name} is {first.on_file} on file and {first.again} now; {len(found)} differences in {out}",
        "compare pack, log and LightGBM's version first: the card says which they were",
    )
