"""load_pack: what is read, the hash, and file, line and column of every error."""

import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from features.sql import parse_condition
from sekisho import check
from sekisho.check import check_pack, duration_text
from sekisho.load import PackErrors, load_pack
from sekisho.pack_toml import read_head, read_legs
from sekisho.summary import render_summary
from sekisho.toml import Document

PACK = """\
[pack]
name = "demo"
owner = "fraud desk"

[events]
kinds = ["payment", "label", "credit"]
lateness = "90s"
inherit = ["card_id"]

[fields]
event_id = { type = "id", required = true }
event_time = { type = "time", required = true, encoding = "epoch_ms" }
kind = { type = "category", required = true }
payment_id = { type = "id" }
card_id = { type = "id", pii = "account" }
amount = { type = "money", currency = "JPY", from = "$.payment.amount.value" }
fee = { type = "money", currencies = ["JPY", "USD", "KWD"], encoding = "minor" }
weight = { type = "number", scale = 4 }
label_class = { type = "category" }

[labels]
fraud = ["fraud", "mule"]

[[legs]]
when = "kind = 'payment' AND amount > 0"
kind = "credit"
fields = { card_id = "payment_id" }

[alert]
group_by = ["card_id"]
quiet = "10m"
amount = "amount"
"""

SQL = """\
SELECT event_id,
       CASE WHEN card_id IS NOT NULL THEN count(*) FILTER (WHERE kind = 'payment') OVER card_1h END AS card_count_1h
FROM events
WINDOW card_1h AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)
"""

RULES = """\
rules:
  - id: blocked
    when: card_id IN (SELECT value FROM blocked_cards) AND card_count_1h > 3
    then: hold
    owner: fraud desk
    typology: stolen_card
    reasons: {en: blocked, ja: 停止}
    examples:
      hit: [{card_id: c1, card_count_1h: 4, event_time: 2026-01-01T00:00:00Z}]
"""

FILES = {
    "pack.toml": PACK,
    "features.sql": SQL,
    "rules.yaml": RULES,
    "lists/blocked_cards.csv": "value,starts,expires\nc1,,\n",
}


@pytest.fixture
def pack(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / "demo" / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text, "utf-8")
    return tmp_path / "demo"


def errors(path):
    with pytest.raises(PackErrors) as raised:
        load_pack(path)
    return raised.value.refusals


def edit(path, name, old, new):
    file = path / name
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


def test_a_pack_is_read_whole(pack):
    """Fields with their exponents, policies in microseconds, legs, rules, lists."""
    loaded = load_pack(pack)
    fields = loaded.schema.by_name
    assert [fields[name].exponent for name in ("amount", "fee", "weight")] == [0, 3, 4]
    assert (fields["event_time"].encoding, fields["fee"].encoding, fields["card_id"].pii) == (
        "epoch_ms",
        "minor",
        "account",
    )
    assert (loaded.policy.lateness_us, loaded.policy.inherit) == (90_000_000, ("card_id",))
    assert (loaded.alert.quiet_us, loaded.labels.fraud) == (600_000_000, ("fraud", "mule"))
    assert loaded.legs[0].fields == {"card_id": "payment_id"}
    assert [rule.id for rule in loaded.rules.rules] == ["blocked"] and list(loaded.rules.lists) == ["blocked_cards"]
    assert set(loaded.files) == set(FILES)


