"""Files as they come: packed, torn, without line ends, in another encoding. Each fault costs itself alone."""

import csv
import gzip
import io
import json
import shutil
from codecs import BOM_UTF8
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from replay.csv_rows import csv_rows, csv_table
from replay.files import LogFile, json_lines
from replay.run import Recorder, run
from replay.sources import Input, read_log
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError, SourceError
from sekisho.load import load_pack
from sekisho.state import new_state

HEADER = b"event_id,event_time,payment_id,card_id,amount\n"


def row(k):
    return f"e{k},2026-03-01T00:{k:02d}:00Z,p{k},c1,{k}\n".encode()


def decide(engine, file, tmp_path, **more):
    out, dead = tmp_path / "out.jsonl", tmp_path / "dead.jsonl"
    with Recorder(engine, out, dead_letters=dead, **more) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, [Input(file)])):
            recorder.record(part)
    return [json.loads(x) for x in out.open()], [json.loads(x) for x in dead.open()]


def found(engine, data, tmp_path, name="log.csv"):
    """Which events are decided, and (row, code) of the dead letters."""
    file = tmp_path / name
    file.write_bytes(data)
    records, dead = decide(engine, file, tmp_path)
    ids = [(record["event_id"], record["source"]["offset"]) for record in records]
    return ids, [(letter["source"]["offset"], letter["code"]) for letter in dead]


TORN = [
    (b"only,two\n", "torn_row"),
    (b"only,\xff\n", "torn_row"),
    (b"ACCOUNT-1,\xff\xfe,x,y,z,too,many\n", "torn_row"),
    (b'e9,"2026-03-01T00:09:00Z,p9,c1,9\n', "torn_row"),
    (b'e9,"2026"x,p9,c1,9\n', "torn_row"),
    (b"\n", "torn_row"),
    (b"e9,2026-03-01T00:09:00Z,p9,\xff,9\n", "utf8"),
    (b"e9,2026-03-01T00:09:00Z,p9,c1,9.5\n", "decimals"),
    (b"e9,2026-03-01T00:09:00Z,p9," + b"x" * (2**20 + 1) + b",9\n", "too_big"),
]


@pytest.mark.parametrize(("bad", "code"), TORN)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_bad_row_costs_itself(engine, tmp_path, bad, code, end):
    """Torn, unclosed or undecodable: one dead letter with its row; the rows before and behind it are decided."""
    rows = [row(0), row(1), bad, row(3), b'"e4","2026-03-01T00:04:00Z","p""4","c,1",4\n', row(5)]
    data = HEADER + b"".join(rows)
    ids, dead = found(engine, data.replace(b"\n", end), tmp_path)
    assert ids == [(f"e{k}", k) for k in (0, 1, 3, 4, 5)]
    assert dead == [(2, code)]


def test_the_letter_of_a_torn_row_holds_its_bytes(engine, tmp_path):
    """Also those that are no text."""
    file = tmp_path / "log.csv"
    file.write_bytes(HEADER + row(0) + b"a,\xff\n" + row(2)[:-1])
    records, dead = decide(engine, file, tmp_path)
    assert [record["event_id"] for record in records] == ["e0", "e2"]
    assert (dead[0]["raw"], dead[0]["size"]) == ("YSz/Cg==", 4)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 10_000])
def test_rows_are_python_s(block, end):
    """On random CSV, whatever the block, the rows are those of Python's csv module."""
    draw = np.random.default_rng(5)
    cells = ["", "a", "b,c", 'd"e', "f\ng", "\r\n", "é", "x" * 30]
    rows = [[str(draw.choice(cells)) for _ in range(3)] for _ in range(300)]
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows(rows)
    data = text.getvalue().encode()
    tables = []
    for piece in csv_rows(LogFile(io.BytesIO(data), lambda: 0.0), 3, 1000, block):
        assert not piece.torn
        tables += csv_table(piece.text, ["a", "b", "c"]).to_pylist()
    assert [[value or "" for value in each.values()] for each in tables] == rows


def test_a_row_without_an_end_is_one_letter(engine, tmp_path, monkeypatch):
    """Beyond the record limit it is not kept; its size is told, and the next row is read."""
    monkeypatch.setattr("replay.sources.CHUNK_BYTES", 1 << 16)
    long = b"e1," + b"9" * 5_000_000 + b"\n"
    ids, dead = found(engine, HEADER + row(0) + long + row(2), tmp_path)
    assert (ids, dead) == ([("e0", 0), ("e2", 2)], [(1, "torn_row")])
    unclosed = b'e1,"' + b"9,\n" * 700_000
    ids, dead = found(engine, HEADER + row(0) + unclosed + row(2), tmp_path)
    assert ids[0] == ("e0", 0) and ids[-1][0] == "e2" and len(dead) == 700_000


