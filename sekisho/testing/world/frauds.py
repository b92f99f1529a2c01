"""What fraudsters do: the campaigns of a day, by typology."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sekisho.testing.world.events import COUNTRIES, Array, Channel, Events, Kind, Typology, chain, events
from sekisho.testing.world.population import ELECTRONICS, ONLINE, Population
from sekisho.testing.world.traffic import (
    HOUR_MS,
    MINUTE_MS,
    arrival,
    at_merchant,
    own_device,
    shop,
)  # fmt: skip

COMPROMISED_DAYS = 28
_TERMINALS_A_DAY = 9e-5  # share of terminals that are newly compromised each day
_COPIED = 0.4  # share of the payments at a compromised terminal that are fraud


@dataclass(frozen=True, eq=False)
class Scene:
    """A day to commit fraud in: `midnight` begins it, `day` counts days from the world's start."""

    rng: np.random.Generator
    people: Population
    midnight: int
    day: int

    def anybody(self, n: int) -> Array:
        """n cards, those that pay much more often than others."""
        urn = self.people.urn
        return urn[self.rng.integers(0, len(urn), n)]

    def foreign_device(self, n: int) -> Array:
        """n devices that belong to no account."""
        return 2 * self.people.accounts + self.rng.integers(0, self.people.foreign_devices, n)


def campaigns(scene: Scene, payments: float) -> Events:
    """The campaigns that begin on a day of so many payments; some of their events fall on later days."""
    parts = []
    for typology, per_million in _RATES:
        count = int(scene.rng.poisson(payments * per_million / 1e6))
        if count:
            parts.append(typology(scene, count))
    found = chain(parts) if parts else events(0)
    found["recorded"] = arrival(scene.rng, found["time"])
    return found


def _burst(scene: Scene, steps: Array, gap_ms: float, hours: tuple[int, int] = (0, 24)) -> tuple[Array, Array, Array]:
    """Campaigns of `steps` events each: campaign, step and time of every event, gaps exponential."""
    who = np.repeat(np.arange(len(steps)), steps)
    step = np.arange(len(who)) - np.repeat(np.cumsum(steps) - steps, steps)
    start = scene.midnight + scene.rng.integers(hours[0] * HOUR_MS, hours[1] * HOUR_MS, len(steps))
    gaps = np.cumsum(scene.rng.exponential(gap_ms, len(who)))
    since = gaps - np.repeat(gaps[step == 0], steps)
    return who, step, start[who] + since.astype(np.int64)


def _stolen_card(scene: Scene, count: int) -> Events:
    """A few small payments to see if the card works, then large ones at merchants new to it."""
    rng, people = scene.rng, scene.people
    small = rng.integers(1, 4, count)
    who, step, time = _burst(scene, small + rng.integers(3, 9, count), 9 * MINUTE_MS)
    card = scene.anybody(count)[who]
    online = rng.random(len(who)) < 0.6
    region = np.where(online, ONLINE, people.region[scene.anybody(len(who))])
    merchant = shop(people, region, rng.random(len(who), np.float32))
    amount = np.where(step < small[who], rng.integers(100, 1_200, len(who)), rng.integers(18_000, 140_000, len(who)))
    columns = at_merchant(rng, people, card, merchant, amount)
    columns["device"] = np.where(columns["terminal"] >= 0, -1, scene.foreign_device(count)[who])
    abroad = rng.integers(1, len(COUNTRIES), count)[who]
    columns["country"] = np.where(online & (abroad % 2 == 0), abroad, 0)
    return events(len(who), kind=Kind.PAYMENT, time=time, card=card, typology=Typology.STOLEN_CARD, **columns)


def _card_testing(scene: Scene, count: int) -> Events:
    """One device tries many cards with tiny amounts at one online merchant; some are used for more a day later."""
    rng, people = scene.rng, scene.people
    who, _, time = _burst(scene, rng.integers(15, 50, count), 15_000)
    n = len(who)
    card = scene.anybody(n)
    merchant = shop(people, np.full(count, ONLINE), rng.random(count, np.float32))[who]
    device, country = scene.foreign_device(count)[who], rng.integers(0, len(COUNTRIES), count)[who]
    amount = rng.integers(1, 200, n)
    tests = at_merchant(rng, people, card, merchant, amount) | {"device": device, "country": country}
    used = np.flatnonzero(rng.random(n) < 0.1)
    later = at_merchant(rng, people, card[used], merchant[used], rng.integers(30_000, 90_000, len(used)))
    later |= {"device": device[used], "country": country[used]}
    after = time[used] + rng.integers(6 * HOUR_MS, 40 * HOUR_MS, len(used))
    return chain([
        events(n, kind=Kind.PAYMENT, time=time, card=card, typology=Typology.CARD_TESTING, **tests),
        events(len(used), kind=Kind.PAYMENT, time=after, card=card[used], typology=Typology.STOLEN_CARD, **later),
    ])  # fmt: skip


