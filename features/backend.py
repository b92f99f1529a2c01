"""Where windows are computed: one examination, any backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from features import windows
from features.hashing import KNOWN_KEY
from features.sheet import Bytes, Ints, Sheet, Slot
from features.window_plan import WindowPlan


class Windows(Protocol):
    """What the windows of a plan remember."""

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All of it as int64 arrays, to be written out before the next batch."""

    def report(self) -> list[windows.StoreReport]:
        """What each store holds."""


class Backend(Protocol):
    """A window engine. Its states are its own: one backend never reads another's."""

    name: str

    def empty(self, plan: WindowPlan, key: bytes = KNOWN_KEY) -> Any:
        """The state before the first event; key: of its hash tables, see features.hashing."""

    def restore(self, plan: WindowPlan, arrays: Mapping[str, np.ndarray]) -> Any:
        """The state whose `arrays()` these are. KeyError if one is missing."""

    def advance(
        self, plan: WindowPlan, state: Any, sheet: Sheet, fate: Bytes, watermark: Ints, event_time: Slot,
        threads: int = 1, wanted: Bytes | None = None,
    ) -> None:  # fmt: skip
        """Take in a batch, as features.windows.advance does."""


class Cpu:
    """The kernels of features.windows."""

    name = "cpu"
    empty = staticmethod(windows.WindowState.empty)
    restore = staticmethod(windows.WindowState.restore)
    advance = staticmethod(windows.advance)
