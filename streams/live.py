"""The live path from end to end on this machine: a broker, two workers, a kill, a takeover, and the proof.

broker (Java) -> topics -> worker + standby -> a made-up bank's events -> SIGKILL of the active worker
-> the standby goes on -> `sekisho replay verify` says MATCH
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sekisho.packs import shipped_pack
from sekisho.settings import Settings, load_settings
from sekisho.testing.kafka import BrokerError, KafkaBroker, missing
from sekisho.testing.worker import WorkerProcess, wait_for
from streams.broker import Partition
from streams.client import KafkaBroker as Clients
from streams.topics import create_topics

_SEKISHO = (sys.executable, "-m", "sekisho")
_SETTINGS = """\
pack = "{pack}"
state = "state-{name}"
[kafka]
bootstrap = "{bootstrap}"
[topics]
input = ["payments"]
replication = 1
[lane]
session_timeout_ms = 1500
"""


def _worker(folder: Path, name: str, bootstrap: str) -> WorkerProcess:
    pack = shipped_pack("card_payments")
    return WorkerProcess(folder, name, _SETTINGS.format(pack=pack, name=name, bootstrap=bootstrap))


def live(folder: Path, events: int, rate: float, say: Callable[[str], None]) -> int:
    """Show it all; the exit status of the verification. Raises SekishoError where Java or Maven is missing."""
    if lacking := missing():
        raise BrokerError(lacking, "install a Java runtime of version 17 and Maven, or use docker compose")
    say("starting a broker (the first time Maven fetches it)")
    with KafkaBroker.start(folder / "broker") as broker:
        workers = [_worker(folder, name, broker.bootstrap) for name in ("one", "two")]
        try:
            for worker in workers:
                worker.start()
            return _show(workers, events, rate, say)
        finally:
            for worker in workers:
                worker.kill()


def _show(workers: list[WorkerProcess], events: int, rate: float, say: Callable[[str], None]) -> int:
    settings = load_settings(workers[0].config)
    create_topics(settings, log_append=False)
    say(f"broker at {settings.kafka.bootstrap}; two workers load their pack, the first time for a minute or two")
    active, _ = wait_for(workers, lambda status: status.get("phase") == "active")
    standby = next(worker for worker in workers if worker is not active)
    standby.wait(lambda status: status.get("phase") == "following")
    say(f"worker {active.name} is active, worker {standby.name} stands by; {events:,} events at {rate:,.0f} a second")

    bank = [*_SEKISHO, "generate", "--config", str(active.config), "--events", str(events), "--rate", str(rate)]
    with subprocess.Popen(bank, stdout=subprocess.DEVNULL) as generator:
        decisions = _Decisions(settings)
        _watch(active, events // 2, decisions, say)
        say(f"SIGKILL for worker {active.name}")
        active.end(signal.SIGKILL)
        started = time.monotonic()
        standby.wait(lambda status: status.get("phase") == "active")
        say(f"worker {standby.name} has taken over after {time.monotonic() - started:.1f} s")
        _watch(standby, events, decisions, say)
        generator.wait()
    status = standby.status()
    say(f"as a standby it compared {status['folded']:,} batches, {status['differences']} differences; now the proof")
    standby.end(signal.SIGTERM)
    proof = [*_SEKISHO, "replay", "verify", "--config", str(standby.config)]
    return subprocess.run(proof, check=False).returncode


def _watch(worker: WorkerProcess, events: int, decisions: _Decisions, say: Callable[[str], None]) -> None:
    """Say once a second how far it is, with the newest decision, until so many events are decided."""
    while True:
        status = worker.status()
        decided = sum(status.get("positions", {}).values())
        say(f"{decided:>9,} events decided   {decisions.newest()}")
        if decided >= events:
            return
        time.sleep(1.0)


class _Decisions:
    """The decisions' topic, as any consumer reads it."""

    def __init__(self, settings: Settings) -> None:
        clients = Clients(settings)
        start: dict[Partition, int | None] = dict.fromkeys(clients.partitions([settings.topics.decisions]))
        self.reader, self.last = clients.reader(start), b"{}"

    def newest(self) -> str:
        """The newest decision in a few words."""
        while messages := self.reader.poll(10_000, 0.1).messages:
            self.last = messages[-1].value or b"{}"
        found = json.loads(self.last)
        rules = ", ".join(rule["id"] for rule in found.get("rules", ()))
        return f"{found.get('payment_id', '')} {found.get('outcome', '')} {found.get('score', '')} {rules}".strip()
