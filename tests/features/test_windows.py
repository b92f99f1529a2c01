"""The window engine against an oracle that keeps every row in a list and filters it by the frame."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from features import arena, distincts, intern, window_plan, windows
from features.backend import Backend, Cpu
from features.expr import Column
from features.gpu.backend import Gpu
from features.gpu.device import Host
from features.hashing import KNOWN_KEY, secret_of
from features.kernel import kernel
from features.query import FUNCTIONS, Frame, WindowCall
from features.refusal import Refusal
from features.sheet import DEGRADED, ENTERS, ERROR, SKIPPED, VALID, Layout, Sheet, sheet_of, take
from features.types import BIGINT, BOOL, DOUBLE, HUGEINT, TEXT, TIME, Type, decimal
from features.windows import WindowPlan, WindowState, advance, plan_windows

BACKENDS: dict[str, Backend] = {"cpu": Cpu(), "gpu on the host": Gpu(Host())}
if os.environ.get("SEKISHO_REQUIRE_GPU"):
    BACKENDS["gpu"] = Gpu()

COLUMNS: dict[str, Type] = {
    "event_time": TIME,
    "card": TEXT,
    "shop": BIGINT,
    "place": DOUBLE,
    "huge": decimal(30, 0),
    "amount": decimal(18, 2),
    "total": HUGEINT,
    "ratio": DOUBLE,
    "city": TEXT,
    "flag": BOOL,
}
KEYS = [("card",), ("shop",), ("card", "shop"), ("place",), ("huge", "card"), ()]
ARGUMENTS = ["amount", "total", "ratio", "city", "shop"]
LATENESS = 40
Value = int | float | str | None


# --- the oracle ---


@dataclass
class Row:
    time: int
    event: dict[str, Value]


def oracle(call: WindowCall, rows: Sequence[Row], at: int) -> Value:
    """The call's value for rows[at], the newest of its time, among all rows of its key so far."""
    frame, now = call.frame, rows[at].time
    if call.function == "lag":
        seen = [row for row in rows[:at] if counts(call, row)]
        return value_of(call, seen[-call.offset]) if len(seen) >= call.offset else None
    chosen = []
    for place, row in enumerate(rows):
        if frame.mode == "range":
            inside = (frame.start is None or row.time >= now - frame.start) and row.time <= now - frame.end
            inside = inside and (frame.end > 0 or place <= at)
        else:
            inside = (frame.start is None or place >= at - frame.start) and place <= at - frame.end
        if inside and not (frame.exclude_current and place == at) and counts(call, row):
            chosen.append(row)
    return fold(call, [value_of(call, row) for row in chosen])


def counts(call: WindowCall, row: Row) -> bool:
    """True when the row passes the filter, and has an argument where one is asked for."""
    if call.filter is not None and not row.event["flag"]:
        return False
    keeps_nulls = call.function in ("first_value", "last_value", "lag") and not call.ignore_nulls
    return call.argument is None or keeps_nulls or value_of(call, row) is not None


def value_of(call: WindowCall, row: Row) -> Value:
    return row.event[call.argument.name] if isinstance(call.argument, Column) else 1


def fold(call: WindowCall, values: list) -> Value:
    """What SQL says of these values, by Python's integers."""
    n, function = len(values), call.function
    scale = 10**call.argument.type.scale if call.argument is not None else 1
    match function:
        case "count" | "count_star":
            return n
        case "count_distinct":
            return len(set(values))
        case "var_samp" | "var_pop" | "stddev_samp" | "stddev_pop":
            divisor = n - 1 if function.endswith("samp") else n
            if divisor <= 0:
                return None
            spread = n * sum(v * v for v in values) - sum(values) ** 2
            variance = float(Fraction(spread, n * divisor * scale * scale))
            return math.sqrt(variance) if function.startswith("std") else variance
    if n == 0:
        return None
    match function:
        case "sum":
            return sum(values)
        case "avg":
            return float(Fraction(sum(values), n * scale))
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "first_value":
            return values[0]
        case "last_value":
            return values[-1]
    raise AssertionError(function)


