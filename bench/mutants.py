"""Thirty-four small breaks of the engine, each of which the tests must notice.

python -m bench.mutants [--only NAME ...]

The tree is copied once, and the tests named below must pass there. Then each mutant is applied to the copy, its tests
run until the first of them fails, and the file is restored. A mutant that survives is a law without a judge: exit 1.
So is one whose text is no longer found exactly once, lest it rot in silence.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("features", "models", "rules", "sekisho", "streams", "replay", "tests")
LIMIT_S = 900.0  # a mutant may never come to an end; that is noticed, too

WINDOWS = ("tests/features/test_windows.py",)
CONTROL = ("tests/laws/test_l06_control_events.py",)
INTAKE = ("tests/sekisho/test_intake.py",)
RULES = ("tests/rules/test_evaluate.py",)
FOREST = ("tests/models/test_forest.py",)


@dataclass(frozen=True)
class Mutant:
    """`old`, found once in `file`, becomes `new`; that breaks `law`, and one of `tests` must say so."""

    name: str
    law: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "frame start is open", "L2", "features/window_kernel.py",
        "hint, time - plan.bounds[k])", "hint, time - plan.bounds[k] + 1)", WINDOWS,
    ),
    Mutant(
        "EXCLUDE is ignored", "L2", "features/window_kernel.py",
        "            hi = at\n", "            hi = at + 1\n", WINDOWS,
    ),
    Mutant(
        "rows go before lateness has passed", "L4", "features/window_kernel.py",
        "reach = watermark - plan.shape[LATENESS_US] if", "reach = watermark if", WINDOWS,
    ),
    Mutant(
        "sample and population are swapped", "L5", "features/window_kernel.py",
        "sample, rooted = 1 if function in (VAR_SAMP, STDDEV_SAMP) else 0,",
        "sample, rooted = 0 if function in (VAR_SAMP, STDDEV_SAMP) else 1,", WINDOWS,
    ),
    Mutant(
        "a late row stands before those of its time", "L2", "features/rows.py",
        "first_at(words, rows_at, stride, first, end, time + 1)", "first_at(words, rows_at, stride, first, end, time)",
        WINDOWS,
    ),
    Mutant(
        "a row goes one moment early", "L4", "features/rows.py",
        "words[rows_at + first * stride] < reach - plan.shape[KEEP_US]:",
        "words[rows_at + first * stride] <= reach - plan.shape[KEEP_US]:", WINDOWS,
    ),
    Mutant(
        "a late row changes no later total", "L3", "features/rows.py",
        "range(at, at + (later + 1) * stride, stride)", "range(at, at + stride, stride)", WINDOWS,
    ),
    Mutant(
        "sums have 64 bits", "L5", "features/rows.py",
        "        if size > 1:\n", "        if size > 2:\n", WINDOWS,
    ),
    Mutant(
        "a distinct value never leaves", "L3", "features/distincts.py",
        "(hi, right, -1), (left, lo, -1)", "(hi, right, -1), (left, lo, 0)", WINDOWS,
    ),
    Mutant(
        "a late row changes no extreme", "L3", "features/extremes.py",
        "for parent in range(lo >> 3, parents):", "for parent in range((hi - 1) >> 3, parents):", WINDOWS,
    ),
    Mutant(
        "NULL keys are pooled", "L7", "features/intern.py",
        "if valid[row, i] != VALID:", "if valid[row, i] > VALID:", WINDOWS,
    ),
    Mutant(
        "equal hashes are equal keys", "L3", "features/intern.py",
        "while k < count and words[record + key_at + k] == key[start + k]:", "while k < count:", WINDOWS,
    ),
    Mutant(
        "frame end is one moment late", "L2", "features/window_plan.py",
        "CURRENT if end == 0 else bound(end - 1)", "CURRENT if end == 0 else bound(end - 2)", WINDOWS,
    ),
    Mutant(
        "halves round up", "L5", "features/shims.py",
        "(rest == half and (sticky or kept & _U1 == _U1))", "rest == half", ("tests/features/test_shims.py",),
    ),
    Mutant(
        "FALSE AND NULL is NULL", "L7", "features/vm.py",
        "valid[d, i] = VALID if decided else (x & y & 1) | ((x | y) & 2)", "valid[d, i] = (x & y & 1) | ((x | y) & 2)",
        ("tests/features/test_vm_trees.py",),
    ),
    Mutant(
        "a list entry outlives its expiry", "L1", "features/lists.py",
        "spans[s, 0] <= at_us < spans[s, 1]", "spans[s, 0] <= at_us <= spans[s, 1]", RULES,
    ),
    Mutant(
        "W advances by batches", "L4", "sekisho/intake.py",
        "w, t = mark[0], cells[time_row, i]", "w, t = mark[0] if i == 0 else watermark[0], cells[time_row, i]", INTAKE,
    ),
    Mutant(
        "an id alone makes a duplicate", "L11", "sekisho/intake.py",
        "if seen[record] == content[i, 0] and seen[record + 1] == content[i, 1]:", "if at >= 0:", INTAKE,
    ),
    Mutant(
        "the future is let in", "L4", "sekisho/intake.py",
        "if valid[record_row, i] == VALID and t > cells[record_row, i] + skew:",
        "if valid[record_row, i] > VALID and t > cells[record_row, i] + skew:", INTAKE,
    ),
    Mutant(
        "follow-ups inherit from a degraded payment", "L4", "sekisho/intake.py",
        "if outcome == ENTERS and payment_row >= 0 and len(inherit)", "if payment_row >= 0 and len(inherit)", INTAKE,
    ),
    Mutant(
        "each fraud label counts", "L11", "sekisho/intake.py",
        "    return heap[at + HEADER] - before\n", "    return heap[at + HEADER]\n", INTAKE,
    ),
    Mutant(
        "a ledger forgets at its horizon", "L11", "sekisho/ledger.py",
        "heap[marks[HEAD] + STAMP] < before:", "heap[marks[HEAD] + STAMP] <= before:",
        ("tests/sekisho/test_ledger.py",),
    ),
    Mutant(
        "a leg stands before its source", "L6", "sekisho/step.py",
        "np.lexsort((which, source))", "np.lexsort((-which, source))", INTAKE,
    ),
    Mutant(
        "unknown is no_hit", "L7", "rules/evaluate.py",
        "UNKNOWN if known == NULL else FAILED", "NO_HIT if known == NULL else FAILED", RULES,
    ),
    Mutant(
        "an attack that comes late is no group", "L4", "rules/alerts.py",
        "gathering.last_clock_us = alert.clock_us", "gathering.last_clock_us = alert.event_time_us",
        ("tests/rules/test_alerts.py",),
    ),
    Mutant(
        "a mute ends by the event's own time", "L6", "sekisho/step.py",
        "return (clock < until[:, None])", 'return (sheet.ints("event_time") < until[:, None])', CONTROL,
    ),
    Mutant(
        "what is removed stays on the pack's list", "L6", "rules/controls.py",
        "said.cleared, said.spans = True, []", "said.spans = []", ("tests/replay/test_control_replay.py",),
    ),
    Mutant(
        "a snooze is not heard", "L6", "rules/alerts.py",
        "            if alert.key in state.snoozed:\n", "            if alert.key in ():\n",
        ("tests/rules/test_alerts.py",),
    ),
    Mutant(
        "what is said counts from the batch's start", "L6", "sekisho/records.py",
        "np.argsort(np.concatenate([good, index])", "np.argsort(np.concatenate([good, index - len(records)])",
        ("tests/replay/test_control_replay.py",),
    ),
    Mutant(
        "NaN is 0", "L7", "models/trees.py",
        "if np.isnan(x[r]) or (missing == MISSING_ZERO and value[r] == 0.0):",
        "if missing == MISSING_ZERO and value[r] == 0.0:", FOREST,
    ),
    Mutant(
        "trees are added from the last", "L8", "models/trees.py",
        "for t in range(len(node_start) - 1):", "for t in range(len(node_start) - 2, -1, -1):", FOREST,
    ),
    Mutant(
        "ties of several logs are reversed", "L6", "replay/merge.py",
        'np.argsort(arrival, kind="stable")', "np.lexsort((-np.arange(len(arrival)), arrival))",
        ("tests/replay/test_sources.py",),
    ),
    Mutant(
        "money loses its decimals", "L5", "sekisho/wire/scalars.py",
        "        return np.int64(0), DECIMALS\n", "        return mantissa // _POW10[min(-x, 18)], code\n",
        ("tests/sekisho/test_wire_json.py",),
    ),
    Mutant(
        "a NULL of a table is 0", "L7", "sekisho/wire/table_decode.py",
        "    reading.sheet.valid[row] = present\n", "    reading.sheet.valid[row] = VALID\n",
        ("tests/sekisho/test_wire_tables.py",),
    ),
)  # fmt: skip


def main() -> int:
    """Run the mutants and print what killed each; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants")
    names = [mutant.name for mutant in MUTANTS]
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=names, default=names, help="these mutants alone")
    only = parser.parse_args().only
    mutants = [mutant for mutant in MUTANTS if mutant.name in only]
    with TemporaryDirectory(prefix="sekisho-mutants-") as folder:
        bench = Bench(Path(folder))
        if faults := [*bench.rotten(mutants)] or [*bench.unhealthy(mutants)]:
            print(*faults, sep="\n")
            return 1
        print(f"{'mutant':45}{'law':4} seconds  killed by")
        deaths = [_print_row(mutant, bench) for mutant in mutants]
    print(f"\n{sum(deaths)} of {len(mutants)} mutants killed")
    return 0 if all(deaths) else 1