def _takeover(scene: Scene, count: int) -> Events:
    """A login from a new device, a higher limit, a new payee, then transfers that empty the account."""
    rng, people = scene.rng, scene.people
    steps = 3 + rng.integers(2, 6, count)
    who, step, time = _burst(scene, steps, 4 * MINUTE_MS)
    account, device = people.account[scene.anybody(count)][who], scene.foreign_device(count)[who]
    payee = _mules(scene, count)[who]
    kind = np.select([step == 0, step == 1, step == 2], [Kind.LOGIN, Kind.LIMIT_CHANGE, Kind.NEW_PAYEE], Kind.PAYMENT)
    paying = kind == Kind.PAYMENT
    return events(
        len(who), kind=kind, time=time, account=account, device=device, payee=np.where(step >= 2, payee, -1),
        channel=np.where(paying, Channel.TRANSFER, Channel.APP), country=np.where(paying, 0, -1),
        amount=np.where(paying, rng.integers(90_000, 900_000, len(who)), -1),
        typology=np.where(paying, Typology.ACCOUNT_TAKEOVER, -1),
    )  # fmt: skip


def _mule(scene: Scene, count: int) -> Events:
    """Many victims pay one account of the bank within a day; it passes the money on within minutes."""
    rng, people = scene.rng, scene.people
    who, _, time = _burst(scene, rng.integers(6, 15, count), 70 * MINUTE_MS, (8, 12))
    n = len(who)
    mule, victim = _mules(scene, count)[who], people.account[scene.anybody(n)]
    amount = rng.integers(40_000, 500_000, n)
    outside = people.accounts + rng.integers(0, people.payees - people.accounts, count)[who]
    passed = time + rng.integers(2 * MINUTE_MS, 25 * MINUTE_MS, n)
    return chain([
        events(n, kind=Kind.PAYMENT, time=time, account=victim, device=own_device(rng, victim), payee=mule, country=0,
               channel=Channel.TRANSFER, amount=amount, typology=Typology.SCAM),
        events(n, kind=Kind.PAYMENT, time=passed, account=mule, device=own_device(rng, mule), payee=outside, country=0,
               channel=Channel.TRANSFER, amount=amount - amount // 20, typology=Typology.MULE),
    ])  # fmt: skip


def _first_party(scene: Scene, count: int) -> Events:
    """A card's owner buys all that it carries in two days, and then disputes it."""
    rng, people = scene.rng, scene.people
    who, _, time = _burst(scene, rng.integers(4, 9, count), 5 * HOUR_MS, (9, 20))
    card = scene.anybody(count)[who]
    shops = np.flatnonzero(people.category == ELECTRONICS)
    merchant = shops[rng.integers(0, len(shops), len(who))]
    columns = at_merchant(rng, people, card, merchant, rng.integers(60_000, 300_000, len(who)))
    return events(len(who), kind=Kind.PAYMENT, time=time, card=card, typology=Typology.FIRST_PARTY, **columns)


def _mules(scene: Scene, n: int) -> Array:
    """Accounts in the hands of gangs: each works for some weeks."""
    week = np.random.default_rng([scene.day // 14, scene.people.accounts])
    hired = week.integers(0, scene.people.accounts, 3 + scene.people.accounts // 4_000)
    return hired[scene.rng.integers(0, len(hired), n)].astype(np.int32)


# Campaigns begun per million payments.
_RATES: tuple[tuple[Callable[[Scene, int], Events], float], ...] = (
    (_stolen_card, 260), (_card_testing, 24), (_takeover, 220), (_mule, 36), (_first_party, 90),
)  # fmt: skip


def compromise(scene: Scene, seed: int, payments: Events) -> None:
    """Turn some payments at compromised terminals into fraud: copied cards, dearer goods."""
    found = [_newly_compromised(seed, scene.day - age, scene.people) for age in range(COMPROMISED_DAYS)]
    hit = np.zeros(scene.people.terminal_count + 1, bool)
    hit[np.concatenate(found)] = True
    at = np.flatnonzero(hit[payments["terminal"]])
    at = at[scene.rng.random(len(at)) < _COPIED]
    payments["typology"][at] = Typology.COMPROMISED_TERMINAL
    payments["amount"][at] = payments["amount"][at] * scene.rng.integers(10, 35, len(at)) // 10


def _newly_compromised(seed: int, day: int, people: Population) -> npt.NDArray[np.int64]:
    """The terminals whose 28 days begin on a day; gangs like busy shops."""
    if day < 0:
        return np.empty(0, np.int64)
    rng = np.random.default_rng([seed, 1, day])
    rate = _TERMINALS_A_DAY * people.terminal_count
    n = int(rate * (day + 1) + 0.9) - int(rate * day + 0.9)  # steady, and the first one soon in a small world
    merchant = shop(people, people.region[rng.integers(0, people.cards, n)], 0.7 * rng.random(n))
    return people.first_terminal[merchant] + rng.integers(0, np.maximum(1, people.terminals[merchant]))
