"""The Fraud Detection Handbook's published features, recomputed by the product from the raw payments."""

import os
from pathlib import Path

import duckdb
import pytest

from bench.detection import pack_for
from replay.run import Recorder, run
from replay.sources import Input, LabelColumn, read_log
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import new_state

DATA = Path(os.environ.get("SEKISHO_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "fdh_simulated"
PUBLISHED = DATA / "published_features_20180611_20180914.parquet"
WEEK_US = 7 * 86_400_000_000

# Two payments of one customer in one second: the authors' sort put the later id first, the log has it second.
TIES = {1240489, 1240490, 1350833, 1350834, 1472490, 1472491, 1553976, 1553977}

COLUMNS = [
    "tx_during_weekend", "tx_during_night",
    *(f"customer_id_{what}_{days}day_window" for days in (1, 7, 30) for what in ("nb_tx", "avg_amount")),
    *(f"terminal_id_{what}_{days}day_window" for days in (1, 7, 30) for what in ("nb_tx", "risk")),
]  # fmt: skip


def test_the_pack_for_another_delay_differs_in_the_delay_alone(tmp_path):
    """Seven days give the shipped pack; thirty the same text with every seven days of the label's delay replaced."""
    shipped = load_pack(shipped_pack("fdh"))
    assert load_pack(pack_for(7, tmp_path / "7")).hash == shipped.hash
    files = load_pack(pack_for(30, tmp_path / "30")).files
    head, sql = (files[name].decode() for name in ("pack.toml", "features.sql"))
    assert 'inherit_horizon = "31d"' in head and "7 DAYS" not in sql and "604800" not in sql.split("FROM known")[0]
    assert sql.count("AND INTERVAL 30 DAYS PRECEDING") == shipped.query.sql.count("AND INTERVAL 7 DAYS PRECEDING") == 7
    assert "INTERVAL 5183999 SECONDS PRECEDING AND INTERVAL 30 DAYS PRECEDING" in sql  # 30 days of known payments


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"the handbook's data is not in {DATA}; set SEKISHO_DATA")
def test_the_published_features_come_out(tmp_path):
    """919,767 rows x 14 features within 1e-6, but for the rows of four ties, whose order the log decides."""
    engine = compile_pack(load_pack(shipped_pack("fdh")))
    payments = DATA / "transactions.parquet"
    log = read_log(engine, [Input(payments, labels=LabelColumn("TX_FRAUD", WEEK_US, "fraud")), Input(payments)])
    features = tmp_path / "features.parquet"
    with Recorder(engine, features=features, from_us=1_528_675_200_000_000, to_us=1_536_969_600_000_000) as recorder:
        for part in run(engine, new_state(engine), log, batch=16_384, threads=2):
            recorder.record(part)

    differs = " OR ".join(f"abs(o.{name} - p.{name}) > 1e-6 OR o.{name} IS NULL" for name in COLUMNS)
    rows, wrong = duckdb.execute(
        f"""SELECT count(*), list(p.TRANSACTION_ID) FILTER ({differs})
            FROM '{PUBLISHED}' p JOIN '{features}' o ON o.event_id = p.TRANSACTION_ID::VARCHAR"""
    ).fetchone()
    assert rows == 919_767
    assert set(wrong) == TIES
