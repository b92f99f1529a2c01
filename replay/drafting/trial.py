"""Drafted features on the sample: DuckDB runs features.sql, so that limits come from the bank's own payments."""

from __future__ import annotations

import math

import duckdb
import pyarrow as pa

from replay.drafting.meaning import Guess, Meaning
from replay.drafting.sample import Sample
from replay.drafting.texts import Thresholds
from sekisho.pack_toml import EXPONENTS

_ONE_IN = 0.999


class Trial:
    """The drafted features of the sample's payments, in DuckDB."""

    def __init__(self, sample: Sample, meaning: Meaning, features: str) -> None:
        self.meaning = meaning
        self.duckdb = duckdb.connect()
        self.duckdb.execute(f"SET TimeZone = '{meaning.zone}'")
        self.duckdb.register(
            "sample", pa.table([each.texts for each in sample.columns], [f"c{k}" for k in range(len(sample.columns))])
        )
        cells = {each.source: f"c{k}" for k, each in enumerate(sample.columns)}
        fields = [f"{_cast(guess, cells[guess.source])} AS {guess.name}" for guess in meaning.fields.values()]
        fields += [] if "kind" in meaning.fields else ["'payment' AS kind"]
        self.duckdb.execute(f"CREATE TABLE events AS SELECT {', '.join(fields)} FROM sample")
        self.duckdb.execute("SET TimeZone = 'UTC'")
        payments = "event_id IN (SELECT event_id FROM events WHERE kind = 'payment')"
        self.duckdb.execute(f"CREATE TABLE features AS SELECT * FROM ({features}) WHERE {payments}")

    def thresholds(self) -> Thresholds:
        """The smallest whole limits, of 3 at least, that at most one payment in a thousand reaches."""
        payer = self.meaning.payer
        if not payer:
            return Thresholds()
        burst = self.one(f"SELECT quantile_cont({payer}_count_1h, {_ONE_IN}) FROM features")
        factor = None
        if self.meaning.amount:
            mean = f"amount_vs_{payer}_mean"
            factor = self.one(f"SELECT quantile_cont({mean}, {_ONE_IN}) FROM features WHERE {payer}_count_30d >= 5")
        return Thresholds(max(3, 1 + math.floor(burst or 0)), max(3, math.ceil(factor or 0)))

    def hits(self, condition: str = "true") -> int:
        """How many of the payments a condition hits."""
        return self.one(f"SELECT count(*) FROM features WHERE {condition}")

    def behind(self) -> int:
        """The events that stand more than a day behind an earlier row of the file."""
        before = "max(event_time) OVER (ORDER BY row ROWS UNBOUNDED PRECEDING)"
        rows = "SELECT row_number() OVER () AS row, event_time FROM events"
        return self.one(
            f"SELECT count(*) FROM (SELECT {before} - event_time AS lag FROM ({rows})) WHERE lag > INTERVAL 1 DAY"
        )

    def days(self) -> int:
        """The days that the payments span."""
        return self.one("SELECT date_diff('day', min(event_time), max(event_time)) FROM events") or 0

    def one(self, sql: str) -> int:
        row = self.duckdb.execute(sql).fetchone()
        return row[0] if row else 0


def _cast(guess: Guess, cell: str) -> str:
    """The column as the field's type; a cell that is none is NULL here, and a dead letter in the log."""
    options = guess.options
    match guess.type:
        case "time" if options.get("encoding"):
            unit = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}[str(options["encoding"])]
            return f"make_timestamptz(TRY_CAST({cell} AS BIGINT) * {unit})"
        case "time":
            return f"TRY_CAST({cell} AS TIMESTAMPTZ)"
        case "money":
            return f"TRY_CAST({cell} AS DECIMAL(18, {_exponent(guess)}))"
        case "number":
            return f"TRY_CAST({cell} AS DECIMAL(18, {options['scale']}))"
        case "double" | "bool" as type:
            return f"TRY_CAST({cell} AS {'DOUBLE' if type == 'double' else 'BOOLEAN'})"
        case _:
            return cell


def _exponent(guess: Guess) -> int:
    codes = guess.options.get("currencies", guess.options.get("currency"))
    return max(EXPONENTS[code] for code in (codes if isinstance(codes, list) else [str(codes)]))
