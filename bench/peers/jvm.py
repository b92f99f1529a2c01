"""Peers on the Java machine: fetched by Maven, compiled once, run in a process of their own."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Spent
from sekisho.testing.kafka import jars

SOURCES = Path(__file__).parent / "java"
PATIENCE_S = 400.0
SETTLE_S = 25.0  # what is done when the last payment is, is committed within this: Flink does it every 10 s
OPENED = ("java.base/java.lang", "java.base/java.util", "java.base/java.time")  # Flink looks into these


@dataclass(frozen=True)
class JavaPeer:
    """A main class, and the folders of its own classes and of what Maven fetched for it."""

    main: str
    classes: Path
    lib: Path

    def run(self, report: Path, *arguments: str) -> Spent:
        """Run it until it has written its report. Exit status 1 with the end of its log where it does not."""
        opened = [f"--add-opens={package}=ALL-UNNAMED" for package in OPENED]
        command = ["java", "-Xmx2g", "-XX:+UseSerialGC", *opened, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command += ["-cp", f"{self.classes}:{self.lib}/*", self.main, *arguments]
        log = report.with_suffix(".log")
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + PATIENCE_S
        while not report.is_file():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise SystemExit(f"{self.main} did not come to its end: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        time.sleep(SETTLE_S)
        process.terminate()
        process.wait()
        return Spent(**json.loads(report.read_text()))


def java_peer(main: str, pom: str, folder: Path) -> JavaPeer:
    """Fetch what the pom names into the folder, and compile the peer."""
    lib, classes = jars(SOURCES / pom, folder / pom.removesuffix(".xml")), folder / main
    sources = [str(SOURCES / f"{name}.java") for name in ("Payment", "Progress", main)]
    subprocess.run(["javac", "-cp", f"{lib}/*", "-d", str(classes), *sources], check=True)
    return JavaPeer(main, classes, lib)
