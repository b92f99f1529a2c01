"""L3: exact, not bucketed. A window slides by the microsecond and counts each of its rows, however many there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from features.sheet import Ints
from sekisho.batch import Batch
from sekisho.compile import compile_pack
from sekisho.pack import Pack
from sekisho.state import new_state
from sekisho.step import step
from sekisho.testing.reference.intake import Event
from sekisho.testing.runs import run_engine
from sekisho.wire.plan import plan_wire
from sekisho.wire.table_decode import decode_table

START_US = 1_767_225_600_000_000  # 2026-01-01
WIDTHS = {"1 MICROSECOND": 1, "1 SECOND": 1_000_000, "1 HOUR": 3_600_000_000, "90 DAY": 7_776_000_000_000}
N = 1_000_000
STEP_US = 7


@pytest.mark.parametrize("width", WIDTHS)
def test_edges_are_exact_to_the_microsecond(
    width: str, make_pack: Callable[..., Pack], make_event: Callable[..., Event]
) -> None:
    """A row at the edge is in, a row 1 us beyond it is out: at the start and at an end in the past, ties counted."""
    pack = make_pack(f"""
        SELECT event_id,
               count(*) OVER (card RANGE BETWEEN INTERVAL {width} PRECEDING AND CURRENT ROW) AS inside,
               count(*) OVER (card RANGE BETWEEN INTERVAL 180 DAY PRECEDING AND INTERVAL {width} PRECEDING) AS before,
               sum(amount) OVER (card RANGE BETWEEN INTERVAL {width} PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING)
                   AS between
        FROM events WINDOW card AS (PARTITION BY card_id ORDER BY event_time)""")  # fmt: skip
    w, now = WIDTHS[width], START_US + 8_000_000_000_000
    ages = sorted({w + 1, w, w - 1, 2, 1, 0}, reverse=True)
    ages = [age for age in ages for _ in range(2)]
    log = [make_event(k, now - age, amount=1 << k) for k, age in enumerate(ages)]
    _, run = run_engine(compile_pack(pack), log, 5)
    last = run.features[-1]
    assert last["inside"] == sum(age <= w for age in ages)
    assert last["before"] == sum(age >= w for age in ages)
    assert last["between"] == sum(1 << k for k, age in enumerate(ages) if 1 <= age <= w)


def million(engine_plan: object, ids: list[str], times: Ints, amounts: Ints) -> Batch:
    """A million payments of one card, decoded from a table."""
    table = pa.table({
        "event_id": ids, "event_time": pa.array(times, pa.timestamp("us", "UTC")), "kind": ["payment"] * len(ids),
        "card_id": ["c"] * len(ids), "amount": [f"{cents // 100}.{cents % 100:02d}" for cents in amounts.tolist()],
    })  # fmt: skip
    sheet, good, dead = decode_table(table, engine_plan)  # type: ignore[arg-type]
    assert dead.n == 0
    zeros = np.zeros(len(good), np.int64)
    return Batch(sheet, ("t",), zeros, zeros, good)


def test_a_million_rows_of_one_key(make_pack: Callable[..., Pack]) -> None:
    """No cap and no tile: count, sum, minimum, distinct values and rows of frames that hold a million rows; the frame
    whose edge a row hits has one row more than the frame a microsecond shorter."""
    wide = (N // 2) * STEP_US
    pack = make_pack(f"""
        SELECT event_id, count(*) OVER hit AS hits, sum(amount) OVER hit AS hit_sum, min(amount) OVER hit AS lowest,
               count(*) OVER short AS shorts, sum(amount) OVER short AS short_sum,
               count(*) OVER forever AS all_rows, count(DISTINCT amount) OVER far AS values,
               first_value(amount) OVER by_rows AS oldest
        FROM events WINDOW
            card AS (PARTITION BY card_id ORDER BY event_time),
            hit AS (card RANGE BETWEEN INTERVAL {wide} MICROSECOND PRECEDING AND CURRENT ROW),
            short AS (card RANGE BETWEEN INTERVAL {wide - 1} MICROSECOND PRECEDING AND CURRENT ROW),
            far AS (card RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW),
            forever AS (card RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
            by_rows AS (card ROWS BETWEEN {N - 2} PRECEDING AND CURRENT ROW)""", lateness_us=0)  # fmt: skip
    engine = compile_pack(pack)
    number = np.arange(N, dtype=np.int64)
    amounts = number * 7919 % 1_000_003
    batch = million(
        plan_wire(pack.schema, engine.inputs), [f"e{k}" for k in range(N)], START_US + number * STEP_US, amounts
    )
    state, found = new_state(engine), dict[str, list[Ints]]()
    for start in range(0, N, 250_000):
        state, decided = step(engine, state, batch.cut(start, start + 250_000))
        for name, _ in pack.query.features:
            found.setdefault(name, []).append(decided.sheet.ints(name).copy())
    columns = {name: np.concatenate(parts) for name, parts in found.items()}
    totals = np.concatenate([[0], np.cumsum(amounts)])
    first, later = np.maximum(number - N // 2, 0), np.maximum(number - N // 2 + 1, 0)
    assert (columns["all_rows"] == number + 1).all()
    assert (columns["hits"] == number + 1 - first).all() and columns["hits"].max() == N // 2 + 1
    assert (columns["shorts"] == number + 1 - later).all() and columns["shorts"].max() == N // 2
    assert (columns["hit_sum"] == totals[1:] - totals[first]).all()
    assert (columns["short_sum"] == totals[1:] - totals[later]).all()
    assert columns["lowest"][-1] == amounts[N // 2 - 1 :].min()
    assert (columns["values"] == number + 1).all()
    assert columns["oldest"][[0, N - 2, N - 1]].tolist() == amounts[[0, 0, 1]].tolist()
