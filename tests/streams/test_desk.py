"""What a command asks a cluster is asked again while a partition changes its leader, and not for ever."""

from __future__ import annotations

import pytest

from streams import desk
from streams.broker import BrokerError
from streams.desk import patiently


def test_an_answer_that_comes_late_is_taken() -> None:
    """Two refusals are waited out."""
    answers = iter([BrokerError("not leader"), BrokerError("not leader"), "here"])

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    assert patiently(ask) == "here"


def test_no_answer_ends_with_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is over, the last error is told."""
    monkeypatch.setattr(desk, "_PATIENCE_S", 0.0)

    def ask() -> str:
        raise BrokerError("nobody is there")

    with pytest.raises(BrokerError, match="nobody is there"):
        patiently(ask)
