"""L2, L3, L5: a window is SQL's, as of the arrival. Random packs over random logs, judged by DuckDB."""

from __future__ import annotations

from random import Random

import pytest

from sekisho.testing.judges import judge_features, report, view_of
from sekisho.testing.random_logs import random_log
from sekisho.testing.random_packs import random_pack


@pytest.mark.parametrize("block", range(10))
def test_the_specification_is_sql(block: int) -> None:
    """Every feature of every event has DuckDB's value: by features.sql in order, by its as-of form otherwise."""
    for seed in range(10 * block, 10 * block + 10):
        pack = random_pack(seed)
        view = view_of(pack, random_log(Random(seed), pack.policy, n=60, in_order=seed % 3 == 0))
        differences = judge_features(pack, view)
        assert not differences, report(pack, view, differences)
