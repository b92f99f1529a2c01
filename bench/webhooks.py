"""Webhooks on a real broker, with a receiver on this machine: how soon an alert arrives, and what the lane pays for it.

python -m bench.webhooks --rate 100 --seconds 20        # from a decision's commit to the receiver's socket
python -m bench.webhooks --lane --rounds 30             # the lane's rate with and without delivery, in turns

Broker, worker and receiver are processes of their own. To measure arrivals, what is due goes into one transaction, as
the lane does it. To measure the lane, three lanes each have an input of their own; one after the other gets the same
payments while it is stopped, and is timed from when it goes on until the last is decided.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from bench.live import SETTINGS, Payments, demo_payments, produce
from bench.measure import Spent, in_turns, ratio
from bench.workload import PARTITIONS
from sekisho.journal import decode
from sekisho.packs import shipped_pack
from sekisho.settings import load_settings
from sekisho.testing.kafka import MEASURED, KafkaBroker
from sekisho.testing.worker import Status, WorkerProcess
from streams.client import KafkaBroker as Clients
from streams.topics import create_topics
from tests.streams.webhooks.hooks_world import SECRET, Receiver, until
from tests.streams.webhooks.test_webhook_worker import Bank, HookWorker, hook

WARM_S = 2.0
WARM_ROUNDS = 6  # a broker that has just started compiles itself
TOPICS = """\
deliveries = "{name}-deliveries"
webhooks = "{name}-webhooks"
undelivered = "{name}-undelivered"
replication"""
HOOK = """\
[[webhooks]]
id = "bench"
url = "http://127.0.0.1:{port}/"
secrets = [{{ env = "BENCH_SECRET" }}]
allow = ["127.0.0.1"]
{more}
"""


def arrivals(folder: Path, broker: KafkaBroker, rate: float, seconds: float) -> None:
    """Print the delays of all but the first two seconds."""
    receiver = Receiver()
    worker = HookWorker(folder, broker, "", [hook("bench", receiver, "parallel = 16")])
    create_topics(worker.settings, log_append=False)
    bank = Bank(worker.settings)
    worker.start()
    try:
        until(worker.routes, 60, worker.words)
        begun, committed, start = [], [], time.time()
        while bank.count < rate * seconds:
            time.sleep(max(0.0, start + (bank.count + 1) / rate - time.time()))
            at, due = time.time(), max(1, int((time.time() - start) * rate) - bank.count)
            begun += [at] * due
            committed += [bank.write(due)] * due
        until(lambda: len({call.id for call in receiver.calls}) == bank.count, 30, worker.words)
        worker.end(signal.SIGTERM)
    finally:
        if worker.process is not None:
            worker.process.kill()
        receiver.close()
    arrived = {call.sequence: call.at for call in reversed(receiver.calls)}
    for name, since in (("the commit's return", committed), ("the transaction's begin", begun)):
        delays = [1000 * (arrived[k + 1] - at) for k, at in enumerate(since)][int(WARM_S * rate) :]
        p50, p99 = np.percentile(delays, (50, 99))
        print(f"from {name:24} to the receiver: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(delays):.1f} ms")
    sent = len(committed) / (committed[-1] - start)
    print(f"{len(committed):,} alerts at {sent:.0f}/s, {len(receiver.calls)} calls")


class Answers(asyncio.Protocol):
    """A receiver that does next to nothing: every call is answered 200."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.lacks = transport, b""

    def data_received(self, data: bytes) -> None:
        self.lacks += data
        while (head := self.lacks.find(b"\r\n\r\n")) >= 0:
            size = int(re.search(rb"content-length: (\d+)", self.lacks[:head], re.IGNORECASE)[1])  # type: ignore[index]
            if len(self.lacks) < head + 4 + size:
                return
            self.lacks = self.lacks[head + 4 + size :]
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")  # type: ignore[attr-defined]


