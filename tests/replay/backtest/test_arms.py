"""A challenger by intention to treat: against plain Python, textbook statistics, and trials whose truth is known."""

from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest

from models.arms import CHALLENGER, CHAMPION
from replay.backtest.arms import difference
from replay.backtest.records import DAY_US
from replay.backtest.run import run_backtest
from replay.pages.backtest_page import backtest_page
from replay.sources import Input
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from tests.replay.backtest.auditor import ASKED, MATURITY_US, World
from tests.replay.backtest.conftest import (
    CURRENT,
    DAYS,
    SECOND_US,
    START_US,
    long_world,
    records_of,
    with_model,
    write_log,
    write_pack,
)

SHARE = 0.3
HALF = replace(ASKED, pass_fraud=0.5)
TRIAL = f'challenges = "fraud"\nshare = {SHARE}\nby = "card_id"\nsalt = "spring"\n'
SCORED = {
    "scored": ("fraud_score >= 540", "hold"), "high": ("fraud_score >= 600", "decline"),
    "often": ("payments >= 2", "challenge"),
}  # fmt: skip
TOUCHES = ("challenge", "hold", "decline")


def challenged(folder, rules, segment="amount >= 80"):
    """A pack whose model of a segment has a challenger."""
    pack = with_model(write_pack(folder, folder.name, rules), part=f'segment = "{segment}"\n')
    return with_model(pack, name="young", part=TRIAL, seed=9)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """(the back-test, the auditor's world) of a log in which some payments name no card; CURRENT has no challenger."""
    base = tmp_path_factory.mktemp("arms")
    events = [
        event if "kind" in event or int(event["payment_id"][1:]) % 19 else event | {"card_id": None}
        for event in long_world(4, per_day=25)
        if event["recorded_at"] < START_US + DAYS * DAY_US  # so that the last payments are young
    ]
    file = write_log(base / "log.jsonl", events)
    packs = {
        "current": with_model(write_pack(base / "current", "current", CURRENT | SCORED)),
        "candidate": challenged(base / "candidate", CURRENT | SCORED),
    }
    engines = {side: compile_pack(load_pack(pack)) for side, pack in packs.items()}
    found = {side: records_of(engine, file, base / f"{side}-out")[0] for side, engine in engines.items()}
    return run_backtest(*engines.values(), [Input(file)], HALF), World(events, found)


def arm_of(w, p):
    """As the record says it: a propensity of 1 means that nothing was drawn."""
    for model in w.said["candidate"][p]["models"]:
        if model["name"] in ("fraud", "young"):
            return "not_drawn" if model["propensity"] == 1 else model["arm"]
    return None


def frauds_of(w, payments):
    return [p for p in payments if w.fraud(p)]


def challenged_anew(w, p):
    """By the candidate, and not by history."""
    return w.said["candidate"][p]["outcome"] == "challenge" != w.happened[p]["recorded"]


def draw(p):
    """Between 0 and 1: a keyed hash of the payment's id."""
    key = f"challenge:{ASKED.seed}".encode()
    return int.from_bytes(blake2b(p.encode(), digest_size=8, key=key).digest(), "little") / 2**64


