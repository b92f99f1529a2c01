"""Two small strategies, and worlds in which what happens to a payment decides about the next one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from random import Random

import lightgbm
import numpy as np
import pytest

from models.card import Feature, ModelCard
from models.card_toml import write_card
from models.drift import bins_of
from replay.backtest.records import DAY_US
from replay.run import Recorder, run
from replay.sources import Input, read_log
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from sekisho.state import new_state

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
balance = {{ type = "money", currency = "JPY" }}
known_at = {{ type = "time" }}
occurred_at = {{ type = "time" }}
outcome = {{ type = "category" }}
outcome_amount = {{ type = "money", currency = "JPY" }}
label_class = {{ type = "category" }}
label_reversal = {{ type = "bool" }}

[labels]
kind = "label"
names = ["payment_id", "card_id"]
class = "label_class"
reversal = "label_reversal"
fraud = ["fraud", "scam_authorised"]

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
HOUR_US, DAYS = 3600 * SECOND_US, 44
FRAUDS, GOODS = ("fraud", "scam_authorised"), ("dispute_not_fraud", "genuine_confirmed")
TIMES = {"event_time", "recorded_at", "known_at", "occurred_at"}
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
        lines.append(json.dumps(known | {name: clock(known[name]) for name in TIMES & known.keys()}))
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def make_log(tmp_path):
    """make_log(seed): the file of a random world."""
    return lambda seed, payments=40: write_log(tmp_path / f"world{seed}.jsonl", random_world(seed, payments))


def long_world(seed, per_day=14):
    """Six weeks of a small bank: customers pay each other; retries, refusals, refunds; verdicts late or reversed."""
    rng, events = Random(seed), []
    for k in range(DAYS * per_day):
        at = START_US + rng.randrange(DAYS * DAY_US // SECOND_US) * SECOND_US
        amount, name = rng.randint(50, 400), f"p{k}"
        payment = {
            "event_id": f"e{k}", "event_time": at, "recorded_at": at + rng.choice((0, 0, 2)) * SECOND_US,
            "payment_id": name, "card_id": f"card{rng.randint(0, 20):04}", "amount": amount,
            "payee_id": rng.choice((None, f"card{rng.randint(0, 20):04}", "elsewhere")),
            "balance": rng.choice((None, None, rng.randint(20, 500))),
        }  # fmt: skip
        events += [payment, *_followups(rng, payment)]
        if rng.random() < 0.1:  # the same payment twice: the second is a duplicate
            events.append(payment | {"recorded_at": payment["recorded_at"] + SECOND_US})
    return sorted(events, key=lambda event: event["recorded_at"])


def _followups(rng, payment):
    name, amount, out, now = payment["payment_id"], payment["amount"], [], payment["recorded_at"]

    def add(delay_us, **fields):
        at = now + delay_us
        out.append({"event_id": f"{name}:{len(out)}", "event_time": at, "recorded_at": at, **fields})

    fate = rng.random()
    if fate < 0.2:
        add(SECOND_US, kind="outcome", payment_id=name, outcome="decline")
    elif fate < 0.95:
        add(SECOND_US, kind="outcome", payment_id=name, outcome=rng.choice(("approve", "hold")))
        settled = rng.choice((amount, amount // 2, None))
        status = "partial" if settled == amount // 2 else "settled"
        add(60 * SECOND_US, kind="outcome", payment_id=name, outcome=status, outcome_amount=settled)
        if rng.random() < 0.3:
            back = rng.choice((amount // 4, amount, None))
            add(DAY_US, kind="outcome", payment_id=name, outcome=rng.choice(("refunded", "recalled", "reversed")),
                outcome_amount=back)  # fmt: skip
    if rng.random() < 0.35:
        delay = rng.choice((HOUR_US, DAY_US, 5 * DAY_US, 12 * DAY_US))
        names = {"payment_id": name} if rng.random() < 0.8 else {"card_id": payment["card_id"]}
        known = rng.choice((None, now + delay - HOUR_US // 2))
        verdict = rng.choice((*FRAUDS, *FRAUDS, *FRAUDS, *GOODS, "first_party"))
        names["occurred_at"] = payment["event_time"]
        add(delay, kind="label", label_class=verdict, known_at=known, **names)
        if rng.random() < 0.2:
            add(delay + DAY_US, kind="label", label_class=verdict, label_reversal=True, **names)
    return out


def with_model(folder, calibration=None, name="fraud", part="", seed=1):
    """A small model beside a pack: the larger and the more often, the more suspicious. part: more keys."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(50, 400, 4000), rng.integers(1, 6, 4000)]).astype(float)
    y = rng.random(4000) < 1 / (1 + np.exp(-(x[:, 0] / 60 + x[:, 1] - 8)))
    columns = ("amount", "payments")
    data = lightgbm.Dataset(x, y, feature_name=list(columns))
    settings = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}
    model = lightgbm.train(settings, data, 30).model_to_string().encode()
    when = datetime(2026, 1, 1, tzinfo=UTC)
    card = ModelCard(
        name, sha256(model).hexdigest(), tuple(map(Feature, columns)), when, when, len(y), int(y.sum()), "me", "tests",
        calibration=calibration, reference={each: bins_of(column) for each, column in zip(columns, x.T, strict=True)},
        scores=bins_of(rng.integers(450, 600, 4000).astype(float)),
    )  # fmt: skip
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / f"{name}.txt").write_bytes(model)
    (folder / "models" / f"{name}.toml").write_text(write_card(card))
    with (folder / "pack.toml").open("a") as pack:
        pack.write(f'\n[[models]]\nfile = "models/{name}.txt"\ncard = "models/{name}.toml"\n{part}\n')
    return folder


def records_of(engine, file, folder):
    """The decisions and alerts that `replay run` writes, as JSON: decisions by event_id, no duplicates."""
    folder.mkdir()
    decisions, alerts = folder / "decisions.jsonl", folder / "alerts.jsonl"
    with Recorder(engine, decisions, alerts=alerts) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, [Input(file)])):
            recorder.record(part)
    found = [json.loads(line) for line in decisions.read_text().splitlines()]
    alerted = [json.loads(line) for line in alerts.read_text().splitlines()]
    return {each["event_id"]: each for each in found if "duplicate_of" not in each}, alerted
