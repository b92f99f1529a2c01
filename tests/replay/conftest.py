"""A small pack and its engine, for tests that are about logs and not about packs."""

import pytest

from sekisho.compile import compile_pack
from sekisho.load import load_pack

PACK = """
[pack]
name = "small"
owner = "tests"

[events]
kinds = ["payment", "label"]
lateness = "1h"
inherit = ["card_id"]

[fields]
event_id = { type = "id", required = true }
event_time = { type = "time", required = true }
kind = { type = "category", default = "payment" }
payment_id = { type = "id" }
card_id = { type = "id" }
amount = { type = "money", currency = "JPY" }
label_class = { type = "category" }

[labels]
kind = "label"
names = ["payment_id"]
class = "label_class"
fraud = ["fraud"]
"""

FEATURES = """
SELECT event_id,
       amount AS paid,
       CASE WHEN card_id IS NOT NULL THEN count(*) FILTER (WHERE kind = 'payment') OVER day END AS payments,
       CASE WHEN card_id IS NOT NULL THEN sum(label_delta) FILTER (WHERE kind = 'label') OVER day END AS frauds
FROM events
WINDOW day AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
"""

RULES = """
rules:
  - id: third_payment
    when: payments >= 3
    then: review
    owner: tests
    typology: velocity
    reasons: {en: Third payment of a day., ja: 一日に三回目の支払いです。}
  - id: known_fraud
    when: frauds >= 1
    then: decline
    on_unknown: ignore
    on_error: review
    owner: tests
    typology: stolen_card
    reasons: {en: A fraud is known., ja: 不正が確認されています。}
"""


@pytest.fixture(scope="session")
def pack_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "small"
    folder.mkdir()
    for name, text in (("pack.toml", PACK), ("features.sql", FEATURES), ("rules.yaml", RULES)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def engine(pack_folder):
    return compile_pack(load_pack(pack_folder))