def test_the_hash_is_of_what_decides(pack, tmp_path):
    """Line ends, notes and scripts change nothing; any other byte does."""
    first = load_pack(pack).hash
    other = shutil.copytree(pack, tmp_path / "elsewhere")
    (other / "README.md").write_text("notes")
    for name in ("pack.toml", "features.sql", "rules.yaml"):
        (other / name).write_bytes((other / name).read_bytes().replace(b"\n", b"\r\n"))
    assert load_pack(other).hash == first
    edit(other, "lists/blocked_cards.csv", "c1,,", "c1,,\nc2,,")
    assert load_pack(other).hash != first


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "column", "what", "fix"),
    [
        ("pack.toml", "[pack]", "[pakc]", 1, 1, "no key 'pakc'", "did you mean pack?"),
        ("pack.toml", 'name = "demo"', 'name = "my demo"', 2, 1, "cannot name a pack", "lower-case"),
        ("pack.toml", 'owner = "fraud desk"', "owner = fraud", 3, 9, "not TOML", "correct the line"),
        ("pack.toml", "lateness", "lateniss", 7, 1, "no key 'lateniss'", "did you mean lateness?"),
        ("pack.toml", '"90s"', '"90 s"', 7, 1, "lateness is no duration", '"24h"'),
        ("pack.toml", '["card_id"]\n\n', '["card"]\n\n', 8, 1, "cannot hold 'card'", "did you mean card_id?"),
        ("pack.toml", '"epoch_ms"', '"epoch"', 12, 48, "encoding cannot be 'epoch'", "epoch_s"),
        ("pack.toml", 'kind = { type = "category", required = true }', 'kind = { type = "category" }', 13, 1,
         "kind must be a required field", "required = true"),
        ("pack.toml", 'kind = { type = "category", required = true }\n', "", 10, 1, "no field kind", "add kind"),
        ("pack.toml", 'pii = "account"', 'pii = "card"', 15, 26, "pii cannot be 'card'", "account"),
        ("pack.toml", 'currency = "JPY", from', 'currency = "yen", from', 16, 28, "'yen' is no currency", "ISO 4217"),
        ("pack.toml", 'currency = "JPY", from', 'currency = "YEN", from', 16, 28, "'YEN' is no currency", "ISO 4217"),
        ("pack.toml", 'currency = "JPY", from', "from", 16, 12, "money without a currency", "JPY"),
        ("pack.toml", "scale = 4", "scale = 16", 18, 29, "from 0 to 15", "scale = "),
        ("pack.toml", 'type = "number"', 'type = "nubmer"', 18, 12, "type cannot be 'nubmer'", "number"),
        ("pack.toml", "weight =", "arrival_lag =", 18, 1, "Sekisho adds itself", "another name"),
        ("pack.toml", "amount > 0", "amuont > 0", 25, 30, "amuont", "amount"),
        ("pack.toml", "\"kind = 'payment' AND amount > 0\"", "\"\"\"\nkind = 'payment'\n  AND amuont > 0\"\"\"", 27, 7,
         "amuont", "amount"),
        ("pack.toml", 'kind = "credit"', 'kind = "credits"', 26, 1, "cannot be 'credits'", "did you mean credit?"),
        ("pack.toml", '= "payment_id" }', '= "amount" }', 27, 12, "different types", "one type"),
        ("pack.toml", '["fraud", "mule"]', '["fraud"]\nnames = ["card_id"]\ndispositions = { bad = "fraud" }', 23, 1,
         "names lacks payment_id", "add"),
        ("pack.toml", '["fraud", "mule"]', '["fraud"]\ndispositions = { bad = 1 }', 23, 18,
         "bad is not a text", "write"),
        ("pack.toml", 'quiet = "10m"', "quiet = 10", 31, 1, "quiet is no duration", '"10m"'),
        ("pack.toml", 'amount = "amount"', 'amount = "weight"', 32, 1, "weight is no money", "type money"),
        ("features.sql", "count(*)", "count(nothing)", 2, 49, "nothing", ""),
        ("rules.yaml", "card_count_1h > 3", "card_count_2h > 3", 3, 60, "card_count_2h", "card_count_1h"),
        ("rules.yaml", "blocked_cards", "blocked", 3, 41, "blocked", "blocked_cards"),
        ("rules.yaml", "card_count_1h: 4", "card_count_1h: 3", 9, 13, "it answers no_hit", "correct the example"),
        ("lists/blocked_cards.csv", "c1,,", "c1,,soon", 2, 5, "which is no time", "RFC 3339"),
    ],
)  # fmt: skip
def test_every_error_names_file_line_and_column(pack, file, old, new, line, column, what, fix):
    """And says what is wrong and what to do."""
    edit(pack, file, old, new)
    found = [(r.file, r.place.line, r.place.column) for r in errors(pack) if what in r.what and fix in r.fix]
    assert found == [(file, line, column)]


@pytest.mark.parametrize("value", ["3", '"x"', "[]", "{}", "true", "[[1]]", "1.5", "2020-01-01"])
def test_a_value_of_any_other_type_is_a_refusal_with_a_line(value):
    """Whatever stands behind a key of pack.toml, reading it ends in policies or in refusals, never in another error."""
    for found in re.finditer(r'= ("[^"]*"|\[[^\]]*\]|true|\d+|\{[^}]*\})', PACK):
        document = Document(PACK[: found.start(1)] + value + PACK[found.end(1) :])
        schema = read_head(document).schema
        read_legs(document, schema, lambda sql, schema=schema: parse_condition(sql, schema.columns()))
        assert all(refusal.place.line for refusal in document.refusals)


def test_independent_errors_come_out_together(pack):
    """Three files, three errors, in the order of the files."""
    edit(pack, "pack.toml", '"90s"', '"soon"')
    edit(pack, "features.sql", "count(*)", "count(")
    edit(pack, "lists/blocked_cards.csv", "c1,,", "c1,")
    assert [r.file for r in errors(pack)] == ["pack.toml", "features.sql", "lists/blocked_cards.csv"]


