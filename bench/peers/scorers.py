"""The scorer alone: 300 trees with 63 leaves over 60 features, beside whatever else predicts with LightGBM's models.

ONNX Runtime and tl2cgen come with bench/requirements.txt; one that is not installed is left out, and said.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Spent, Stopwatch, in_turns, ratio
from bench.peers.windows import ours
from bench.report import Table
from bench.standard_pack import FEATURES
from bench.workload import Workload
from features.sheet import Doubles
from models.scorer import predict_raw
from sekisho.compile import compile_pack
from sekisho.load import load_pack

ROWS = 40_000
SIZES = {4096: 4, 256: 16, 1: 1000}  # so many batches of each size in a round; every batch has rows of its own
Predict = Callable[[Doubles], Doubles]  # raw scores of rows[n, features]


def scorers_job(workload: Workload, repeats: int) -> list[Table]:
    """A table of us of CPU a row by batch size."""
    engine = compile_pack(load_pack(workload.pack))
    log = pq.read_table(workload.parquet)
    rows = _matrix(ours(engine, log.slice(max(0, log.num_rows - ROWS)))[1])
    plan = engine.scorers[0].plan
    model = workload.pack / "models" / "fraud.txt"
    contenders: dict[str, Predict] = {"sekisho": lambda part: predict_raw(plan, np.ascontiguousarray(part.T))}
    missing = []
    for name, make in (("LightGBM", _lightgbm), ("ONNX Runtime", _onnx), ("tl2cgen", _tl2cgen)):
        try:
            contenders[name] = make(model, workload.pack.parent)
        except ImportError as error:
            missing.append(f"{name} ({error.name})")
    table = Table("Scores: 300 trees x 63 leaves x 60 features, one thread, us of CPU a row by batch size",
                  ("", *(f"{size:,}" for size in SIZES), "times ours at 4,096", "difference"))  # fmt: skip
    truth = contenders["LightGBM"](rows)
    jobs = {
        f"{name} {size}": lambda name=name, size=size: _spent(contenders[name], rows, size)
        for name in contenders
        for size in SIZES
    }
    found = in_turns(jobs, repeats)
    for name, predict in contenders.items():
        costs = [str(found[f"{name} {size}"].cpu_us) for size in SIZES]
        times = ratio(found[f"{name} 4096"], found["sekisho 4096"]) if name != "sekisho" else ""
        table.rows.append((name, *costs, str(times), _difference(name, predict(rows), truth)))
    table.notes.append("Difference: the greatest to LightGBM's own raw scores. No row is asked twice in a round.")
    if missing:
        table.notes.append(f"Not installed: {', '.join(missing)}; see bench/requirements.txt.")
    return [table]


def _matrix(values: pa.Table) -> Doubles:
    """float64[rows, features], NULL as NaN."""
    columns = [values[name].cast(pa.float64()).fill_null(np.nan).to_numpy() for name in FEATURES]
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _spent(predict: Predict, rows: Doubles, size: int) -> Spent:
    watch = Stopwatch()
    for part in _cut(rows, size, SIZES[size]):
        with watch.time("all", size):
            predict(part)
    return watch.spent["all"]


def _difference(name: str, found: Doubles, raw: Doubles) -> str:
    if name == "ONNX Runtime":
        return f"{np.abs(found - 1 / (1 + np.exp(-raw))).max():.0e} of the probability"
    return f"{np.abs(found - raw).max():.0e}"


def _cut(rows: Doubles, size: int, count: int) -> Iterator[Doubles]:
    for k in range(count):
        yield rows[k * size : (k + 1) * size]


def _lightgbm(model: Path, folder: Path) -> Predict:
    booster = lightgbm.Booster(model_file=str(model))
    return lambda part: booster.predict(part, raw_score=True, num_threads=1)


def _onnx(model: Path, folder: Path) -> Predict:
    """Probabilities are all that it gives, in single precision."""
    import onnxruntime
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    shape = [("rows", FloatTensorType([None, len(FEATURES)]))]
    graph = convert_lightgbm(lightgbm.Booster(model_file=str(model)), initial_types=shape, zipmap=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)

    return lambda part: session.run(["probabilities"], {"rows": part.astype(np.float32)})[0][:, 1]


def _tl2cgen(model: Path, folder: Path) -> Predict:
    """Compiled by the C compiler once, which takes a minute or more, and kept."""
    import tl2cgen
    import treelite

    library = folder / f"{model.parent.parent.name}.so"
    if not library.is_file():
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            made = Path(fresh) / library.name
            trees = treelite.frontend.load_lightgbm_model(str(model))
            tl2cgen.export_lib(trees, toolchain="gcc", libpath=str(made), params={"quantize": 1, "parallel_comp": 8})
            made.rename(library)
    predictor = tl2cgen.Predictor(str(library), nthread=1)
    return lambda part: predictor.predict(tl2cgen.DMatrix(part, dtype="float64"), pred_margin=True).ravel()
