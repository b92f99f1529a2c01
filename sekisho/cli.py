"""The `sekisho` command. Each subcommand is an entry point, loaded when it is asked for."""

from __future__ import annotations

import gc
import sys

import click
from rich.console import Console

from features.refusal import Refusal
from sekisho.entries import Commands
from sekisho.errors import SekishoError


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sekisho")
def sekisho() -> None:
    """Score payments for fraud and risk as they pass; replay the log to prove it."""


def main() -> None:
    """Run the command; 1 for what a user can mend, 2 for wrong usage, 130 for Ctrl-C."""
    gc.set_threshold(10_000)  # what a start makes is kept: to look for cycles at every 700 objects is a sixth of it
    try:
        sekisho(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (Refusal, SekishoError) as error:
        _complain(str(error))
        sys.exit(1)
    except RecursionError:
        _complain(
            "an expression of the pack is nested too deeply\n  fix: use fewer levels, or shorter chains of AND, OR, +"
        )
        sys.exit(1)
    except OSError as error:
        _complain(f"{error.filename or 'a file'}: {error.strerror or error}\n  fix: check the path and who may use it")
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _complain(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, style="red", markup=False, soft_wrap=True)
