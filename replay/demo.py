"""The demo: a seeded bank's payments through the demo pack, twice, with one result."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rich.console import Console
from rich.padding import Padding

from replay.first_start import FirstStart
from replay.report import drive, show_summary
from replay.run import Recorder, Step
from replay.sources import Input
from rules.alert_records import OPENED, Notification
from rules.records import OUTCOMES
from sekisho.compile import Engine, compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.testing.world import world_of

_SHOWN = 3
_BATCHES = (4096, 1000)


class _Witness(Recorder):
    """A recorder that keeps the alerts that open a group."""

    alerts: tuple[Notification, ...] = ()

    def record(self, part: Step) -> None:
        super().record(part)
        self.alerts += part.told


def run_demo(events: int, seed: int) -> None:
    """Make the log, decide it, show what came of it, and decide it again in other batches."""
    console = Console(highlight=False)
    start = FirstStart()
    engine = compile_pack(load_pack(shipped_pack("card_payments")), hash_key=os.urandom(16))
    with tempfile.TemporaryDirectory(prefix="sekisho-demo-") as folder:
        log = Path(folder) / "events.jsonl"
        console.print(f"Making {events:,} events of a seeded bank: payments, outcomes, labels, logins ...")
        world_of(events, seed=seed).write_jsonl(log, events)
        start.finish(engine, [Input(log)], threads=1)
        size = f"{log.stat().st_size / 1e6:,.0f} MB of JSON lines"
        console.print(f"{size}. Deciding them in batches of {_BATCHES[0]:,} ...")
        first = _decide(engine, log, _BATCHES[0], console)
        _show_alerts(first.alerts, console)
        console.print(f"\nDeciding the same log again in batches of {_BATCHES[1]:,} ...")
        second = _decide(engine, log, _BATCHES[1], console, quiet=True)
    if first.totals.digest != second.totals.digest:
        raise SekishoError("the two runs differ", "this is a defect of Sekisho; please report the pack and the seed")
    console.print(
        f"The same {second.totals.decisions:,} decisions, byte for byte. sha256:\n{second.totals.digest}", style="green"
    )


def _decide(engine: Engine, log: Path, batch: int, console: Console, quiet: bool = False) -> _Witness:
    recorder = _Witness(engine)
    with recorder:
        seconds = drive(engine, [Input(log)], recorder, console, batch, threads=1)
    if not quiet or not recorder.totals.complete:
        show_summary(engine, recorder.totals, seconds, console)
    if not recorder.totals.complete:
        raise KeyboardInterrupt
    return recorder


def _show_alerts(alerts: tuple[Notification, ...], console: Console) -> None:
    """The strongest first alert of a group for each of a few typologies, with its reasons in both languages."""
    opened = [told for told in alerts if told.kind == OPENED]
    ranked = sorted(opened, key=lambda told: (-OUTCOMES.index(told.outcome), -(told.alert.score or 0)))
    strongest = {told.typologies[:1]: told for told in reversed(ranked) if told.typologies}
    shown = sorted(strongest.values(), key=ranked.index)[:_SHOWN]
    console.print(f"\n{len(alerts):,} notifications told of {len(opened):,} groups of alerts.", end=" ")
    console.print("The strongest, one of a kind:" if shown else "")
    for told in shown:
        alert = told.alert
        amount = "" if alert.amount is None else f"¥{alert.amount:,}"
        kind = told.typologies[0].replace("_", " ")
        console.print(f"\n  {told.outcome}  {kind}  {amount}  score {alert.score}  {alert.payment_id}", style="bold")
        for en, ja in alert.reasons:
            console.print(Padding(en, (0, 0, 0, 4), expand=False))
            console.print(Padding(ja, (0, 0, 0, 4), expand=False), style="dim")
