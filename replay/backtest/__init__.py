"""Back-tests: two whole strategies over one log, side by side, judged by what became known later."""

from __future__ import annotations

from typing import Any

__all__ = ["Asked", "backtest"]


def __getattr__(name: str) -> Any:
    """What notebooks use, loaded when it is asked for: the command line starts without it."""
    if name == "Asked":
        from replay.backtest.records import Asked

        return Asked
    if name == "backtest":
        from replay.backtest.run import backtest

        return backtest
    raise AttributeError(name)
