"""docs/analyst_example.py is true: it runs, and prints what it says."""

import runpy
import tempfile
from pathlib import Path


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    """From a world to tables, in one script."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "analyst_example.py"))
    assert {"caught_minor", "rule:model_high", "payments"} <= set(capsys.readouterr().out.split())
    assert names["summary"].loc["candidate", "caught_minor"] > names["summary"].loc["current", "caught_minor"]
