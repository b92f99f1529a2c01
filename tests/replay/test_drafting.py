"""`sekisho pack new`: a pack drafted from a sample loads, decides the sample, and says what is unsure."""

import csv
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from replay.drafting.command import new
from replay.drafting.draft import draft_pack
from replay.run import Recorder, run
from replay.sources import Input, LabelColumn, read_log
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.state import new_state
from sekisho.testing.world import World

DATA = Path(os.environ.get("SEKISHO_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
HANDBOOK = DATA / "fdh_simulated" / "transactions.parquet"
DAY_US = 86_400_000_000


def replayed(draft, *inputs):
    """What the drafted pack does with a log."""
    engine = compile_pack(load_pack(draft.folder))
    with Recorder(engine) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, inputs)):
            recorder.record(part)
    return recorder.totals


def payments(n=600, digits=0):
    """Rows of a bank, in order of time: (number, time, card, merchant, amount, fraud). Now and then one is dear."""
    draw, at = np.random.default_rng(5), datetime(2026, 1, 5)
    for k in range(n):
        at += timedelta(seconds=int(draw.integers(60, 3_000)))
        units = int(draw.integers(100, 9_000)) * (40 if draw.random() < 0.01 else 1)
        amount = f"{units / 10**digits:.{digits}f}"
        yield (
            f"T{k:06}",
            at.isoformat(" "),
            f"{4 * 10**15 + draw.integers(9)}",
            f"{draw.integers(30):05}",
            amount,
            k % 40 == 7,
        )


