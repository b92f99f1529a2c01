"""The files of a drafted pack: pack.toml, features.sql and rules.yaml, as a person would have written them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from replay.drafting.meaning import Guess, Meaning

SHORT = ("1h", "24h", "7d")
_INTERVALS = {"1h": "1 HOUR", "24h": "24 HOUR", "7d": "7 DAY"}
_MONTH = "RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW"
_ENTITY_JA = {
    "card": "カード", "account": "口座", "customer": "顧客", "device": "デバイス", "ip": "IPアドレス",
    "merchant": "加盟店", "payee": "受取人", "terminal": "端末",
}  # fmt: skip


@dataclass(frozen=True)
class Thresholds:
    """What at most one payment in a thousand of the sample reaches: payments in an hour, times the usual amount."""

    burst: int = 3
    factor: int = 3


# --- pack.toml ---


def pack_toml(name: str, owner: str, about: str, meaning: Meaning) -> str:
    """The schema and the policies."""
    lines = [
        f"# Drafted from {about}. Read each line: what is unsure was printed beside it.",
        "[pack]",
        f'name = "{name}"',
        f"description = {_toml(f'Drafted from {about}')}",
        f"owner = {_toml(owner)}",
        "",
        "[events]",
        f"kinds = {_toml(list(meaning.kinds))}",
        'decide = ["payment"]',
        f'default_zone = "{meaning.zone}"',
    ]
    if meaning.record_time:
        lines.append(f"record_time = {_toml(meaning.record_time)}")
    if inherited := _inherited(meaning):
        lines.append(f"inherit = {_toml(inherited)}")
    lines += ["", "[fields]", *_fields(meaning)]
    if "label" in meaning.kinds and (meaning.label or "label_class" in meaning.fields):
        lines += ["", "[labels]", 'kind = "label"', 'names = ["payment_id"]', 'class = "label_class"']
        if meaning.fields.get("label_reversal", Guess("", "", "", "")).type == "bool":
            lines.append('reversal = "label_reversal"')
        lines.append('fraud = ["fraud"]')
    lines += ["", "[alert]", 'outcomes = ["review", "hold", "decline"]']
    if meaning.payer:
        lines.append(f'group_by = ["{meaning.payer}_id"]')
    return "\n".join(lines) + "\n"


def _inherited(meaning: Meaning) -> list[str]:
    """What an outcome or a label has of its payment."""
    if len(meaning.kinds) == 1:
        return []
    names = [f"{entity}_id" for entity in meaning.entities]
    return names + [name for name in ("amount", "currency") if name in meaning.fields]


def _fields(meaning: Meaning) -> Iterator[str]:
    if "kind" not in meaning.fields:
        yield 'kind = { type = "category", default = "payment" }'
    for guess in meaning.guesses:
        if guess.name:
            yield _field(guess)
        if guess.name == "event_id" and "payment_id" not in meaning.fields:
            yield _field(Guess(guess.source, "payment_id", "id", ""))
    if meaning.label:
        yield 'label_class = { type = "category" }'


def _field(guess: Guess) -> str:
    parts: dict[str, object] = {"type": guess.type}
    if guess.source != guess.name:
        parts["from"] = guess.source
    inside = ", ".join(f"{key} = {_toml(value)}" for key, value in (parts | dict(guess.options)).items())
    return f"{guess.name} = {{ {inside} }}"


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- features.sql ---


def features_sql(meaning: Meaning) -> str:
    """Counts and sums of each entity, an amount beside its habit, and how well the two sides know each other."""
    shown = {"amount": "amount"} if meaning.amount else {}
    past, windows = _habit(meaning)
    selected = shown | _velocities(meaning) | past
    lines = [
        "-- Each payment beside the past of what it names. A window over an id that may be missing stands in CASE."
    ]
    lines += ["SELECT", "    event_id,"]
    lines.append(",\n".join(f"    {sql}" if sql == name else f"    {sql} AS {name}" for name, sql in selected.items()))
    lines.append("FROM events")
    windows = _windows(meaning) | windows
    if windows:
        lines.append("WINDOW")
        lines.append(",\n".join(f"    {name} AS ({over})" for name, over in windows.items()))
    return "\n".join(lines) + "\n"


def _over(entity: str, call: str, window: str, *more: str) -> str:
    """A window call over payments, NULL where a key is."""
    known = " AND ".join(f"{key} IS NOT NULL" for key in (f"{entity}_id", *more))
    return f"CASE WHEN {known} THEN\n        {call} FILTER (WHERE kind = 'payment') OVER {window} END"


def _velocities(meaning: Meaning) -> dict[str, str]:
    found = {}
    for entity in meaning.entities:
        for width in SHORT:
            found[f"{entity}_count_{width}"] = _over(entity, "count(*)", f"{entity}_{width}")
        if meaning.amount:
            for width in SHORT:
                window = f"{entity}_{_paid(meaning)}{width}"
                found[f"{entity}_amount_{width}"] = _over(entity, "sum(amount)", window, *_money_keys(meaning))
    return found


def _habit(meaning: Meaning) -> tuple[dict[str, str], dict[str, str]]:
    """What the payer usually does: features, and their windows."""
    payer, place, money = meaning.payer, meaning.place, _money_keys(meaning)
    if not payer:
        return {}, {}
    found = {f"{payer}_count_30d": _over(payer, "count(*)", f"{payer}_past")}
    windows = {f"{payer}_past": f"PARTITION BY {payer}_id ORDER BY event_time {_MONTH}"}
    if meaning.amount:
        keys = ", ".join((f"{payer}_id", *money))
        windows[f"{payer}_{_paid(meaning)}past"] = f"PARTITION BY {keys} ORDER BY event_time {_MONTH}"
        mean = _over(payer, "avg(amount)", f"{payer}_{_paid(meaning)}past", *money)
        found[f"amount_vs_{payer}_mean"] = f"amount / NULLIF({mean}, 0)"
    if place:
        window = f"{payer}_{place}_past"
        windows[window] = f"PARTITION BY {payer}_id, {place}_id ORDER BY event_time {_MONTH}"
        found[f"{payer}_{place}_count_30d"] = _over(payer, "count(*)", window, f"{place}_id")
    return found, windows


def _windows(meaning: Meaning) -> dict[str, str]:
    found = {}
    for entity in meaning.entities:
        kinds = {"": ()} | ({_paid(meaning): _money_keys(meaning)} if meaning.amount else {})
        for prefix, keys in kinds.items():
            for width in SHORT:
                frame = f"RANGE BETWEEN INTERVAL {_INTERVALS[width]} PRECEDING AND CURRENT ROW"
                partition = ", ".join((f"{entity}_id", *keys))
                found[f"{entity}_{prefix}{width}"] = f"PARTITION BY {partition} ORDER BY event_time {frame}"
    return found


def _money_keys(meaning: Meaning) -> tuple[str, ...]:
    """Amounts of several currencies are summed apart."""
    return ("currency",) if meaning.amount and "currencies" in meaning.amount.options else ()


def _paid(meaning: Meaning) -> str:
    return "currency_" if _money_keys(meaning) else ""


# --- rules.yaml ---


def conditions(meaning: Meaning, limits: Thresholds) -> dict[str, str]:
    """The condition of each drafted rule, by its id."""
    payer, place, found = meaning.payer, meaning.place, {}
    if payer:
        found[f"{payer}_burst"] = f"{payer}_count_1h >= {limits.burst}"
    if payer and meaning.amount:
        mean = f"amount_vs_{payer}_mean"
        found[f"unlike_the_{payer}"] = f"{payer}_count_30d >= 5 AND {mean} >= {limits.factor}"
        if place:
            first = f"{payer}_{place}_count_30d = 0 AND {payer}_count_30d >= 5"
            found[f"dear_at_a_new_{place}"] = f"{first} AND {mean} >= {max(2, limits.factor // 2)}"
    return found


def rules_yaml(owner: str, meaning: Meaning, limits: Thresholds) -> str:
    """The rules with their reasons, and an example on either side of each limit."""
    payer, place, when = meaning.payer, meaning.place, conditions(meaning, limits)
    ja, mean = _ENTITY_JA.get(payer, ""), f"amount_vs_{payer}_mean"
    texts = {
        f"{payer}_burst": (
            "velocity", f"{limits.burst} or more payments of one {payer} within an hour.",
            f"同じ{ja}で一時間以内に{limits.burst}件以上の支払いがあります。",
            {f"{payer}_count_1h": limits.burst}, {f"{payer}_count_1h": limits.burst - 1},
        ),
        f"unlike_the_{payer}": (
            "unusual_amount", f"At least {limits.factor} times what this {payer} usually pays.",
            f"この{ja}の通常の支払額の{limits.factor}倍以上です。",
            {f"{payer}_count_30d": 5, mean: limits.factor}, {f"{payer}_count_30d": 4, mean: limits.factor},
        ),
        f"dear_at_a_new_{place}": (
            "new_counterparty", f"A large amount, and the first of this {payer} at this {place} in 30 days.",
            f"この{ja}が30日間利用していない{_ENTITY_JA.get(place, '')}での高額な支払いです。",
            {f"{payer}_{place}_count_30d": 0, f"{payer}_count_30d": 5, mean: limits.factor},
            {f"{payer}_{place}_count_30d": 1, f"{payer}_count_30d": 5, mean: limits.factor},
        ),
    }  # fmt: skip
    lines = ["# Nothing here stops a payment: a person looks. At most one in a thousand of the sample reaches a limit."]
    lines += ["rules:"] if when else ["rules: []"]
    for id, condition in when.items():
        typology, en, said_ja, hit, miss = texts[id]
        lines += ["", f"  - id: {id}", f"    when: {condition}", "    then: review"]
        if id.startswith("dear_at"):
            lines.append(
                "    shadow: true    # counted and reported, and nothing else; remove this line when it is good"
            )
        lines += [
            f"    owner: {json.dumps(owner, ensure_ascii=False)}",
            f"    typology: {typology}",
            "    reasons:",
            f"      en: {en}",
            f"      ja: {said_ja}",
            "    examples:",
            "      hit:",
            f"        - {_example(hit)}",
            "      miss:",
            f"        - {_example(miss)}",
        ]
    return "\n".join(lines) + "\n"


def _example(values: Mapping[str, int]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"
