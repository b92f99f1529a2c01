"""`sekisho pack`: check a pack, and write its SQL for others to run. The rest are entry points of other rooms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sekisho.entries import Commands

if TYPE_CHECKING:
    from datetime import date

_PACK = click.argument("pack", type=click.Path(path_type=Path))


@click.group(cls=Commands, entries="sekisho.commands.pack")
def pack() -> None:
    """Draft, check and publish packs: folders of features, rules, lists and models."""


@pack.command()
@_PACK
def check(pack: Path) -> None:
    """Validate all of PACK, try its rules' examples, and print what it holds."""
    from rich.console import Console

    from sekisho.check import check_pack
    from sekisho.summary import render_summary

    summary = check_pack(pack)
    render_summary(summary, Console(), today(summary.pack.policy.default_zone))


def today(zone: str) -> date:
    """The day that it is where a bank is, by this machine's clock: for commands, never for what decides."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    return datetime.now(ZoneInfo(zone)).date()


@pack.command()
@_PACK
@click.option("--as-of", "as_of", is_flag=True, help="Write the self-join on arrival order, true of late events too.")
@click.option("--dialect", help="Write the SQL of bigquery, databricks, postgres, snowflake, spark or trino.")
def sql(pack: Path, as_of: bool, dialect: str | None) -> None:
    """Write PACK's features.sql for DuckDB or another warehouse to run."""
    from features.sql import as_of_sql, transpile_sql
    from sekisho.load import load_pack

    loaded = load_pack(pack)
    text = as_of_sql(loaded.query.sql, loaded.schema) if as_of else loaded.query.sql
    sys.stdout.write((transpile_sql(text, dialect) if dialect else text).rstrip() + "\n")