def test_each_mistake_of_a_select_is_told_and_those_of_the_rules_beside(pack):
    """A wrong feature hides neither the next one nor what is wrong with a rule whatever its columns are."""
    edit(pack, "features.sql", "SELECT event_id,", "SELECT event_id, amuont + 1 AS a, amount / fee AS b,")
    edit(pack, "rules.yaml", "then: hold", "then: holt")
    found = [(r.file, r.what) for r in errors(pack)]
    assert found == [
        ("features.sql", "events has no column amuont"), ("features.sql", "the divisor fee can be 0"),
        ("rules.yaml", "then cannot be 'holt'"),
    ]  # fmt: skip


def test_a_file_that_nothing_names_is_refused(pack):
    """rules.yml would be no rules at all."""
    (pack / "rules.yaml").rename(pack / "rules.yml")
    (refusal,) = errors(pack)
    assert (refusal.file, "did you mean rules.yaml?" in refusal.fix) == ("rules.yml", True)


def test_what_is_missing_is_named(pack, tmp_path):
    """The folder, a file, a model."""
    assert errors(tmp_path / "nowhere")[0].what == "there is no such folder"
    edit(pack, "pack.toml", "[alert]", '[[models]]\nfile = "models/m.txt"\ncard = "models/m.toml"\n\n[alert]')
    (pack / "features.sql").unlink()
    assert [r.file for r in errors(pack)] == ["features.sql", "models/m.toml", "models/m.txt"]


def test_a_model_is_checked_against_the_pack(pack):
    """A column that the pack lacks, and a file outside models/, at their lines."""
    fdh = Path(__file__).parents[2] / "packs" / "card_payments" / "models"
    shutil.copytree(fdh, pack / "models")
    models = '[[models]]\nfile = "models/fraud.txt"\ncard = "models/fraud.toml"\n\n[alert]'
    edit(pack, "pack.toml", "[alert]", models)
    found = errors(pack)
    assert {(r.file, r.place.line) for r in found} == {("pack.toml", 29)} and "which the pack does not have" in found[
        0
    ].what
    edit(pack, "pack.toml", "models/fraud.txt", "models/../../fraud.txt")
    assert ("pack.toml", 30) in {(r.file, r.place.line) for r in errors(pack)}


def test_bytes_that_are_not_utf8_have_a_line(pack):
    """Also where the file is read before anything is parsed."""
    (pack / "rules.yaml").write_bytes(RULES.encode().replace("停止".encode(), b"\xff"))
    assert [(r.file, r.place.line) for r in errors(pack)] == [("rules.yaml", 7)]


def test_check_sums_a_pack_up_on_a_page(pack):
    """Fields, features with their SQL, windows, rules, lists and what was tried."""
    summary = check_pack(pack)
    assert [feature.name for feature in summary.features] == ["card_count_1h"]
    assert [(w.key, dict(w.frames)) for w in summary.windows] == [("card_id", {"1h": 1})]
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        render_summary(summary, console, date(2026, 1, 1))
    page = capture.get()
    for text in ("demo", summary.hash, "9 fields", "card_count_1h", "1 rule", "blocked_cards", "1 rule example"):
        assert text in page


def test_duckdb_has_a_say_in_check(pack):
    """Where DuckDB would give a column another type, check refuses the pack."""
    loaded = load_pack(pack)
    query = replace(loaded.query, sql=loaded.query.sql.replace("count(*)", "sum(1.5)"))
    (refusal,) = check.duckdb_refusals(replace(loaded, query=query))
    assert (refusal.file, "card_count_1h is BIGINT here" in refusal.what) == ("features.sql", True)
    (refusal,) = check.duckdb_refusals(replace(loaded, query=replace(query, sql="SELECT nothing FROM events")))
    assert "DuckDB" in refusal.what


def test_durations_are_said_in_the_unit_that_divides_them():
    """As pack.toml writes them."""
    assert [duration_text(s * 1_000_000) for s in (90, 600, 86_400, 172_800, 0)] == ["90s", "10m", "24h", "2d", "0s"]


def test_maturity_is_of_every_class_of_fraud_and_the_longest_counts(pack):
    """A payment without a verdict may turn out to be any of them; a class left out, or a strange one, is refused."""
    assert load_pack(pack).labels.mature_us is None
    edit(pack, "pack.toml", '"mule"]', '"mule"]\nmaturity = { fraud = "30d", mule = "60d" }')
    assert load_pack(pack).labels.mature_us == 60 * 86_400_000_000
    edit(pack, "pack.toml", ', mule = "60d"', ', mul = "60d"')
    assert {r.what for r in errors(pack)} == {
        "labels.maturity has no key 'mul'", "maturity does not say how long to wait for mule",
    }  # fmt: skip
