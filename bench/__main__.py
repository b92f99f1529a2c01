"""The benchmarks: python -m bench [JOB ...], all of them unless told; --small to try them in a minute.

stages: every stage and the whole on the standard workload. windows, scores: these alone beside peers. kafka: a worker
on a real broker beside Faust agents. streams: the windows job beside Kafka Streams and Flink. The last two need Java
and Maven. Others, with options of their own: python -m bench.features, bench.windows, bench.wire, bench.live,
bench.webhooks, bench.soak, bench.detection, bench.reasons, bench.mutants.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench.kafka import kafka_job
from bench.peers.scorers import scorers_job
from bench.peers.windows import windows_job
from bench.report import ROOT, Table, origin, write_section
from bench.stages import profile_job, stages_job
from bench.streams import streams_job
from bench.workload import Workload, standard

JOBS: dict[str, Callable[[Workload, int], list[Table]]] = {
    "stages": stages_job,
    "windows": windows_job,
    "scores": scorers_job,
    "kafka": kafka_job,
    "streams": streams_job,
}
STANDARD, SMALL = 1_000_000, 150_000
WIDE = 160  # columns of a page that is no terminal


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(JOBS)}")
    parser.add_argument("--events", type=int, default=STANDARD, help="payments of the workload (%(default)s)")
    parser.add_argument("--small", action="store_const", const=SMALL, dest="events", help=f"{SMALL:,} payments")
    parser.add_argument("--repeats", type=int, default=3, help="rounds in which contenders take turns (%(default)s)")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench", help="where the workload is kept")
    parser.add_argument("--profile", action="store_true", help="show where the whole's time goes, and nothing else")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args()
    if unknown := set(options.jobs) - set(JOBS):
        parser.error(f"no such job: {', '.join(unknown)}; there are {', '.join(JOBS)}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(f"the workload: {options.events:,} payments in {options.folder}", style="dim")
    workload = standard(options.events, options.folder.resolve())
    if options.profile:
        profile_job(workload, console)
        return
    for name in options.jobs or JOBS:
        console.print(f"{name}: {origin()}", style="dim")
        tables = JOBS[name](workload, options.repeats)
        for table in tables:
            table.show(console)
        if options.write:
            arguments = [name, *(word for word in sys.argv[1:] if word not in (*JOBS, "--write"))]
            write_section(name, shlex.join(["python", "-m", "bench", *arguments]), tables)


if __name__ == "__main__":
    main()
