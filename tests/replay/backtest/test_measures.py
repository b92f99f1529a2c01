"""Every figure of a back-test against plain Python over the events and the records of `replay run`."""

from bisect import bisect_left
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import combinations
from math import isnan, log

import numpy as np
import pytest

from replay.backtest.budget import queue
from replay.backtest.development import reported_by_age
from replay.backtest.drift import stability_index
from replay.backtest.records import DAY_US
from replay.backtest.run import run_backtest
from replay.sources import Input
from rules.records import OUTCOMES
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from tests.replay.backtest.auditor import ACT_BY_US, ALERTING, ASKED, BUDGET, ZONE, World
from tests.replay.backtest.conftest import (
    CANDIDATE,
    CURRENT,
    FRAUDS,
    HOUR_US,
    long_world,
    records_of,
    with_model,
    write_log,
    write_pack,
)

SCORED = {"current": ("fraud_score >= 560", "review"), "candidate": ("fraud_score >= 540", "hold")}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """(the back-test, the world, each side's alerts, engines) of one log."""
    base = tmp_path_factory.mktemp("measures")
    events = long_world(3)
    file = write_log(base / "log.jsonl", events)
    rules = {"current": CURRENT, "candidate": CANDIDATE}
    packs = {s: with_model(write_pack(base / s, s, r | {"scored": SCORED[s]})) for s, r in rules.items()}
    engines = {side: compile_pack(load_pack(pack)) for side, pack in packs.items()}
    found = {side: records_of(engine, file, base / f"{side}-out") for side, engine in engines.items()}
    world = World(events, {side: decisions for side, (decisions, _) in found.items()})
    result = run_backtest(*engines.values(), [Input(file)], ASKED)
    return result, world, {side: alerts for side, (_, alerts) in found.items()}, engines


def rows(case, name, **wanted):
    found = case[0].tables[name].to_pylist()
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


@pytest.mark.parametrize("side", ["recorded", "current", "candidate"])
def test_the_summary(case, side):
    """Counts, money, entities, prevention, unknowns of each strategy."""
    _, w, alerts, _ = case
    (row,) = rows(case, "summary", strategy=side)
    frauds = [p for p in w.counted if w.fraud(p)]
    caught, missed = ([p for p in frauds if w.alerted(side, p) == want] for want in (True, False))
    goods = [p for p in w.counted if w.good(p)]
    wrong = [p for p in goods if w.alerted(side, p)]
    stops = {p for p in w.counted if w.said[side][p]["outcome"] in ("hold", "decline")}
    unknown = [p for p in w.counted if w.happened[p]["refused"] and p not in stops]
    net = sum(w.happened[p]["net"] for p in frauds)
    assert 0 < net < sum(w.happened[p]["gross"] for p in frauds) < w.amount(frauds)
    expected = {
        "payments": len(w.counted), "amount_minor": w.amount(w.counted), "frauds": len(frauds),
        "fraud_minor": w.amount(frauds), "caught": len(caught), "caught_minor": w.amount(caught),
        "missed": len(missed), "missed_minor": w.amount(missed), "net_minor": net,
        "settled_minor": sum(w.happened[p]["gross"] for p in frauds),
        "missed_net_minor": sum(w.happened[p]["net"] for p in missed),
        "stopped_minor": w.amount(p for p in frauds if p in stops), "prevented_minor": prevented(w, side),
        "goods": len(goods), "goods_alerted": len(wrong), "false_positive_ratio": len(wrong) / len(caught),
        "unknown": len(unknown), "unknown_minor": w.amount(unknown),
    } | entities(w, side, frauds)  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    if side != "recorded":
        counted = {w.said[side][p]["id"] for p in w.counted}
        told = Counter(alert["kind"] for alert in alerts[side] if alert["decision_id"] in counted)
        assert (row["alert_groups"], row["notifications"]) == (told["opened"], sum(told.values()))
        assert row["alert_groups"] > 5


