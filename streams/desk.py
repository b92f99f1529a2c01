"""What commands look at topics with: clients of the settings' cluster, and one way to say that it does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from sekisho.errors import SekishoError
from sekisho.settings import Settings
from streams.broker import BrokerError
from streams.client import KafkaBroker

_PATIENCE_S = 5.0
_T = TypeVar("_T")


class Desk:
    """Clients for a command. Use as a context manager: methods raise BrokerError, leaving makes it a SekishoError."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.broker = settings, KafkaBroker(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.broker.close()
        if isinstance(error, BrokerError):
            raise unanswered(error) from error


def unanswered(error: BrokerError) -> SekishoError:
    """What a user is told of a cluster that does not answer, or refuses."""
    return SekishoError(str(error), "look at [kafka] in the settings and at the brokers")


def patiently(ask: Callable[[], _T]) -> _T:
    """Ask again for a while where the cluster does not answer, as when a partition changes its leader."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except BrokerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
