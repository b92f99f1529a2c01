"""A lane with the stand-in scorer, a process of its own: standin_worker BOOTSTRAP PREFIX DELIVERY FOLDER

While the file FOLDER/armed says "commit before", the next commit is this process's last act. The workers of a folder
share their snapshots.
"""

import os
import pickle
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Thread

from confluent_kafka import Producer

from streams.broker import Send
from streams.client import KafkaBroker, KafkaWriter
from streams.journal_tail import Place
from streams.lane import Lane
from tests.streams.standins import Folding, Kept, Offered
from tests.streams.test_lane import settings_for

BOOTSTRAP, PREFIX, DELIVERY = sys.argv[1:4]
FOLDER = Path(sys.argv[4])
ARMED = FOLDER / "armed"
COMMIT_S = 0.002  # about the middle of one


def reached(point: str, within_s: float = 0.0) -> None:
    """Die here, or a moment later, if this is the armed point."""
    try:
        if ARMED.read_text() != point:
            return
        ARMED.unlink()
    except FileNotFoundError:
        return
    if within_s:
        Thread(target=_die, args=(within_s,), daemon=True).start()
    else:
        _die(0.0)


def _die(after_s: float) -> None:
    time.sleep(after_s)
    os.kill(os.getpid(), signal.SIGKILL)


class FiledSnapshots(Kept):
    """Snapshots in one file, replaced whole."""

    file = FOLDER / "snapshots"

    def save(self, scorer: Folding, place: Place, now: float, active: bool) -> None:  # type: ignore[override]
        super().save(scorer, place, now, active)
        fresh = self.file.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(pickle.dumps(self.shelf))
        reached("snapshot")
        fresh.rename(self.file)

    def load(self, trust: bool) -> tuple[Folding, Place]:
        if self.file.exists():
            self.shelf |= pickle.loads(self.file.read_bytes())
        return super().load(trust)


class ArmedWriter(KafkaWriter):
    def __init__(self, producer: Producer, transactional: bool) -> None:
        super().__init__(producer, transactional)
        reached("takeover")

    def begin(self) -> None:
        reached("begin before")
        super().begin()

    def send(self, sends: Iterable[Send]) -> None:
        records = list(sends)
        half = len(records) // 2
        for part, point in ((records[:half], "send within"), (records[half:-1], "journal before")):
            if part:
                super().send(part)
                super().flush()  # so that the last offset told is the journal record's
                reached(point)
        super().send(records[-1:])

    def commit(self) -> int | None:
        reached("commit before")
        reached("commit within", COMMIT_S)
        offset = super().commit()
        reached("commit after")
        return offset

    def append(self, send: Send) -> int:
        reached("append before")
        reached("append within", COMMIT_S / 2)
        offset = super().append(send)
        reached("append after")
        return offset

    def flush(self) -> None:
        reached("flush before")
        super().flush()


def main() -> None:
    settings = settings_for(BOOTSTRAP, PREFIX, DELIVERY)
    clients = KafkaBroker(settings, ArmedWriter)
    kept = FiledSnapshots(prefix=PREFIX)

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
