"""How measurements are shown: tables on the terminal, and the same tables in docs/benchmarks.md with their origin."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


@dataclass
class Table:
    """A title, a head, rows of texts (the first column is a name), and what must be said beside them."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print it."""
        shown = RichTable(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1))
        for k, name in enumerate(self.head):
            shown.add_column(name, justify="right" if k else "left", no_wrap=True)
        for row in self.rows:
            shown.add_row(*row)
        console.print(shown)
        for note in self.notes:
            console.print(f"  {note}", style="dim", soft_wrap=True)

    def markdown(self) -> str:
        """The same for a page."""
        lines = [f"**{self.title}**", "", _line(self.head), _line(("---", *("---:" for _ in self.head[1:])))]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])


def write_section(name: str, command: str, tables: list[Table], page: Path = PAGE) -> None:
    """Put a job's tables between its marks on the page; what stands outside of the marks was written by hand."""
    begin, end = f"<!-- {name}: written by {command} -->", f"<!-- {name}: end -->"
    body = "\n".join([begin, f"`{command}`, {origin()}\n", *(table.markdown() for table in tables), end])
    text = page.read_text("utf-8")
    marked = re.compile(rf"<!-- {re.escape(name)}: written by .*?{re.escape(end)}", re.DOTALL)
    fresh = marked.sub(lambda _: body, text) if marked.search(text) else f"{text.rstrip()}\n\n{body}\n"
    page.write_text(fresh, "utf-8")


def origin() -> str:
    """Commit, machine and load."""
    load = "/".join(f"{part:.1f}" for part in os.getloadavg()[:2])
    return f"commit {_commit()}, {_machine()}, Python {platform.python_version()}, load {load} over 1/5 min"


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    return f"{os.cpu_count()} cores {found[1] if found else platform.processor()}"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
