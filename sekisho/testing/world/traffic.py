"""What honest people do in a day: payments, transfers, logins."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from sekisho.testing.world.events import Array, Channel, Events, Kind, chain, events
from sekisho.testing.world.population import CASH, CATEGORIES, ONLINE, Population

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
PAY_DAY = 25

_MEDIAN = np.log(np.array([median for _, _, median in CATEGORIES], np.float32))
_TRANSFERS, _TRANSFERS_ON_PAY_DAY = 0.06, 0.16  # share of payments


def _minutes(evening: float) -> npt.NDArray[np.int64]:
    """Minutes of a day, repeated as often as people pay in them: lunch, evening, hardly at night."""
    hour = np.arange(1440) / 60
    rate = 0.04 + np.exp(-(((hour - 12.4) / 1.6) ** 2)) + evening * np.exp(-(((hour - 18.6) / 2.6) ** 2))
    rate += 0.3 * ((hour > 7.5) & (hour < 22.5))
    return np.repeat(np.arange(1440), np.rint(rate / rate.sum() * 60_000).astype(np.int64))


_WORKDAY, _WEEKEND = _minutes(1.1), _minutes(0.8)


def paid_on(day: date) -> bool:
    """True on pay day: the 25th, or the Friday before when that is a weekend."""
    due = day.replace(day=PAY_DAY)
    return day == due - timedelta(max(0, due.weekday() - 4))


def busyness(day: date) -> float:
    """How many payments the day has against an average one."""
    factor = 1.15 if day.weekday() == 5 else 1.0 if day.weekday() == 6 else 0.97
    return factor * (1.25 if paid_on(day) else 1.08 if any(paid_on(day - timedelta(k)) for k in (1, 2, 3)) else 0.98)


def genuine_payments(
    rng: np.random.Generator, people: Population, day: date, midnight: int, n: int, number: int
) -> Events:
    """n payments of a day that begins at `midnight`, in order of time, numbered from `number`."""
    minutes = _WEEKEND if day.weekday() >= 5 else _WORKDAY
    time = np.sort(minutes[rng.integers(0, len(minutes), n)] * MINUTE_MS + rng.integers(0, MINUTE_MS, n))
    card = people.urn[rng.integers(0, len(people.urn), n)]
    awake = np.flatnonzero((time < 5 * HOUR_MS) & (rng.random(n) < 0.6))
    card[awake] = people.owls[rng.integers(0, len(people.owls), len(awake))]
    bought = _purchases(rng, people, card)
    bought |= {"time": midnight + time, "payment": number + np.arange(n), "card": card}
    _transfer(rng, people, bought, rng.random(n) < (_TRANSFERS_ON_PAY_DAY if paid_on(day) else _TRANSFERS))
    return events(n, kind=Kind.PAYMENT, **bought, recorded=arrival(rng, bought["time"]))


def _purchases(rng: np.random.Generator, people: Population, card: Array) -> dict[str, Array]:
    n = len(card)
    where = rng.random(n, np.float32)
    region = np.where(where < 0.72, people.region[card], ONLINE)
    away = np.flatnonzero(where > 0.96)
    region[away] = people.region[rng.integers(0, people.cards, len(away))]
    habit = rng.integers(0, 8, n)
    taste = np.where(habit < 4, people.favourite[card, habit & 3], rng.random(n, np.float32))
    merchant = shop(people, region, taste)
    return at_merchant(rng, people, card, merchant, payers_amount(rng, people, card, merchant))


def shop(people: Population, region: Array, taste: Array) -> Array:
    """Merchants of the regions; a low taste is a popular one (their shares fall as 1/rank, Zipf's law)."""
    first = people.region_start[region]
    count = people.region_start[region + 1] - first
    rank = np.exp(taste * np.log(count.astype(np.float32))).astype(np.int32) - 1
    return first + np.minimum(rank, count - 1)


def payers_amount(rng: np.random.Generator, people: Population, card: Array, merchant: Array) -> Array:
    """Yen: a lognormal around what is usual at the merchant and for the card."""
    spread = 0.55 * rng.standard_normal(len(card), np.float32)
    amount = np.exp(_MEDIAN[people.category[merchant]] + spread) * people.spend[card]
    return np.maximum(1, np.rint(amount)).astype(np.int64)


def at_merchant(
    rng: np.random.Generator, people: Population, card: Array, merchant: Array, amount: Array
) -> dict[str, Array]:
    """The columns of purchases by the cards' owners: terminal or device, channel, country."""
    n = len(card)
    online = merchant < people.region_start[ONLINE + 1]
    cash = people.category[merchant] == CASH
    luck = rng.random(n, np.float32)
    terminal = people.first_terminal[merchant] + (luck * people.terminals[merchant]).astype(np.int32)
    account = people.account[card]
    return {
        "account": account,
        "merchant": merchant,
        "terminal": np.where(online, -1, terminal),
        "device": np.where(online, own_device(rng, account), -1),
        "channel": np.where(
            online, np.where(luck < 0.5, Channel.WEB, Channel.APP), np.where(cash, Channel.ATM, Channel.POS)
        ),
        "country": np.where(online & (luck > 0.97), 1 + (luck * 10_000).astype(np.int8) % 9, 0),
        "amount": np.where(cash, 1000 * (1 + amount // 1000), amount),
    }


def own_device(rng: np.random.Generator, account: Array) -> Array:
    """One of the two devices of each account, mostly the first."""
    return 2 * account + (rng.random(len(account), np.float32) < 0.15)


def usual_payee(rng: np.random.Generator, people: Population, account: Array) -> Array:
    """One of the five accounts that each account pays, now and then another."""
    n = len(account)
    known = (account.astype(np.int64) * 7_919 + rng.integers(0, 5, n) * 104_729) % people.payees
    return np.where(rng.random(n) < 0.9, known, rng.integers(0, people.payees, n))


def _transfer(rng: np.random.Generator, people: Population, bought: dict[str, Array], mask: Array) -> None:
    """Turn the payments of the mask into transfers from account to account."""
    at = np.flatnonzero(mask)
    account = bought["account"][at]
    bought["card"] = bought["card"].copy()
    bought["payee"] = np.full(len(mask), -1)
    bought["payee"][at] = usual_payee(rng, people, account)
    for name in ("card", "merchant", "terminal"):
        bought[name][at] = -1
    bought["country"][at], bought["channel"][at] = 0, Channel.TRANSFER
    bought["device"][at] = own_device(rng, account)
    bought["amount"][at] = np.maximum(500, np.rint(rng.lognormal(np.log(20_000), 1.0, len(at)))).astype(np.int64)


def context(rng: np.random.Generator, people: Population, midnight: int, n: int) -> Events:
    """Logins, and now and then a new limit or a new payee, in a day of n payments."""
    return chain([_contexts(rng, people, midnight, kind, n // each) for kind, each in _CONTEXT])


_CONTEXT = ((Kind.LOGIN, 12), (Kind.LIMIT_CHANGE, 2_500), (Kind.NEW_PAYEE, 250))


def _contexts(rng: np.random.Generator, people: Population, midnight: int, kind: int, mean: int) -> Events:
    n = int(rng.poisson(mean))
    account = people.account[people.urn[rng.integers(0, len(people.urn), n)]]
    time = midnight + _WORKDAY[rng.integers(0, len(_WORKDAY), n)] * MINUTE_MS + rng.integers(0, MINUTE_MS, n)
    payee = usual_payee(rng, people, account) if kind == Kind.NEW_PAYEE else -1
    return events(
        n, kind=kind, time=time, recorded=arrival(rng, time), account=account, device=own_device(rng, account),
        payee=payee, channel=Channel.APP,
    )  # fmt: skip


def arrival(rng: np.random.Generator, time: Array) -> Array:
    """When the log takes events: a moment later, sometimes minutes, rarely hours (an offline terminal)."""
    n = len(time)
    delay = 20 + rng.exponential(70, n)
    luck = rng.random(n)
    slow, late = np.flatnonzero(luck < 0.01), np.flatnonzero(luck < 0.0004)
    delay[slow] += rng.uniform(1_000, 5 * MINUTE_MS, len(slow))
    delay[late] += rng.uniform(5 * MINUTE_MS, 6 * HOUR_MS, len(late))
    return time + delay.astype(np.int64)