def expected(calls: Sequence[WindowCall], events: list[dict[str, Value]], fate: np.ndarray) -> list[list[Value]]:
    """All calls' values, event by event."""
    kept: dict[tuple[int, tuple[Value, ...]], list[Row]] = {}
    stores = {call.partition: number for number, call in enumerate(calls)}
    results = []
    for event, mark in zip(events, fate, strict=True):
        placed: dict[int, tuple[list[Row], int]] = {}
        for partition, number in stores.items():
            key = tuple(event[part.name] for part in partition)  # type: ignore[attr-defined]
            if mark != ENTERS or None in key:
                continue
            rows = kept.setdefault((number, key), [])
            at = len(rows)
            while at > 0 and rows[at - 1].time > event["event_time"]:
                at -= 1
            rows.insert(at, Row(event["event_time"], event))
            placed[number] = rows, at
        found = [placed.get(stores[call.partition]) for call in calls]
        results.append([None if f is None else oracle(c, *f) for c, f in zip(calls, found, strict=True)])
    return results


# --- random calls and streams ---


def random_frame(rng: random.Random, function: str) -> Frame:
    width = rng.choice([0, 1, 7, 30, 100])
    end = rng.choice([0, 0, 0, 1, 5, 20])
    mode = rng.choice(["range", "range", "rows"])
    if mode == "rows":
        width, end = rng.choice([0, 1, 2, 5]), rng.choice([0, 0, 1, 3])
    start = None if rng.random() < 0.25 and function != "count_distinct" else width
    return Frame(mode, start, end, exclude_current=rng.random() < 0.3)


def random_call(rng: random.Random, number: int, keys: Sequence[tuple[str, ...]]) -> WindowCall:
    while True:
        function, name = rng.choice(FUNCTIONS), rng.choice(ARGUMENTS)
        kind = COLUMNS[name]
        if function in ("sum", "avg") and not kind.exact:
            continue
        if function.startswith(("var", "std")) and (not kind.exact or kind.wide):
            continue
        if function in ("min", "max") and kind is TEXT:
            continue
        break
    result = {
        "sum": decimal(38, kind.scale), "min": kind, "max": kind, "first_value": kind, "last_value": kind, "lag": kind,
    }.get(function, BIGINT if function.startswith("count") else DOUBLE)  # fmt: skip
    return WindowCall(
        name=f"w{number}",
        function=function,
        argument=None if function == "count_star" else Column(kind, name),
        filter=Column(BOOL, "flag") if rng.random() < 0.4 else None,
        partition=tuple(Column(COLUMNS[part], part) for part in rng.choice(keys)),
        frame=random_frame(rng, function),
        type=result,
        ignore_nulls=rng.random() < 0.5,
        offset=rng.choice([1, 1, 2, 4]),
    )


def random_events(rng: random.Random, n: int, cards: int = 4, step: int = 3) -> list[dict[str, Value]]:
    """Ties, late events up to and beyond the lateness, NULLs, negative and huge amounts, both zeros."""
    now, events = 1_000, []
    huge = rng.random() < 0.3
    for _ in range(n):
        now += rng.choice([0, 0, 1, step])
        late = rng.choice([0, 0, 0, rng.randrange(LATENESS), LATENESS + 5 if rng.random() < 0.1 else 1])
        amount = rng.choice([rng.randrange(-500, 500), 7, 10**17, -(10**18) + 1] if huge else [rng.randrange(-50, 50)])
        event: dict[str, Value] = {
            "event_time": now - late,
            "card": rng.choice([*(f"card {'x' * k}{k}" for k in range(cards)), "", "カード"]),
            "shop": rng.randrange(-3, 3),
            "place": rng.choice([0.0, -0.0, 1.5]),
            "huge": rng.choice([2**64, 2**64 + 1, -(2**90)]),
            "amount": amount,
            "total": rng.choice([2**70 + now, -(2**100), 5, -5]),
            "ratio": rng.choice([0.1, -2.5, 1e300, -1e-300, float(rng.randrange(5))]),
            "city": rng.choice(["Kyoto", "奈良", "", "Kobe", "a town with a longer name than most"]),
            "flag": rng.random() < 0.7,
        }
        for name in event.keys() - {"event_time"}:
            if rng.random() < 0.1:
                event[name] = None
        events.append(event)
    return events


