"""Lists that change while the log runs: the tables are what a dictionary says, however they came to be."""

from random import Random

import numpy as np
import pytest

from features.lists import ListTables, _row_of, build_lists, with_spans
from rules.records import ListEntry

Spans = list[tuple[int, int]]


def found(tables: ListTables, number: int, value: str) -> Spans:
    """What a kernel would find of a value."""
    raw = np.frombuffer(value.encode(), np.uint8)
    row = _row_of(tables.secret, number, raw, tables.slots, tables.keys, tables.text)
    return [] if row < 0 else [(int(a), int(b)) for a, b in tables.spans[tables.keys[row, 3] : tables.keys[row, 4]]]


@pytest.mark.parametrize("seed", range(20))
def test_changed_tables_are_what_a_dictionary_says(seed: int) -> None:
    """Values added, changed, emptied and added again, alone and many at once, past every growth of the table; the
    tables that were changed stay as they were."""
    rng = Random(seed)

    def spans() -> Spans:
        return [(start, start + rng.randint(1, 9)) for start in rng.sample(range(99), rng.randint(0, 3))]

    own = {name: {f"v{k}": spans() for k in range(rng.randint(0, 4))} for name in ("one", "two")}
    said = {(n, value): each for n, name in enumerate(own) for value, each in own[name].items()}
    tables = build_lists(
        {name: [ListEntry(value, *each) for value, all in values.items() for each in all]
         for name, values in own.items()}
    )  # fmt: skip
    for _ in range(30):
        before, known = tables, dict(said)
        names = [(rng.randint(0, 1), rng.choice(("", "日本", "v")) + str(rng.randint(0, 60))) for _ in range(5)]
        changes = {name: spans() for name in names[: rng.randint(0, 5)]}
        said |= changes
        tables = with_spans(tables, changes)
        for number, value in [*said, (0, "nobody"), (1, "")]:
            assert found(tables, number, value) == said.get((number, value), [])
            assert found(before, number, value) == known.get((number, value), [])
        assert 2 * len(tables.keys) < tables.slots.size and not tables.text.flags.writeable