def table(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def types(draft):
    return {field.name: field.type for field in draft.summary.pack.schema.fields}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    bank = World(seed=7, cards=200, payments_per_day=120)
    bank.write_parquet(folder / "log.parquet", 6_000)
    bank.write_jsonl(folder / "log.jsonl", 6_000)
    return folder


@pytest.mark.parametrize("name", ["log.parquet", "log.jsonl"])
def test_the_seeded_bank_is_understood(world, tmp_path, name):
    """A log of many kinds, flat or nested: each field is found, each payment decided, and nothing is a dead letter."""
    draft = draft_pack(tmp_path / "bank", world / name, "tests")
    schema, policy = draft.summary.pack.schema, draft.summary.pack.policy
    assert {"payment", "outcome", "label", "login"} <= set(schema.kinds)
    expected = {
        "event_id": "id", "kind": "category", "event_time": "time", "payment_id": "id", "card_id": "id",
        "account_id": "id", "merchant_id": "id", "terminal_id": "id", "device_id": "id", "payee_id": "id",
        "amount": "money", "currency": "category", "outcome": "category", "outcome_amount": "money",
        "label_class": "category", "label_reversal": "bool",
    }  # fmt: skip
    assert expected.items() <= types(draft).items()
    assert schema.by_name["amount"].exponent == 0 and policy.record_time.endswith("recorded_at")
    assert draft.summary.pack.labels.reversal_field == "label_reversal" and "card_id" in policy.inherit
    totals = replayed(draft, Input(world / name))
    assert (totals.events, totals.dead, totals.decisions) == (6_000, 0, draft.payments)


def test_japanese_headers_are_understood(tmp_path):
    """Names that are not Latin, times without a zone, yen: what is unsure is said, and hits are those of the replay."""
    header = ["取引番号", "取引日時", "カード番号", "加盟店番号", "利用金額", "不正フラグ", "業種"]
    rows = [(*row[:5], int(row[5]), "食品" if row[5] else "交通") for row in payments()]
    log = table(tmp_path / "bank.csv", header, rows)
    draft = draft_pack(tmp_path / "bank", log, "tests")
    assert [field.source for field in draft.summary.pack.schema.fields if field.name in ("card_id", "amount")] == [
        "カード番号", "利用金額",
    ]  # fmt: skip
    assert draft.summary.pack.policy.default_zone == "Asia/Tokyo" and draft.meaning.label == "不正フラグ"
    said = {doubt.what.partition(":")[0]: draft.line(doubt) for doubt in draft.meaning.doubts}
    lines = draft.toml.splitlines()
    assert "Asia/Tokyo" in lines[said["times are written without a zone"] - 1]
    assert 'currency = "JPY"' in lines[said["no column says the currency"] - 1]
    labels = Input(log, labels=LabelColumn("不正フラグ", 7 * DAY_US, "fraud"))
    totals = replayed(draft, labels, Input(log))
    assert (totals.events, totals.dead, totals.decisions) == (600 + 15, 0, 600)
    live = {rule.id for rule in draft.summary.pack.rules.rules}
    assert {id: count for id, count in draft.hits.items() if id in live} == {id: totals.rules[id] for id in live}
    assert totals.rules["unlike_the_card"] > 0


def test_a_banks_own_names_are_understood(tmp_path):
    """Abbreviations, cents, a verdict in words: it is no field, so that no rule can read the answer."""
    header = ["TRX_REF", "trxTs", "PAN_TOKEN", "MERCH_ID", "TRX_AMT", "FRAUD_IND", "CCY", "Remark"]
    rows = [(*row[:5], "NY"[row[5]], "EUR", f"free text {k}") for k, row in enumerate(payments(digits=2))]
    draft = draft_pack(tmp_path / "bank", table(tmp_path / "bank.csv", header, rows), "tests")
    schema = draft.summary.pack.schema
    assert {"event_id", "event_time", "card_id", "merchant_id", "amount", "currency", "remark"} <= set(schema.by_name)
    assert schema.by_name["amount"].exponent == 2 and not draft.meaning.label
    assert not any(field.source == "FRAUD_IND" for field in schema.fields)
    assert replayed(draft, Input(tmp_path / "bank.csv")).dead == 0


def test_several_currencies_are_summed_apart(tmp_path):
    """Yen and dollars never meet in one sum."""
    header = ["id", "time", "card_id", "merchant_id", "amount", "fraud", "currency"]
    rows = [(*row, ("JPY", "USD")[k % 2]) for k, row in enumerate(payments(200))]
    draft = draft_pack(tmp_path / "bank", table(tmp_path / "log.csv", header, rows), "tests")
    money = [
        call for stage in draft.summary.pack.query.stages for call in stage.windows if call.function in ("sum", "avg")
    ]
    assert money and all("currency" in {getattr(key, "name", "") for key in call.partition} for call in money)
    assert replayed(draft, Input(tmp_path / "log.csv")).decisions == 200


@pytest.mark.skipif(not HANDBOOK.is_file(), reason=f"the handbook's data is not in {DATA}; set SEKISHO_DATA")
def test_the_handbooks_file_is_understood(tmp_path):
    """Doubles with noise behind their cents, ids that are numbers, a column of verdicts."""
    log = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_batches([next(pq.ParquetFile(HANDBOOK).iter_batches(20_000))]), log)
    draft = draft_pack(tmp_path / "fdh", log, "tests", currency="EUR")
    assert {"event_id": "id", "customer_id": "id", "terminal_id": "id", "amount": "money"}.items() <= types(
        draft
    ).items()
    assert draft.meaning.label == "TX_FRAUD" and "TX_FRAUD_SCENARIO" not in draft.toml
    totals = replayed(draft, Input(log, labels=LabelColumn("TX_FRAUD", DAY_US, "fraud")), Input(log))
    assert (totals.dead, totals.decisions) == (0, 20_000)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "has no header"),
        ("a.csv", "id,time,amount\n", "this sample has no events"),
        ("a.jsonl", "", "this sample has no events"),
        (
            "a.csv",
            "id,time,amount\n1,2026/01/05 10:00:00,5\n2,2026/01/05 11:00:00,6\n",
            "time has '2026/01/05 10:00:00'",
        ),
        ("a.csv", "id,day,amount\n1,Monday,5\n2,Friday,6\n", "add a column named time"),
        ("a.csv", "time,amount\n2026-01-05,5\n2026-01-05,5\n", "no column names each event"),
        ("a.csv", "id,time,colour\n1,2026-01-05,red\n2,2026-01-06,blue\n", "no column names an account"),
        ("a.csv", "id;time;amount\n1;2026-01-05;5\n", "divided by ';'"),
        ("a.txt", "id,time\n", "unknown kind of file"),
    ],
)
def test_a_sample_that_says_too_little_is_refused(tmp_path, name, content, said):
    """What is missing, and what to do; nothing is written."""
    (tmp_path / name).write_text(content)
    with pytest.raises(SekishoError) as refused:
        draft_pack(tmp_path / "bank", tmp_path / name, "tests")
    assert said in str(refused.value) and "fix: " in str(refused.value) and not (tmp_path / "bank").exists()


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    """A bank's host writes CP932."""
    (tmp_path / "a.csv").write_bytes("番号,日時,金額\n1,2026-01-05,五\n".encode("cp932"))
    with pytest.raises(SekishoError, match="not UTF-8"):
        draft_pack(tmp_path / "bank", tmp_path / "a.csv", "tests")


def test_nothing_is_overwritten(tmp_path):
    """A folder that is there stays as it is."""
    (tmp_path / "bank").mkdir()
    with pytest.raises(SekishoError, match="is there already"):
        draft_pack(tmp_path / "bank", tmp_path / "a.csv", "tests")
    assert not list((tmp_path / "bank").iterdir())


def test_the_command_tells_what_it_took_each_column_for(tmp_path):
    """The table, the doubts with their line, and the commands that come next."""
    log = tmp_path / "log.jsonl"
    names = ("txId", "txTime", "card", "shop", "amount", "isFraud")
    log.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in payments(300)))
    told = CliRunner().invoke(new, [str(tmp_path / "bank"), str(log), "--owner", "me"], catch_exceptions=False)
    assert told.exit_code == 0 and load_pack(tmp_path / "bank").owner == "me"
    assert "card_burst review" in told.output and "JPY is a guess" in told.output
    assert f"{tmp_path / 'bank'}/pack.toml:" in told.output.replace("\n", "") and "sekisho replay run" in told.output
    wrong = CliRunner().invoke(new, [str(tmp_path / "other"), str(log), "--currency", "YEN"])
    assert wrong.exit_code == 2 and "ISO 4217" in wrong.output
