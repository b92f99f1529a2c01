"""From a decision's commit to the receiver's socket: a real broker, a worker, a receiver, all on this machine.

python -m bench.webhooks [ALERTS_A_SECOND] [SECONDS]
"""

import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sekisho.testing.kafka import KafkaBroker
from streams.topics import create_topics
from tests.streams.webhooks.hooks_world import Receiver, until
from tests.streams.webhooks.test_webhook_worker import Bank, HookWorker, hook


def measure(folder: Path, rate: float, seconds: float) -> None:
    """What is due goes into one transaction, as the lane does it; printed are the delays after two seconds."""
    receiver = Receiver()
    with KafkaBroker.start(folder / "broker") as broker:
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
    skipped = int(2 * rate)
    for name, since in (("the commit's return", committed), ("the transaction's begin", begun)):
        delays = [1000 * (arrived[k + 1] - at) for k, at in enumerate(since)][skipped:]
        p50, p99 = np.percentile(delays, (50, 99))
        print(f"from {name:24} to the receiver: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(delays):.1f} ms")
    sent = len(committed) / (committed[-1] - start)
    print(f"{len(committed):,} alerts at {sent:.0f}/s, {len(receiver.calls)} calls")


def main() -> None:
    words = sys.argv[1:]
    rate, seconds = float(words[0]) if words else 100.0, float(words[1]) if words[1:] else 20.0
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), rate, seconds)


if __name__ == "__main__":
    main()
