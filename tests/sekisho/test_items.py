from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sekisho.testing.items import Crash, Crashed, Duplicate, FixedClock, Late, ListSink, ListSource, Malformed


def event(number: int, minute: int) -> dict[str, str]:
    return {"id": f"e{number}", "time": f"2026-01-05T09:{minute:02d}:00+09:00"}


def test_a_source_is_a_log_that_can_be_read_again() -> None:
    """Reading in any cuts, and reading again from an offset, gives the same records."""
    items = [event(0, 0), Late(event(1, 1), timedelta(hours=2)), Duplicate(0), Malformed(b'{"id":'), event(2, 3)]
    whole = ListSource(items).poll()
    source = ListSource(items)
    assert [*source.poll(1), *source.poll(3), *source.poll(), *source.poll()] == whole
    source.seek(2)
    assert source.poll() == whole[2:]
    assert [record.offset for record in whole] == [0, 1, 2, 3, 4]
    assert whole[2].value == whole[0].value
    assert whole[3].value == b'{"id":'
    assert json.loads(whole[1].value) == event(1, 1)


def test_a_log_takes_records_in_its_own_time() -> None:
    """record_time never falls: behind a record two hours late all others are late, too."""
    items = [event(0, 0), Late(event(1, 1), timedelta(hours=2)), event(2, 3)]
    first, late, behind = (record.record_time_us for record in ListSource(items).poll())
    start = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000
    assert first == start + 100_000
    assert late == start + 60_000_000 + 7_200_000_000
    assert behind == late


def test_a_crash_happens_once_and_loses_nothing() -> None:
    """What stands before a Crash is read, the next read dies, and reading on gives what stands behind it."""
    source = ListSource([event(0, 0), Crash(), event(1, 1)])
    before = source.poll()
    with pytest.raises(Crashed) as crashed:
        source.poll()
    assert crashed.value.offset == 1
    behind = source.poll()
    assert [record.offset for record in (*before, *behind)] == [0, 2]
    source.seek(0)
    assert source.poll() == [*before, *behind]


def test_what_is_not_committed_was_never_there() -> None:
    """A transaction is seen whole or not at all."""
    sink = ListSink()
    sink.send("decisions", b"1")
    sink.abort()
    sink.send("decisions", b"2")
    sink.send("alerts", b"3")
    assert sink.committed == []
    sink.commit()
    sink.send("decisions", b"4")
    assert sink.values("decisions") == [b"2"]
    assert sink.committed == [("decisions", b"2"), ("alerts", b"3")]


def test_a_fixed_clock_goes_when_it_is_told() -> None:
    """Two readings are equal until somebody lets time pass."""
    clock = FixedClock()
    before = clock()
    assert clock() == before
    clock.advance(timedelta(seconds=90))
    assert clock() - before == timedelta(seconds=90)
    with pytest.raises(ValueError, match="go back"):
        clock.advance(timedelta(seconds=-1))
