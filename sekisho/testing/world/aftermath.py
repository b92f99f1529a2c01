"""What follows a payment: what the bank did, what settled, what came back, and what was learned of it, late."""

from __future__ import annotations

import numpy as np

from sekisho.testing.world.events import Array, Channel, Events, Kind, Outcome, Typology, Verdict, chain, events, pick
from sekisho.testing.world.traffic import DAY_MS, HOUR_MS, MINUTE_MS, arrival

# Of each typology: the class of its label, the mean days until somebody reports it, the share that the bank stops.
_REPORTS = {
    Typology.STOLEN_CARD: (Verdict.FRAUD, 3, 0.15),
    Typology.COMPROMISED_TERMINAL: (Verdict.FRAUD, 9, 0.05),
    Typology.ACCOUNT_TAKEOVER: (Verdict.FRAUD, 2, 0.12),
    Typology.MULE: (Verdict.MULE, 20, 0.03),
    Typology.SCAM: (Verdict.SCAM_AUTHORISED, 8, 0.04),
    Typology.CARD_TESTING: (Verdict.FRAUD, 5, 0.35),
    Typology.FIRST_PARTY: (Verdict.FIRST_PARTY, 40, 0.02),
}
_HONEST = (Verdict.DISPUTE_NOT_FRAUD, 20, 0.003)  # stands last, so that a typology of -1 finds it
_CLASS, _DAYS, _STOPPED = (np.array(column) for column in zip(*_REPORTS.values(), _HONEST, strict=True))
_REPORTED, _TAKEN_BACK, _DISPUTED, _REFUNDED = 0.93, 0.03, 0.0002, 0.004
_HELD = 0.3  # of what is stopped, the rest is declined
_WRONGLY_HELD = 0.4  # of what is held, later declined
_REAL_TIME_MS = 2_000  # transfers settle at once, cards in the next night's clearing


def aftermath(rng: np.random.Generator, payments: Events, next_midnight: int) -> Events:
    """All follow-ups of a day's payments, on whichever day they fall."""
    n = len(payments["kind"])
    stopped = rng.random(n) < _STOPPED[payments["typology"]]
    held = stopped & (rng.random(n) < _HELD)
    done = payments["recorded"] + rng.integers(30, 250, n)
    first = np.where(held, Outcome.HOLD, np.where(stopped, Outcome.DECLINE, Outcome.APPROVE))
    waited = np.flatnonzero(held)
    reviewed = done[waited] + rng.integers(10 * MINUTE_MS, 60 * MINUTE_MS, len(waited))
    verdict = np.where(rng.random(len(waited)) < _WRONGLY_HELD, Outcome.DECLINE, Outcome.APPROVE)
    final, when = first.copy(), done.copy()
    final[waited], when[waited] = verdict, reviewed
    approved = np.flatnonzero(final == Outcome.APPROVE)
    paid, settled_at = pick(payments, approved), _settlement(rng, payments, approved, when, next_midnight)
    return chain([
        _outcomes(rng, payments, first, done),
        _outcomes(rng, pick(payments, waited), verdict, reviewed),
        _outcomes(rng, paid, np.full(len(approved), Outcome.SETTLED), settled_at),
        _refunds(rng, paid, settled_at),
        _labels(rng, paid, settled_at),
    ])  # fmt: skip


def _settlement(rng: np.random.Generator, payments: Events, index: Array, when: Array, next_midnight: int) -> Array:
    clearing = next_midnight + 2 * HOUR_MS + rng.integers(0, 2 * HOUR_MS, len(index))
    clearing += np.maximum(0, when[index] - next_midnight) // DAY_MS * DAY_MS + np.where(
        when[index] > clearing, DAY_MS, 0
    )
    return np.where(payments["channel"][index] == Channel.TRANSFER, when[index] + _REAL_TIME_MS, clearing)


def _outcomes(rng: np.random.Generator, payments: Events, outcome: Array, time: Array) -> Events:
    n = len(outcome)
    amount = np.where(outcome == Outcome.SETTLED, payments["amount"], -1)
    return events(
        n, kind=Kind.OUTCOME, time=time, recorded=time + rng.integers(5, 60, n), payment=payments["payment"],
        outcome=outcome, outcome_amount=amount,
    )  # fmt: skip


def _refunds(rng: np.random.Generator, paid: Events, settled_at: Array) -> Events:
    at = np.flatnonzero(rng.random(len(settled_at)) < _REFUNDED)
    time = settled_at[at] + rng.integers(3 * DAY_MS, 14 * DAY_MS, len(at))
    part = pick(paid, at)
    share = np.where(rng.random(len(at)) < 0.7, 10, rng.integers(1, 10, len(at)))
    return events(
        len(at), kind=Kind.OUTCOME, time=time, recorded=arrival(rng, time), payment=part["payment"],
        outcome=Outcome.REFUNDED, outcome_amount=np.maximum(1, part["amount"] * share // 10),
    )  # fmt: skip


def _labels(rng: np.random.Generator, paid: Events, settled_at: Array) -> Events:
    """Verdicts on settled payments, days to weeks later; a few are taken back, a few honest payments are disputed."""
    typology = paid["typology"]
    luck = rng.random(len(typology))
    at = np.flatnonzero(np.where(typology >= 0, luck < _REPORTED, luck < _DISPUTED))
    what = typology[at]
    days = rng.gamma(2.0, _DAYS[what] / 2)
    time = settled_at[at] + (days * DAY_MS).astype(np.int64) + rng.integers(0, 8 * HOUR_MS, len(at))
    label = _CLASS[what]
    back = np.flatnonzero((what >= 0) & (rng.random(len(at)) < _TAKEN_BACK))
    later = time[back] + rng.integers(3 * DAY_MS, 20 * DAY_MS, len(back))
    return chain([
        _verdicts(rng, pick(paid, at), label, time, 0),
        _verdicts(rng, pick(paid, at[back]), label[back], later, 1),
    ])  # fmt: skip


def _verdicts(rng: np.random.Generator, paid: Events, label: Array, time: Array, reversal: int) -> Events:
    return events(
        len(label), kind=Kind.LABEL, time=time, recorded=time + rng.integers(5, 60, len(label)),
        payment=paid["payment"], label=label, reversal=reversal, occurred=paid["time"],
    )  # fmt: skip
