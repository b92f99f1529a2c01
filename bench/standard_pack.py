"""The standard pack: 20 windows over 4 entities, 60 features, 100 rules, and one model of 300 trees with 63 leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

ENTITIES = ("card", "account", "merchant", "device")
FRAMES = {"1m": "1 MINUTE", "10m": "10 MINUTE", "1h": "1 HOUR", "24h": "24 HOUR", "7d": "7 DAY"}
FUNCTIONS = {"count": "count(*)", "sum": "sum(amount)", "std": "stddev_samp(amount)"}
WINDOWS = tuple(f"{entity}_{frame}" for entity in ENTITIES for frame in FRAMES)
FEATURES = tuple(f"{window}_{function}" for window in WINDOWS for function in FUNCTIONS)

BARE = """\
[pack]
name = "standard"
description = "The standard workload of the benchmarks"
owner = "bench"

[events]
kinds = ["payment"]
decide = ["payment"]
record_time = "log"

[fields]
event_id = { type = "id", from = "$.id", required = true }
kind = { type = "category", from = "$.type", required = true }
event_time = { type = "time", from = "$.time", required = true }
payment_id = { type = "id", from = "$.payment" }
card_id = { type = "id", from = "$.card", required = true, pii = "account" }
account_id = { type = "id", from = "$.account", required = true, pii = "account" }
device_id = { type = "id", from = "$.device", required = true }
merchant_id = { type = "id", from = "$.merchant.id", required = true }
mcc = { type = "category", from = "$.merchant.mcc" }
amount = { type = "money", currency = "JPY", required = true }
currency = { type = "category" }
country = { type = "category" }
channel = { type = "category" }
"""
WHOLE = (
    BARE
    + """
[alert]
outcomes = ["hold", "decline"]
group_by = ["card_id"]
amount = "amount"

[[models]]
file = "models/fraud.txt"
card = "models/fraud.toml"
"""
)
LISTS = {
    "blocked_cards": [f"card-{k:08d}" for k in range(0, 800_000, 8_000)],
    "blocked_merchants": [f"shop-{k:05d}" for k in range(7, 45_000, 4_500)],
    "watched_devices": [f"dev-{k:08d}" for k in range(0, 1_000_000, 5_000)],
    "trusted_merchants": [f"shop-{k:05d}" for k in range(0, 45_000, 450)],
}
_RARE = 0.9995  # a rule over one feature hits one payment in 2,000
_GROWN = {"24h": 2, "7d": 8}  # a full window holds so much more than the 18 hours that the thresholds are taken from


def features_sql(frames: dict[str, str] = FRAMES, functions: dict[str, str] = FUNCTIONS) -> str:
    """Every function over every window of every entity, in the order of FEATURES; all of it is plain SQL."""
    columns, windows = [], []
    for entity in ENTITIES:
        for frame, width in frames.items():
            name = f"{entity}_{frame}"
            columns += [f"{call} OVER {name} AS {name}_{function}" for function, call in functions.items()]
            windows.append(
                f"{name} AS (PARTITION BY {entity}_id ORDER BY event_time"
                f" RANGE BETWEEN INTERVAL {width} PRECEDING AND CURRENT ROW)"
            )
    return "SELECT event_id,\n" + ",\n".join(columns) + "\nFROM events\nWINDOW " + ",\n".join(windows) + "\n"


def rules_yaml(quantile: Callable[[str, float], float]) -> str:
    """A hundred rules. quantile(feature, q) is that of the payments that the model learns from."""
    rules = [*_lists(), *_windows(quantile), *_habits(quantile), *_places(), *_scores()]
    assert len(rules) == 100, len(rules)
    return "rules:\n" + "".join(rules)


def _rule(name: str, when: str, then: str, *more: str) -> str:
    lines = [
        f"id: {name}", f"when: {when}", f"then: {then}", *more, "owner: bench", "typology: stolen_card",
        f"reasons: {{en: {name.replace('_', ' ')}, ja: {name}}}",
    ]  # fmt: skip
    return "  - " + "\n    ".join(lines) + "\n"


def _lists() -> Iterator[str]:
    strict = ("stage: hard_block", "on_unknown: ignore", "on_error: review")
    yield _rule("blocked_card", "card_id IN (SELECT value FROM blocked_cards)", "decline", *strict)
    yield _rule("blocked_merchant", "merchant_id IN (SELECT value FROM blocked_merchants)", "decline", *strict)
    yield _rule("watched_device", "device_id IN (SELECT value FROM watched_devices)", "review")
    lifts = ("stage: exempt", "lifts: [card_1m_many, card_10m_many]", "expires: 2030-01-01T00:00:00Z")
    yield _rule("trusted_merchant", "merchant_id IN (SELECT value FROM trusted_merchants)", "approve", *lifts)


def _windows(quantile: Callable[[str, float], float]) -> Iterator[str]:
    """Two a window: too often, too much."""
    for window in WINDOWS:
        grown = _GROWN.get(window.partition("_")[2], 1)
        often, much = (grown * quantile(f"{window}_{function}", _RARE) for function in ("count", "sum"))
        then = "hold" if window.endswith("_1m") else "review"
        yield _rule(f"{window}_many", f"{window}_count > {often:.0f}", then)
        yield _rule(f"{window}_much", f"{window}_sum > {much:.0f} AND amount > 1000", "review")


def _habits(quantile: Callable[[str, float], float]) -> Iterator[str]:
    """Three an entity and a long window: unlike the others, all at once, round amounts."""
    for entity in ENTITIES:
        for frame in ("24h", "7d"):
            window = f"{entity}_{frame}"
            mean = f"{window}_sum / NULLIF({window}_count, 0)"
            yield _rule(f"{window}_unlike", f"amount > 50000 AND amount > 8 * {mean}", "review")
            fast = f"{entity}_10m_count * 10 > {window}_count * 9 AND {window}_count > 8"
            yield _rule(f"{window}_burst", fast, "challenge")
            least = quantile(f"{window}_std", 0.99)
            yield _rule(
                f"{window}_wild", f"{window}_std > {least:.0f} AND amount % 10000 = 0 AND mcc <> '6011'", "review"
            )


def _places() -> Iterator[str]:
    codes = ("5411", "5814", "5812", "5541", "5912", "5311", "5651", "4111", "5732", "7011", "6011", "5999")
    for code in codes:
        yield _rule(f"large_at_{code}", f"mcc = '{code}' AND amount >= 150000 AND card_24h_count >= 3", "review")
    for country in ("US", "KR", "TW", "CN", "TH", "GB", "FR", "VN", "BR"):
        when = f"country = '{country}' AND channel IN ('web', 'app') AND card_1h_sum > 90000"
        yield _rule(f"abroad_{country.lower()}", when, "challenge")
    night = "extract(hour FROM event_time AT TIME ZONE 'Asia/Tokyo') BETWEEN 1 AND 4"
    yield _rule("cash_at_night", f"mcc = '6011' AND {night} AND amount >= 50000", "challenge")
    yield _rule("night_device", f"{night} AND device_24h_count >= 12", "review")
    yield _rule("handed_around", "device_24h_count > 3 * card_24h_count + 9", "review")


def _scores() -> Iterator[str]:
    for score in (990, 970, 950):
        strict = ("on_unknown: review", "on_error: review")
        yield _rule(f"score_{score}", f"fraud_score >= {score}", "decline", *strict)
    for score, amount in ((930, 100_000), (910, 150_000), (890, 200_000), (870, 300_000), (850, 500_000)):
        yield _rule(f"score_{score}_large", f"fraud_score >= {score} AND amount >= {amount}", "hold")
