"""Train a scorer for this pack on the handbook's data, and write the pack with it:

    python packs/fdh/train.py ../shared/data/fdh_simulated/transactions.parquet --out out/fdh_scored

The data carries no licence, so a model trained on it is made where the data is and not shipped. The protocol is the
handbook's: train on 2018-07-25..31, leave a week for the labels, calibrate and judge on 2018-08-08..14.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import duckdb
import numpy as np

from models.card_toml import write_card
from models.training import Purpose, Slices, train
from replay.report import run_and_show

PACK = Path(__file__).resolve().parent
DAY_US = 86_400_000_000
START_US = 1_522_540_800_000_000  # 2018-04-01
# The configuration that the detection study chose on its validation folds.
PARAMS = {"num_iterations": 300, "num_leaves": 8, "max_depth": 4, "min_data_in_leaf": 1, "max_bin": 16383}
PURPOSE = Purpose("fraud", "fraud-engineering", "Ranks the handbook's simulated payments; no use on real ones")
SCORE_RULES = """
  - id: high_score
    when: fraud_score >= 800
    then: decline
    on_unknown: review
    on_error: review
    owner: fraud-engineering
    typology: model
    reasons:
      en: The model gives this payment a very high score.
      ja: モデルのスコアが非常に高いです。

  - id: raised_score
    when: fraud_score BETWEEN 650 AND 799
    then: review
    owner: fraud-engineering
    typology: model
    reasons:
      en: The model gives this payment a high score.
      ja: モデルのスコアが高いです。
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("transactions", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sekisho-train-") as folder:
        features = Path(folder) / "features.parquet"
        run_and_show(
            PACK, [options.transactions], features=features, label_column="TX_FRAUD", label_delay_us=7 * DAY_US,
            from_us=START_US + 115 * DAY_US, to_us=START_US + 136 * DAY_US, batch=16_384, threads=2,
            assume_in_order=True,
        )  # fmt: skip
        table = duckdb.sql(
            f"""SELECT f.* EXCLUDE (event_id), t.TX_FRAUD AS fraud, epoch_us(t.TX_DATETIME) AS at_us
                FROM '{features}' f JOIN '{options.transactions}' t ON f.event_id = t.TRANSACTION_ID::VARCHAR
                ORDER BY t.TRANSACTION_ID"""
        ).to_arrow_table()
    at_us, labels = table["at_us"].to_numpy(), table["fraud"].to_numpy().astype(np.uint8)
    day = (at_us - START_US) // DAY_US - 115
    slices = Slices(np.flatnonzero(day < 7), np.flatnonzero(day >= 14), np.flatnonzero(day >= 14))
    model, card = train(table.drop_columns(["at_us", "fraud"]), labels, at_us, slices, PURPOSE, PARAMS)
    shutil.copytree(PACK, options.out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (options.out / "models").mkdir(exist_ok=True)
    (options.out / "models" / "fraud.txt").write_bytes(model)
    (options.out / "models" / "fraud.toml").write_text(write_card(card))
    head, rules = options.out / "pack.toml", options.out / "rules.yaml"
    head.write_text(
        (PACK / "pack.toml").read_text() + '\n[[models]]\nfile = "models/fraud.txt"\ncard = "models/fraud.toml"\n'
    )
    rules.write_text((PACK / "rules.yaml").read_text() + SCORE_RULES)
    print(f"{options.out}: {len(model):,} bytes of model; {dict(card.metrics)}")


if __name__ == "__main__":
    main()
