"""What the README and the pages of docs/ show can be typed: commands, options, make targets and modules that exist."""

import importlib.util
import re
from pathlib import Path

import click
import pytest

from sekisho.cli import sekisho

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHOWN = re.compile(r"(?:^\$ |`|^)((?:sekisho|make|python -m) [^`\n]*)", re.MULTILINE)
COMMANDS = sorted(
    {(page.name, shown.strip()) for page in PAGES for shown in SHOWN.findall(page.read_text("utf-8")) if shown.strip()}
)


def test_many_commands_are_found():
    """The search finds them, in most pages."""
    assert len(COMMANDS) > 60
    assert len({page for page, _ in COMMANDS}) > 8


@pytest.mark.parametrize(("page", "shown"), COMMANDS)
def test_a_command_that_is_shown_exists(page, shown):
    """Each word down to the command, each option of it, each target and module."""
    words = shown.partition("#")[0].split()
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    elif words[0] == "python":
        assert importlib.util.find_spec(words[2])
    else:
        _typed(words[1:])


def _typed(words):
    command, context = sekisho, click.Context(sekisho)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name, *words = words
        command = command.get_command(context, name.rstrip(".,"))
        assert command is not None, name
    options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    asked = {option for word in words for option in re.findall(r"--[a-z][a-z0-9-]*", word)}
    assert asked <= options
