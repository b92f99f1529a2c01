"""L2, L3, L5: a window is SQL's, as of the arrival. Random packs over random logs, judged by DuckDB."""

from __future__ import annotations

from collections import Counter

import pytest

from sekisho.testing.coverage import count_cells, matrix, possible_cells
from sekisho.testing.judges import judge_features, report, view_of
from sekisho.testing.random_packs import random_case


@pytest.mark.parametrize("block", range(10))
def test_the_specification_is_sql(block: int) -> None:
    """Every feature of every event has DuckDB's value: by features.sql in order, by its as-of form otherwise."""
    for seed in range(10 * block, 10 * block + 10):
        pack, log = random_case(seed, in_order=seed % 3 == 0)
        view = view_of(pack, log)
        differences = judge_features(pack, view)
        assert not differences, report(pack, view, differences)


def test_every_cell_is_met() -> None:
    """The engine's random cases meet every function x frame x tie, late, NULL and FILTER; -s prints them."""
    cells = Counter[tuple[str, str, str]]()
    for seed in range(300):
        pack, log = random_case(seed)
        cells += count_cells(pack, view_of(pack, log))
    print(matrix(cells))
    assert possible_cells() <= set(cells)