def event(k):
    at = f"2026-03-01T00:{k:02d}:00Z"
    return json.dumps({"event_id": f"e{k}", "event_time": at, "payment_id": f"p{k}", "amount": k}).encode() + b"\n"


def test_a_line_without_an_end_is_one_letter(engine, tmp_path, monkeypatch):
    """Ten megabytes without a line end: a dead letter with the size, in a fraction of that memory."""
    monkeypatch.setattr("replay.sources.CHUNK_BYTES", 1 << 16)
    long = b"{" + b"9" * 10_000_000
    ids, dead = found(engine, event(0) + long + b"\n" + event(2) + long, tmp_path, "log.jsonl")
    assert (ids, dead) == ([("e0", 0), ("e2", 2)], [(1, "too_big"), (3, "too_big")])
    letter = json.loads((tmp_path / "dead.jsonl").read_text().splitlines()[0])
    assert (letter["size"], letter["position"]) == (len(long) + 1, 2**20)


@pytest.mark.parametrize("block", [1, 2, 5, 16, 1000])
def test_lines_are_split_s(block):
    """Whatever the block, the lines and their bytes are those of a split; what is too long keeps its beginning."""
    draw = np.random.default_rng(3)
    lines = [b"x" * int(draw.integers(0, 30)) for _ in range(200)]
    data, ends = b"\n".join(lines), []
    most = 0
    for piece in json_lines(io.BytesIO(data), 20, block):
        starts = [0, *piece.ends.tolist()]
        ends += [piece.blob[a:b].tobytes() for a, b in pairwise(starts)]
        if piece.long is not None:
            head, size = piece.long
            assert head == b"x" * 21 and size > 21
            ends.append(b"x" * (size - 1) + b"\n")
        most = max(most, len(piece.blob))
    assert b"".join(ends) in (data, data + b"\n") and most <= 20 + 2 * block


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_packed_files_are_the_same_log(engine, tmp_path, suffix):
    """The same records, ids included: the name of a file in decisions is that of what is in it."""
    data = b"".join(map(event, range(50))) if suffix == ".jsonl" else HEADER + b"".join(map(row, range(50)))
    plain, packed = tmp_path / f"log{suffix}", tmp_path / f"log{suffix}.gz"
    plain.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    assert decide(engine, plain, tmp_path) == decide(engine, packed, tmp_path)
    packed.write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(SourceError, match="not readable as gzip to its end"):
        decide(engine, packed, tmp_path)


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz", "log.csv"])
def test_a_byte_order_mark_is_stepped_over(engine, tmp_path, name):
    """As editors on Windows write it before the first line; in front of another record it is refused as ever."""
    lines = [event(0), event(1), BOM_UTF8 + event(2)] if "json" in name else [HEADER, row(0), row(1)]
    data = BOM_UTF8 + b"".join(lines)
    ids, dead = found(engine, gzip.compress(data) if name.endswith("gz") else data, tmp_path, name)
    assert ids == [("e0", 0), ("e1", 1)]
    assert dead == ([(2, "not_an_object")] if "json" in name else [])


def test_features_of_nothing_are_an_empty_table(engine, tmp_path):
    """No decision: a file all the same, with the schema that it would have had."""
    log, features = tmp_path / "log.jsonl", tmp_path / "features.parquet"
    log.write_bytes(event(0))
    decide(engine, log, tmp_path, features=features)
    schema = pq.read_schema(features)
    log.write_bytes(b"")
    decide(engine, log, tmp_path, features=features)
    assert pq.read_table(features).num_rows == 0 and pq.read_schema(features) == schema


def test_record_time_may_be_an_epoch(pack_folder, tmp_path):
    """`record_time_encoding` reads the ingest field as other times are read; the log's own clock has none."""
    folder = tmp_path / "pack"
    shutil.copytree(pack_folder, folder)
    text = (folder / "pack.toml").read_text()
    lines = 'record_time = "$.seen"\nrecord_time_encoding = "epoch_ms"\n'
    (folder / "pack.toml").write_text(text.replace("[events]\n", "[events]\n" + lines))
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(json.loads(event(0)) | {"seen": 1_772_323_200_123}))
    (chunk,) = read_log(compile_pack(load_pack(folder)), [Input(log)])
    assert chunk.batch.sheet.value("record_time", 0) == 1_772_323_200_123_000
    (folder / "pack.toml").write_text(text.replace("[events]\n", '[events]\nrecord_time_encoding = "epoch_ms"\n'))
    with pytest.raises(SekishoError, match="no field of the event says record_time"):
        load_pack(folder)
