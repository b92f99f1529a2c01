"""Who lives in the bank world: cards and accounts, merchants and terminals, devices and payees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

PREFECTURES = 47
ONLINE = 0  # the region of merchants without a place; prefectures count from 1

# Merchant category code, share of merchants, median yen of a payment.
CATEGORIES = (
    ("5411", 0.20, 2_400), ("5814", 0.18, 900), ("5812", 0.13, 3_800), ("5541", 0.07, 5_200), ("5912", 0.08, 1_700),
    ("5311", 0.05, 6_500), ("5651", 0.07, 7_000), ("4111", 0.06, 700), ("5732", 0.04, 18_000), ("7011", 0.03, 15_000),
    ("6011", 0.05, 22_000), ("5999", 0.04, 4_000),
)  # fmt: skip
ELECTRONICS, CASH = 8, 10  # their places above


@dataclass(frozen=True, eq=False)
class Population:
    """Everybody, as arrays; an entity is its index.

    Cards: account (many to one), region, spend (factor on amounts), favourite[cards, 4] in (0, 1), and urn, the cards
    repeated as often as they pay; owls the same for nights. Account a owns the devices 2a and 2a + 1.
    Merchants, sorted by region and then by popularity: category, terminal (first one), terminals (0 online).
    Region r has the merchants [region_start[r], region_start[r + 1]).
    """

    account: Index
    region: Index
    spend: Floats
    favourite: Floats
    urn: Index
    owls: Index
    accounts: int
    category: Index
    first_terminal: Index
    terminals: Index
    region_start: Index

    @property
    def cards(self) -> int:
        return len(self.account)

    @property
    def merchants(self) -> int:
        return len(self.category)

    @property
    def terminal_count(self) -> int:
        return int(self.first_terminal[-1] + self.terminals[-1])

    @property
    def foreign_devices(self) -> int:
        """Devices of nobody, behind the accounts' own: those of fraudsters."""
        return self.accounts // 50 + 50

    @property
    def payees(self) -> int:
        """The bank's own accounts, then accounts elsewhere."""
        return self.accounts + self.accounts // 2 + 10


def populate(seed: int, cards: int) -> Population:
    """The population of a world: the same seed and number of cards give the same people."""
    rng = np.random.default_rng([seed, 0])
    accounts = max(1, cards * 9 // 10)
    weights = rng.gamma(1.2, size=cards)
    owl = rng.random(cards) < 0.1
    return Population(
        account=(np.arange(cards, dtype=np.int64) * accounts // cards).astype(np.int32),
        region=_regions(rng, cards),
        spend=rng.lognormal(0, 0.5, cards).astype(np.float32),
        favourite=rng.random((cards, 4), np.float32),
        urn=_urn(weights),
        owls=_urn(weights * (0.02 + owl)),
        accounts=accounts,
        **_merchants(rng, max(240, cards // 12)),
    )


def _merchants(rng: np.random.Generator, count: int) -> dict[str, Index]:
    online = max(40, count // 8)
    region = np.sort(np.concatenate([np.zeros(online, np.int32), 1 + np.arange(PREFECTURES), _regions(rng, count)]))
    start = np.searchsorted(region, np.arange(PREFECTURES + 2)).astype(np.int32)
    shares = np.array([share for _, share, _ in CATEGORIES])
    category = rng.choice(len(CATEGORIES), len(region), p=shares / shares.sum())
    category[:online] = rng.choice([5, 6, ELECTRONICS, 9, 11], online)
    rank = np.arange(len(region)) - start[region]
    terminals = np.where(region == ONLINE, 0, 1 + np.minimum(15, 30 // (rank + 1)))
    first = np.concatenate([[0], np.cumsum(terminals)[:-1]])
    return {
        "category": category.astype(np.int32),
        "first_terminal": first.astype(np.int32),
        "terminals": terminals.astype(np.int32),
        "region_start": start,
    }


def _regions(rng: np.random.Generator, count: int) -> Index:
    """Prefectures 1 to 47, the first ones far larger than the last ones, as in Japan."""
    share = 1 / (np.arange(PREFECTURES) + 4.0)
    return (1 + rng.choice(PREFECTURES, count, p=share / share.sum())).astype(np.int32)


def _urn(weights: npt.NDArray[np.float64]) -> Index:
    """Indices repeated in proportion to their weights: a uniform draw from it is a weighted draw."""
    size = 4 * len(weights) + 64
    bounds = np.rint(np.cumsum(weights) / weights.sum() * size).astype(np.int64)
    return np.repeat(np.arange(len(weights), dtype=np.int32), np.diff(bounds, prepend=0))
