"""Control events as bytes: JSON of a fixed, versioned form (docs/wire.md), beside the pack's own schema.

    {"sekisho":1,"kind":"rule_mute","id":"...","time":"2026-03-01T12:00:00Z","by":"sato","why":"floods",
     "rule":"night_cash","until":"2026-03-02T12:00:00Z"}

They count on the events topic alone: whoever may write payments may not mute a rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rules.controls import ACTIONS, CLOSE, DISPOSITION, SNOOZE, AlertMark, Control, ListChange, RuleMute
from rules.lists import OPEN_ENDS
from rules.times import format_time, parse_time
from sekisho.wire.dead_letters import DeadLetters
from sekisho.wire.reasons import (
    ABSURD_TIME,
    CONTROL_KIND,
    CONTROL_VALUE,
    CONTROL_VERSION,
    DUPLICATE_KEY,
    MISSING,
    NOT_AN_OBJECT,
    SYNTAX,
    TIME,
    TOO_BIG,
    UNKNOWN_KEY,
    UTF8,
    WRONG_TYPE,
)

VERSION = 1
MAX_BYTES = 1 << 16
_BEGINS = re.compile(rb'\s*\{\s*"sekisho"\s*:')
_HEAD = ("sekisho", "kind", "id", "time", "by", "why")
_LONGEST = 1000  # characters of a text
_BROKEN = re.compile("[\0\ud800-\udfff]")  # what no text of an event holds
_LATEST_US = 7_258_118_400_000_000  # the year 2200
_GROUP = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Fault(Exception):
    """Why a record is no control event. key: at fault, or "".   position: its byte, -1 where there is none."""

    code: int
    key: str = ""
    position: int = -1

    def letter(self, topic: str, partition: int, offset: int, raw: bytes) -> bytes:
        """The dead letter as one JSON line without its end."""
        index, code, position, field = np.array([[0], [self.code], [self.position], [0 if self.key else -1]], np.int64)
        return DeadLetters(index, code, position, field, (self.key,)).record(0, topic, partition, offset, raw)


def is_control(raw: bytes) -> bool:
    """True for a record that means to be a control event, whether or not it is a good one."""
    return _BEGINS.match(raw) is not None


def decode_control(raw: bytes) -> Control | Fault:
    """Read a control event strictly; what is wrong with it is an outcome."""
    try:
        return _control(raw, _object(raw))
    except Fault as fault:
        return fault


def encode_control(control: Control) -> bytes:
    """The bytes of a control event; `decode_control` reads it back as it was."""
    values: dict[str, Any] = {}
    match control:
        case ListChange():
            kind, values = "list_entry", {"list": control.list, "value": control.value}
            if control.remove:
                values["remove"] = True
            else:
                ends = zip(("starts", "expires"), (control.starts_us, control.expires_us), OPEN_ENDS, strict=True)
                values |= {key: format_time(at) for key, at, end in ends if at != end}
        case RuleMute(until_us=None):
            kind, values = "rule_unmute", {"rule": control.rule}
        case RuleMute():
            kind, values = "rule_mute", {"rule": control.rule, "until": format_time(control.until_us or 0)}
        case AlertMark():
            kind, values = f"alert_{control.action}", {"group": control.group}
            values |= {"until": format_time(control.until_us)} if control.until_us is not None else {}
            values |= {"disposition": control.disposition} if control.disposition else {}
        case _:
            raise TypeError(control)
    head = (VERSION, kind, control.id, format_time(control.time_us), control.by, control.why)
    record = dict(zip(_HEAD, head, strict=True)) | values
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise Fault(TOO_BIG, "", MAX_BYTES)
    try:
        text = raw.decode()
        found = json.loads(text, object_pairs_hook=lambda pairs: _once(raw, pairs))
    except UnicodeDecodeError as error:
        raise Fault(UTF8, "", error.start) from None
    except json.JSONDecodeError as error:
        raise Fault(SYNTAX, "", len(text[: error.pos].encode())) from None
    except RecursionError:
        raise Fault(SYNTAX) from None
    if not isinstance(found, dict):
        raise Fault(NOT_AN_OBJECT, "", 0)
    return found


def _once(raw: bytes, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for k, (key, _) in enumerate(pairs) if key in dict(pairs[:k]))
        raise Fault(DUPLICATE_KEY, twice, raw.rfind(json.dumps(twice).encode()))
    return found


class _Reader:
    """Takes one value after the other out of a record; what nobody has asked for at the end is unknown."""

    def __init__(self, raw: bytes, values: Mapping[str, Any]) -> None:
        self.raw, self.values, self.asked = raw, values, set[str]()

    def fault(self, code: int, key: str) -> Fault:
        return Fault(code, key, self.raw.find(json.dumps(key, ensure_ascii=False).encode()))

    def value(self, key: str) -> Any:
        self.asked.add(key)
        return self.values.get(key)

    def text(self, key: str, required: bool = True) -> str:
        value = self.value(key)
        if value is None:
            if required:
                raise Fault(MISSING, key, len(self.raw.rstrip()) - 1)
            return ""
        if not isinstance(value, str):
            raise self.fault(WRONG_TYPE, key)
        if (required and not value) or value != value.strip() or len(value) > _LONGEST or _BROKEN.search(value):
            raise self.fault(CONTROL_VALUE, key)
        return value

    def time(self, key: str) -> int:
        at = parse_time(self.text(key))
        if at is None:
            raise self.fault(TIME, key)
        if not 0 <= at < _LATEST_US:
            raise self.fault(ABSURD_TIME, key)
        return at

    def end(self, key: str, end_us: int) -> int:
        """A time that may be left open."""
        return end_us if self.value(key) is None else self.time(key)

    def flag(self, key: str) -> bool:
        value = self.value(key)
        if value is not None and not isinstance(value, bool):
            raise self.fault(WRONG_TYPE, key)
        return value is True


def _control(raw: bytes, values: dict[str, Any]) -> Control:
    reader = _Reader(raw, values)
    if reader.value("sekisho") != VERSION or isinstance(values["sekisho"], bool):
        raise reader.fault(CONTROL_VERSION, "sekisho")
    kind = reader.text("kind")
    read = _KINDS.get(kind)
    if read is None:
        raise reader.fault(CONTROL_KIND, "kind")
    head = (reader.text("id"), reader.time("time"), reader.text("by"), reader.text("why", required=False))
    control = read(reader, *head)
    if unknown := [key for key in values if key not in reader.asked]:
        raise reader.fault(UNKNOWN_KEY, unknown[0])
    return control


def _list_entry(reader: _Reader, id: str, time_us: int, by: str, why: str) -> Control:
    name, value = reader.text("list"), reader.text("value")
    if reader.flag("remove"):
        return ListChange(id, time_us, by, why, name, value, *OPEN_ENDS, remove=True)
    starts_us, expires_us = reader.end("starts", OPEN_ENDS[0]), reader.end("expires", OPEN_ENDS[1])
    if starts_us >= expires_us:
        raise reader.fault(CONTROL_VALUE, "expires")
    return ListChange(id, time_us, by, why, name, value, starts_us, expires_us)


def _rule_mute(reader: _Reader, id: str, time_us: int, by: str, why: str) -> Control:
    return RuleMute(id, time_us, by, why, reader.text("rule"), reader.time("until"))


def _rule_unmute(reader: _Reader, id: str, time_us: int, by: str, why: str) -> Control:
    return RuleMute(id, time_us, by, why, reader.text("rule"), None)


def _alert(action: str) -> Callable[[_Reader, str, int, str, str], Control]:
    def read(reader: _Reader, id: str, time_us: int, by: str, why: str) -> Control:
        group = reader.text("group")
        if not _GROUP.fullmatch(group):
            raise reader.fault(CONTROL_VALUE, "group")
        until_us = reader.time("until") if action == SNOOZE else None
        may_say = action in (CLOSE, DISPOSITION)
        disposition = reader.text("disposition", required=action == DISPOSITION) if may_say else ""
        return AlertMark(id, time_us, by, why, action, group, until_us, disposition)

    return read


_KINDS: Mapping[str, Callable[[_Reader, str, int, str, str], Control]] = {
    "list_entry": _list_entry,
    "rule_mute": _rule_mute,
    "rule_unmute": _rule_unmute,
} | {f"alert_{action}": _alert(action) for action in ACTIONS}
