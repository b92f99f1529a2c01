"""Lists: entries read exactly, errors row by row."""

import pytest

from rules.lists import OPEN_ENDS, read_list
from rules.records import ListEntry
from rules.times import format_time, parse_time

HEAD = "value,starts,expires,note\n"


def test_open_ends_zones_quotes_and_several_entries_of_one_value():
    """An empty end is open; times are exact microseconds UTC; a value may come twice."""
    text = (
        HEAD
        + 'c1,,,lost\n"a, ""b""",2026-01-01T09:00:00+09:00,2026-01-02T00:00:00.000001Z,\n\nc1,2026-01-01T00:00:00Z,,\n'
    )
    entries, refusals = read_list(text)
    day = 1_767_225_600_000_000
    assert not refusals
    assert entries == (
        ListEntry("c1", *OPEN_ENDS),
        ListEntry('a, "b"', day, day + 86_400_000_001),
        ListEntry("c1", day, OPEN_ENDS[1]),
    )


@pytest.mark.parametrize(
    ("rows", "line", "column", "what"),
    [
        ("c1,soon,,\n", 2, 4, "starts is 'soon'"),
        ('ok,,,\n"a,b",,2026-13-01T00:00:00Z,\n', 3, 8, "expires is '2026-13-01T00:00:00Z'"),
        ("c1,2026-01-01T00:00:00,,\n", 2, 4, "which is no time"),
        ("c1,,\n", 2, 1, "3 columns, the header has 4"),
        (" c1,,,\n", 2, 1, "' c1' is no value"),
        (",,,\n", 2, 1, "'' is no value"),
        ("c1,2026-01-02T00:00:00Z,2026-01-01T00:00:00Z,\n", 2, 4, "does not start before it expires"),
        ('c1,,,\nc2"x,"y,,\n', 2, 1, "this is not CSV"),
    ],
)
def test_an_error_names_its_row(rows, line, column, what):
    """Line, column, what, fix."""
    _, refusals = read_list(HEAD + rows)
    assert [(r.place.line, r.place.column) for r in refusals] == [(line, column)]
    assert what in refusals[0].what and refusals[0].fix


def test_all_rows_are_read_before_anything_is_said():
    """Two wrong rows are two refusals; the good row between them is an entry."""
    entries, refusals = read_list(HEAD + "a,x,,\nb,,,\nc,y,,\n")
    assert ([e.value for e in entries], [r.place.line for r in refusals]) == (["b"], [2, 4])


def test_a_file_without_a_header_is_no_list():
    """Its first value would be lost."""
    for text in ("", "c1\n", "c1,,\n"):
        assert read_list(text)[1][0].place.line == 1


def test_a_time_is_read_and_written_exactly():
    """format_time and parse_time are inverse."""
    for at_us in (0, -1, 1_767_225_600_000_001, 253_402_300_799_999_999):
        assert parse_time(format_time(at_us)) == at_us
    assert parse_time("2026-02-30T00:00:00Z") is None
