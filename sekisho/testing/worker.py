"""`sekisho worker` in a process of its own: its settings, its log, and what its web side says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sekisho.errors import SekishoError
from sekisho.testing.kafka import free_ports

_PATIENCE_S = 300.0
_POLL_S = 0.05
Status = dict[str, Any]


class WorkerProcess:
    """A worker whose settings and log stand in a folder, by its name. settings: TOML without [web]."""

    def __init__(self, folder: Path, name: str, settings: str) -> None:
        self.name, self.port = name, free_ports(1)[0]
        self.config, self.log = folder / f"{name}.toml", folder / f"{name}.log"
        self.config.write_text(f"{settings}[web]\nport = {self.port}\n", "utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start the process; it is up when status() says something. options: of `sekisho worker`."""
        command = [sys.executable, "-m", "sekisho", "worker", "--config", str(self.config), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def status(self) -> Status:
        """/status, or nothing while it does not answer. Raises SekishoError when the process has ended."""
        if self.process is None or self.process.poll() is not None:
            raise SekishoError(f"worker {self.name} has ended", f"read {self.log}: {self._last_words()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
                found: Status = json.load(answer)
        except (urllib.error.URLError, OSError):
            return {}
        return found

    def wait(self, good: Callable[[Status], bool], seconds: float = _PATIENCE_S) -> Status:
        """The first status that is good."""
        return wait_for([self], good, seconds)[1]

    def cpu_s(self) -> float:
        """User and system CPU of the process until now, seconds."""
        assert self.process is not None
        return cpu_s(self.process.pid)

    def end(self, number: int) -> int:
        """Send a signal and wait for the end; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait()

    def kill(self) -> None:
        """Make an end of it, if it was started."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _last_words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-1500:] if self.log.is_file() else ""


def wait_for(
    workers: list[WorkerProcess], good: Callable[[Status], bool], seconds: float = _PATIENCE_S
) -> tuple[WorkerProcess, Status]:
    """The first of the workers whose status is good, and its status. Raises SekishoError when none comes to it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for worker in workers:
            if good(status := worker.status()):
                return worker, status
        time.sleep(_POLL_S)
    logs = ", ".join(str(worker.log) for worker in workers)
    raise SekishoError(f"nothing happened for {seconds:.0f} s", f"read {logs}")


def cpu_s(pid: int) -> float:
    """User and system CPU of a process until now (Linux), seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
