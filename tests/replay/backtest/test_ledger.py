"""Ledgers small enough to be worked out by hand, where a back-test that edits no history gives the wrong answer."""

import pytest

from replay.backtest import Asked
from replay.backtest.run import run_backtest
from replay.sources import Input
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from tests.replay.backtest.conftest import SECOND_US, START_US, write_log, write_pack

HOUR_US = 3600 * SECOND_US
NEVER, ALWAYS = {"any": ("amount < 0", "decline")}, {"any": ("amount >= 0", "decline")}
SPENT = {"spent": ("settled >= 500", "decline")}  # 500 have settled within a day
TWICE = {"declined_before": ("declines >= 2", "decline")}  # two were declined within a day


def ledger(*payments):
    """Events of one card, an hour apart: (amount, what history did, verdict); settlements follow in a minute."""
    events = []
    for k, (amount, did, verdict) in enumerate(payments):
        name, at = f"p{k}", START_US + k * HOUR_US

        def add(delay_us, at=at, name=name, **fields):
            stamps = dict.fromkeys(("event_time", "recorded_at"), at + delay_us)
            events.append({"event_id": f"{name}:{delay_us}", "payment_id": name, **stamps, **fields})

        add(0, card_id="c0", amount=amount, attempt_group=f"g{k // 2}")
        add(60 * SECOND_US, kind="outcome", outcome=did, outcome_amount=amount if did == "settled" else None)
        if verdict:
            add(120 * SECOND_US, kind="label", label_class=verdict)
    return events


@pytest.fixture
def backtested(tmp_path):
    """backtested(current, candidate, events, **asked): the back-test."""

    def run(current, candidate, events, **asked):
        packs = [write_pack(tmp_path / name, name, rules) for name, rules in (("now", current), ("then", candidate))]
        engines = [compile_pack(load_pack(pack)) for pack in packs]
        log = [Input(write_log(tmp_path / "log.jsonl", events))]
        return run_backtest(*engines, log, Asked(accept_cold=True, maturity_us=HOUR_US, replicates=0, **asked))

    return run


def flipped(result):
    """The payments on which CANDIDATE differs from CURRENT."""
    return sorted(result.frame("flips").payment_id)


@pytest.mark.parametrize(("feedback", "stopped"), [(False, ["p1", "p2", "p3"]), (True, ["p1", "p2"])])
def test_what_is_stopped_leaves_the_later_windows(backtested, feedback, stopped):
    """500, 200 and 300 settled in three hours of history; 50 follow 24.5 hours after the first.

    CANDIDATE stops the second and the third, for 500 have settled. At the fourth the first has left the window. A
    naive back-test finds 200 + 300 in it and declines; in truth neither ever settled.
    """
    events = ledger((500, "settled", None), (200, "settled", None), (300, "settled", None), (50, "settled", None))
    for event in events:
        if event["payment_id"] == "p3":
            event.update({name: event[name] + 43 * HOUR_US // 2 for name in ("event_time", "recorded_at")})
    assert flipped(backtested(NEVER, SPENT, events, feedback=feedback)) == stopped


@pytest.mark.parametrize(("feedback", "passed"), [(False, ["p0", "p1", "p2"]), (True, ["p0", "p1", "p2", "p3"])])
def test_a_refusal_that_never_happened_refuses_no_one_later(backtested, feedback, passed):
    """History declined p1 and p2; CANDIDATE stops a card after two declines.

    It lets p1 and p2 through, so that they were never declined: p3 has nothing behind it. Naively it has both.
    """
    events = ledger((10, "settled", None), (20, "decline", None), (30, "decline", None), (40, "settled", None))
    assert flipped(backtested(ALWAYS, TWICE, events, feedback=feedback, settle_after_us=60 * SECOND_US)) == passed


def test_attempts_are_counted_both_ways(backtested):
    """p1 and p3 retry p0 and p2: collapsed, they and what followed them never happened. Both counts are given."""
    events = ledger(*[(100, "decline", "fraud"), (100, "settled", "fraud")] * 2)
    result = backtested(NEVER, SPENT, events, collapse=True)
    collapsed, every = (result.frame(name).set_index("strategy").loc["candidate"] for name in ("summary", "attempts"))
    assert (collapsed.payments, collapsed.frauds, collapsed.settled_minor) == (2, 2, 0)
    assert (every.payments, every.frauds, every.settled_minor) == (4, 4, 200)
