"""`sekisho replay diff`: two files of decisions, or two packs."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path, exists=True)


@click.command("diff")
@click.argument("a", type=_PATH)
@click.argument("b", type=_PATH)
def diff_command(a: Path, b: Path) -> None:
    """Compare two files of decisions (of `replay run --out`), or two packs. Ends with 1 where they differ."""
    import sys

    from replay.diff import diff_decisions, diff_packs

    if a.is_dir() != b.is_dir():
        raise click.UsageError("give two files of decisions, or two folders of packs")
    lines = diff_packs(a, b) if a.is_dir() else diff_decisions(a, b)
    click.echo("\n".join(lines) or "SAME")
    sys.exit(1 if lines else 0)
