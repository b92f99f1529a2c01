"""[[webhooks]]: every error names file, line and key; a filter is judged by DuckDB."""

import json
from pathlib import Path

import duckdb
import pytest

from sekisho.alert_filter import AlertFilter
from sekisho.settings import SettingsError, load_settings
from sekisho.webhook_settings import Webhook
from tests.streams.webhooks.hooks_world import OTHER_SECRET, SECRET, make_alert

GOOD = """\
pack = "packs/card_payments"
state = "state"

[kafka]
bootstrap = "127.0.0.1:9092"

[topics]
input = ["payments"]

[[webhooks]]
id = "first"
url = "https://first.example/hook"
secrets = [{ env = "FIRST" }]

[[webhooks]]
id = "case-tool"
url = "https://cases.bank.example/hook?key=hidden"
secrets = [{ env = "FIRST" }, { file = "old" }]
filter = "outcome IN ('hold', 'decline') AND amount >= 100000"
allow = ["10.1.2.0/24"]
batch = 20
catch_up_token = { env = "TOKEN" }
"""
ENVIRONMENT = {"FIRST": SECRET, "TOKEN": "0123456789abcdef", "SHORT": "short", "WEAK": "whsec_c2hvcnQ="}


def _load(folder: Path, text: str) -> tuple[Webhook, ...]:
    (folder / "old").write_text(OTHER_SECRET + "\n")
    (folder / "sekisho.toml").write_text(text, "utf-8")
    return load_settings(folder / "sekisho.toml", ENVIRONMENT).webhooks


def test_subscribers_are_read(tmp_path: Path) -> None:
    """Secrets come from the environment and from files; defaults are filled in."""
    first, second = _load(tmp_path, GOOD)
    assert first.id == "first" and first.batch == 1 and first.give_up_after_h == 72
    assert second.secrets == (SECRET, OTHER_SECRET) and second.batch == 20 and second.host == "cases.bank.example"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "case-tool"', 'id = "first"', ":16: [webhooks] id: 'first' stands twice"),
        ('id = "case-tool"', 'id = "Case Tool"', ":16: [webhooks] id: must be lower-case letters"),
        ('id = "case-tool"\n', "", ":15: [webhooks] id: missing"),
        ("https://cases", "http://cases", ":17: [webhooks] url: must be https; http is for loopback alone"),
        ("https://cases", "https://user:pw@cases", ":17: [webhooks] url: must have neither a user nor a fragment"),
        ("https://cases.bank.example", "https://", ":17: [webhooks] url: must be a URL with a host"),
        ('"https://cases.bank.example/hook?key=hidden"', '"http://127.0.0.1/"', ":17: [webhooks] url: must be https"),
        ('{ file = "old" }', '"whsec_in_the_file"', ":18: [webhooks] secrets: a secret; write"),
        ('{ file = "old" }', '{ env = "NONE" }', ":18: [webhooks] secrets: the environment has no NONE"),
        ('{ file = "old" }', '{ file = "none" }', ":18: [webhooks] secrets: none cannot be read"),
        ('{ file = "old" }', '{ env = "WEAK" }', ":18: [webhooks] secrets: must be whsec_ and the base64 of 24 to 64"),
        ('{ file = "old" }', '{ env = "FIRST" }, { env = "FIRST" }', ":18: [webhooks] secrets: must be a list of"),
        ("amount >= 100000", "amount >= ", ":19: [webhooks] filter: column"),
        ("amount >= 100000", "amounts >= 1", ":19: [webhooks] filter: column 36"),
        ('["10.1.2.0/24"]', '["10.1.2.3/24"]', ":20: [webhooks] allow: '10.1.2.3/24' is no address and no network"),
        ("batch = 20", "batch = 101", ":21: [webhooks] batch: must be a whole number from 1 to 100"),
        ("batch = 20", "bach = 20", ":21: [webhooks] bach: unknown; known are id, url"),
        ("batch = 20", 'audience = "everyone"', ":21: [webhooks] audience: must be internal or customer"),
        ("batch = 20", 'ca = "none.pem"', ":21: [webhooks] ca: 'none.pem' is no file"),
        ("batch = 20", 'key = "old"', ":21: [webhooks] key: a key without a certificate"),
        ("batch = 20", 'ed25519 = { env = "FIRST" }', ":21: [webhooks] ed25519: must be whsk_"),
        ('{ env = "TOKEN" }', '{ env = "SHORT" }', ":22: [webhooks] catch_up_token: must have 16 characters"),
    ],
)  # fmt: skip
def test_each_error_names_its_place_and_no_secret(tmp_path: Path, old: str, new: str, told: str) -> None:
    """File, line of the right table, key, and what to do; what is secret is not repeated."""
    assert old in GOOD
    head, behind = GOOD.split('id = "first"')
    text = head + 'id = "first"' + behind.replace(old, new)
    with pytest.raises(SettingsError) as refused:
        _load(tmp_path, text)
    shown = "\n".join(refused.value.problems)
    assert told in shown and len(refused.value.problems) == 1, shown
    assert not any(secret in shown for secret in (SECRET, "in_the_file", "hidden", "user:pw", "c2hvcnQ"))


@pytest.mark.parametrize(
    "sql",
    [
        "outcome = 'decline'",
        "outcome IN ('hold', 'review') OR amount > 5000.5",
        "score >= 800 AND NOT queue = 'cards'",
        "score IS NULL",
        "score < 500",
        "typologies LIKE '%,mule,%' AND score < 300",
        "rule = 'mule_burst' AND event_time >= TIMESTAMPTZ '2026-03-01 12:00:20+00'",
        "amount * 3 > 20000 OR payment_id = 'p7'",
    ],
)
def test_a_filter_takes_what_duckdb_takes(sql: str) -> None:
    """The same condition over the same alerts; NULL is not taken."""
    alerts = [make_alert(k, ("hold", "decline", "review")[k % 3], 1_000 * k) for k in range(40)]
    for k, alert in enumerate(alerts):
        alert["score"] = None if k % 7 == 0 else 25 * k
        alert["amount_scale"] = 0 if k % 2 else 2
    rows = [
        (
            a["payment_id"], a["outcome"], a["score"], a["queue"], a["count"], a["rules"][0], a["event_time"],
            f",{','.join(a['typologies'])},", f"{a['amount'] / 10 ** a['amount_scale']:.2f}",
        )
        for a in alerts
    ]  # fmt: skip
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.execute(
        "CREATE TABLE alerts (payment_id VARCHAR, outcome VARCHAR, score BIGINT, queue VARCHAR, count BIGINT, "
        "rule VARCHAR, event_time TIMESTAMPTZ, typologies VARCHAR, amount DECIMAL(18, 2))"
    )
    database.executemany("INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    wanted = {row[0] for row in database.execute(f"SELECT payment_id FROM alerts WHERE {sql}").fetchall()}
    wants = AlertFilter(sql)
    taken = {alerts[k]["payment_id"] for k in wants.taken(json.loads(json.dumps(alerts)))}
    assert all(wants.taken([alert]) == [0] * (alert["payment_id"] in wanted) for alert in alerts)
    assert taken == wanted and 0 < len(taken) < len(alerts)
