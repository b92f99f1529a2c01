"""A real Apache Kafka broker (KRaft) on loopback, without Docker: Java runs the jars that pom.xml names.

    with KafkaBroker.start(folder) as broker:
        broker.bootstrap          # "127.0.0.1:PORT"
        broker.kill()             # SIGKILL: what a crash does
        broker.restart()          # the same data, the same port

Maven fetches the jars once into out/kafka. `missing()` says what a machine lacks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Any

from sekisho.errors import SekishoError

REQUIRE = "SEKISHO_REQUIRE_KAFKA"
_START_S = 180.0  # a busy machine takes a minute for what takes four seconds
# Kafka's ids are 16 bytes in base64; any will do on loopback.
_CLUSTER_ID = "c2VraXNoby10ZXN0cw"


class BrokerError(SekishoError):
    """A broker that did not start or stop; its log is named."""


def missing() -> str:
    """What this machine lacks to run a broker, or ""."""
    lacking = [name for name in ("java", "mvn") if shutil.which(name) is None]
    return f"no {' and no '.join(lacking)} on the PATH (Java 17 and Maven run the broker)" if lacking else ""


def jars(pom: Path, folder: Path | None = None) -> Path:
    """The folder of the jars that a pom names, fetched when it has changed. Raises BrokerError when Maven fails."""
    folder = folder or pom.parent / "out" / "kafka" / "lib"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes meanwhile finds them there
        stamp = folder / "pom.xml"
        if not (stamp.is_file() and stamp.read_bytes() == pom.read_bytes()):
            _fetch(pom, folder)
    return folder


def _fetch(pom: Path, folder: Path) -> None:
    fresh = Path(tempfile.mkdtemp(dir=folder.parent))
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(fresh)
        raise BrokerError(f"Maven could not fetch the jars: {done.stdout[-800:]}", f"look at the network and at {pom}")
    shutil.copy(pom, fresh / "pom.xml")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


# The heap that Kafka's own script gives it, all of it from the start.
MEASURED = ("-Xmx1g", "-Xms1g", "-XX:+UseParallelGC")
_PORTS = 15_000, 32_000


@dataclass
class KafkaBroker:
    """One broker that is its own controller. Data and logs stay in `folder`; the port stays the same at a restart.

    listeners: beside the plain one.   format_options: further words for the formatting of the storage.
    java: the options of the process; MEASURED where its pauses would be counted as ours.
    """

    folder: Path
    lib: Path
    port: int
    controller_port: int
    settings: dict[str, str] = field(default_factory=dict)
    listeners: tuple[str, ...] = ()
    format_options: tuple[str, ...] = ()
    java: tuple[str, ...] = ("-Xmx512m", "-Xms256m", "-XX:+UseSerialGC")
    cluster_id: str = _CLUSTER_ID
    process: subprocess.Popen[bytes] | None = None
    _seen: int = 0  # the length of the log before this run

    @classmethod
    def start(
        cls, folder: Path, pom: Path | None = None, settings: dict[str, str] | None = None, **fields: Any
    ) -> KafkaBroker:
        """Format the storage and start. `settings` are added to server.properties; fields: see the class."""
        lib = jars(pom or _find_pom())
        folder.mkdir(parents=True, exist_ok=True)
        port, controller_port = free_ports(2)
        broker = cls(
            folder, lib, **{"port": port, "controller_port": controller_port, **fields}, settings=settings or {}
        )
        broker._format()
        broker.run()
        return broker

    @classmethod
    @contextmanager
    def cluster(cls, folder: Path, count: int = 3) -> Iterator[list[KafkaBroker]]:
        """So many brokers that are their own controllers, every internal topic on all of them; killed at the end."""
        lib, ports = jars(_find_pom()), free_ports(2 * count)
        voters = ",".join(f"{k + 1}@127.0.0.1:{port}" for k, port in enumerate(ports[count:]))
        brokers = [cls(folder / str(k + 1), lib, ports[k], ports[count + k]) for k in range(count)]
        for k, broker in enumerate(brokers):
            broker.folder.mkdir(parents=True)
            broker.settings = {"node.id": str(k + 1), "controller.quorum.voters": voters}
            for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
                broker.settings[f"{topic}.replication.factor"] = str(count)
            broker.settings["transaction.state.log.min.isr"] = str(count // 2 + 1)
        try:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(cls._format, brokers))
                list(pool.map(cls.run, brokers))  # none is up before most are
            yield brokers
        finally:
            for broker in brokers:
                broker.kill()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def run(self) -> None:
        """Start the process and wait until it answers. Raises BrokerError with the end of its log."""
        self._seen = self.log.stat().st_size if self.log.is_file() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._java(*self.java), "kafka.Kafka", str(self.folder / "server.properties")],
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is for the tests, not for the broker
            )
        _hurry_as_we_do(self.process.pid)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise BrokerError(f"the broker did not start: {self._last_words()}", f"read {self.log}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a crash does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: an orderly end."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again on the same data and port, killing what still runs."""
        self.kill()
        self.run()

    def pause(self) -> None:
        """SIGSTOP: it hangs, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> KafkaBroker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def _end(self, number: int) -> None:
        self._signal(number)
        if self.process is not None:
            self.process.wait(timeout=_START_S)
            self.process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        return b"Kafka Server started" in self.log.read_bytes()[self._seen :]

    def _last_words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-1500:]

    def _java(self, *options: str) -> list[str]:
        dated = "-Dorg.slf4j.simpleLogger.showDateTime=true"
        return ["java", *options, dated, "-cp", f"{self.lib}/*"]

    def _format(self) -> None:
        properties = self.folder / "server.properties"
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "num.network.threads": "1",  # more would take turns on two cores
            "num.io.threads": "2",
            "listeners": ",".join(
                (f"PLAINTEXT://{self.bootstrap}", f"CONTROLLER://127.0.0.1:{self.controller_port}", *self.listeners)
            ),
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "4",
            "broker.session.timeout.ms": "2000",  # a restart after a kill waits for the old session to end
            "broker.heartbeat.interval.ms": "500",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            **self.settings,
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), "utf-8")
        command = self._java("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command += ["kafka.tools.StorageTool", "format"]
        command += ["-t", self.cluster_id, "-c", str(properties), *self.format_options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(f"the storage was not formatted: {done.stderr[-800:]}", "look at the folder's rights")


def _hurry_as_we_do(pid: int) -> None:
    """On Linux a session is scheduled as one group: the broker's gets the priority of ours, whatever that is."""
    ours, theirs = Path("/proc/self/autogroup"), Path(f"/proc/{pid}/autogroup")
    with suppress(OSError):
        if told := ours.read_text().split():  # nothing is told where the kernel groups by something else
            theirs.write_text(told[-1])


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago, below those given to clients: none takes them later."""
    found: dict[int, socket.socket] = {}
    try:
        while len(found) < count:
            port, probe = SystemRandom().randrange(*_PORTS), socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
            else:
                found[port] = probe
        return list(found)
    finally:
        for probe in found.values():
            probe.close()


def _find_pom() -> Path:
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[2]):
        if (folder / "pom.xml").is_file():
            return folder / "pom.xml"
    raise BrokerError("pom.xml is not in this folder or above it", "run this from the project's folder")
