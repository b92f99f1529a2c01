"""docs/tutorial.md is true: every command in it runs, in its order, and gives what the text says."""

import re
import runpy
import shlex
import subprocess
from contextlib import nullcontext, suppress
from pathlib import Path

from sekisho.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_every_command_of_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    """From a file of payments to a report: no command fails, the decision matches, and the change catches more."""
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {}
    for command in commands:
        _run(command, monkeypatch)
        told[command] = capsys.readouterr().out
    assert [words.split()[1] for words in commands if words.startswith("sekisho")] == [
        "pack", "pack", "replay", "explain", "replay", "replay",
    ]  # fmt: skip
    assert "MATCH" in next(text for command, text in told.items() if "explain" in command)
    assert "unlike_the_card" in next(text for command, text in told.items() if "diff" in command)
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def _run(command, monkeypatch):
    words = shlex.split(command)
    if words[0] == "sekisho":
        monkeypatch.setattr("sys.argv", words)
        with suppress(SystemExit) if "diff" in words else nullcontext():  # it ends with 1: the packs differ
            main()
    elif words[:2] == ["python", "-m"]:
        monkeypatch.setattr("sys.argv", words[2:])
        runpy.run_module(words[2], run_name="__main__")
    else:
        subprocess.run(command, shell=True, check=True)