def clocks(rng: random.Random, events: list[dict[str, Value]]) -> tuple[np.ndarray, np.ndarray]:
    """Each event's fate and the watermark before it."""
    fate, marks, mark = np.zeros(len(events), np.uint8), np.zeros(len(events), np.int64), -(2**63)
    for i, event in enumerate(events):
        marks[i] = mark
        if event["event_time"] < mark - LATENESS:
            fate[i] = DEGRADED
        elif rng.random() < 0.03:
            fate[i] = SKIPPED
        else:
            mark = max(mark, event["event_time"])
    return fate, marks


def prepare(calls: Sequence[WindowCall], events: list[dict[str, Value]]) -> tuple[WindowPlan, Sheet]:
    layout = Layout()
    for name, kind in COLUMNS.items():
        layout.add(name, kind)
    plan = plan_windows(calls, layout, LATENESS)
    assert plan.inputs == []
    return plan, sheet_of(layout, {name: [event[name] for event in events] for name in COLUMNS})


def run(
    plan: WindowPlan, calls: Sequence[WindowCall], sheet: Sheet, fate: np.ndarray, marks: np.ndarray,
    cut: int = 0, threads: int = 1, restore: bool = False, backend: Backend = BACKENDS["cpu"],
) -> list[list[Value]]:  # fmt: skip
    """The engine's values, in batches of `cut` events (0: all at once), through a snapshot after each if `restore`."""
    state, results = backend.empty(plan), []
    for start in range(0, sheet.n, cut or sheet.n):
        part = np.arange(start, min(sheet.n, start + (cut or sheet.n)))
        batch = take(sheet, part)
        backend.advance(plan, state, batch, fate[part], marks[part], sheet.layout["event_time"], threads)
        results += [[batch.value(call.name, i) for call in calls] for i in range(batch.n)]
        if restore:
            state = backend.restore(plan, {name: array.copy() for name, array in state.arrays().items()})
    return results


def check(calls: Sequence[WindowCall], got: list[list[Value]], want: list[list[Value]]) -> None:
    for i, (left, right) in enumerate(zip(got, want, strict=True)):
        for call, a, b in zip(calls, left, right, strict=True):
            assert a == b, f"event {i}: {call} is {a!r}, not {b!r}"


# --- the laws ---


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(40))
def test_random_calls_equal_the_oracle(seed: int, backend: str) -> None:
    """L2 to L5: every function, frame, filter and key gives the value that a plain list of all rows gives."""
    rng = random.Random(seed)
    calls = [random_call(rng, number, rng.sample(KEYS, 3)) for number in range(12)]
    events = random_events(rng, 150, cards=rng.choice([1, 4]))
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    got = run(plan, calls, sheet, fate, marks, backend=BACKENDS[backend])
    check(calls, got, expected(calls, events, fate))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_equals_the_oracle(function: str) -> None:
    """L3: each function alone, over every kind of frame, on a stream whose rows are soon evicted."""
    rng = random.Random(function)
    calls = []
    while len(calls) < 8:
        call = random_call(rng, len(calls), [("card",), ("shop",)])
        if call.function == function:
            calls.append(call)
    events = random_events(rng, 400, step=9)
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    check(calls, run(plan, calls, sheet, fate, marks), expected(calls, events, fate))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(4))
def test_cuts_threads_and_snapshots_do_not_matter(seed: int, backend: str) -> None:
    """L6, L12: batches of 1, 7, 64 or all, on 1 to 3 threads, through snapshots or not: equal values."""
    rng = random.Random(f"cuts {seed}")
    calls = [random_call(rng, number, KEYS) for number in range(20)]
    events = random_events(rng, 200)
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    want = run(plan, calls, sheet, fate, marks)
    for cut, threads, restore in [(1, 1, False), (7, 2, True), (64, 3, False), (64, 1, True), (0, 3, False)]:
        got = run(plan, calls, sheet, fate, marks, cut, threads, restore, BACKENDS[backend])
        assert got == want, (cut, threads, restore)


