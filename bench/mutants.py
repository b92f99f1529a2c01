"""Small breaks of the engine (bench.mutant_list), each of which the tests must notice.

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
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("features", "models", "rules", "sekisho", "streams", "replay", "tests")
LIMIT_S = 900  # of CPU: a mutant may never come to an end; that is noticed, too


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
            code, said = self._pytest(mutant.tests, self.bent, LIMIT_S)
        finally:
            file.write_text(text, "utf-8")
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # so that the kept kernels stay valid
        if code == -signal.SIGXCPU:
            return "(it never ends)"
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

    def _pytest(self, tests: Iterable[str], kernels: Path, limit_s: int = resource.RLIM_INFINITY) -> tuple[int, str]:
        """Run tests up to the first failure: exit status and output. limit_s: of CPU, however busy the machine is."""
        limit = partial(resource.setrlimit, resource.RLIMIT_CPU, (limit_s, resource.RLIM_INFINITY))
        command = [sys.executable, "-m", "pytest", "-x", "-rf", "--tb=short", "-p", "no:cacheprovider", *tests]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(kernels), "PYTHONPATH": str(self.tree), "COLUMNS": "200"}
        done = subprocess.run(
            command, cwd=self.tree, env=environment, capture_output=True, text=True, preexec_fn=limit, check=False
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
