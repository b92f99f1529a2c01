"""An analyst's morning in Python: python docs/analyst_example.py

Two months of a seeded bank; the demo pack, and a copy that asks for a review of more scores. What would the copy have
done in the second month? Run it line by line in a notebook: every table is a pandas DataFrame.
"""

import shutil
import tempfile
from pathlib import Path

import duckdb

from replay.backtest import Asked, backtest
from sekisho.packs import shipped_pack
from sekisho.testing.world import World

folder = Path(tempfile.mkdtemp(prefix="sekisho-example-"))
log = folder / "log.parquet"
World(seed=7, cards=2_000, payments_per_day=1_000).write_parquet(log, 190_000)

current = shipped_pack("card_payments")
candidate = shutil.copytree(current, folder / "candidate")
rules = (candidate / "rules.yaml").read_text()
rules = rules.replace("when: fraud_score >= 700", "when: fraud_score >= 650")
(candidate / "rules.yaml").write_text(
    rules.replace("{fraud_score: 699}", "{fraud_score: 649}")
)  # its example of a miss

# From 2026-02-03 in Tokyo on. The pack's longest window is older than this bank: count its payments all the same.
asked = Asked(from_us=1_770_044_400_000_000, accept_cold=True, budget=10, replicates=50)
result = backtest(current, candidate, log, asked=asked)

summary = result.frame("summary").set_index("strategy")
print(summary[["caught_minor", "missed_minor", "net_minor", "goods_alerted", "adr", "vdr"]].T.to_string())

flips = result.frame("flips")  # one row a payment whose outcome changes
print(flips.groupby(["cause", "restoring"]).amount_minor.agg(["count", "sum"]).to_string())

# The tables are Arrow tables too, so DuckDB reads them without a copy.
flipped = result.tables["flips"]
print(
    duckdb.sql("SELECT truth, count(*) AS payments, sum(amount_minor) AS yen FROM flipped GROUP BY truth ORDER BY yen")
)
