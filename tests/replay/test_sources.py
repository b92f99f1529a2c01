"""Files as logs: the same events give the same decisions in every format, and nothing is lost on the way."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.run import Recorder, run
from replay.sources import Input, LabelColumn, read_log
from sekisho.errors import SourceError
from sekisho.state import new_state

HOUR = 3_600_000_000


def events(n=200):
    draw = np.random.default_rng(7)
    return [
        {
            "event_id": f"e{i}",
            "event_time": f"2026-03-01T{i // 20:02d}:{i % 20:02d}:00Z",
            "payment_id": f"p{i}",
            "card_id": f"c{draw.integers(12)}",
            "amount": str(draw.integers(1, 90_000)),
        }
        for i in range(n)
    ]


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        table = pa.Table.from_pylist(rows)
        at = table.column_names.index("event_time")
        stamps = pa.array([row["event_time"].rstrip("Z") for row in rows]).cast(pa.timestamp("us"))
        pq.write_table(table.set_column(at, "event_time", stamps), path)
    return path


def decide(engine, inputs, tmp_path, batch=64):
    out = tmp_path / "decisions.jsonl"
    dead = tmp_path / "dead.jsonl"
    with Recorder(engine, out, dead_letters=dead) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, inputs), batch):
            recorder.record(part)
    records = [json.loads(line) for line in out.open()]
    return records, [json.loads(line) for line in dead.open()], recorder.totals


def bare(records):
    return [{k: v for k, v in record.items() if k not in ("id", "source")} for record in records]


def test_every_format_gives_the_same_decisions(engine, tmp_path):
    """JSON lines, CSV and Parquet of the same events differ in nothing but where a record says it stood."""
    answers = [
        bare(decide(engine, [Input(write(tmp_path / f"log{suffix}", events()))], tmp_path)[0])
        for suffix in (".jsonl", ".csv", ".parquet")
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 200
    assert {record["outcome"] for record in answers[0]} == {"approve", "review"}


def test_a_folder_is_its_files_in_order_of_name(engine, tmp_path):
    """Cutting a log into files changes no decision."""
    rows, folder = events(), tmp_path / "days"
    folder.mkdir()
    write(folder / "1.jsonl", rows[:70])
    write(folder / "2.csv", rows[70:130])
    write(folder / "3.parquet", rows[130:])
    whole = decide(engine, [Input(write(tmp_path / "log.jsonl", rows))], tmp_path)[0]
    assert bare(decide(engine, [Input(folder)], tmp_path)[0]) == bare(whole)


def test_sources_merge_by_arrival(engine, tmp_path):
    """Two logs with an arrival column are decided as the one log that they came from."""
    rows = [{**row, "seen": row["event_time"]} for row in events()]
    parts = [Input(write(tmp_path / f"part{k}.jsonl", rows[k::2]), arrived_at="$.seen") for k in range(2)]
    whole = decide(engine, [Input(write(tmp_path / "log.jsonl", rows), arrived_at="$.seen")], tmp_path)[0]
    assert bare(decide(engine, parts, tmp_path)[0]) == bare(whole)


def test_logs_that_arrive_at_once_keep_their_order(engine, tmp_path):
    """At equal arrival the first log goes first, and each log stays in its own order."""
    rows = [{**row, "seen": f"2026-03-02T00:00:{i % 20 // 10:02d}Z"} for i, row in enumerate(events(40))]
    logs = [write(tmp_path / f"part{k}.jsonl", rows[20 * k : 20 * k + 20]) for k in range(2)]
    records, *_ = decide(engine, [Input(log, arrived_at="$.seen") for log in logs], tmp_path)
    order = [*range(10), *range(20, 30), *range(10, 20), *range(30, 40)]
    assert [record["event_id"] for record in records] == [f"e{i}" for i in order]


def test_a_log_out_of_its_own_order_is_refused(engine, tmp_path):
    """A file that is not sorted by the arrival that it claims is an error with the row's number."""
    rows = [{**row, "seen": row["event_time"]} for row in events(50)]
    rows[20], rows[30] = rows[30], rows[20]
    with pytest.raises(SourceError, match="row 21 arrived before the row above it"):
        decide(engine, [Input(write(tmp_path / "log.jsonl", rows), arrived_at="$.seen")], tmp_path)


def test_labels_from_a_column_are_known_only_when_they_arrive(engine, tmp_path):
    """A payment marked as fraud declines the card's payments from the delay on, and not one second before."""
    rows = [{**row, "card_id": "c0", "fraud": i == 40} for i, row in enumerate(events(120))]
    log = write(tmp_path / "log.parquet", rows)
    inputs = [Input(log, labels=LabelColumn("fraud", HOUR, "fraud")), Input(log)]
    outcomes = [record["outcome"] for record in decide(engine, inputs, tmp_path)[0]]
    assert outcomes == ["approve"] * 2 + ["review"] * 58 + ["decline"] * 60


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_bad_rows_become_dead_letters_and_nothing_else_changes(engine, tmp_path, suffix):
    """The rest of the log is decided as if the bad rows had not been there, and the counts add up."""
    rows = events(60)
    good = bare(decide(engine, [Input(write(tmp_path / f"good{suffix}", rows))], tmp_path)[0])
    path = write(tmp_path / f"bad{suffix}", rows)
    lines = path.read_bytes().splitlines(keepends=True)
    torn = b'{"event_id":\n' if suffix == ".jsonl" else b"only,two\n"
    wrong = lines[9].replace(b":00Z", b":99Z")
    path.write_bytes(b"".join([*lines[:9], torn, wrong, *lines[9:]]))
    records, dead, totals = decide(engine, [Input(path)], tmp_path)
    assert bare(records) == good
    header = int(suffix == ".csv")
    assert [letter["source"]["offset"] for letter in sorted(dead, key=lambda d: d["source"]["offset"])] == [
        9 - header, 10 - header,
    ]  # fmt: skip
    assert totals.events + totals.dead == 62
    assert {letter["code"] for letter in dead} == {"truncated" if suffix == ".jsonl" else "torn_row", "time"}


def test_what_cannot_be_read_says_what_to_do(engine, tmp_path):
    """A missing file, an unknown kind of file and a missing column are errors that name the mend."""
    with pytest.raises(SourceError, match="no such file"):
        decide(engine, [Input(tmp_path / "none.jsonl")], tmp_path)
    (tmp_path / "log.xls").write_text("")
    with pytest.raises(SourceError, match="unknown kind of file"):
        decide(engine, [Input(tmp_path / "log.xls")], tmp_path)
    with pytest.raises(SourceError, match="no column for event_id"):
        decide(engine, [Input(write(tmp_path / "log.csv", [{"event_time": "2026-03-01", "x": "1"}]))], tmp_path)


def test_decisions_are_the_same_as_json_and_as_arrow(engine, tmp_path):
    """Every record, duplicates included, says the same in Parquet as in JSON lines."""
    rows = events(80)
    log = write(tmp_path / "log.jsonl", [*rows, rows[3]])
    records, _, totals = decide(engine, [Input(log)], tmp_path)
    out = tmp_path / "decisions.parquet"
    with Recorder(engine, out) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, [Input(log)]), 64):
            recorder.record(part)
    again = pq.read_table(out).to_pylist()
    assert totals.duplicates == 1
    assert len(again) == len(records) == 81
    for record, row in zip(records, again, strict=True):
        stamp = row.pop("event_time").strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert {k: v for k, v in row.items() if v is not None} | {"event_time": stamp} == {
            k: v for k, v in record.items() if v is not None
        }
