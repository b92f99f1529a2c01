"""Parts of a batch on threads of their own."""

import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from features.threads import in_parts, side_by_side
from sekisho.compile import compile_pack
from sekisho.decider import Decider
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.packs import shipped_pack
from sekisho.testing.world import World


@pytest.mark.parametrize(("threads", "n"), [(1, 1000), (2, 0), (2, 1), (2, 255), (2, 256), (3, 1000), (7, 1001)])
def test_parts_follow_each_other(threads: int, n: int) -> None:
    """Every row is in one part, in order, and small batches are not cut."""
    parts = in_parts(threads, n, lambda start, stop: (start, stop))
    assert parts[0][0] == 0 and parts[-1][1] == n
    assert all(one[1] == other[0] for one, other in pairwise(parts))
    assert len(parts) == 1 or min(stop - start for start, stop in parts) >= 128


def test_a_part_that_fails_is_not_passed_over() -> None:
    """An error on another thread is the caller's."""
    with pytest.raises(ZeroDivisionError):
        in_parts(2, 1000, lambda start, stop: 1 // (500 - start))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_job_is_done_once_and_in_its_place(threads: int) -> None:
    """Whoever takes a job, what it gives stands where the job stood; jobs over few rows stay with the caller."""
    here = threading.current_thread()
    for jobs in range(9):
        assert side_by_side(threads, 1000, [partial(pow, 2, k) for k in range(jobs)]) == [2**k for k in range(jobs)]
        assert side_by_side(threads, 255, [threading.current_thread] * jobs) == [here] * jobs


def test_threads_change_no_byte(tmp_path: Path) -> None:
    """L6: whole batches with unreadable records among them, on one, two and three threads: equal outputs."""
    file = tmp_path / "events.jsonl"
    World(cards=2_000, payments_per_day=2_000).write_jsonl(file, 4_000)
    values = file.read_bytes().splitlines()
    for k in range(3, len(values), 97):
        values[k] = values[k][: len(values[k]) // 2]
    records = [Message("in", 0, k, 0, None, value) for k, value in enumerate(values)]
    pack = load_pack(shipped_pack("card_payments"))
    deciders = [Decider(compile_pack(pack), threads) for threads in (1, 2, 3)]
    for at in range(0, len(records) - 1499, 1500):
        one, *others = [decider.decide(records[at : at + 1500]) for decider in deciders]
        assert len(one.dead_letters) > 9 and len(one.decisions) > 300
        assert all(other == one for other in others)
