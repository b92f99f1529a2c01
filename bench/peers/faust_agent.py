"""A Faust worker that keeps the standard windows in tables and asks the model; bench.kafka starts it.

    python -m bench.peers.faust_agent BROKER TOPIC STYLE COUNT MODEL REPORT

One agent, one worker, one partition, so that every key is at hand without a repartition. STYLE "plain": an entity's
rows of seven days are its value in a table. "lean": sums are kept in the process, and a table gets each payment's row
once, from which a restart could build them anew. REPORT gets what the payments behind the first quarter took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from operator import mul
from pathlib import Path
from typing import Any

import faust
import lightgbm
import numpy as np

from bench.peers.plain import PlainWindows, Values, describe, widths_us
from bench.standard_pack import ENTITIES, FRAMES

EPOCH, US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
WIDTHS = widths_us(FRAMES)
WARM = 4


class Plain:
    """Windows described from the rows that a table holds."""

    def __init__(self, app: faust.App) -> None:
        self.tables = [app.Table(f"{entity}-rows", default=lambda: [[], []], partitions=1) for entity in ENTITIES]

    def add(self, payment: dict[str, Any], keys: list[str], at: int, amount: int) -> Values:
        """The sixty features of a payment."""
        out: Values = []
        for table, key in zip(self.tables, keys, strict=True):
            times, amounts = table[key]
            forgotten = bisect_left(times, at - WIDTHS[-1])
            times, amounts = [*times[forgotten:], at], [*amounts[forgotten:], amount]
            table[key] = [times, amounts]
            for width in WIDTHS:
                inside = amounts[bisect_left(times, at - width) :]
                out += describe(len(inside), sum(inside), sum(map(mul, inside, inside)))
        return out


class Lean:
    """Windows with running sums beside a table of rows."""

    def __init__(self, app: faust.App) -> None:
        self.rows = app.Table("rows", partitions=1)
        self.windows = PlainWindows(ENTITIES, WIDTHS)

    def add(self, payment: dict[str, Any], keys: list[str], at: int, amount: int) -> Values:
        """The sixty features of a payment."""
        self.rows[payment["id"]] = [at, amount, *keys]
        return self.windows.add(keys, at, amount)


class Progress:
    """Writes the report when the last payment is done, and ends the process."""

    def __init__(self, count: int, report: Path) -> None:
        self.count, self.report, self.done = count, report, 0
        self.began: tuple[float, float] | None = None

    def tick(self) -> bool:
        """One more; True when it was the last."""
        self.done += 1
        if self.done == self.count // WARM:
            self.began = time.perf_counter(), time.process_time()
        if self.done < self.count or self.began is None:
            return False
        wall, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        spent = {"events": self.count - self.count // WARM, "wall_s": wall, "cpu_s": cpu}
        fresh = self.report.with_suffix(".fresh")
        fresh.write_text(json.dumps(spent), "utf-8")
        fresh.rename(self.report)
        return True


def make_app(broker: str, topic: str, style: str, count: int, model: Path, report: Path) -> faust.App:
    """The application."""
    app = faust.App(
        f"faust-{style}-{report.stem}", broker=f"kafka://{broker}", store="memory://", topic_partitions=1,
        consumer_auto_offset_reset="earliest", datadir=report.parent / f"{report.stem}-data",
    )  # fmt: skip
    payments = app.topic(topic, value_serializer="json")
    decisions = app.topic(f"{report.stem}-decisions", value_serializer="json", partitions=1)
    windows = {"plain": Plain, "lean": Lean}[style](app)
    booster = lightgbm.Booster(model_file=str(model))
    progress = Progress(count, report)

    @app.agent(payments)
    async def decide(stream: Any) -> None:
        async for payment in stream:
            at = (datetime.fromisoformat(payment["time"]) - EPOCH) // US
            keys = [payment["card"], payment["account"], payment["merchant"]["id"], payment["device"]]
            values = windows.add(payment, keys, at, int(payment["amount"]))
            row = np.array([[np.nan if value is None else value for value in values]], float)
            raw = float(booster.predict(row, raw_score=True, num_threads=1)[0])
            await decisions.send(key=payment["id"], value={"event_id": payment["id"], "raw": raw})
            if progress.tick():
                await app.producer.flush()
                os._exit(0)

    return app


def main() -> None:
    broker, topic, style, count, model, report = sys.argv[1:]
    app = make_app(broker, topic, style, int(count), Path(model), Path(report))
    sys.argv = [sys.argv[0], "worker", "--without-web", "--loglevel", "error"]
    app.main()


if __name__ == "__main__":
    main()