def serve(pipe: Connection) -> None:
    """Receive in a process of its own; tells its port."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


class Contender:
    """A lane that decides a round of payments when its turn comes. delivers: nobody, itself, or another worker."""

    def __init__(
        self, folder: Path, broker: KafkaBroker, delivers: str, pack: Path, rounds: Sequence[Payments], hooks: str
    ) -> None:
        self.broker, self.name, self.rounds = broker, f"by-{delivers}", list(rounds)
        values = {"pack": pack, "bootstrap": broker.bootstrap, "inputs": PARTITIONS, "outputs": 1}
        text = SETTINGS.format(**values, name=self.name, delivery="exactly-once")
        text = text.replace('"payments"', f'"{self.name}-payments"')
        text = text.replace("replication", TOPICS.format(name=self.name), 1) + ("" if delivers == "nobody" else hooks)
        self.lane = WorkerProcess(folder, self.name, text)
        settings = load_settings(self.lane.config)
        create_topics(settings, log_append=False)
        self.journal = Clients(settings).reader({(settings.topics.journal, 0): None})
        self.other = WorkerProcess(folder, f"{self.name}-webhooks", text) if delivers == "another" else self.lane

    def start(self) -> None:
        """Start, and wait until it is ready."""
        apart = self.other is not self.lane
        self.lane.start(*(("--only", "lane") if apart else ()))
        self.lane.wait(lambda status: status.get("phase") == "active")
        if apart:
            self.other.start("--only", "webhooks")
        self.other.wait(lambda status: "webhooks" not in status or status["webhooks"]["phase"] == "routing")

    def turn(self) -> Spent:
        """Decide the next round; timed by the journal, to the last batch."""
        process, payments, decided = self.lane.process, self.rounds.pop(0), 0
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        produce(self.broker.bootstrap, payments, 0, f"{self.name}-payments")
        before, began = self.lane.cpu_s(), time.monotonic()
        process.send_signal(signal.SIGCONT)
        while decided < len(payments):
            for message in self.journal.poll(100, 0.1).messages:
                decided += sum(each.end - each.first for each in decode(message.value or b"").ranges)
        spent = Spent(len(payments), time.monotonic() - began, self.lane.cpu_s() - before)
        alerts = self.lane.status()["alerts"]
        self.other.wait(lambda status: "webhooks" not in status or _all_delivered(status, alerts))
        return spent


def _all_delivered(status: Status, alerts: int) -> bool:
    subscriber = status["webhooks"]["subscribers"].get("bench", {"sequence": -1})
    return bool(subscriber["sequence"] >= alerts and subscriber["open"] == 0)


def lane(folder: Path, broker: KafkaBroker, rounds: Sequence[Payments], more: Sequence[str]) -> None:
    """Print the rates of a lane without delivery, with it in the same worker, and in another; in turns."""
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    spawn.Process(target=serve, args=(theirs,), daemon=True).start()
    os.environ["BENCH_SECRET"] = SECRET
    hooks, pack = HOOK.format(port=mine.recv(), more="\n".join(more)), shipped_pack("card_payments")
    names = ("nobody", "itself", "another")
    contenders = {name: Contender(folder, broker, name, pack, rounds, hooks) for name in names}
    try:
        for contender in contenders.values():
            contender.start()
        turns = {name: each.turn for name, each in contenders.items()}
        in_turns(turns, WARM_ROUNDS)
        found = in_turns(turns, len(rounds) - WARM_ROUNDS)
        status = contenders["itself"].lane.status()
    finally:
        for contender in contenders.values():
            contender.lane.kill()
            contender.other.kill()
    print(f"{status['events']:,} payments, {status['alerts'] / status['events']:.2%} alerts, each delivered")
    for name, each in found.items():
        rates = ratio(found["nobody"], each, lambda run: run.wall_s)
        costs = ratio(each, found["nobody"])
        print(f"delivered by {name}: {each.per_s} payments/s, {each.cpu_us} us CPU a payment in the lane's process")
        print(f"    beside the lane alone, round by round: rate {rates}, CPU {costs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0, help="alerts a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--lane", action="store_true", help="measure the lane's rate instead")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--payments", type=int, default=10_000, help="a round")
    parser.add_argument("--fraud", type=float, default=1.0, help="more of it makes more alerts")
    parser.add_argument("--hook", action="append", default=[], help="a line for [[webhooks]], as batch = 20")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, KafkaBroker.start(Path(name) / "broker", java=MEASURED) as broker:
        folder = Path(name)
        if not options.lane:
            arrivals(folder, broker, options.rate, options.seconds)
            return
        payments = demo_payments(options.payments * (WARM_ROUNDS + options.rounds), folder, options.fraud)
        cuts = range(0, len(payments), options.payments)
        lane(folder, broker, [payments[k : k + options.payments] for k in cuts], options.hook)


if __name__ == "__main__":
    main()
