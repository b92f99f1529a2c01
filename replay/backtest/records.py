"""What a back-test gives back: its facts, and its tables (see tables.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
DAY_US = 86_400_000_000
SIDES = ("current", "candidate")  # the two packs, as tables and columns name them


@dataclass(frozen=True)
class Asked:
    """What was asked for. Times and spans in microseconds; None leaves the choice to the log.

    from_us, to_us: the payments that count, by event time.   as_known_us: verdicts known until then.
    budget: alerts a day, 0 for none.   act_by_us: how long an alert is worth looking at; 0 takes the pack's.
    maturity_us: from when on an unlabelled settled payment is presumed good; 0: as the pack says, else by the delays.
    zone: of days and hours.   feedback: decisions edit the log that follows.   collapse: only first attempts.
    settle_after_us: how long after a payment that is now approved its settlement is made.
    pass_fraud, pass_good: the share of challenges that fraudulent and other payments pass.
    confirm_declined: the share of declined frauds whose label comes all the same.   seed: of all three draws.
    replicates: of the bootstrap.   accept_cold: payments with less history than their longest window count, too.
    propensity: the field or column with the probability of being let through for learning; "" leaves hold-outs aside.
    """

    from_us: int | None = None
    to_us: int | None = None
    as_known_us: int | None = None
    budget: int = 100
    act_by_us: int = 0
    maturity_us: int = 0
    zone: str = "Asia/Tokyo"
    feedback: bool = False
    collapse: bool = False
    settle_after_us: int = DAY_US
    pass_fraud: float = 0.1
    pass_good: float = 0.95
    confirm_declined: float = 0.0
    seed: int = 1
    replicates: int = 200
    accept_cold: bool = False
    propensity: str = ""


@dataclass(frozen=True)
class Strategy:
    """A pack of the back-test. alert_outcomes: outcomes that alert."""

    name: str
    hash: str
    models: tuple[str, ...]
    alert_outcomes: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Facts:
    """What the run saw, so that two people can agree that they saw the same.

    log: the sources and the sha256 of each file.   events, dead_letters: read.
    first_us, last_us: event time of the log; counted_from_us, counted_to_us: of the payments that count.
    as_known_us: verdicts known until then are used.   maturity_us: by typology, and "" for all together.
    fidelity: share of payments on which CURRENT equals what was recorded, null if nothing was.
    outcomes_known, labels_known, balances_known: whether the log says such things, of labels by as_known_us.
    unresolved: share of the flips without a restoring set of up to three components.
    runs: how often the log was replayed until decisions and feedback agreed.   seconds: that it took.
    labels_unmatched: payments that labels name and the log does not have.
    labels_early: payments with a label that is not later than they are.
    empty: fields that only CANDIDATE reads, and that no event of the log has.
    order_assumed: nothing says when events arrived: each file's own order was taken.
    """

    asked: Asked
    current: Strategy
    candidate: Strategy
    log: Mapping[str, str]
    events: int
    dead_letters: int
    first_us: int
    last_us: int
    counted_from_us: int
    counted_to_us: int
    as_known_us: int
    maturity_us: Mapping[str, int]
    currency: str
    exponent: int
    fidelity: float | None
    outcomes_known: bool
    labels_known: bool
    balances_known: bool
    unresolved: float
    runs: int
    seconds: float
    labels_unmatched: int
    order_assumed: bool
    labels_early: int = 0
    empty: tuple[str, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True)
class Backtest:
    """A finished back-test. tables: by name, each with the schema of TABLES; `flips` holds every flip."""

    facts: Facts
    tables: Mapping[str, pa.Table] = field(repr=False)

    def frame(self, name: str) -> pd.DataFrame:
        """A table as a pandas DataFrame. KeyError where there is no such table."""
        return self.tables[name].to_pandas()

    def to_json(self, most_flips: int = 1000) -> str:
        """Facts and tables as JSON; of the flips, the first `most_flips`. NaN and infinity do not occur."""
        rows: dict[str, Any] = {name: table.to_pylist() for name, table in self.tables.items() if name != "flips"}
        rows["flips"] = self.tables["flips"].slice(0, most_flips).to_pylist()
        return json.dumps({"facts": asdict(self.facts), "tables": rows}, ensure_ascii=False, indent=1, allow_nan=False)

    def write_flips(self, file: Path) -> None:
        """All flips, as CSV, or as Parquet where the file is a .parquet."""
        if file.suffix == ".parquet":
            pq.write_table(self.tables["flips"], file, compression="zstd")
        else:
            pyarrow.csv.write_csv(self.tables["flips"], file)
