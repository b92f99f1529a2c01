"""Control events as bytes: read back as they were, and each fault named with its key and byte."""

import json

import pytest

from rules.controls import AlertMark, Control, ListChange, RuleMute
from rules.lists import OPEN_ENDS
from sekisho.wire.controls import Fault, decode_control, encode_control, is_control
from sekisho.wire.reasons import REASONS

T = 1_767_225_600_000_001
HEAD = ("c1", T, "佐藤", "")
GROUP = "0123456789abcdef" * 2
GOOD: list[Control] = [
    ListChange(*HEAD, "blocked_cards", "card-1", *OPEN_ENDS),
    ListChange(*HEAD, "blocked_cards", 'a "b"', T, T + 1),
    ListChange(*HEAD, "blocked_cards", "card-1", *OPEN_ENDS, remove=True),
    RuleMute(*HEAD, "takeover", T),
    RuleMute(*HEAD, "takeover", None),
    AlertMark(*HEAD, "acknowledge", GROUP),
    AlertMark(*HEAD, "snooze", GROUP, T + 5),
    AlertMark(*HEAD, "close", GROUP, None, "fraud_confirmed"),
    AlertMark(*HEAD, "close", GROUP),
    AlertMark(*HEAD, "disposition", GROUP, None, "unable_to_contact"),
]
RECORD = {"sekisho": 1, "kind": "rule_mute", "id": "c1", "time": "2026-01-01T00:00:00Z", "by": "s", "why": "w",
          "rule": "takeover", "until": "2026-01-02T00:00:00Z"}  # fmt: skip
ENTRY = {key: value for key, value in RECORD.items() if key not in ("rule", "until")} | {
    "kind": "list_entry", "list": "l", "value": "v",
}  # fmt: skip


@pytest.mark.parametrize("control", GOOD, ids=lambda each: type(each).__name__)
def test_what_is_written_is_read_back(control: Control) -> None:
    """decode(encode(x)) == x, to the microsecond."""
    raw = encode_control(control)
    assert is_control(raw) and decode_control(raw) == control


@pytest.mark.parametrize(
    ("record", "code", "key"),
    [
        (RECORD | {"sekisho": 2}, "control_version", "sekisho"),
        (RECORD | {"sekisho": True}, "control_version", "sekisho"),
        (RECORD | {"kind": "rule_delete"}, "control_kind", "kind"),
        (RECORD | {"until": "tomorrow"}, "time", "until"),
        (RECORD | {"until": "9999-01-01T00:00:00Z"}, "absurd_time", "until"),
        (RECORD | {"until": None}, "missing", "until"),
        (RECORD | {"rule": 7}, "wrong_type", "rule"),
        (RECORD | {"rule": " takeover"}, "control_value", "rule"),
        (RECORD | {"by": ""}, "control_value", "by"),
        (RECORD | {"why": "w" * 1001}, "control_value", "why"),
        (RECORD | {"group": GROUP}, "unknown_key", "group"),
        (ENTRY | {"starts": "2026-01-02T00:00:00Z", "expires": "2026-01-02T00:00:00Z"}, "control_value", "expires"),
        (ENTRY | {"remove": "yes"}, "wrong_type", "remove"),
        (ENTRY | {"remove": True, "starts": "2026-01-02T00:00:00Z"}, "unknown_key", "starts"),
        (ENTRY | {"value": "\ud800"}, "control_value", "value"),
        (ENTRY | {"kind": "alert_close", "group": "g"}, "control_value", "group"),
        (ENTRY | {"kind": "alert_snooze", "group": GROUP}, "missing", "until"),
        (ENTRY | {"kind": "alert_disposition", "group": GROUP}, "missing", "disposition"),
    ],
)
def test_a_fault_names_its_key_and_byte(record: dict[str, object], code: str, key: str) -> None:
    """The position is the key's; of a missing one the last brace, as everywhere on the wire."""
    raw = json.dumps(record).encode()
    fault = decode_control(raw)
    assert isinstance(fault, Fault) and (REASONS[fault.code].name, fault.key) == (code, key)
    assert fault.position == (len(raw) - 1 if code == "missing" else raw.index(f'"{key}"'.encode()))
    letter = json.loads(fault.letter("events", 0, 7, raw))
    assert letter["code"] == code and letter["field"] == key and letter["source"]["offset"] == 7
    assert f"field {key}, byte {fault.position}: " in letter["reason"]


@pytest.mark.parametrize(
    ("raw", "code", "position"),
    [
        (b'{"sekisho":1', "syntax", 12),
        (b'{"sekisho":1,}', "syntax", 13),
        (b'{"sekisho":1,"by":"\xff"}', "utf8", 19),
        (b'{"sekisho":1,"by":"a","by":"b"}', "duplicate_key", 22),
        (b'{"sekisho":1,"why":"' + b"x" * 70_000 + b'"}', "too_big", 65_536),
        (b'{"sekisho":' + b"[" * 20_000 + b"}", "syntax", None),
    ],
    ids=["cut", "comma", "utf8", "twice", "big", "deep"],
)
def test_bytes_that_are_no_event_are_refused_with_their_place(raw: bytes, code: str, position: int | None) -> None:
    """JSON's own faults, at their bytes; nothing raises."""
    fault = decode_control(raw)
    assert isinstance(fault, Fault) and REASONS[fault.code].name == code
    assert position is None or fault.position == position


def test_an_event_of_a_pack_is_none() -> None:
    """Only what begins with "sekisho" means to be a control event."""
    assert not any(is_control(raw) for raw in (b"", b"{}", b'{"id":1,"sekisho":1}', b"[]", b'{"sekisho_id":1}'))
    assert is_control(b' {\n "sekisho" : 1}')
