"""A lane with the stand-in scorer, a process of its own: standin_worker BOOTSTRAP PREFIX DELIVERY ARMED

While the file ARMED says "commit before", the next commit is this process's last act.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from streams.broker import Send
from streams.client import KafkaBroker, KafkaWriter
from streams.lane import Lane
from tests.streams.standins import Kept, Offered
from tests.streams.test_lane import settings_for

BOOTSTRAP, PREFIX, DELIVERY = sys.argv[1:4]
ARMED = Path(sys.argv[4])


def reached(point: str) -> None:
    """Die here if this is the armed point."""
    try:
        if ARMED.read_text() != point:
            return
        ARMED.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class ArmedWriter(KafkaWriter):
    def begin(self) -> None:
        reached("begin before")
        super().begin()

    def send(self, sends: Sequence[Send]) -> None:
        super().send(sends[: len(sends) // 2])
        if len(sends) > 1:
            self.producer.flush(5)
            reached("send within")
        super().send(sends[len(sends) // 2 :])

    def commit(self) -> int | None:
        reached("commit before")
        offset = super().commit()
        reached("commit after")
        return offset

    def append(self, send: Send) -> int:
        reached("append before")
        offset = super().append(send)
        reached("append after")
        return offset

    def flush(self) -> None:
        reached("flush before")
        super().flush()


def main() -> None:
    settings = settings_for(BOOTSTRAP, PREFIX, DELIVERY)
    clients = KafkaBroker(settings, ArmedWriter)
    kept = Kept(prefix=PREFIX)

    def log(line: str) -> None:
        print(line, flush=True)

    lane = Lane(clients, Offered(kept), kept, settings.topics, settings.lane, log)
    phase = ""
    while True:
        lane.turn()
        if lane.status.phase != phase:
            phase = lane.status.phase
            print(f"phase {phase}", flush=True)


if __name__ == "__main__":
    main()