def entities(w, side, frauds):
    """ADR, A-FPR, VDR and customers touched."""
    by_card = defaultdict(list)
    for p in w.counted:
        by_card[w.payments[p]["card_id"]].append(p)
    defrauded = {w.payments[p]["card_id"] for p in frauds}
    first = {}
    for p in frauds:
        if w.alerted(side, p):
            card, at = w.payments[p]["card_id"], w.payments[p]["event_time"]
            first[card] = min(at, first.get(card, at))
    good_alerted = [c for c, ids in by_card.items() if c not in defrauded and any(w.alerted(side, p) for p in ids)]
    late = [p for p in frauds if w.payments[p]["event_time"] >= first.get(w.payments[p]["card_id"], 2**63)]
    touched = [c for c, ids in by_card.items() if any(w.said[side][p]["outcome"] not in ("approve", None) for p in ids)]
    return {
        "adr": len(first) / len(defrauded), "a_fpr": len(good_alerted) / len(first), "touched": len(touched),
        "touched_good": len(set(touched) - defrauded),
        "vdr": sum(w.happened[p]["gross"] for p in late) / sum(w.happened[p]["gross"] for p in frauds),
    }  # fmt: skip


def prevented(w, side):
    """Ten retries of one declined million are not ten million."""
    tries = defaultdict(list)
    for p in w.counted:
        if w.fraud(p) and w.said[side][p]["outcome"] == "decline":
            e = w.payments[p]
            worth = e["amount"] if e["balance"] is None else min(e["amount"], e["balance"])
            tries[e["card_id"], e["payee_id"]].append((e["event_time"], worth))
    total = 0
    for attempts in tries.values():
        until = -(2**63)
        for at, _ in sorted(attempts):
            if at >= until:
                until = at + DAY_US
                total += max(worth for other, worth in attempts if at <= other < until)
    return total


def test_fidelity_outcomes_transitions_and_hours(case):
    """The tables that count payments by what was decided, known and when."""
    result, w, *_ = case
    paid = [p for p in w.counted if w.said["recorded"][p]["outcome"]]
    same = sum(w.said["recorded"][p]["outcome"] == w.said["current"][p]["outcome"] for p in paid)
    assert result.facts.fidelity == pytest.approx(same / len(paid))
    tables = {
        "transitions": lambda side, p: (
            *(w.said[s][p]["outcome"] for s in ("recorded", "current", "candidate")),
            w.truth[p],
        ),
        "outcomes": lambda side, p: (side, w.said[side][p]["outcome"], w.truth[p]),
        "hours": lambda side, p: (side, w.day(p), w.local(p).hour),
    }
    for name, key in tables.items():
        expected = Counter()
        for side in ("current",) if name == "transitions" else ("recorded", "current", "candidate"):
            for p in w.counted:
                expected[key(side, p)] += w.payments[p]["amount"]
        width = len(next(iter(expected)))
        found = {tuple(row.values())[:width]: row["amount_minor"] for row in rows(case, name)}
        assert found == dict(expected), name


@pytest.mark.parametrize("side", ["current", "candidate"])
def test_rules_are_worth_what_the_strategy_loses_without_them(case, side):
    """Hits, unique hits, overlaps, and the strategy run again without the rule."""
    _, w, _, engines = case
    outcome = {rule.id: rule.outcome for rule in engines[side].rules.live.rules}
    hits = {p: {rule["id"] for rule in w.said[side][p]["rules"]} for p in w.counted}

    def decided(ids):
        return max((OUTCOMES.index(outcome[id]) for id in ids), default=0)

    overlaps = Counter(pair for p in w.counted for pair in combinations(sorted(hits[p]), 2))
    found = {tuple(sorted((r["rule"], r["other"]))): r["both"] for r in rows(case, "overlaps", strategy=side)}
    assert found == overlaps and overlaps
    for row in rows(case, "rules", strategy=side):
        mine = [p for p in w.counted if row["rule"] in hits[p]]
        others = {p: {id for id in hits[p] - {row["rule"]} if outcome[id] in ALERTING} for p in mine}
        quiet = [p for p in mine if w.alerted(side, p) and not others[p]]
        expected = {
            "hits": len(mine), "hits_minor": w.amount(mine), "unique_hits": sum(not others[p] for p in mine),
            "goods": sum(map(w.good, mine)), "frauds": sum(map(w.fraud, mine)), "silent": not mine,
            "changed": sum(decided(hits[p]) != decided(hits[p] - {row["rule"]}) for p in mine),
            "value_minor": w.amount(p for p in quiet if w.fraud(p)), "cost_goods": sum(map(w.good, quiet)),
        }  # fmt: skip
        assert {name: row[name] for name in expected} == expected, row["rule"]