@pytest.mark.parametrize("reserved", [64, 1 << 14])
def test_an_arena_that_is_moved_holds_what_it_held(reserved: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """L6: how much room an arena began with, and how often it was lengthened, no value tells."""
    rng = random.Random("arena")
    calls = [random_call(rng, number, KEYS) for number in range(20)]
    events = random_events(rng, 400, cards=40)
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    want = run(plan, calls, take(sheet, np.arange(sheet.n)), fate, marks)
    monkeypatch.setattr(windows, "_RESERVED", reserved)
    monkeypatch.setattr(windows, "_STEP", 16)
    assert run(plan, calls, sheet, fate, marks, 7, 2) == want


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(3))
def test_eviction_is_never_seen(seed: int, backend: str) -> None:
    """L4: a stream much longer than lateness and frames, with few keys: rows go, values stay the oracle's."""
    rng = random.Random(f"evict {seed}")
    calls = [random_call(rng, number, [("card",), ("shop",), ()]) for number in range(10)]
    events = random_events(rng, 600, cards=1, step=7)
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    for cut in (0, 50):
        got = run(plan, calls, sheet, fate, marks, cut, backend=BACKENDS[backend])
        check(calls, got, expected(calls, events, fate))


def test_the_latest_that_may_come_sees_the_oldest_that_is_kept() -> None:
    """L4: an event at W - lateness itself still has all of its frame, whenever rows were dropped before it."""
    card, shop = Column(TEXT, "card"), Column(BIGINT, "shop")
    calls = [
        WindowCall("n", "count_star", None, None, (card,), Frame("range", 100), BIGINT),
        WindowCall("m", "count_star", None, None, (shop,), Frame("rows", 2), BIGINT),
        WindowCall("third", "lag", shop, None, (card, shop), Frame("range", None), BIGINT, offset=3),
    ]
    times = [time for k in range(400) for time in (k, k, k - LATENESS)]
    events = [{**dict.fromkeys(COLUMNS), "event_time": time, "card": "c", "shop": 1} for time in times]
    fate, marks = np.zeros(len(times), np.uint8), np.maximum.accumulate([-(2**63), *times[:-1]])
    plan, sheet = prepare(calls, events)
    check(calls, run(plan, calls, sheet, fate, marks), expected(calls, events, fate))


