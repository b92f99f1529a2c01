"""The journal's record: what is written is read, and nothing else is."""

import json

import pytest

from sekisho.journal import START, Cold, JournalError, JournalRecord, Range, chain_of, decode

RECORD = JournalRecord(
    sequence=7,
    epoch=2,
    confirmed=7,
    pack="ab" * 32,
    ranges=(Range("payments", 0, 1200, 1262), Range("payments", 3, 900, 914)),
    counts=(74, 1, 2),
    watermark_us=1_700_000_000_000_000,
    chain=chain_of(START, [b"a", b"b"], [], [b"c"]),
    since=5,
    before="cd" * 32,
    cold=Cold(3, 1_600_000_000_000_000),
)


def test_a_record_is_read_as_it_was_written() -> None:
    """decode(encode(r)) = r, and the bytes are as documented."""
    assert decode(RECORD.encode()) == RECORD
    assert RECORD.encode().startswith(b'{"v":2,"sequence":7,"epoch":2,"confirmed":7,"pack":"abab')


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", 1),
        ("sequence", -1),
        ("sequence", True),
        ("sequence", 2**63),
        ("epoch", "1"),
        ("confirmed", 8),
        ("confirmed", -2),
        ("pack", None),
        ("since", 8),
        ("before", 1),
        ("cold", [3]),
        ("cold", [3, "x"]),
        ("seed", 0),
        ("merge", "arrival/1"),
        ("ranges", None),
        ("ranges", []),
        ("ranges", [["payments", 0, 5, 5]]),
        ("ranges", [["payments", 0, -1, 5]]),
        ("ranges", [["payments", 0, 1]]),
        ("ranges", [["payments", 1, 0, 1], ["payments", 0, 0, 1]]),
        ("ranges", [["payments", 0, 0, 1], ["payments", 0, 1, 2]]),
        ("counts", [1, 2]),
        ("counts", [1, 2, -3]),
        ("watermark_us", 1.5),
        ("chain", "ab"),
        ("chain", "AB" * 32),
        ("more", 1),
    ],
)
def test_a_record_with_a_wrong_field_is_refused(key: str, value: object) -> None:
    """A record that is not exactly of the format is an error, never a guess."""
    values = json.loads(RECORD.encode()) | {key: value}
    with pytest.raises(JournalError):
        decode(json.dumps(values).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"7", b"\xff", b"[" * 100_000, RECORD.encode()[:-1]])
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    """Any other bytes are an error that says so."""
    with pytest.raises(JournalError):
        decode(raw)


def test_the_chain_tells_apart_what_differs() -> None:
    """Another byte, order, boundary, kind of output or history gives another chain."""
    chains = {
        chain_of(START, [b"ab"], [], []),
        chain_of(START, [b"a", b"b"], [], []),
        chain_of(START, [b"b", b"a"], [], []),
        chain_of(START, [], [b"ab"], []),
        chain_of(START, [], [], [b"ab"]),
        chain_of(START, [], [], []),
        chain_of(chain_of(START, [], [], []), [b"ab"], [], []),
    }
    assert len(chains) == 7
