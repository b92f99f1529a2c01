"""What people do wrong at the command line, and what hostile files hold: one message, and no traceback."""

import json
import os
import signal
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sekisho.cli import main

EVENT = {"event_id": "e1", "event_time": "2026-01-05T00:00:00Z", "payment_id": "p1", "card_id": "c1", "amount": 5}


@pytest.fixture
def sekisho(monkeypatch, capsys):
    """Runs the command: its exit status, and what it wrote to both streams."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["sekisho", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as left:
            code = left.code
        written = capsys.readouterr()
        return code, written.out + written.err

    return run


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text(json.dumps(EVENT) + "\n")
    return file


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--batch", "0"), "'--batch'"),
        (("--threads", "0"), "'--threads'"),
        (("--from", "yesterday"), "'--from': 'yesterday' is no time"),
        (("--label-delay", "7"), "'--label-delay': '7' is no duration"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), "nothing would be decided"),
    ],
)
def test_an_option_that_means_nothing_is_wrong_usage(sekisho, pack_folder, log, options, said):
    """Status 2, and the option is named."""
    code, text = sekisho("replay", "run", pack_folder, log, *options)
    assert code == 2 and said in text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "has no header"),
        ("twice.csv", b"event_id,event_time,event_id\na,b,c\n", "stand twice: event_id"),
        ("half.parquet", b"PAR1PAR1PAR1", "not readable as Parquet"),
        ("other.csv", b"a,b\n1,2\n", "there is no column for event_id"),
        ("packed.jsonl.gz", b"x", "not readable as gzip"),
        ("packed.jsonl.zst", b"x", "unknown kind of file"),
    ],
)
def test_a_file_that_is_no_log_is_named(sekisho, pack_folder, tmp_path, name, content, said):
    """Status 1, with the file's name and what to do."""
    file = tmp_path / name
    file.write_bytes(content)
    code, text = sekisho("replay", "run", pack_folder, file)
    assert code == 1 and said in text and "fix: " in text and "Traceback" not in text


def test_no_message_quotes_a_row(sekisho, pack_folder, tmp_path):
    """An account number may stand in a row that is torn and no text: it is counted, and not shown."""
    file = tmp_path / "latin.csv"
    file.write_bytes(b"event_id,event_time\nACCOUNT-1,\xff,x\n")
    code, text = sekisho("replay", "run", pack_folder, file)
    assert code == 0 and "ACCOUNT" not in text and "See why events were refused" in text


def test_the_log_is_never_overwritten(sekisho, pack_folder, log):
    """An output that is an input, or another output, is refused before a byte is written."""
    before = log.read_bytes()
    assert sekisho("replay", "run", pack_folder, log, "--out", log)[0] == 1
    assert log.read_bytes() == before
    out = log.with_name("out")
    assert sekisho("replay", "run", pack_folder, log, "--out", out, "--features", out)[0] == 1
    assert not out.exists()


def test_a_range_that_holds_nothing_is_told(sekisho, pack_folder, log):
    """A log that is there and a range that misses it is no error, and no silent table of zeros either."""
    code, text = sekisho("replay", "run", pack_folder, log, "--from", "2027-01-01")
    assert code == 0 and "Nothing was decided: the log has no payment between --from and --to." in text


def test_an_event_without_its_arrival_is_refused(sekisho, pack_folder, log):
    """--arrived-at names what every event must have: with a typo in it the order would be anybody's guess."""
    code, text = sekisho("replay", "run", pack_folder, log, "--arrived-at", "recieved_at")
    assert code == 1 and "row 0 has no recieved_at" in text


def test_labels_are_not_made_from_json(sekisho, pack_folder, log):
    """A column of labels belongs to a table; JSON lines would otherwise be read twice as payments."""
    code, text = sekisho("replay", "run", pack_folder, log, "--label-column", "is_fraud")
    assert code == 1 and "--labels" in text


@pytest.mark.parametrize("line", ["x e1", '{"id": "e1"}', '["e1"]'])
def test_a_file_of_decisions_that_is_none_is_named(sekisho, pack_folder, log, line):
    """explain says which line of which file is no decision."""
    decisions = log.with_name("decisions.jsonl")
    decisions.write_text(line.replace("x e1", 'x "e1"') + "\n")
    code, text = sekisho("explain", pack_folder, log, "--decisions", decisions, "--id", "e1")
    assert code == 1 and "line 1: this is no decision" in text


def test_hostile_ids_reach_no_terminal(sekisho, pack_folder, log):
    """What explain prints of an event is neither markup nor an escape sequence."""
    log.write_text(json.dumps(EVENT | {"event_id": "[/red]\u001b[31m"}) + "\n")
    decisions = log.with_name("decisions.jsonl")
    assert sekisho("replay", "run", pack_folder, log, "--out", decisions)[0] == 0
    wanted = json.loads(decisions.read_text())["id"]
    code, text = sekisho("explain", pack_folder, log, "--decisions", decisions, "--id", wanted)
    assert code == 0 and "MATCH" in text and "[/red]" in text and "\u001b" not in text


def test_a_dotted_column_of_parquet_is_read(tmp_path):
    """`from = "$.payment.value"` is the column "payment.value", in Parquet as in CSV."""
    from replay.decoder import make_decoder
    from replay.sources import Input, read_log
    from sekisho.compile import compile_pack
    from sekisho.load import load_pack

    pack = tmp_path / "dotted"
    pack.mkdir()
    (pack / "pack.toml").write_text(
        '[pack]\nname = "dotted"\nowner = "tests"\n[fields]\n'
        'event_id = { type = "id", required = true }\nevent_time = { type = "time", required = true }\n'
        'kind = { type = "category", default = "payment" }\n'
        'amount = { type = "money", currency = "JPY", from = "$.payment.value" }\n'
    )
    (pack / "features.sql").write_text("SELECT event_id, amount AS paid FROM events")
    engine = compile_pack(load_pack(pack))
    file = tmp_path / "log.parquet"
    row = {"event_id": "e1", "event_time": "2026-01-05T00:00:00Z", "payment.value": 7}
    pq.write_table(pa.Table.from_pylist([row]), file)
    assert "payment.value" in make_decoder(engine).columns
    (chunk,) = read_log(engine, [Input(file)])
    assert chunk.batch.sheet.value("amount", 0) == 7


def test_ctrl_c_leaves_whole_batches(sekisho, pack_folder, tmp_path, monkeypatch):
    """Wherever the signal lands, the batch under way is recorded whole: the file is what the printed sha256 says."""
    from replay.run import Recorder

    file, out = tmp_path / "log.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps(EVENT | {"event_id": f"e{k}"}) + "\n" for k in range(9)))
    record = Recorder._count

    def interrupted(self, *parts):
        if self.write:
            os.kill(os.getpid(), signal.SIGINT)
        record(self, *parts)

    monkeypatch.setattr(Recorder, "_count", interrupted)
    code, text = sekisho("replay", "run", pack_folder, file, "--batch", "2", "--out", out)
    assert code == 130 and "Stopped by Ctrl-C" in text
    assert len(out.read_bytes().splitlines()) == 2 and sha256(out.read_bytes()).hexdigest() in text
