"""Why an event becomes a dead letter: a code, a name and a sentence each. None quotes a value: it may be personal."""

from __future__ import annotations

from dataclasses import dataclass

OK = 0
PENDING = 1  # not a reason: a double's text that the kernel leaves to Python
EMPTY, TOO_BIG, NOT_AN_OBJECT, SYNTAX, TRUNCATED, TRAILING, TOO_DEEP, CONTROL, NUL, UTF8, ESCAPE = range(2, 13)
DUPLICATE_KEY, WRONG_TYPE, MISSING, NUMBER, DECIMALS, TOO_LARGE, NOT_FINITE = range(13, 20)
TIME, LEAP_SECOND, ABSURD_TIME, TIME_DIGITS, BOOLEAN, KIND, TORN = range(20, 27)
CONTROL_VERSION, CONTROL_KIND, UNKNOWN_KEY, CONTROL_VALUE = range(27, 31)


@dataclass(frozen=True)
class Reason:
    """A stable name for programs, and for people what is wrong and what to do."""

    name: str
    what: str
    fix: str


REASONS = {
    EMPTY: Reason("empty", "the record has no bytes", "send one JSON object a record, no tombstones"),
    TOO_BIG: Reason("too_big", "the record is longer than the limit", "send less, or raise the record limit"),
    NOT_AN_OBJECT: Reason("not_an_object", "the record is not a JSON object", "send one JSON object a record"),
    SYNTAX: Reason("syntax", "this byte cannot stand here in JSON", "send JSON as RFC 8259 defines it"),
    TRUNCATED: Reason("truncated", "the record ends in the middle of its JSON", "find out where it is cut off"),
    TRAILING: Reason("trailing", "something follows the JSON object", "send one JSON object a record"),
    TOO_DEEP: Reason("too_deep", "objects and arrays are nested more than 32 deep", "flatten the record"),
    CONTROL: Reason("control_character", "a raw control character stands in a string", "escape it"),
    NUL: Reason("nul", "a string holds a NUL, raw or escaped", "remove it: no text holds NUL"),
    UTF8: Reason("utf8", "the bytes are not valid UTF-8", "encode the text as UTF-8"),
    ESCAPE: Reason("escape", "an escape is unknown, cut short, or half of a surrogate pair", "escape as RFC 8259 says"),
    DUPLICATE_KEY: Reason("duplicate_key", "a key that a field is read from stands twice", "send each key once"),
    WRONG_TYPE: Reason(
        "wrong_type", "the value is of another type than the field", "send the field's type, or change the schema"
    ),
    MISSING: Reason("missing", "a required field is missing or null", "send it, or make it optional in the schema"),
    NUMBER: Reason("number", "the value is not a number", "send decimal digits, without separators or currency"),
    DECIMALS: Reason(
        "decimals",
        "the number has more decimals than the field",
        "round it at its source, or raise the exponent",
    ),
    TOO_LARGE: Reason(
        "too_large", "the number is beyond the limit (10^15 units; 10^308 for a double)", "correct it at its source"
    ),
    NOT_FINITE: Reason("not_finite", "the number is NaN or infinite", "send null where there is no number"),
    TIME: Reason(
        "time", "the value is not a time of the field's encoding", "send RFC 3339, or name the encoding in the schema"
    ),
    LEAP_SECOND: Reason("leap_second", "the time has second 60", "send the second before or after"),
    ABSURD_TIME: Reason("absurd_time", "the time is before 1970 or after 2200", "check the unit and the clock"),
    TIME_DIGITS: Reason("time_digits", "the time is finer than a microsecond", "cut it to microseconds at its source"),
    BOOLEAN: Reason("boolean", "the value is not true or false", "send true or false"),
    KIND: Reason("kind", "the schema knows no such kind of event", "add it to `kinds`, or filter it out before"),
    CONTROL_VERSION: Reason(
        "control_version", "this version reads control events of version 1", "update the workers, or send version 1"
    ),
    CONTROL_KIND: Reason("control_kind", "there is no such kind of control event", "look it up in docs/wire.md"),
    UNKNOWN_KEY: Reason("unknown_key", "a control event of this kind has no such key", "look it up in docs/wire.md"),
    CONTROL_VALUE: Reason(
        "control_value", "the value is empty, too long, or at odds with another", "look it up in docs/wire.md"
    ),
    TORN: Reason(
        "torn_row",
        "the row has another number of cells than the header, or a quote that does not close",
        "quote cells that hold commas, and double the quotes in them",
    ),
}