@pytest.mark.parametrize("side", ["current", "candidate"])
def test_thresholds_slide_over_the_score(case, side):
    """Alerting on every score at or above each one."""
    w = case[1]
    frauds = [p for p in w.counted if w.fraud(p)]
    found = rows(case, "thresholds", strategy=side)
    assert len(found) > 10
    for row in found:
        over = [p for p in w.counted if w.said[side][p]["score"] >= row["score"]]
        bad, good = [p for p in over if w.fraud(p)], [p for p in over if w.good(p)]
        expected = {
            "alerts": len(over), "goods": len(good), "frauds": len(bad), "fraud_minor": w.amount(bad),
            "recall": len(bad) / len(frauds), "value_recall": w.amount(bad) / w.amount(frauds),
        }  # fmt: skip
        assert {name: row[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("side", ["current", "candidate"])
def test_the_budget_is_causal(case, side):
    """A day's threshold comes from the 28 days before it; alerts wait, and expire; money leaves the payee meanwhile."""
    w = case[1]
    found = {row["day"]: row for row in rows(case, "budget", strategy=side)}
    days = sorted({w.day(p) for p in w.counted})
    log_begins = datetime.fromtimestamp(min(e["event_time"] for e in w.payments.values()) / 1e6, UTC).astimezone(ZONE)
    asked, thresholds = [], {}
    for day in days:
        before = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=ZONE) - timedelta(days=28)
        past = sorted(
            (w.raw(side, p) for p in w.payments if before.strftime("%Y-%m-%d") <= w.day(p) < day), reverse=True
        )
        full = before.date() >= log_begins.date() and len(past) >= BUDGET * 28
        thresholds[day] = past[BUDGET * 28 - 1] if full else None
        if full:
            asked += [p for p in w.counted if w.day(p) == day and w.raw(side, p) >= thresholds[day]]
    assert {day: row["threshold"] for day, row in found.items()} == thresholds
    free, turn = -(2**63), {}
    for p in asked:
        at = w.payments[p]["event_time"]
        starts = max(at, free)
        if starts - at <= ACT_BY_US:
            turn[p], free = starts, starts + DAY_US // BUDGET
    assert 0 < len(turn) < len(asked)
    customers = {e["card_id"] for e in w.payments.values()}
    for day in days:
        mine, done = [p for p in asked if w.day(p) == day], [p for p in asked if w.day(p) == day and p in turn]
        bad = [p for p in done if w.fraud(p)]
        traced = [p for p in bad if w.payments[p]["payee_id"] in customers]
        expected = {
            "alerts": len(mine), "worked": len(done), "expired": len(mine) - len(done), "frauds": len(bad),
            "fraud_minor": w.amount(bad), "night": sum(w.local(p).hour >= 22 or w.local(p).hour < 6 for p in done),
            "recoverable_alert_minor": sum(left(w, p, w.clock[p]) for p in traced) if traced else None,
            "recoverable_turn_minor": sum(left(w, p, turn[p]) for p in traced) if traced else None,
        }  # fmt: skip
        assert {name: found[day][name] for name in expected} == expected, day


def left(w, p, until):
    """What of a payment its payee has not paid on by `until`."""
    e = w.payments[p]
    spent = [
        q for q, other in w.payments.items()
        if other["card_id"] == e["payee_id"] and e["event_time"] < other["event_time"] <= until
        and not w.happened[q]["refused"]
    ]  # fmt: skip
    return max(0, e["amount"] - w.amount(spent))


def test_an_analyst_takes_one_alert_after_the_other():
    """By hand: one alert in twelve hours, an hour's patience; the third is gone before its turn."""
    from replay.backtest.budget import Alert

    at = [0, 11 * HOUR_US + 1, 11 * HOUR_US + 2]
    served = queue([Alert(k, "d", us, 0, 1, False) for k, us in enumerate(at)], 2, HOUR_US)
    assert [alert.turn_us for alert in served] == [0, 12 * HOUR_US, None]


@pytest.mark.parametrize("side", ["current", "candidate"])
def test_hindsight_ranks_a_whole_day(case, side):
    """Precision and entity precision at k; a customer found counts no more."""
    w, known = case[1], set()
    by_day = defaultdict(list)
    for p in w.counted:
        by_day[w.day(p)].append(p)
    order = {p: k for k, p in enumerate(w.payments)}
    for row in rows(case, "hindsight", strategy=side):
        ids = sorted(by_day[row["day"]], key=lambda p: (-w.raw(side, p), order[p]))
        assert row["precision"] == sum(map(w.fraud, ids[:BUDGET])) / BUDGET
        assert row["ceiling"] == min(sum(map(w.fraud, ids)), BUDGET) / BUDGET
        best, bad = {}, {w.payments[p]["card_id"] for p in ids if w.fraud(p)}
        for p in ids:
            best.setdefault(w.payments[p]["card_id"], w.raw(side, p))
        top = [c for c in sorted(best, key=lambda c: (-best[c], c)) if c not in known][:BUDGET]
        known |= set(top) & bad
        assert row["entity_precision"] == len(set(top) & bad) / BUDGET


def test_typologies(case):
    """Frauds by class; what a strategy catches of each."""
    w = case[1]
    for side in ("recorded", "current", "candidate"):
        for name in FRAUDS:
            (row,) = rows(case, "typologies", strategy=side, typology=name)
            mine = [p for p in w.counted if w.fraud(p) and w.verdict[p][0] == name]
            caught = [p for p in mine if w.alerted(side, p)]
            assert (row["frauds"], row["fraud_minor"], row["caught"], row["caught_minor"]) == (
                len(mine), w.amount(mine), len(caught), w.amount(caught),
            )  # fmt: skip


def naive_reported(age, delay):
    """The product-limit estimate in reversed time, pair by pair: P(delay <= x | delay <= the oldest)."""
    longest, share = max(delay), []
    for x in range(longest + 1):
        product = 1.0
        for y in range(x + 1, longest + 1):
            at_risk = sum(a >= y and d <= y for a, d in zip(age, delay, strict=True))
            product *= 1 - sum(d == y for d in delay) / at_risk if at_risk else 1.0
        share.append(product)
    return share


def test_verdicts_come_as_the_development_says(case):
    """Against the definition, on the case's own frauds and on random ones; a hand-made case has its known answer."""
    w = case[1]
    for name in ("", *FRAUDS):
        frauds = [p for p in w.payments if w.fraud(p) and name in ("", w.verdict[p][0])]
        age = [(w.end - w.payments[p]["event_time"]) // DAY_US for p in frauds]
        delay = [max(0, w.verdict[p][2] - w.payments[p]["event_time"]) // DAY_US for p in frauds]
        found = [row["reported"] for row in rows(case, "development", typology=name)]
        assert found == pytest.approx(naive_reported(age, delay))
    # Two payments three days old, labelled at once and on day 1; one of today, labelled at once: half come at once.
    assert reported_by_age(np.array([3, 3, 0]), np.array([0, 1, 0])).tolist() == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize("side", ["recorded", "current", "candidate"])
def test_open_payments_are_ranges(case, side):
    """Censored: none or all. Immature: fraud per day of exposure, times what is unreported of each day (Cape Cod)."""
    w = case[1]
    for caught in (True, False):
        mine = [p for p in w.counted if w.alerted(side, p) == caught]
        (censored,) = rows(case, "ranges", strategy=side, caught=caught, rows="censored")
        gone = [p for p in mine if w.truth[p] == "censored"]
        assert (censored["payments"], censored["low_minor"], censored["high_minor"]) == (len(gone), 0, w.amount(gone))
        (row,) = rows(case, "ranges", strategy=side, caught=caught, rows="immature")
        frauds = [p for p in mine if w.fraud(p)]
        age = {p: (w.end - w.payments[p]["event_time"]) // DAY_US for p in mine}
        delay = [max(0, w.verdict[p][2] - w.payments[p]["event_time"]) // DAY_US for p in frauds]
        curve = naive_reported([age[p] for p in frauds], delay)
        share = {p: curve[min(age[p], len(curve) - 1)] for p in mine}
        used = sum(w.payments[p]["amount"] * share[p] for p in mine)
        rate = w.amount(frauds) / used
        likely = sum(rate * w.payments[p]["amount"] * (1 - share[p]) for p in mine)
        assert row["payments"] == sum(w.truth[p] == "immature" for p in mine)
        assert row["likely_minor"] == pytest.approx(likely, abs=1)
        assert 0 <= row["low_minor"] <= row["high_minor"]


def naive_stability(old, new):
    """Ten bins by the old values' quantiles; a value that fills a bin alone, and NaN, are bins of their own."""
    known = sorted(v for v in old if not isnan(v))
    edges = sorted({known[(len(known) - 1) * k // 10] for k in range(1, 10)})
    masses = {v for v, n in Counter(known).items() if n > len(known) / 10}

    def bin_of(v):
        return "null" if isnan(v) else ("mass", v) if v in masses else bisect_left(edges, v)

    a, b = Counter(map(bin_of, old)), Counter(map(bin_of, new))
    names = a.keys() | b.keys()
    total_a, total_b = (sum(c[name] + 0.5 for name in names) for c in (a, b))
    p = {name: ((a[name] + 0.5) / total_a, (b[name] + 0.5) / total_b) for name in names}
    return sum((y - x) * log(y / x) for x, y in p.values()), len(names)


@pytest.mark.parametrize("seed", range(6))
def test_stability_against_its_definition(seed):
    """Continuous values, whole numbers with point masses, NULLs; the expected value holds when nothing drifted."""
    rng = np.random.default_rng(seed)
    draw = (rng.normal, lambda size: rng.integers(0, 4 + seed, size).astype(float))[seed % 2]
    old, new = draw(size=801), draw(size=400) + (seed > 3)
    old[rng.random(801) < 0.1], new[rng.random(400) < 0.2] = np.nan, np.nan
    psi, bins = stability_index(old, new, np.ones(801))
    assert (psi, bins) == pytest.approx(naive_stability(old.tolist(), new.tolist()))


def test_sampling_alone_gives_the_expected_index():
    """Without drift, PSI is on average (B - 1)(1/n + 1/m)."""
    rng = np.random.default_rng(0)
    found = [stability_index(rng.normal(size=1000), rng.normal(size=1000), np.ones(1000)) for _ in range(200)]
    bins = found[0][1]
    assert np.mean([psi for psi, _ in found]) == pytest.approx((bins - 1) * 2 / 1000, rel=0.15)
    assert bins == 10


def test_drift_against_the_card(case):
    """Of the sampled payments that count, the index against what the card says was learnt."""
    _, w, _, engines = case
    card = engines["candidate"].pack.models[0].card
    said = w.said["candidate"]
    sampled = [p for p in w.counted if int(said[p]["id"][16:], 16) % 16 == 0 and not said[p]["flags"]]
    values = {"amount": [w.payments[p]["amount"] for p in sampled], "fraud_score": [said[p]["score"] for p in sampled]}
    for name, bins in (("amount", card.reference["amount"]), ("fraud_score", card.scores)):
        (row,) = rows(case, "card_drift", column=name)
        before = list(bins.counts)
        after = Counter(bisect_left(bins.edges, v) for v in values[name] if v not in bins.masses)
        after += Counter(len(bins.edges) + 1 + bins.masses.index(v) for v in values[name] if v in bins.masses)
        after = [after[k] for k in range(len(before))]
        pairs = [(a + 0.5, b + 0.5) for a, b in zip(before, after, strict=True) if a or b]
        p, q = (np.array(each) / sum(each) for each in zip(*pairs, strict=True))
        assert row["psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum())) and row["values"] == len(sampled) > 5
