"""Detection on the Fraud Detection Handbook's data, from raw payments to the table of its protocols.

python -m bench.detection ../shared/data/fdh_simulated/transactions.parquet --seeds 10

Seven days to learn from, seven to wait for labels, seven to test on. Protocol B is four such folds, protocol A its
earliest. The configurations were chosen on the four validation folds (--validation), which end before any test begins.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.calibration import fit_platt
from models.card import Feature
from models.measures import average_precision, bands, log_loss
from models.prequential import Window
from models.scorer import calibrate
from models.training import read_parameter, to_matrix
from replay.sources import Input, LabelColumn
from replay.training.rows import Span, learnable
from replay.training.table import DAY_US, Fold, Split, Table, table_of_log
from sekisho.compile import Engine, compile_pack
from sekisho.load import load_pack
from sekisho.packs import shipped_pack

WEEK_US = 7 * DAY_US
TESTS = ("2018-08-15", "2018-08-08", "2018-08-01", "2018-07-25")  # the first day of training; protocol A is the last
VALIDATIONS = ("2018-07-11", "2018-07-04", "2018-06-27", "2018-06-20")
PARAMS = {"num_iterations": 300, "num_leaves": 8, "max_depth": 4, "min_data_in_leaf": 1, "max_bin": 16383}
MANY = {**PARAMS, "lambda_l2": 5.0}  # for all of the pack's features
HANDBOOK = (Path(__file__).parent / "handbook_features.txt").read_text().splitlines()[1:]


def window(day: str, delay_us: int = WEEK_US) -> Window:
    """The protocol's fold that begins to train on a day; with another delay it trains sooner or later for its test."""
    start = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1e6)
    return Window(start + WEEK_US - delay_us, start + 2 * WEEK_US - delay_us, delay_us, start + 3 * WEEK_US)