def _print_row(mutant: Mutant, bench: Bench) -> bool:
    """Judge a mutant and print its row of the table; True if it was killed."""
    start = time.perf_counter()
    killer = bench.killer(mutant)
    seconds = time.perf_counter() - start
    print(f"{mutant.name:45}{mutant.law:4}{seconds:8.0f}  {killer or 'SURVIVED'}", flush=True)
    return killer is not None


class Bench:
    """A copy of the tree, and the kernels that were compiled from it."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.kernels, self.bent = folder / "tree", folder / "kernels", folder / "bent"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():  # listed is what was added, deleted or not
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.tree / name)
        self.imports = dict(_imports(self.tree))

    def rotten(self, mutants: Iterable[Mutant]) -> Iterator[str]:
        """What is wrong with mutants whose text has gone."""
        for mutant in mutants:
            found = (self.tree / mutant.file).read_text("utf-8").count(mutant.old)
            if found != 1:
                yield f"{mutant.name}: its text stands {found} times in {mutant.file}, not once; write the mutant anew"

    def unhealthy(self, mutants: Iterable[Mutant]) -> Iterator[str]:
        """Run all tests on the tree as it is, which fills `kernels`; what they said if they failed."""
        print("the tests without a mutant ...", flush=True)
        code, said = self._pytest(dict.fromkeys(test for mutant in mutants for test in mutant.tests), self.kernels)
        if code:
            yield said

    def killer(self, mutant: Mutant) -> str | None:
        """The first test that fails on the mutant, or None. RuntimeError if the mutant does not even run."""
        file = self.tree / mutant.file
        text, stat = file.read_text("utf-8"), file.stat()
        self._keep_kernels(mutant.file)
        file.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        try:
            code, said = self._pytest(mutant.tests, self.bent)
        except subprocess.TimeoutExpired:
            return "(it never ends)"
        finally:
            file.write_text(text, "utf-8")
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # so that the kept kernels stay valid
        failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
        if code not in (0, 1) or "numba.core.errors" in said or bool(failed) != bool(code):
            raise RuntimeError(f"the mutant {mutant.name!r} does not run:\n{said}")
        return failed[1] if failed else None

    def _keep_kernels(self, changed: str) -> None:
        """Put into `bent` the kernels of files that do not import the changed one: Numba looks at a kernel's own file
        alone, and would run the others as they were."""
        shutil.rmtree(self.bent, ignore_errors=True)
        shutil.copytree(self.kernels, self.bent, copy_function=os.link)
        for name in self._dependents(_module(Path(changed))):
            *_, folder, file = ("", *name.split("."))
            for stale in self.bent.glob(f"{folder}_*/{file}.*"):
                stale.unlink()

    def _dependents(self, module: str) -> set[str]:
        """The module and all that import it, directly or not."""
        found, fresh = set(), {module}
        while fresh:
            found |= fresh
            fresh = {name for name, imported in self.imports.items() if imported & found} - found
        return found

    def _pytest(self, tests: Iterable[str], kernels: Path) -> tuple[int, str]:
        """Run tests up to the first failure: exit status and output."""
        command = [sys.executable, "-m", "pytest", "-x", "-rf", "--tb=short", "-p", "no:cacheprovider", *tests]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(kernels), "PYTHONPATH": str(self.tree), "COLUMNS": "200"}
        done = subprocess.run(
            command, cwd=self.tree, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        return done.returncode, done.stdout + done.stderr


def _imports(tree: Path) -> Iterator[tuple[str, set[str]]]:
    """Every module, and the names that it imports: of modules, or of things within them."""
    for file in (file for folder in FOLDERS for file in (tree / folder).rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        yield _module(file.relative_to(tree)), names


def _module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


if __name__ == "__main__":
    sys.exit(main())
