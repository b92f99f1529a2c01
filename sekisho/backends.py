"""Which backend an engine's windows run on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from features.backend import Cpu
from features.gpu.device import Device
from features.refusal import Refusal
from models.scorer import predict_raw
from sekisho.batch import Batch
from sekisho.compile import Engine
from sekisho.state import new_state
from sekisho.step import fold

BACKENDS = ("cpu", "gpu", "auto")


def on_backend(engine: Engine, name: str) -> Engine:
    """The engine on "cpu" or "gpu". Raises Refusal where there is no usable GPU: never the CPU in its place."""
    return _on_cpu(engine) if name == "cpu" else on_device(engine, None)


def on_device(engine: Engine, device: Device | None) -> Engine:
    """Windows and trees on a device, None for the first CUDA one. Raises Refusal where there is none."""
    from features.gpu.backend import Gpu
    from models.gpu import DeviceForest

    backend = Gpu(device)
    return replace(engine, backend=backend, predict=DeviceForest(backend.device).predict_raw)


def _on_cpu(engine: Engine) -> Engine:
    return replace(engine, backend=Cpu(), predict=predict_raw)


def on_faster_backend(engine: Engine, sample: Batch, clock: Callable[[], float], tell: Callable[[str], None]) -> Engine:
    """The engine on the backend that is faster on the sample, by a clock of seconds; `tell` hears which, and why."""
    try:
        engines = [_on_cpu(engine), on_device(engine, None)]
    except Refusal as error:
        tell(f"backend cpu, as {error.what.removeprefix('backend gpu: ')}")
        return _on_cpu(engine)
    costs = [_cost_us(each, sample, clock) for each in engines]
    best = engines[costs.index(min(costs))]
    tell(f"backend {best.backend.name}: {costs[0]:.2f} us an event on the CPU, {costs[1]:.2f} on the GPU")
    return best


def _cost_us(engine: Engine, sample: Batch, clock: Callable[[], float]) -> float:
    """Microseconds an event of a second run over the sample: the first one compiles."""
    for _ in range(2):
        started = clock()
        deque(fold(engine, new_state(engine), sample), maxlen=0)
        spent = clock() - started
    return 1e6 * spent / max(1, sample.n)