@pytest.mark.parametrize("outcomes", ["recorded", "replayed"])
def test_the_arms_are_those_of_the_records(case, outcomes):
    """Every figure of an arm, from the records of `replay run` and the events."""
    result, w = case
    side = "recorded" if outcomes == "recorded" else "candidate"
    found = {row["arm"]: row for row in result.tables["arms"].to_pylist() if row["outcomes"] == outcomes}
    assert list(found) == ["champion", "challenger", "not_drawn"]
    for arm, row in found.items():
        mine = [p for p in w.counted if arm_of(w, p) == arm]
        old = [p for p in mine if w.payments[p]["event_time"] <= w.end - MATURITY_US]
        assert len(old) < len(mine)
        stops = {p for p in old if side != "recorded" and w.said[side][p]["outcome"] in ("hold", "decline")}
        anew = [p for p in frauds_of(w, old) if challenged_anew(w, p)]
        assert arm == "not_drawn" or 0 < sum(draw(p) < HALF.pass_fraud for p in anew) < len(anew), (arm, len(anew))
        stops |= {p for p in old if side != "recorded" and challenged_anew(w, p) and draw(p) >= HALF.pass_fraud}
        frauds, goods = frauds_of(w, old), [p for p in old if w.good(p)]
        open_ = [p for p in old if w.good(p) or w.truth[p] == "censored"]
        touched = {p for p in old if w.said[side][p]["outcome"] in TOUCHES}
        net = sum(w.happened[p]["net"] for p in frauds if p not in stops)
        unknown = [p for p in mine if side != "recorded" and w.happened[p]["refused"]
                   and w.said[side][p]["outcome"] not in ("hold", "decline")]  # fmt: skip
        known = [p for p in mine if w.said["recorded"][p]["outcome"] and side != "recorded"]
        same = sum(w.said["recorded"][p]["outcome"] == w.said[side][p]["outcome"] for p in known)
        expected = {
            "strategy": "candidate", "champion": "fraud", "challenger": "young", "payments": len(mine),
            "share": {"champion": 0.7, "challenger": 0.3, "not_drawn": 1.0}[arm],
            "entities": len({w.payments[p]["card_id"] for p in mine} - {None}), "attempted_minor": w.amount(old),
            "frauds": len(frauds), "net_minor": net, "net_per_million": 1e6 * net / w.amount(old),
            "goods": len(goods), "goods_touched": len(touched & set(goods)),
            "friction": len(touched & set(goods)) / len(goods),
            "friction_most": len(touched & set(open_)) / len(open_),
            "unknown": len(unknown), "unknown_minor": w.amount(unknown),
            "fidelity": same / len(known) if known else None,
        }  # fmt: skip
        assert {name: row[name] for name in expected} == pytest.approx(expected), arm
        assert 0 < row["friction"] < 1 and row["friction"] != row["friction_most"]
        assert arm == "not_drawn" or row["net_minor"] > 0


def test_the_differences_are_those_of_the_arms(case):
    """Challenger less champion; the interval holds the difference, and a pack without a challenger has no trial."""
    result, _ = case
    ends = {(row["outcomes"], row["arm"]): row for row in result.tables["arms"].to_pylist()}
    found = result.tables["arm_differences"].to_pylist()
    assert len(found) == 2 * 3 and {row["strategy"] for row in found} == {"candidate"}
    for row in found:
        before, after = (ends[row["outcomes"], arm][row["measure"]] for arm in ("champion", "challenger"))
        assert row["difference"] == pytest.approx(after - before)
        assert row["low"] <= row["difference"] <= row["high"] and row["low"] < row["high"]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_page_shows_the_trial(case, lang):
    """The section is there where a pack has a challenger, with its figures, and says what recorded rows are worth."""
    page = backtest_page(case[0], lang)
    net = next(row["net_minor"] for row in case[0].tables["arms"].to_pylist() if row["arm"] == "challenger")
    assert 'id="arms"' in page and f"{net:,}" in page
    assert ("intention to treat" if lang == "en" else "ITT") in page


def test_where_the_pack_itself_decided_the_recorded_trial_is_the_replayed_one(tmp_path):
    """A log made by the pack's own decisions: fidelity 1 in each arm, and the same figures twice."""
    pack = challenged(tmp_path / "live", SCORED, segment="true")
    engine = compile_pack(load_pack(pack))
    paid = [event for event in long_world(6) if "kind" not in event]
    records, _ = records_of(engine, write_log(tmp_path / "paid.jsonl", paid), tmp_path / "out")
    events = {}
    for event in paid:
        outcome = records[event["event_id"]]["outcome"]
        follows = [outcome] if outcome in ("hold", "decline") else [outcome, "settled"]
        stamps = {name: event[name] + SECOND_US for name in ("recorded_at", "event_time")}
        stamps |= {"payment_id": event["payment_id"], "kind": "outcome"}
        new = [event, *(stamps | {"event_id": f"{event['event_id']}:{each}", "outcome": each} for each in follows)]
        if event["amount"] % 3 == 0 and outcome == "approve":
            at = event["recorded_at"] + DAY_US
            verdict = {"kind": "label", "label_class": "fraud", "event_time": at, "recorded_at": at}
            new.append(stamps | verdict | {"event_id": f"{event['event_id']}:label"})
        events |= {each["event_id"]: each for each in new}
    file = write_log(tmp_path / "log.jsonl", sorted(events.values(), key=lambda event: event["recorded_at"]))
    result = run_backtest(engine, engine, [Input(file)], ASKED)
    found = {(row.pop("strategy"), row.pop("outcomes"), row["arm"]): row for row in result.tables["arms"].to_pylist()}
    assert len(found) == 8
    for (side, outcomes, arm), row in found.items():
        if outcomes == "replayed":
            assert row["fidelity"] == 1.0 and row["unknown"] == 0 and row["net_minor"] > 0
            assert {**row, "fidelity": None, "unknown": 0} == found[side, "recorded", arm]


