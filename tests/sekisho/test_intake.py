"""The intake, event by event: what each goes on with, also those that nobody decides."""

from __future__ import annotations

from random import Random

import pytest

from features.sheet import ENTERS, SKIPPED
from sekisho.compile import compile_pack
from sekisho.state import new_state
from sekisho.step import step
from sekisho.testing.judges import view_of
from sekisho.testing.random_packs import random_case
from sekisho.testing.reference.expressions import Value
from sekisho.testing.runs import batch_of


@pytest.mark.parametrize("seed", range(5000, 5030))
def test_every_event_goes_on_as_specified(seed: int) -> None:
    """L4, L11: who enters, what a follow-up inherits, a label's verdict, and legs right behind their source."""
    pack, log = random_case(seed)
    engine, view = compile_pack(pack), view_of(pack, log)
    names = [*pack.schema.columns(), "label_delta", "arrival_lag"]
    state, cut = new_state(engine), Random(seed).choice((1, 7, 60))
    rows: list[list[Value]] = []
    enters: list[bool] = []
    for start in range(0, len(log), cut):
        state, decided = step(engine, state, batch_of(engine.inputs, log[start : start + cut]))
        for i, fate in enumerate(decided.admission.fate):
            if fate != SKIPPED:
                rows.append([decided.sheet.value(name, i) for name in names])
                enters.append(fate == ENTERS)
    assert enters == view.enters
    assert rows == [[row.get(name) for name in names] for row in view.rows]
