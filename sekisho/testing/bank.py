"""`python -m sekisho.testing.bank FILE`: six weeks of a small bank's card payments as a CSV, to try things on."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from sekisho.testing.world import World

_COLUMNS = ("payment_id", "time", "card_id", "merchant_id", "mcc", "country", "amount")


def write_bank(file: Path, events: int = 32_000) -> None:
    """The card payments among so many events of the seeded bank. `fraud` is true where one was reported later."""
    bank = World(seed=7, cards=150, payments_per_day=250, fraud=3, truth=True)
    days, rows = [], 0
    for day in bank.days():
        days.append(day)
        rows += day.num_rows
        if rows >= events:
            break
    log = pa.concat_tables(days)
    log = log.append_column("time", pc.strftime(log["event_time"], "%Y-%m-%dT%H:%M:%SZ"))
    labelled = log.filter(pc.equal(log["label_class"], "fraud"))["payment_id"].combine_chunks()
    card = log.filter(pc.and_(pc.equal(log["kind"], "payment"), pc.is_valid(log["card_id"]))).sort_by("time")
    fraud = pc.cast(pc.is_in(card["payment_id"], labelled), pa.string())
    csv.write_csv(card.select(_COLUMNS).append_column("fraud", fraud), file)


if __name__ == "__main__":
    write_bank(Path(sys.argv[1]))
