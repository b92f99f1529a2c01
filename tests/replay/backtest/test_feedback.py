"""State feedback against an oracle that decides one event at a time, and against a ledger worked out by hand."""

from bisect import insort
from hashlib import blake2b

import pytest

from replay.backtest.feedback import FeedbackTrack, Settlement, arrival_of, settlements
from replay.backtest.history import history_of
from replay.backtest.records import Asked
from replay.backtest.roles import roles_of
from replay.backtest.shared_log import project, share_log
from replay.backtest.track import Track
from replay.sources import Input
from rules.records import OUTCOMES
from sekisho.batch import join
from sekisho.decision import encode_decisions
from tests.replay.backtest.conftest import START_US, write_log

HOUR_US = 3_600_000_000


def draw(purpose, seed, name):
    return (
        int.from_bytes(blake2b(name.encode(), digest_size=8, key=f"{purpose}:{seed}".encode()).digest(), "little")
        / 2**64
    )


def oracle(track, roles, asked, log):
    """The records of all payments: every event on its own, the log edited as the rules of the domain say."""

    def value(i, name):
        return log.sheet.value(name, i)

    settled, refused, fraud = set(), {}, {}
    for i in range(log.n):
        name = value(i, "payment_id")
        if value(i, "kind") == "outcome":
            settled |= {name} if value(i, "outcome") in ("settled", "partial") else set()
            if value(i, "outcome") in OUTCOMES:
                refused[name] = value(i, "outcome") == "decline"
        if value(i, "kind") == "label":
            fraud[name] = value(i, "label_class") == "fraud" and not value(i, "label_reversal")
    records, stops, goes, due = [], set(), set(), []
    clock = -(2**63)
    for i in range(log.n):
        name, kind = value(i, "payment_id"), value(i, "kind")
        clock = max(clock, int(arrival_of(log)[i]))
        while due and due[0].at_us <= clock:
            track.fold(settlements(log.sheet.layout, roles, [due.pop(0)]))
        confirmed = kind == "label" and draw("confirm", asked.seed, name) < asked.confirm_declined
        if name in stops and name in settled and kind in ("outcome", "label") and not confirmed:
            continue
        if name in goes and refused.get(name) and name not in settled and kind == "outcome":
            continue
        (decided,) = track.fold(join([log.cut(i, i + 1)]))
        if kind != "payment":
            continue
        records.append(encode_decisions(track.engine, decided)[0].tobytes())
        outcome = OUTCOMES[decided.results.outcome[0]]
        if outcome == "challenge":
            rate = asked.pass_fraud if fraud.get(name) else asked.pass_good
            outcome = "approve" if draw("challenge", asked.seed, name) < rate else "decline"
        stops |= {name} if outcome == "decline" else set()
        if outcome == "approve":
            goes.add(name)
            if refused.get(name) and name not in settled:
                settlement = Settlement(clock + asked.settle_after_us, i, f"settled:{value(i, 'event_id')}", name,
                                        value(i, "amount"), value(i, "record_time") is not None)  # fmt: skip
                insort(due, settlement)
    return b"".join(records)


def fast(track, batches):
    """The records of all payments by FeedbackTrack, over chunks, run until its guesses hold."""
    while True:
        first, parts = 0, []
        for batch in batches:
            decided = track.decide(batch, first)
            parts += [encode_decisions(track.engine, part)[0].tobytes() for part in decided if len(part.rows)]
            first += batch.n
        if not track.dirty:
            return b"".join(parts)
        track.again()


def tracks_of(engines, side, file, asked):
    log = share_log(*engines)
    roles = roles_of(log.pack, log.pack.schema)
    chunks = list(log.read([Input(file)]))
    history = history_of(iter(chunks), log.pack, roles, asked)
    place = project(log, engines[side])
    track = FeedbackTrack(engines[side], place, roles, history, asked.settle_after_us)
    return track, Track(engines[side], place), roles, join([chunk.batch for chunk in chunks])


def test_a_payment_stands_where_its_first_event_stands(engines, tmp_path):
    """An attempt may come twice under one payment_id: follow-ups belong to the first, and none precedes it."""
    times = [START_US + k * HOUR_US for k in range(3)]
    attempts = [
        {"event_id": f"e{k}", "payment_id": name, "event_time": at, "recorded_at": at, "card_id": "c0", "amount": 5}
        for k, (name, at) in enumerate(zip(("p0", "p1", "p0"), times, strict=True))
    ]
    track, *_ = tracks_of(engines, 0, write_log(tmp_path / "log.jsonl", attempts), Asked(feedback=True))
    assert track.history.at.tolist() == [0, 1]


@pytest.mark.parametrize("start", range(0, 60, 10))
def test_feedback_equals_the_oracle(engines, make_log, start):
    """Byte for byte, whatever the chunks, the delay, the passing rates; both packs; 60 worlds."""
    for seed in range(start, start + 10):
        delay, confirmed = (1_000_000, 60_000_000, HOUR_US)[seed % 3], (0.0, 0.5)[seed % 2]
        asked = Asked(
            feedback=True, seed=seed, settle_after_us=delay, pass_good=0.6, confirm_declined=confirmed
        )  # fmt: skip
        track, single, roles, log = tracks_of(engines, seed % 2, make_log(seed), asked)
        size = (7, 40, log.n)[seed % 3]
        chunks = [log.cut(at, min(at + size, log.n)) for at in range(0, log.n, size)]
        assert fast(track, chunks) == oracle(single, roles, asked, log), seed


@pytest.mark.soak
def test_feedback_equals_the_oracle_on_twenty_thousand_payments(engines, make_log):
    """A log as long as a branch's month."""
    asked = Asked(feedback=True, seed=5, settle_after_us=60_000_000, pass_good=0.6)
    track, single, roles, log = tracks_of(engines, 1, make_log(5, payments=20_000), asked)
    assert fast(track, [log]) == oracle(single, roles, asked, log)


def test_guesses_fail_and_are_mended(engines, make_log):
    """Among the worlds are some whose first run was wrong: the repair is tried, and it ends."""
    runs = []
    for seed in range(12):
        asked = Asked(feedback=True, seed=seed, settle_after_us=1_000_000)
        track, *_, log = tracks_of(engines, 1, make_log(seed), asked)
        fast(track, [log])
        runs.append(track.runs)
    assert max(runs) > 1 and max(runs) <= 7
