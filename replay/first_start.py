"""The first start: kernels are compiled on two cores, and a line says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from rich.console import Console

from features.kernel import kernels_cached
from features.window_plan import WindowPlan
from replay.run import Recorder, run
from replay.sources import Input, read_log
from replay.topic_input import TopicInput
from sekisho.compile import Engine
from sekisho.state import new_state


class FirstStart:
    """Begins when it is made, before the pack is loaded; does nothing where an earlier run left the kernels on disk."""

    def __init__(self) -> None:
        self._other: subprocess.Popen[bytes] | None = None
        if not kernels_cached():
            told = Console(stderr=True, highlight=False)
            told.print("Compiling kernels, once for this version (less than a minute) ...", style="dim")
            self._other = subprocess.Popen([sys.executable, "-m", "sekisho.warm"])  # half of the work, on another core

    def finish(self, engine: Engine, inputs: Sequence[Input | TopicInput], threads: int) -> None:
        """Decide the log's first batch for nothing, so that the compiler's time is not in the run's rate."""
        if self._other is None:
            return
        windowless = tuple(replace(stage, windows=WindowPlan((), [])) for stage in engine.stages)
        for part in (replace(engine, stages=windowless), engine):
            _decide_first(part, inputs, threads)
            self._other.wait()


def _decide_first(engine: Engine, inputs: Sequence[Input | TopicInput], threads: int) -> None:
    with Recorder(engine) as nothing:
        for part in run(engine, new_state(engine), islice(read_log(engine, inputs), 1), threads=threads):
            nothing.record(part)
            break
