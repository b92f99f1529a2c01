"""Train the pack's model: python packs/card_payments/train.py

A seeded world's log goes through the pack's own features, computed by the engine that computes them live. The model
learns from 45 days, is calibrated on the 10 days after them and judged on the 15 days after those; then the log goes on
for 25 more days, so that late labels are in. Equal seeds give an equal model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.card import ModelCard
from models.card_toml import write_card
from models.training import Purpose, Slices, train
from sekisho.testing.world import World

PACK = Path(__file__).resolve().parent
WORLD = World(seed=2026, cards=8_000, payments_per_day=4_000)
DAYS = 125
WARM, TRAINED, CALIBRATED, TESTED = 30, 75, 85, 100  # days from the start
DAY_US = 86_400_000_000
PARAMS = {"num_leaves": 8, "num_iterations": 250}
PURPOSE = Purpose("fraud", "fraud-analytics", "Demo: ranks payments of sekisho.testing.world; no use on real ones")

# The verdict that a payment ends with, and when it was made.
_LABELLED = """
    SELECT f.* EXCLUDE (event_id), epoch_us(p.event_time) AS at_us, coalesce(l.fraud, FALSE) AS fraud
    FROM features f
    JOIN (FROM log WHERE kind = 'payment') p USING (event_id)
    LEFT JOIN (
        SELECT payment_id,
               max_by(label_class <> 'dispute_not_fraud' AND NOT label_reversal, recorded_at) AS fraud
        FROM log WHERE kind = 'label' GROUP BY payment_id
    ) l USING (payment_id)
    ORDER BY p.recorded_at, event_id
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sekisho-train-") as folder:
        log, features = Path(folder) / "log.parquet", Path(folder) / "features.parquet"
        days = WORLD.days()
        pq.write_table(
            pa.concat_tables([next(days) for _ in range(DAYS)]).unify_dictionaries(), log, store_schema=False
        )
        compute_features(Path(folder), log, features)
        model, card = fit(log, features)
    (PACK / "models").mkdir(exist_ok=True)
    (PACK / "models" / "fraud.txt").write_bytes(model)
    (PACK / "models" / "fraud.toml").write_text(write_card(card))
    print(f"{len(model):,} bytes; {dict(card.metrics)}")


def compute_features(folder: Path, log: Path, features: Path) -> None:
    """Run the pack without its model and its rules, which need the model's score."""
    bare = folder / "pack"
    bare.mkdir()
    head, _, _ = (PACK / "pack.toml").read_text().partition("[[models]]")
    (bare / "pack.toml").write_text(head)
    (bare / "features.sql").write_bytes((PACK / "features.sql").read_bytes())
    command = ["replay", "run", bare, log, "--out", folder / "decisions.jsonl", "--features", features]
    subprocess.run([sys.executable, "-m", "sekisho", *map(str, command)], check=True)


def fit(log: Path, features: Path) -> tuple[bytes, ModelCard]:
    """The model file and its card, from the log and the features of its payments."""
    with duckdb.connect() as database:
        database.read_parquet(str(log)).create_view("log")
        database.read_parquet(str(features)).create_view("features")
        table = database.sql(_LABELLED).to_arrow_table()
    labels = table.column("fraud").cast(pa.uint8()).to_numpy()
    at_us = table.column("at_us").to_numpy()
    start = int(datetime(WORLD.start.year, WORLD.start.month, WORLD.start.day, tzinfo=UTC).timestamp() * 1e6)
    day = (at_us - start) // DAY_US

    def between(first: int, last: int) -> np.ndarray:
        return np.flatnonzero((day >= first) & (day < last))

    slices = Slices(between(WARM, TRAINED), between(TRAINED, CALIBRATED), between(CALIBRATED, TESTED))
    return train(table.drop_columns(["at_us", "fraud"]), labels, at_us, slices, PURPOSE, PARAMS)


if __name__ == "__main__":
    main()