def pack_for(days: int, folder: Path) -> Path:
    """packs/fdh in a folder, as one writes it where labels come after so many days instead of seven."""
    pack = folder / "fdh"
    shutil.copytree(shipped_pack("fdh"), pack, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    head, sql = pack / "pack.toml", pack / "features.sql"
    head.write_text(head.read_text().replace('inherit_horizon = "8d"', f'inherit_horizon = "{days + 1}d"'))
    later_s, known = (days - 7) * 86_400, "PRECEDING AND INTERVAL 7 DAYS PRECEDING"
    text = re.sub(
        rf"INTERVAL (\d+) SECONDS {known}", lambda found: f"INTERVAL {int(found[1]) + later_s} SECONDS {known}",
        sql.read_text(),
    )  # fmt: skip
    text = text.replace(known, f"PRECEDING AND INTERVAL {days} DAYS PRECEDING")
    sql.write_text(text.replace("+ 604800", f"+ {days * 86_400}"))
    return pack


def measured(fold: Fold) -> list[float]:
    """AUC, AP and CP@100 of the cards not yet known to be compromised, as published; then of all."""
    return [*astuple(fold.ranking(fresh=True)), *astuple(fold.ranking())]


def show(name: str, values: Iterable[float]) -> None:
    """One line of the table."""
    print(f"{name:<28}" + "  ".join(f"{value:.4f}" for value in values), flush=True)


def scored(table: Table, splits: list[Split], names: list[str], params: Mapping[str, Any], seeds: int) -> np.ndarray:
    """float64[seeds, folds, 6]; a line is printed when a seed is done."""
    found = []
    for seed in range(1, seeds + 1):
        found.append([measured(table.fit(split, names, params, seed)) for split in splits])
        show(f"  seed {seed}", np.mean(found[-1], 0))
    return np.array(found)


def peer(table: Table, split: Split) -> float:
    """The published AP of the handbook's best: XGBoost, 100 trees, 0.1, depth 3, on its 15 features."""
    xgboost = importlib.import_module("xgboost")
    rows = table.features.select(HANDBOOK).take(pa.array(np.concatenate([split.learn, split.test])))
    matrix, n = to_matrix([Feature(name) for name in HANDBOOK], rows).T, len(split.learn)
    params = {"eta": 0.1, "max_depth": 3, "tree_method": "exact", "base_score": 0.5, "seed": 0, "nthread": 1}
    data = xgboost.DMatrix(matrix[:n], split.learn_labels)
    model = xgboost.train({"objective": "binary:logistic", **params}, data, num_boost_round=100)
    raw = model.predict(xgboost.DMatrix(matrix[n:])).astype(np.float64)
    return average_precision(raw[split.fresh], split.test_labels[split.fresh])


def report(
    table: Table, splits: list[Split], names: list[str], params: Mapping[str, Any], options: argparse.Namespace
) -> np.ndarray:
    """Print the table of a set of features; float64[folds, 6]."""
    print(f"{len(names)} features{'':<17}AUC     AP      CP@100  AUC     AP      CP@100  (then all cards)")
    found = scored(table, splits, names, {**params, **dict(options.param)}, options.seeds)
    for split, values in zip(splits, found.mean(0), strict=True):
        start = datetime.fromtimestamp(split.window.train_from_us / 1e6, UTC)
        show(f"  trained from {start:%m-%d}", values)
    folds = found.mean(0)
    show("  mean of folds", folds.mean(0))
    show("  spread over folds", folds.std(0))
    if len(found) > 1:
        show("  spread over seeds", found.mean(1).std(0))
    return folds


def pooled(folds: list[Fold]) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores and labels of all tests."""
    return np.concatenate([fold.raw for fold in folds]), np.concatenate([fold.split.test_labels for fold in folds])


def calibration(table: Table, engine: Engine, tests: list[Split], earlier: list[Split], weight: float) -> None:
    """Print observed and expected frauds by hundreds of the score, all cards, calibrated on the validation folds."""
    names, params = learnable(engine)[0], {**MANY, "scale_pos_weight": weight}
    before, after = ([table.fit(split, names, params, 1) for split in splits] for splits in (earlier, tests))
    scale = fit_platt(*pooled(before))
    raw, labels = pooled(after)
    probability, points = calibrate(raw, scale.a, scale.b)
    ratio = log_loss(probability, labels) / log_loss(1 / (1 + np.exp(-raw)), labels)
    print(f"calibration, frauds weighed {weight:g} times: log-loss {ratio:.4f} of the raw scores'")
    for band in bands(points, probability, labels):
        print(f"  {band.low:3}+  {band.rows:9,} payments  {band.frauds:6,} frauds  {band.expected:10,.1f} expected"
              f"  observed / expected {band.observed_to_expected:.2f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transactions", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 1 on")
    parser.add_argument("--validation", action="store_true", help="the validation folds, to choose a configuration by")
    parser.add_argument("--param", type=read_parameter, action="append", default=[], help="key=value, over the chosen")
    parser.add_argument("--delay", type=int, default=7, help="days until a label enters the log")
    parser.add_argument("--calibration", action="store_true", help="observed and expected frauds by score, instead")
    parser.add_argument("--peer", action="store_true", help="the AP of XGBoost beside ours; install it first")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="sekisho-detection-") as folder:
        engine = compile_pack(load_pack(pack_for(options.delay, Path(folder))))
    delay_us = options.delay * DAY_US
    windows = [window(day, delay_us) for day in (VALIDATIONS if options.validation else TESTS)]
    earlier = [window(day, delay_us) for day in VALIDATIONS] if options.calibration else []
    span = Span([*windows, *earlier][-1].train_from_us, windows[0].test_to_us)
    labels = LabelColumn("TX_FRAUD", delay_us, "fraud")
    inputs = [Input(options.transactions, labels=labels), Input(options.transactions)]
    with table_of_log(engine, inputs, span, lambda *_: None, threads=2) as table:
        print(f"{len(table.at_us):,} payments of the folds, {time.perf_counter() - began:.0f} s")
        splits = [table.split(each, delay_us, table.newest_us + 1) for each in windows]
        if options.calibration:
            before = [table.split(each, delay_us, windows[-1].known_us) for each in earlier]
            for weight in (1.0, 20.0):
                calibration(table, engine, splits, before, weight)
            return
        for split in splits:
            frauds = split.test_labels[split.fresh].sum(), split.test_labels.sum()
            print(f"  tested {len(split.test):,} payments with {frauds[1]:,} frauds; not yet known to be"
                  f" compromised {split.fresh.sum():,} with {frauds[0]:,}")  # fmt: skip
        folds = report(table, splits, HANDBOOK, PARAMS, options)
        if options.peer:
            theirs = [peer(table, split) for split in splits]
            show("  XGBoost's AP by fold", theirs)
            show("  ours less XGBoost's", folds[:, 1] - theirs)
        report(table, splits, learnable(engine)[0], MANY, options)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
