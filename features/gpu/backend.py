"""The backend of a device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.gpu import windows
from features.gpu.device import Cuda, Device
from features.hashing import KNOWN_KEY
from features.window_plan import WindowPlan


class Gpu:
    """The windows on a device: the first CUDA one unless another is given. Refusal where there is none."""

    name = "gpu"
    advance = staticmethod(windows.advance)

    def __init__(self, device: Device | None = None) -> None:
        self.device = device or Cuda()

    def empty(self, plan: WindowPlan, key: bytes = KNOWN_KEY) -> windows.WindowState:
        """The state before the first event; key: of its hash tables, see features.hashing."""
        return windows.WindowState.empty(plan, self.device, key)

    def restore(self, plan: WindowPlan, arrays: Mapping[str, np.ndarray]) -> windows.WindowState:
        """The state whose `arrays()` these are. KeyError if one is missing."""
        return windows.WindowState.restore(plan, self.device, arrays)
