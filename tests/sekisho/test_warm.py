"""A worker compiles before it leads, never while payments wait."""

import subprocess
import sys

_SCRIPT = """
import gc
from sekisho.compile import compile_pack
from sekisho.decider import Decider
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.packs import shipped_pack
from sekisho.testing.world import World
import sys
from pathlib import Path

def compiled():
    found = [each for each in gc.get_objects() if type(each).__name__ == "CPUDispatcher"]
    return {f"{each.py_func.__module__}.{each.py_func.__name__}{each.signatures}" for each in found}

decider = Decider(compile_pack(load_pack(shipped_pack("card_payments"))))
decider.warm()
before = compiled()
file = Path(sys.argv[1])
World(cards=2_000, payments_per_day=2_000).write_jsonl(file, 20_000)
events = [Message("in", 0, k, 0, None, line) for k, line in enumerate(file.read_bytes().splitlines())]
for at in range(0, len(events), 512):
    decider.decide(events[at : at + 512])
print(sorted(compiled() - before))
"""


def test_nothing_is_compiled_behind_warm(tmp_path: object) -> None:
    """20,000 events make every table grow, and no kernel is compiled for them."""
    command = [sys.executable, "-c", _SCRIPT, f"{tmp_path}/events.jsonl"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"