@pytest.mark.parametrize("late_rows", [1, 2, 5, 30])
def test_late_rows_that_stand_apart_count_as_all_others(late_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3, L6: whether late rows stand in a run of their own, and when they are merged, no value tells."""
    monkeypatch.setattr(window_plan, "_LATE_ROWS", late_rows)
    rng, calls = random.Random(f"late {late_rows}"), []
    while len(calls) < 24:
        call = random_call(rng, len(calls), [("card",), ("shop",), ()])
        if call.function.startswith(("sum", "avg", "var", "std")) or call.function in ("count", "count_star"):
            calls.append(replace(call, frame=replace(call.frame, mode="range")))
    events = random_events(rng, 600, cards=1)
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    got = run(plan, calls, take(sheet, np.arange(sheet.n)), fate, marks)
    check(calls, got, expected(calls, events, fate))
    assert run(plan, calls, sheet, fate, marks, 7, 2, True) == got


@pytest.mark.parametrize("late_rows", [2, 512])
@pytest.mark.parametrize("start", [60, None])
@pytest.mark.parametrize("breach", ["nothing", "NULL", "value", "squares"])
def test_a_record_becomes_full_in_time(breach: str, start: int | None, late_rows: int, monkeypatch: Any) -> None:
    """L3, L5: until a NULL, a value beyond 32 bits or squares beyond 63 come, rows are narrow, and no value tells."""
    monkeypatch.setattr(window_plan, "_LATE_ROWS", late_rows)
    rng, card, amount = random.Random(f"{breach} {start}"), Column(TEXT, "card"), Column(COLUMNS["amount"], "amount")
    flag, frame = Column(BOOL, "flag"), Frame("range", start)
    calls = [
        WindowCall("n", "count", amount, None, (card,), frame, BIGINT),
        WindowCall("all", "count_star", None, None, (card,), Frame("range", 9, 2), BIGINT),
        WindowCall("s", "sum", amount, None, (card,), frame, decimal(38, 2)),
        WindowCall("v", "var_samp", amount, flag, (card,), Frame("range", 25), DOUBLE),
        WindowCall("d", "stddev_pop", amount, None, (card,), frame, DOUBLE),
    ]
    most = 2**31 - 1
    breaking = {"nothing": [7], "NULL": [None], "value": [2**31, -(2**31) - 1], "squares": [most, -most - 1]}[breach]
    usual = [most // 2, -most // 2] if breach == "squares" else [most, -most - 1, 5, 0]
    usual = usual if breach != "nothing" else [1000, -999]
    events = [
        {
            **dict.fromkeys(COLUMNS), "event_time": 3 * i - rng.choice([0, 0, rng.randrange(LATENESS)]), "card": "c",
            "amount": rng.choice(breaking if i > 40 and rng.random() < 0.2 else usual), "flag": rng.random() < 0.7,
        }
        for i in range(150)
    ]  # fmt: skip
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    got = run(plan, calls, take(sheet, np.arange(sheet.n)), fate, marks)
    check(calls, got, expected(calls, events, fate))
    assert run(plan, calls, sheet, fate, marks, 7, 1, True) == got


def test_unwanted_values_are_null_and_their_events_still_count() -> None:
    """The mask `wanted` changes no value that is wanted."""
    rng = random.Random("wanted")
    calls = [random_call(rng, number, KEYS) for number in range(20)]
    events = random_events(rng, 150)
    fate, marks = clocks(rng, events)
    plan, sheet = prepare(calls, events)
    want = run(plan, calls, take(sheet, np.arange(sheet.n)), fate, marks)
    wanted = np.array([rng.random() < 0.5 for _ in events], np.uint8)
    advance(plan, WindowState.empty(plan), sheet, fate, marks, sheet.layout["event_time"], wanted=wanted)
    for i, row in enumerate(want):
        assert [sheet.value(call.name, i) for call in calls] == (row if wanted[i] else [None] * len(calls))


@kernel
def hash_of(secret: np.ndarray, key: np.ndarray) -> int:
    return intern.hash_words(secret, key, 0, len(key))


def test_keys_of_equal_hash_are_two_keys() -> None:
    """L3: whoever computes a key with another's hash still stands in no window of it."""
    start, factor = (int(word) % 2**64 for word in secret_of(KNOWN_KEY))

    def mixed(word: int) -> int:
        product = (start ^ 2 ^ word) * factor
        return product % 2**64 ^ product >> 64

    one, other = np.array([1, 2]), np.array([3, 2 ^ mixed(1) ^ mixed(3)], np.uint64).view(np.int64)
    assert hash_of(secret_of(KNOWN_KEY), one) == hash_of(secret_of(KNOWN_KEY), other)
    parts = (Column(BIGINT, "shop"), Column(COLUMNS["amount"], "amount"))
    calls = [WindowCall("n", "count_star", None, None, parts, Frame("range", 9), BIGINT)]
    events = [
        {**dict.fromkeys(COLUMNS), "event_time": i, "shop": int(shop), "amount": int(amount)}
        for i, (shop, amount) in enumerate((one, other, one))
    ]
    plan, sheet = prepare(calls, events)
    assert run(plan, calls, sheet, np.zeros(3, np.uint8), np.arange(3) - 1) == [[1], [1], [2]]


@kernel
def home_of(secret: np.ndarray, number: int, lo: int, hi: int, mask: int) -> int:
    return distincts._home(secret, number, lo, hi, mask)


def crowds(state: Any) -> list[float]:
    """How many slots the entries of each hash table stand behind their homes, on average."""
    on_cpu, on_device = getattr(state, "rest", state).stores, state.stores if hasattr(state, "rest") else {}
    found = []
    for table in [store.table for store in on_cpu] + [store.keys.table for store in on_device.values()]:
        refs = table[intern.REF :: intern.SLOT]
        [at] = np.nonzero(refs)
        found.append(np.mean((at - (refs[at] >> 32)) % len(refs)))
    for store in on_cpu:
        entries, mask = store.distinct.reshape(-1, distincts.ENTRY), len(store.distinct) - 1
        [at] = np.nonzero(entries[:, distincts.TIMES])
        homes = [home_of(store.meta[arena.SECRET :], *entries[k, :3], mask) // distincts.ENTRY for k in at]
        found.append(np.mean((at - homes) % len(entries)) if len(at) else 0)
    return found


@pytest.mark.parametrize("backend", ["cpu", "gpu on the host"])
def test_keys_made_to_collide_are_scattered_by_another_key(backend: str) -> None:
    """Ids chosen under one key for the tables of keys and of distinct values stand in one run there, nowhere else."""
    n = 600
    start, factor = (int(word) % 2**64 for word in secret_of(KNOWN_KEY))

    def absorbed(h: int, word: int) -> int:
        product = (h ^ word) * factor
        return product % 2**64 ^ product >> 64

    pairs = np.array([(k, absorbed(start ^ 2, k) ^ 99) for k in range(n)], np.uint64).view(np.int64)
    wides = [(k << 64) + (absorbed(start, k) ^ 99) for k in range(n)]
    parts, huge = (Column(BIGINT, "shop"), Column(COLUMNS["amount"], "amount")), Column(COLUMNS["huge"], "huge")
    calls = [
        WindowCall("n", "count_star", None, None, parts, Frame("range", 9), BIGINT),
        WindowCall("d", "count_distinct", huge, None, (Column(BIGINT, "place"),), Frame("range", n), BIGINT),
    ]
    nothing = dict.fromkeys(COLUMNS)
    events = [
        {**nothing, "event_time": 0, "shop": int(a), "amount": int(b), "place": 0.0, "huge": wide}
        for (a, b), wide in zip(pairs, wides, strict=True)
    ]
    plan, sheet = prepare(calls, events)
    for key, flooded in ((KNOWN_KEY, True), (bytes(range(16)), False), (bytes(range(16, 0, -1)), False)):
        state = BACKENDS[backend].empty(plan, key)
        batch = take(sheet, np.arange(n))
        BACKENDS[backend].advance(
            plan, state, batch, np.zeros(n, np.uint8), np.zeros(n, np.int64), sheet.layout["event_time"]
        )
        assert [batch.value("n", i) for i in range(n)] == [1] * n
        assert [batch.value("d", i) for i in range(n)] == list(range(1, n + 1))
        assert sum(found > n / 4 for found in crowds(state)) == (2 if flooded else 0)
        assert flooded or max(crowds(state)) < 2


def test_quiet_keys_texts_and_rows_are_freed() -> None:
    """L4: after a long stream of keys that come once, memory is that of the last moments, not of the whole stream."""
    n, frame = 60_000, Frame("range", 50)
    card, city = Column(TEXT, "card"), Column(TEXT, "city")
    calls = [
        WindowCall("n", "count_star", None, None, (card,), frame, BIGINT),
        WindowCall("cities", "count_distinct", city, None, (card,), frame, BIGINT),
        WindowCall("last", "last_value", city, None, (card,), frame, TEXT),
    ]
    events = [{**dict.fromkeys(COLUMNS), "event_time": i, "card": f"c{i}", "city": f"t{i // 2}"} for i in range(n)]
    plan, sheet = prepare(calls, events)
    state, marks = WindowState.empty(plan), np.arange(n, dtype=np.int64) - 1
    advance(plan, state, sheet, np.zeros(n, np.uint8), marks, sheet.layout["event_time"])
    [report] = state.report()
    assert report.keys < 2_000
    assert report.rows == report.keys
    assert report.texts <= report.keys
    assert report.bytes < 3_000_000
    assert [sheet.value(name, n - 1) for name in ("n", "cities", "last")] == [1, 1, f"t{(n - 1) // 2}"]


def test_memory_stays_that_of_the_rows_retained() -> None:
    """L4: over thirty times the longest frame, as keys come, go and grow, memory is soon as large as it gets."""
    n, span = 90_000, 3_000
    rng, card, amount = np.random.default_rng(5), Column(TEXT, "card"), Column(COLUMNS["amount"], "amount")
    calls = [
        WindowCall("s", "sum", amount, None, (card,), Frame("range", span - LATENESS), decimal(38, 2)),
        WindowCall("d", "count_distinct", Column(TEXT, "city"), None, (card,), Frame("range", span // 2), BIGINT),
    ]
    keys = np.where(rng.random(n) < 0.2, np.arange(n), (np.arange(n) // span + 60 * rng.random(n) ** 3).astype(int))
    events = [
        {**dict.fromkeys(COLUMNS), "event_time": i, "card": f"c{key}", "city": f"t{i % 700}", "amount": i}
        for i, key in enumerate(keys)
    ]
    plan, sheet = prepare(calls, events)
    state, marks, sizes = WindowState.empty(plan), np.arange(n, dtype=np.int64) - 1, []
    for start in range(0, n, span):
        part = np.arange(start, start + span)
        advance(plan, state, take(sheet, part), np.zeros(span, np.uint8), marks[part], sheet.layout["event_time"])
        [report] = state.report()
        sizes.append(report.bytes)
    assert report.rows < 3 * span
    assert max(sizes[4:]) < 1.5 * max(sizes[:4]), sizes


def test_a_hot_key_keeps_the_rows_of_its_longest_frame() -> None:
    """L4: what one key retains is bounded by lateness and frame, however long the stream."""
    n = 50_000
    amount, card = Column(COLUMNS["amount"], "amount"), Column(TEXT, "card")
    calls = [
        WindowCall("s", "sum", amount, None, (card,), Frame("range", 500), decimal(38, 2)),
        WindowCall("m", "min", amount, None, (card,), Frame("range", 500), COLUMNS["amount"]),
    ]
    events = [{**dict.fromkeys(COLUMNS), "event_time": i, "card": "hot", "amount": n - i} for i in range(n)]
    plan, sheet = prepare(calls, events)
    state, marks = WindowState.empty(plan), np.arange(n, dtype=np.int64) - 1
    advance(plan, state, sheet, np.zeros(n, np.uint8), marks, sheet.layout["event_time"])
    assert state.report()[0].rows < 2 * (500 + LATENESS)
    assert sheet.value("m", n - 1) == 1
    assert sheet.value("s", n - 1) == sum(range(1, 502))


def test_a_sum_beyond_128_bits_is_an_error_and_heals() -> None:
    """L7: such a sum is NULL and marked, and right again once its frame has moved on."""
    total = Column(HUGEINT, "total")
    calls = [WindowCall("s", "sum", total, None, (), Frame("rows", 1), decimal(38, 0))]
    values = [2**126, 2**126, 5, -(2**127), -1]
    events = [{**dict.fromkeys(COLUMNS), "event_time": i, "total": value} for i, value in enumerate(values)]
    plan, sheet = prepare(calls, events)
    advance(plan, WindowState.empty(plan), sheet, np.zeros(5, np.uint8), np.arange(5) - 1, sheet.layout["event_time"])
    assert [sheet.value("s", i) for i in range(5)] == [2**126, None, 2**126 + 5, 5 - 2**127, None]
    assert list(sheet.validity("s")) == [VALID, ERROR, VALID, VALID, ERROR]


@pytest.mark.parametrize(
    ("function", "argument", "frame", "said"),
    [
        ("count_distinct", "amount", Frame("range", None), "unbounded"),
        ("sum", "ratio", Frame("range", 1), "DOUBLE"),
        ("min", "city", Frame("range", 1), "text"),
        ("var_samp", "total", Frame("range", 1), "64 bits"),
        ("sum", "amount", Frame("range", 5, -1), "past the current row"),
        ("avg", None, Frame("range", 5), "without an argument"),
    ],
)
def test_what_has_no_exact_value_is_refused(function: str, argument: str | None, frame: Frame, said: str) -> None:
    """L3: a call that the engine cannot compute exactly never loads."""
    column = Column(COLUMNS[argument], argument) if argument else None
    with pytest.raises(Refusal, match=said):
        prepare([WindowCall("w", function, column, None, (), frame, DOUBLE)], [])