def trial(seed, effect):
    """Entities of two arms with their own habits: (arm, net loss, attempted), losses times `effect`."""
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(900) < SHARE, CHALLENGER, CHAMPION)
    attempted = rng.integers(1, 60, 900) * 100.0
    loss = attempted * rng.beta(0.6, 6, 900) * np.where(arm == CHALLENGER, effect, 1.0)
    return arm, loss, attempted


def test_the_interval_is_as_wide_as_theory_says():
    """The linearised variance of a ratio of cluster totals: of each arm, sum of (a - r b)^2 over (sum of b)^2."""
    arm, loss, attempted = trial(1, 0.7)
    found, low, high = (float(part[0]) for part in difference([(arm, loss[:, None], attempted[:, None])], 1, 4000, 3))
    ratio, variance = {}, 0.0
    for code in (CHAMPION, CHALLENGER):
        a, b = loss[arm == code].tolist(), attempted[arm == code].tolist()
        ratio[code] = sum(a) / sum(b)
        variance += sum((x - ratio[code] * y) ** 2 for x, y in zip(a, b, strict=True)) / sum(b) ** 2
    assert found == pytest.approx(ratio[CHALLENGER] - ratio[CHAMPION])
    assert high - low == pytest.approx(2 * 1.96 * sqrt(variance), rel=0.06)
    assert (high + low) / 2 == pytest.approx(found, abs=0.1 * (high - low))


@pytest.mark.parametrize("effect", [1.0, 0.6])
def test_the_interval_covers_the_true_difference(effect):
    """In 200 trials whose truth is known: about 95 of 100 intervals hold it; without an effect it is 0."""
    truth = 0.6 / 6.6 * (effect - 1)
    covered = 0
    for seed in range(200):
        arm, loss, attempted = trial(seed, effect)
        _, low, high = difference([(arm, loss[:, None], attempted[:, None])], 1, 100, seed)
        covered += low[0] <= truth <= high[0]
    assert 0.89 <= covered / 200 <= 0.99


def test_cuts_of_the_entities_do_not_matter():
    """However they come from the database, the interval is the same to the last bit: money is whole, and sums exact."""
    arm, loss, attempted = trial(2, 0.8)
    parts = [part[:, None] if part is not arm else part for part in (arm, np.round(loss), attempted)]
    whole = difference([tuple(parts)], 1, 50, 9)
    cuts = [0, 1, 2, 300, 899, 900]
    cut = [tuple(part[start:stop] for part in parts) for start, stop in pairwise(cuts)]
    assert [part.tolist() for part in difference(cut, 1, 50, 9)] == [part.tolist() for part in whole]


def test_too_little_says_nothing():
    """No money in an arm: no difference. One entity in an arm: a difference without an interval."""
    one = np.ones((3, 1))
    nobody = difference([(np.full(3, CHAMPION), one, one)], 1, 10, 1)
    assert all(np.isnan(part).all() for part in nobody)
    found, low, high = difference([(np.array([CHAMPION, CHAMPION, CHALLENGER]), one * 2, one)], 1, 10, 1)
    assert found.tolist() == [0.0] and np.isnan(low).all() and np.isnan(high).all()
