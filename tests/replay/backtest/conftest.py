"""Two small strategies, and worlds in which what happens to a payment decides about the next one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random

import pytest

from sekisho.compile import compile_pack
from sekisho.load import load_pack

PACK = """
[pack]
name = "{name}"
owner = "tests"

[events]
kinds = ["payment", "outcome", "label", "credit"]
lateness = "1h"
inherit = ["card_id", "payee_id", "amount"]
record_time = "{record_time}"

[fields]
event_id = {{ type = "id", required = true }}
event_time = {{ type = "time", required = true }}
kind = {{ type = "category", default = "payment" }}
payment_id = {{ type = "id" }}
attempt_group = {{ type = "id" }}
card_id = {{ type = "id", pii = "account" }}
payee_id = {{ type = "id" }}
amount = {{ type = "money", currency = "JPY" }}
outcome = {{ type = "category" }}
outcome_amount = {{ type = "money", currency = "JPY" }}
label_class = {{ type = "category" }}
label_reversal = {{ type = "bool" }}

[labels]
kind = "label"
names = ["payment_id", "card_id"]
class = "label_class"
reversal = "label_reversal"
fraud = ["fraud"]

[[legs]]
when = "kind = 'outcome' AND outcome = 'settled' AND payee_id IS NOT NULL"
kind = "credit"
fields = {{ card_id = "payee_id", payee_id = "card_id", amount = "outcome_amount" }}

[alert]
group_by = ["card_id"]
amount = "amount"
"""

FEATURES = """
SELECT event_id, amount,
       CASE WHEN card_id IS NOT NULL THEN count(*) FILTER (WHERE kind = 'payment') OVER day END AS payments,
       CASE WHEN card_id IS NOT NULL THEN
           count(*) FILTER (WHERE kind = 'outcome' AND outcome = 'decline') OVER day END AS declines,
       CASE WHEN card_id IS NOT NULL THEN
           sum(outcome_amount) FILTER (WHERE kind = 'outcome' AND outcome = 'settled') OVER day END AS settled,
       CASE WHEN card_id IS NOT NULL THEN sum(amount) FILTER (WHERE kind = 'credit') OVER day END AS received,
       CASE WHEN card_id IS NOT NULL THEN sum(label_delta) FILTER (WHERE kind = 'label') OVER day END AS frauds
FROM events
WINDOW day AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
"""

_RULE = """
  - id: {id}
    when: {when}
    then: {then}
    on_unknown: ignore
    on_error: review
    owner: tests
    typology: velocity
    reasons: {{en: A reason., ja: 理由です。}}
"""

CURRENT = {
    "many": ("payments >= 4", "review"),
    "declined_before": ("declines >= 1", "decline"),
    "spent": ("settled >= 900", "decline"),
    "known_fraud": ("frauds >= 1", "decline"),
}
CANDIDATE = {
    "many": ("payments >= 3", "challenge"),
    "declined_before": ("declines >= 2", "decline"),
    "spent": ("settled >= 600", "decline"),
    "known_fraud": ("frauds >= 1", "hold"),
    "received": ("received >= 500", "decline"),
}


def write_pack(folder, name, rules, features=FEATURES, record_time="recorded_at"):
    """A folder with a pack of these rules: id -> (condition, outcome)."""
    folder.mkdir()
    (folder / "pack.toml").write_text(PACK.format(name=name, record_time=record_time))
    (folder / "features.sql").write_text(features)
    text = "rules:\n" + "".join(_RULE.format(id=id, when=when, then=then) for id, (when, then) in rules.items())
    (folder / "rules.yaml").write_text(text)
    return folder


@pytest.fixture(scope="session")
def packs(tmp_path_factory):
    """The folders of CURRENT and CANDIDATE."""
    base = tmp_path_factory.mktemp("strategies")
    return write_pack(base / "current", "current", CURRENT), write_pack(base / "candidate", "candidate", CANDIDATE)


@pytest.fixture(scope="session")
def engines(packs):
    return tuple(compile_pack(load_pack(pack)) for pack in packs)


SECOND_US = 1_000_000
START_US = 1_767_571_200_000_000  # 2026-01-05


def clock(us):
    """A time as JSON logs write it."""
    return datetime.fromtimestamp(us // SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def random_world(seed, payments=40):
    """Events as dicts, in arrival order: few cards, quick follow-ups, refusals, holds, retries, late labels."""
    rng, now, events = Random(seed), START_US, []
    gaps = rng.choice(((0, 1, 5, 30), (60, 600, 3600), (0, 1, 600, 20_000)))
    for k in range(payments):
        now += rng.choice(gaps) * SECOND_US
        name, amount = f"p{k}", rng.randint(50, 400)
        payment = {
            "event_id": f"e{k}", "event_time": now, "recorded_at": now + rng.choice((0, 1, 2)) * SECOND_US,
            "payment_id": name, "card_id": f"c{rng.randint(0, 3)}", "amount": amount,
            "payee_id": rng.choice((None, f"c{rng.randint(0, 3)}")), "attempt_group": f"g{k // 2}",
        }  # fmt: skip
        events += [payment, *_aftermath(rng, name, amount, payment["recorded_at"])]
    return sorted(events, key=lambda event: event["recorded_at"])


def _aftermath(rng, name, amount, paid_us):
    """What happened in history: refused or settled, soon or late; refunds and verdicts after that."""
    last, number = paid_us, 0
    out = []

    def add(**fields):
        nonlocal number, last
        last += rng.choice((1, 1, 2, 60, 4000)) * SECOND_US
        number += 1
        event = {"event_id": f"{name}:{number}", "event_time": last - rng.choice((0, 0, 1)) * SECOND_US}
        out.append(event | {"recorded_at": last, "payment_id": name} | fields)

    fate = rng.random()
    if fate < 0.3:
        add(kind="outcome", outcome="decline")
    elif fate < 0.95:
        if rng.random() < 0.3:
            add(kind="outcome", outcome="hold")
        add(kind="outcome", outcome="approve")
        add(kind="outcome", outcome="settled", outcome_amount=amount)
        if rng.random() < 0.2:
            add(kind="outcome", outcome="refunded", outcome_amount=amount)
    if rng.random() < 0.3:
        add(kind="label", label_class=rng.choice(("fraud", "fraud", "genuine_confirmed")))
        if rng.random() < 0.2:
            add(kind="label", label_class="fraud", label_reversal=True)
    return out


def write_log(file, events):
    """The events as JSON lines."""
    lines = []
    for event in events:
        known = {name: value for name, value in event.items() if value is not None}
        lines.append(json.dumps(known | {name: clock(known[name]) for name in ("event_time", "recorded_at")}))
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def make_log(tmp_path):
    """make_log(seed): the file of a random world."""
    return lambda seed, payments=40: write_log(tmp_path / f"world{seed}.jsonl", random_world(seed, payments))
