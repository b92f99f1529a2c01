"""Webhooks on a real broker, with a receiver on this machine: how soon an alert arrives, and what the lane pays for it.

python -m bench.webhooks --rate 100 --seconds 20        # from a decision's commit to the receiver's socket
python -m bench.webhooks --lane --rounds 12             # the lane's rate with and without delivery, in turns

Broker, worker and receiver are processes of their own. To measure arrivals, what is due goes into one transaction, as
the lane does it. To measure the lane, two workers each have an input of their own; one after the other gets the same
payments while it is stopped, and is timed from when it goes on until the last is decided.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
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
from sekisho.packs import shipped_pack
from sekisho.settings import load_settings
from sekisho.testing.kafka import KafkaBroker
from sekisho.testing.worker import Status, WorkerProcess
from streams.topics import create_topics
from tests.streams.webhooks.hooks_world import SECRET, Receiver, until
from tests.streams.webhooks.test_webhook_worker import Bank, HookWorker, hook

WARM_S = 2.0
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


def serve(pipe: Connection) -> None:
    """A receiver in a process of its own; tells its port."""
    pipe.send(Receiver().port)
    time.sleep(1e6)


class Contender:
    """A worker that decides each round of payments when its turn comes."""

    def __init__(self, folder: Path, broker: KafkaBroker, name: str, rounds: Sequence[Payments], hooks: str) -> None:
        self.broker, self.name, self.rounds = broker, name, list(rounds)
        values = {"pack": shipped_pack("card_payments"), "bootstrap": broker.bootstrap, "partitions": PARTITIONS}
        text = SETTINGS.format(**values, name=name, delivery="exactly-once").replace('"payments"', f'"{name}-payments"')
        self.worker = WorkerProcess(folder, name, text.replace("replication", TOPICS.format(name=name), 1) + hooks)
        create_topics(load_settings(self.worker.config), log_append=False)
        self.decided = 0
        self.worker.start()

    def turn(self) -> Spent:
        """Decide the next round."""
        process, payments = self.worker.process, self.rounds.pop(0)
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        produce(self.broker.bootstrap, payments, 0, f"{self.name}-payments")
        self.decided += len(payments)
        before, began = self.worker.cpu_s(), time.monotonic()
        process.send_signal(signal.SIGCONT)
        self.worker.wait(lambda status: status.get("events", 0) >= self.decided)
        spent = Spent(len(payments), time.monotonic() - began, self.worker.cpu_s() - before)
        self.worker.wait(_all_delivered)
        return spent


def _all_delivered(status: Status) -> bool:
    return "webhooks" not in status or status["webhooks"]["subscribers"]["bench"]["delivered"] == status["alerts"]


def lane(folder: Path, broker: KafkaBroker, rounds: Sequence[Payments], more: Sequence[str]) -> None:
    """Print the rates of a lane alone and of one whose worker delivers, round by round in turns."""
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    spawn.Process(target=serve, args=(theirs,), daemon=True).start()
    os.environ["BENCH_SECRET"] = SECRET
    hooks = HOOK.format(port=mine.recv(), more="\n".join(more))
    contenders = {name: Contender(folder, broker, name, rounds, text) for name, text in (("lane", ""), ("both", hooks))}
    try:
        for contender in contenders.values():
            contender.worker.wait(lambda status: status.get("phase") == "active")
            contender.turn()
        found = in_turns({name: each.turn for name, each in contenders.items()}, len(rounds) - 1)
        status = contenders["both"].worker.status()
    finally:
        for contender in contenders.values():
            contender.worker.kill()
    print(f"{status['events']:,} payments, {status['alerts'] / status['events']:.2%} alerts, each delivered")
    for each in found.values():
        print(f"{each.name}: {each.per_s} payments/s, {each.cpu_us} us CPU a payment")
    rates = ratio(found["lane"], found["both"], lambda run: run.wall_s)
    print(f"rate of both beside the lane alone, round by round: {rates}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0, help="alerts a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--lane", action="store_true", help="measure the lane's rate instead")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--payments", type=int, default=20_000, help="a round")
    parser.add_argument("--hook", action="append", default=[], help="a line for [[webhooks]], as batch = 20")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, KafkaBroker.start(Path(name) / "broker") as broker:
        folder = Path(name)
        if not options.lane:
            arrivals(folder, broker, options.rate, options.seconds)
            return
        payments = demo_payments(options.payments * (options.rounds + 1), folder)
        cuts = range(0, len(payments), options.payments)
        lane(folder, broker, [payments[k : k + options.payments] for k in cuts], options.hook)


if __name__ == "__main__":
    main()
