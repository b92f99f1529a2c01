"""L10: nothing is lost. Each record of a log becomes a decision, a duplicate, a dead letter, or is folded in."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from replay.run import Recorder, Totals, run
from replay.sources import Input, file_topic, read_log
from sekisho.compile import Engine, compile_pack
from sekisho.pack import Pack
from sekisho.state import new_state
from sekisho.wire.dead_letters import MAX_RAW_BYTES

KEPT_IN_WINDOWS = """
    SELECT event_id, count(*) FILTER (WHERE kind = 'payment') OVER card AS payments,
           sum(amount) FILTER (WHERE kind = 'payment') OVER card AS spent,
           sum(label_delta) FILTER (WHERE kind = 'label') OVER card AS frauds
    FROM events
    WINDOW card AS (PARTITION BY card_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)"""


Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Bad:
    """A record that is no event, the name of what is wrong with it, and where: a byte, or text that begins there."""

    raw: bytes
    code: str
    at: int | bytes


def payment(number: int, **fields: object) -> bytes:
    event = {"event_id": f"e{number}", "event_time": f"2026-03-01T00:{number // 60:02d}:{number % 60:02d}Z",
             "kind": "payment", "card_id": f"c{number % 3}", "amount": "12.34"} | fields  # fmt: skip
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


def broken(old: bytes, new: bytes) -> bytes:
    assert payment(7).count(old) == 1
    return payment(7).replace(old, new)


WHOLE = len(payment(7))
DEEP = payment(7)[:-1] + b', "x": ' + b'{"a":' * 40 + b"1" + b"}" * 41
# A bad text is found at its first byte, what is missing at the end of the record, what is torn where it ends.
BAD = {
    "malformed JSON": Bad(broken(b'"kind":', b'"kind";'), "syntax", b";"),
    "torn JSON": Bad(payment(7)[:-20], "truncated", WHOLE - 19),
    "wrong type": Bad(broken(b'"c1"', b'["c1"]'), "wrong_type", b'["c1"]'),
    "missing field": Bad(payment(7, card_id=None), "missing", len(payment(7, card_id=None)) - 1),
    "null field": Bad(broken(b'"c1"', b"null"), "missing", WHOLE - 1),
    "too many decimals": Bad(broken(b"12.34", b"12.345"), "decimals", b"12.345"),
    "too much money": Bad(broken(b"12.34", b"99999999999999999"), "too_large", b"9999"),
    "NaN": Bad(broken(b'"12.34"', b"NaN"), "syntax", b"NaN"),
    "absurd time": Bad(broken(b"2026", b"9999"), "absurd_time", b"9999"),
    "no time": Bad(payment(7, event_time="yesterday"), "time", b"yesterday"),
    "invalid UTF-8": Bad(broken(b'"c1"', b'"c\xff"'), "utf8", b"\xff"),
    "10 MB": Bad(payment(7, note="x" * 10_000_000), "too_big", 2**20),
    "NUL": Bad(broken(b'"c1"', b'"c\x00"'), "nul", b"\x00"),
    "escaped NUL": Bad(broken(b'"c1"', b'"c\\u0000"'), "nul", b"\\u0000"),
    "deep nesting": Bad(DEEP, "too_deep", DEEP.index(b'{"a":') + 5 * 31),
    "a list": Bad(b"[1,2]", "not_an_object", 0),
    "an empty line": Bad(b"", "empty", 0),
    "two objects": Bad(payment(7) + payment(8), "trailing", WHOLE),
    "an unknown kind": Bad(broken(b'"payment"', b'"paymnet"'), "kind", WHOLE - 1),
}


@pytest.fixture(scope="module")
def engine(make_pack: Callable[..., Pack]) -> Engine:
    return compile_pack(make_pack(KEPT_IN_WINDOWS, ("payment", "label", "outcome", "credit")))


def good_records() -> list[bytes]:
    """Payments, two of them repeated, one late beyond measure, and undecided labels of known and unknown payments."""
    records = [payment(k, payment_id=f"p{k}") for k in range(90)]
    label = {"kind": "label", "label_class": "fraud"}
    labels = [payment(200 + k, payment_id=f"p{k}", card_id=f"c{k}", **label) for k in range(3)]
    old = payment(300, event_time="2020-01-01T00:00:00Z")
    return [*records[:60], records[5], *labels, *records[60:], old, records[80]]


def replay(engine: Engine, log: Path, lines: Sequence[bytes]) -> tuple[Records, Records, Totals]:
    """The records, the dead letters, and the counts."""
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    out, dead = log.with_suffix(".out"), log.with_suffix(".dead")
    with Recorder(engine, out, dead_letters=dead) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, [Input(log)]), 16):
            recorder.record(part)
    records, letters = ([json.loads(line) for line in file.read_bytes().splitlines()] for file in (out, dead))
    return records, letters, recorder.totals


def what_it_says(records: Records) -> Records:
    """Records without what tells where they stood in the log; a duplicate names the number of the first."""
    numbers = {record["id"]: k for k, record in enumerate(records)}
    named = [record | {"duplicate_of": numbers.get(record.get("duplicate_of"))} for record in records]
    return [{name: value for name, value in record.items() if name not in ("id", "source")} for record in named]


def check_letter(letter: dict[str, Any], bad: Bad, topic: str, offset: int) -> None:
    """Source, reason, byte and the bytes themselves; of a huge record the first part, and how long it was."""
    assert letter["source"] == {"topic": topic, "partition": 0, "offset": offset}
    assert letter["code"] == bad.code
    assert letter["position"] == (bad.raw.index(bad.at) if isinstance(bad.at, bytes) else bad.at)
    assert letter["reason"]
    raw = b64decode(letter["raw"])
    assert raw.rstrip(b"\n") == bad.raw[:MAX_RAW_BYTES]
    assert letter["size"] - len(bad.raw) in (0, 1)  # the end of the line may belong to the record


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_a_dead_letter_and_nothing_else(engine: Engine, tmp_path: Path, name: str) -> None:
    """It says what is wrong and where; the log decides as if it had not been there; the counts add up."""
    good = good_records()
    expected, none, _ = replay(engine, tmp_path / "good.jsonl", good)
    assert none == []
    log = tmp_path / "bad.jsonl"
    records, letters, totals = replay(engine, log, [*good[:30], BAD[name].raw, *good[30:]])
    assert what_it_says(records) == what_it_says(expected)
    assert len(letters) == totals.dead == 1
    check_letter(letters[0], BAD[name], file_topic(log), 30)


def test_the_counts_add_up(engine: Engine, tmp_path: Path) -> None:
    """A log with every kind of bad record, at its ends too: decisions, duplicates, dead letters and undecided events
    are all of its records, and each dead letter is its record's."""
    good, bad = good_records(), list(BAD.values())
    lines = [line for k in range(len(bad)) for line in (*good[4 * k : 4 * k + 4], bad[k].raw)]
    lines = [b"}", *lines, *good[4 * len(bad) :], b"\x00"]
    log = tmp_path / "log.jsonl"
    records, letters, totals = replay(engine, log, lines)
    undecided = sum(b'"label"' in line for line in good)
    assert (totals.duplicates, totals.dead, undecided) == (2, len(bad) + 2, 3)
    assert totals.decisions + totals.duplicates + totals.dead + undecided == len(lines)
    assert len(records) == totals.decisions + totals.duplicates
    assert len(letters) == totals.dead
    offsets = [1 + 5 * k + 4 for k in range(len(bad))]
    letters.sort(key=lambda letter: letter["source"]["offset"])
    for letter, each, offset in zip(letters[1:-1], bad, offsets, strict=True):
        check_letter(letter, each, file_topic(log), offset)
    expected, _, _ = replay(engine, tmp_path / "good.jsonl", good)
    assert what_it_says(records) == what_it_says(expected)
    places = {(record["source"]["offset"]) for record in [*records, *letters]}
    assert len(places) == len(lines) - undecided


def test_a_log_of_nothing_but_bad_records(engine: Engine, tmp_path: Path) -> None:
    """No event to decide, and still every record is accounted for."""
    raws = [bad.raw for bad in BAD.values() if len(bad.raw) < 1000]
    records, letters, totals = replay(engine, tmp_path / "log.jsonl", raws)
    assert records == [] and len(letters) == totals.dead == len(raws)
    assert [b64decode(letter["raw"]).rstrip(b"\n") for letter in letters] == raws
