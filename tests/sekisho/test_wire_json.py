"""JSON to sheets, against a slow door built of Python's json, integers and datetime."""

import base64
import json
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from features.refusal import Refusal
from features.schema import Field, Schema
from features.sheet import Layout, Sheet
from sekisho.wire.json_decode import Decoded, decode_json
from sekisho.wire.plan import WirePlan, json_path, plan_wire
from sekisho.wire.reasons import REASONS

ZONE = "America/New_York"
LIMIT = 4096
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIELDS = (
    Field("event_id", "id", required=True),
    Field("kind", "category", default="payment"),
    Field("event_time", "time", required=True, source="$.at"),
    Field("payment_id", "id", source="$.ref.id"),
    Field("attempt_group", "id", source="$.ref.id"),
    Field("amount", "money", exponent=2, source="$.payment.amount.value", required=True),
    Field("fee", "money", exponent=2, encoding="minor", source="$.payment.fee"),
    Field("rate", "number", exponent=6),
    Field("latitude", "double", source="$.place.lat"),
    Field("online", "bool"),
    Field("note", "text"),
    Field("seen_s", "time", encoding="epoch_s"),
    Field("seen_ms", "time", encoding="epoch_ms"),
    Field("seen_us", "time", encoding="epoch_us"),
    Field("place_name", "text", source="$.place.都市"),
)
SCHEMA = Schema(FIELDS, ("payment", "label"))


def plan_of(schema: Schema = SCHEMA, **options: Any) -> WirePlan:
    layout = Layout()
    layout.literal("an earlier literal")
    for name, type in schema.columns().items():
        layout.add(name, type)
    return plan_wire(schema, layout, default_zone=ZONE, max_record_bytes=LIMIT, **options)


PLAN = plan_of()


def decode(records: list[bytes], plan: WirePlan = PLAN, record_time: list[int] | None = None) -> Decoded:
    offsets = np.cumsum([0, *map(len, records)], dtype=np.int64)
    times = None if record_time is None else np.array(record_time, np.int64)
    return decode_json(np.frombuffer(b"".join(records), np.uint8), offsets, plan, times)


def values(sheet: Sheet, i: int, schema: Schema = SCHEMA) -> dict[str, Any]:
    return {field.name: sheet.value(field.name, i) for field in schema.fields}


# --- the slow door ---


class Refused(Exception):
    """The slow door does not take the record."""


class Number(str):
    """A number's text."""


def slow_units(text: str, exponent: int, limit: int = 10**15) -> int:
    match = re.fullmatch(r"([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", text)
    if not match:
        raise Refused
    sign, whole, fraction, power = match.groups(default="")
    number, shift = int(whole + fraction), int(power or 0) - len(fraction) + exponent
    while number and number % 10 == 0:
        number, shift = number // 10, shift + 1
    if number and (shift < 0 or shift > 40 or number * 10**shift > limit):
        raise Refused
    units = number * 10**shift if number else 0
    return -units if sign == "-" else units


def slow_range(us: int) -> int:
    if not 0 <= us < (datetime(2201, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1):
        raise Refused
    return us


TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def slow_time(text: str) -> int:
    match = TIME.fullmatch(text)
    if not match:
        raise Refused
    date, hour, minute, second, fraction, offset = match.groups(default="")
    digits = fraction.ljust(9, "0")
    if digits[6:] != "000":
        raise Refused
    try:
        local = datetime.fromisoformat(date).replace(
            hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0)
        )
    except ValueError:
        raise Refused from None
    local += timedelta(microseconds=int(digits[:6]))
    if not offset:
        zone = ZoneInfo(ZONE)
        readings = [local.replace(tzinfo=zone, fold=fold) - EPOCH for fold in (0, 1)]
        return slow_range(max(readings) // timedelta(microseconds=1))
    shift = 0
    if offset not in "Zz":
        hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            raise Refused
        shift = (hours * 60 + minutes) * 60_000_000 * (-1 if offset[0] == "-" else 1)
    return slow_range((local.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) - shift)


def slow_double(text: str) -> float:
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text) or abs(float(text)) >= 1e308:
        raise Refused
    return float(text)


def slow_value(field: Field, value: Any) -> Any:
    if field.type in ("id", "category", "text"):
        if isinstance(value, Number):
            if field.type == "text" or not re.fullmatch("-?[0-9]+", value):
                raise Refused
        elif not isinstance(value, str):
            raise Refused
        return None if field.type == "id" and value == "" else str(value)
    if isinstance(value, bool):
        if field.type != "bool":
            raise Refused
        return value
    if not isinstance(value, str) or (isinstance(value, Number) and field.type == "time" and not field.encoding):
        raise Refused
    match field.type, field.encoding:
        case "bool", _:
            if value.lower() not in ("true", "false", "1", "0") or not value.isascii():
                raise Refused
            return value.lower() in ("true", "1")
        case "double", _:
            return slow_double(value)
        case "time", "":
            return slow_time(value)
        case "time", encoding:
            return slow_range(slow_units(value, {"epoch_s": 6, "epoch_ms": 3, "epoch_us": 0}[encoding], 10**17))
    return slow_units(value, 0 if field.encoding == "minor" else field.exponent)


def check_strings(value: Any) -> None:
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise Refused
    for part in value if isinstance(value, list | tuple) else ():
        check_strings(part)


class Pairs(tuple[Any, ...]):
    """A JSON object: all its pairs."""


def depth(value: Any) -> int:
    if isinstance(value, Pairs):
        return 1 + max((depth(part) for _, part in value), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def refuse_constant(_: str) -> None:
    raise Refused


def slow_record(raw: bytes) -> dict[str, Any]:
    try:
        if len(raw) > LIMIT:
            raise Refused
        root = json.loads(raw.decode(), parse_float=Number, parse_int=Number, parse_constant=refuse_constant,
                          object_pairs_hook=Pairs)  # fmt: skip
    except (ValueError, RecursionError):
        raise Refused from None
    if not isinstance(root, Pairs) or depth(root) > 32:
        raise Refused
    check_strings(root)
    found: dict[str, Any] = {}
    for field in FIELDS:
        node: Any = root
        for k, key in enumerate(json_path(field)):
            if node is None:
                break
            if not isinstance(node, Pairs):
                raise Refused
            hits = [value for name, value in node if name == key]
            known = [
                name
                for name, _ in node
                if any(json_path(other)[: k + 1] == (*json_path(field)[:k], name) for other in FIELDS)
            ]
            if len(known) != len(set(known)):
                raise Refused
            node = hits[0] if hits else None
        found[field.name] = None if node is None else slow_value(field, node)
        if found[field.name] is None and field.default:
            found[field.name] = field.default
        if found[field.name] is None and field.required:
            raise Refused
    if found["kind"] not in SCHEMA.kinds:
        raise Refused
    return found


def door(raw: bytes) -> dict[str, Any] | None:
    try:
        return slow_record(raw)
    except Refused:
        return None


def agree(records: list[bytes]) -> int:
    """Both doors take the same records, with equal values; how many."""
    decoded = decode(records)
    expected = [door(raw) for raw in records]
    good = [i for i, row in enumerate(expected) if row is not None]
    both = set(good) ^ set(decoded.good.tolist())
    assert not both, [(records[i], expected[i]) for i in sorted(both)[:3]]
    assert decoded.good.tolist() == good
    for k, i in enumerate(good):
        assert values(decoded.sheet, k) == expected[i], records[i]
    assert sorted(decoded.dead.index.tolist() + good) == list(range(len(records)))
    for k, i in enumerate(decoded.dead.index.tolist()):
        assert 0 <= decoded.dead.position[k] <= len(records[i])
        assert decoded.dead.reason(k)
    return len(good)


# --- records and their mutations ---

TEXTS = ["", "a", "card-00042", "東京", "😀 \u2028", 'say "hi"\n', "back\\slash", "\x7f", "x" * 70]
UNKNOWN = ["{}", "[]", '[1,{"a":[null,-0.5e-7]},"x"]', '{"id":{"id":"7"},"id":0}', "-0", "1e400", '"\\u00e9"', "true"]


def spell(rng: random.Random, value: Any) -> str:
    """One of the many ways to write a value in JSON."""
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def a_number(rng: random.Random) -> str:
    digits = str(rng.randrange(10 ** rng.randrange(1, 9)))
    cut = rng.randrange(0, 4)
    text = digits if not cut else f"{digits}.{rng.randrange(10**cut):0{cut}}"
    if rng.random() < 0.2:
        text += f"{rng.choice('eE')}{rng.choice(['', '+', '-'])}{rng.randrange(5)}"
    if rng.random() < 0.05:
        text += "0" * 30 if "." in text and "e" not in text.lower() else ""
    return rng.choice(["", "", "-"]) + text


def a_double(rng: random.Random) -> str:
    text = repr(
        rng.choice([rng.random() * 180, rng.uniform(-1e-9, 1e-9), rng.lognormvariate(0, 150), 0.1, -0.0, 2.0**60])
    )
    if rng.random() < 0.1:
        text = f"{rng.randrange(10**25)}.{rng.randrange(10**20):020}e{rng.randrange(-330, 300)}"
    return text


def a_time(rng: random.Random) -> str:
    at = datetime(1970, 1, 1) + timedelta(seconds=rng.randrange(-(10**6), 73 * 10**8))
    if rng.random() < 0.3:  # near the changes of the clocks
        at = rng.choice([datetime(2024, 3, 10), datetime(2024, 11, 3)]) + timedelta(minutes=rng.randrange(300))
    text = at.strftime(f"%Y-%m-%d{rng.choice('Tt ')}%H:%M:%S").rjust(19, "0")
    if rng.random() < 0.5:
        text += (
            "." + "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 7))) + rng.choice(["", "", "000"])
        )
    return (
        text + rng.choice(["Z", "z", "+09:00", "-05:30", "+00", "+0530", "", "", ""])
        if rng.random() < 0.95
        else text[:10]
    )


def a_record(rng: random.Random) -> bytes:
    """A record that is mostly good: keys in any order, unknown ones among them, white space anywhere."""

    def or_null(text: str) -> str:
        return "null" if rng.random() < 0.1 else text

    def text_or(number: str) -> str:
        return json.dumps(number) if rng.random() < 0.5 else number

    def body(pairs: list[tuple[str, str]]) -> str:
        pairs = [pair for pair in pairs if rng.random() < 0.98]
        pairs += [(f"other{k}", rng.choice(UNKNOWN)) for k in range(rng.randrange(3))]
        if rng.random() < 0.5:
            rng.shuffle(pairs)
        pads = ["", " ", "\n\t"] if rng.random() < 0.3 else [""]

        def pad() -> str:
            return rng.choice(pads)

        return "{" + ",".join(f"{pad()}{spell(rng, key)}{pad()}:{pad()}{value}{pad()}" for key, value in pairs) + "}"

    epoch = rng.randrange(7 * 10**9)
    amount = body([("value", text_or(f"{rng.randrange(10**7)}.{rng.randrange(100):02}")), ("currency", '"JPY"')])
    return body([
        ("event_id", or_null(rng.choice([spell(rng, rng.choice(TEXTS)), str(rng.randrange(10**9))]))),
        ("kind", rng.choice(['"payment"', '"label"', '"payment"', '"pay\\u006dent"', "null"])),
        ("at", spell(rng, a_time(rng))),
        ("ref", or_null(body([("id", or_null(spell(rng, rng.choice(TEXTS))))]))),
        ("payment", body([("amount", amount), ("fee", or_null(text_or(str(rng.randrange(10**6)))))])),
        ("rate", text_or(a_number(rng)) if rng.random() < 0.8 else "null"),
        ("place", or_null(body([("lat", text_or(a_double(rng))), ("都市", spell(rng, rng.choice(TEXTS)))]))),
        ("online", rng.choice(["true", "false", '"TRUE"', "1", '"0"', "null"])),
        ("note", or_null(spell(rng, rng.choice(TEXTS)))),
        ("seen_s", text_or(f"{epoch}.{rng.randrange(10**6):06}")),
        ("seen_ms", text_or(f"{epoch * 1000 + 7}")),
        ("seen_us", text_or(f"{epoch * 10**6 + 11}")),
    ]).encode()  # fmt: skip


SNIPPETS = [
    *(b'"', b"\\", b"\\u0000", b"\\ud83d", b"\\ude00", b"\\u00e9", b"\\x"),
    *(b"\0", b"\x1f", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe9", b"\xef\xbb\xbf"),
    *(b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\x0b", b"//", b"'", b"[" * 33),
    *(b"null", b"true", b"nul", b"NaN", b"-", b"0", b"00", b".5", b"e5", b"1e400", b"-0"),
    *(b'{"a":1}', b',"note":"x"', b'"at":'),
]


def mutate(rng: random.Random, raw: bytes) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at, size = rng.randrange(len(raw) + 1), rng.randrange(1, 12)
        match rng.randrange(6):
            case 0 if at < len(raw):
                raw = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
            case 1:
                raw = raw[:at] if rng.random() < 0.5 else raw[at:]
            case 2:
                raw = raw[:at] + rng.choice(SNIPPETS) + raw[at:]
            case 3:
                raw = raw[:at] + raw[at + size :]
            case 4:
                raw = raw[:at] + rng.choice(SNIPPETS) + raw[at + size :]
            case _:
                raw = raw[:at] + raw[at : at + 4 * size] + raw[at:]
    return raw


@pytest.mark.parametrize("seed", range(4))
def test_records_agree_with_the_slow_door(seed: int) -> None:
    """Whatever the order of keys, spelling, white space and unknown keys: the same values as Python's json gives."""
    rng = random.Random(seed)
    records = [a_record(rng) for _ in range(600)]
    taken = agree(records)
    assert 100 < taken < 600


@pytest.mark.parametrize("seed", range(4))
def test_mutations_agree_with_the_slow_door(seed: int) -> None:
    """Damaged records are taken or refused as the strict definition says, and never disturb their neighbours."""
    rng = random.Random(100 + seed)
    records = [mutate(rng, a_record(rng)) for _ in range(2500)]
    taken = agree(records)
    assert 100 < taken < 2400


# --- every kind of bad input, one by one ---

GOOD = b'{"event_id":"e1","at":"2024-05-06T07:08:09.123456Z","payment":{"amount":{"value":"12.50"}}}'


def bad(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new)


BAD: list[tuple[bytes, str, str | None, int]] = [
    (b"", "empty", None, 0),
    (b" \n", "empty", None, 0),
    (b"[]", "not_an_object", None, 0),
    (b"null", "not_an_object", None, 0),
    (b"\xef\xbb\xbf" + GOOD, "not_an_object", None, 0),
    (GOOD[:-1], "truncated", None, len(GOOD) - 1),
    (GOOD + b"}", "trailing", None, len(GOOD)),
    (GOOD + b"\n" + GOOD, "trailing", None, len(GOOD) + 1),
    (bad(b":", b";"), "syntax", None, 11),
    (bad(b'"12.50"', b"012.50"), "syntax", None, GOOD.index(b'"12.50"') + 1),
    (bad(b'"12.50"', b"12."), "syntax", None, GOOD.index(b'"12.50"') + 3),
    (bad(b'"12.50"', b"NaN"), "syntax", None, GOOD.index(b'"12.50"')),
    (bad(b'"12.50"', b"nulL"), "syntax", None, GOOD.index(b'"12.50"') + 3),
    (bad(b'"e1",', b'"e1",,'), "syntax", None, 17),
    (bad(b'"12.50"}', b'"12.50",}'), "syntax", None, GOOD.index(b'"12.50"') + 8),
    (bad(b'"e1"', b'"e\xff1"'), "utf8", None, 14),
    (bad(b'"e1"', b'"e\xed\xa0\x80"'), "utf8", None, 14),
    (bad(b'"e1"', b'"e\xe0\x9f\xbf"'), "utf8", None, 14),  # 07FF, which has a shorter form
    (bad(b'"e1"', b'"e\x001"'), "nul", None, 14),
    (bad(b'"e1"', b'"e\\u00001"'), "nul", None, 14),
    (bad(b'"e1"', b'"e\x091"'), "control_character", None, 14),
    (bad(b'"e1"', b'"e\\x"'), "escape", None, 14),
    (bad(b'"e1"', b'"e\\ud800"'), "escape", None, 14),
    (bad(b'"e1"', b'"e\\ud83d\\ud83d"'), "escape", None, 14),
    (b"\x00" * 40, "not_an_object", None, 0),
    (b'{"unknown":' + b"[" * 32 + b"]" * 32 + b"}", "too_deep", None, 42),
    (b"[" * 100_000, "too_big", None, LIMIT),
    (b'{"a":"' + b"x" * 10_000_000 + b'"}', "too_big", None, LIMIT),
    (bad(b'"at"', b'"event_id":"e2","at"'), "duplicate_key", "event_id", 18),
    (bad(b'"at"', b'"payment":null,"at"'), "duplicate_key", "amount", GOOD.index(b'"payment"') + 16),
    (bad(b'"e1"', b"true"), "wrong_type", "event_id", 12),
    (bad(b'"e1"', b"1.0"), "wrong_type", "event_id", 12),
    (bad(b'"e1"', b'["e1"]'), "wrong_type", "event_id", 12),
    (bad(b'{"amount":{"value":"12.50"}}', b"5"), "wrong_type", "amount", GOOD.index(b'{"amount"')),
    (bad(b'"12.50"', b"false"), "wrong_type", "amount", GOOD.index(b'"12.50"')),
    (bad(b'"2024-05-06T07:08:09.123456Z"', b"1714979289"), "wrong_type", "event_time", 22),
    (bad(b'"e1"', b"null"), "missing", "event_id", len(GOOD) - 1),
    (bad(b'"e1"', b'""'), "missing", "event_id", len(GOOD) - 3),
    (bad(b'"amount"', b'"amounts"'), "missing", "amount", len(GOOD)),
    (bad(b'"12.50"', b'"12.505"'), "decimals", "amount", GOOD.index(b"12.50")),
    (bad(b'"12.50"', b"1.2505e1"), "decimals", "amount", GOOD.index(b'"12.50"')),
    (bad(b'"12.50"', b'"10000000000000.01"'), "too_large", "amount", GOOD.index(b"12.50")),
    (bad(b'"12.50"', b'"1,250"'), "number", "amount", GOOD.index(b"12.50")),
    (bad(b'"12.50"', b'""'), "number", "amount", GOOD.index(b"12.50")),
    (bad(b"2024-", b"1969-"), "absurd_time", "event_time", 23),
    (bad(b"2024-", b"2201-"), "absurd_time", "event_time", 23),
    (bad(b"05-06", b"02-30"), "time", "event_time", 23),
    (bad(b"2024-05-06", b"2100-02-29"), "time", "event_time", 23),
    (bad(b":09.", b":60."), "leap_second", "event_time", 23),
    (bad(b"456Z", b"4561Z"), "time_digits", "event_time", 23),
    (bad(b"}}}", b'}},"online":"yes"}'), "boolean", "online", len(GOOD) + 10),
    (bad(b"}}}", b'}},"kind":"refund"}'), "kind", "kind", len(GOOD) + 15),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "name", "field", "position"), BAD)
def test_each_kind_of_bad_input_is_a_dead_letter(raw: bytes, name: str, field: str | None, position: int) -> None:
    """A bad record falls out with its reason, field and byte; what stands before and behind it does not notice."""
    decoded = decode([GOOD, raw, GOOD])
    alone = decode([GOOD, GOOD])
    assert decoded.good.tolist() == [0, 2]
    assert [values(decoded.sheet, k) for k in (0, 1)] == [values(alone.sheet, k) for k in (0, 1)]
    dead = decoded.dead
    assert (dead.n, dead.index.tolist(), dead.position.tolist()) == (1, [1], [position])
    assert (REASONS[int(dead.code[0])].name, None if dead.field[0] < 0 else dead.names[dead.field[0]]) == (name, field)


def test_every_reason_of_json_is_met() -> None:
    """The list above leaves out only what a table alone, or a control event, can hold."""
    others = {"not_finite", "torn_row", "control_version", "control_kind", "unknown_key", "control_value"}
    assert {reason.name for reason in REASONS.values()} - {name for _, name, _, _ in BAD} == others


def test_bad_and_good_add_up() -> None:
    """All kinds of bad records among good ones: every record is counted once."""
    records = [raw for one, *_ in BAD for raw in (GOOD, one)]
    decoded = decode(records)
    assert decoded.good.tolist() == list(range(0, len(records), 2))
    assert decoded.dead.index.tolist() == list(range(1, len(records), 2))


# --- details ---


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("12.5", 1250), ('"12.50"', 1250), ("1.5e3", 150000), ("15E-1", 150), ("0.00e5", 0), ("-0", 0), ('"-0.01"', -1),
        ("12.5000000000000000000000", 1250), ("1000000000000000000000000e-24", 100), ('"007"', 700), ('"+7"', 700),
        ("10000000000000.00", 10**15), ("-1e13", -(10**15)), ("0e99999999999999999999", 0), ("1e-2", 1),
        ("0." + "0" * 1000 + "0", 0), ("1" + "0" * 50 + "e-50", 100),
    ],
)  # fmt: skip
def test_money_is_read_exactly(text: str, units: int) -> None:
    """Whatever the spelling, money is an exact count of minor units; trailing zeros are no decimals."""
    decoded = decode([bad(b'"12.50"', text.encode())])
    assert decoded.sheet.value("amount", 0) == units


@pytest.mark.parametrize(("text", "units"), [("1250", 1250), ('"1250"', 1250), ("1250.0", 1250), ("1.25e3", 1250)])
def test_minor_units_are_counted(text: str, units: int) -> None:
    """`encoding = "minor"` counts minor units, whatever the exponent of the field."""
    decoded = decode([bad(b'"12.50"}', b'"12.50"},"fee":' + text.encode())])
    assert decoded.sheet.value("fee", 0) == units


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-03-10T01:59:59", "2024-03-10T06:59:59"),  # before the gap
        ("2024-03-10T02:30:00", "2024-03-10T07:30:00"),  # in it: the offset before the change
        ("2024-03-10T03:00:00", "2024-03-10T07:00:00"),  # behind it
        ("2024-11-03T00:59:59", "2024-11-03T04:59:59"),
        ("2024-11-03T01:30:00", "2024-11-03T06:30:00"),  # it comes twice: the later one
        ("2024-07-01", "2024-07-01T04:00:00"),
    ],
)
def test_naive_times_are_local_to_the_default_zone(text: str, utc: str) -> None:
    """At the changes of the clocks, too, a naive time has one documented meaning."""
    decoded = decode([bad(b"2024-05-06T07:08:09.123456Z", text.encode())])
    expected = (datetime.fromisoformat(utc).replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert decoded.sheet.value("event_time", 0) == expected


def test_clocks() -> None:
    """record_time is given or an ingest field, arrival_lag its distance from event_time; both NULL without a clock."""
    at = 1714979289123456
    without = decode([GOOD]).sheet
    assert (without.value("record_time", 0), without.value("arrival_lag", 0)) == (None, None)
    given = decode([b"{", GOOD], record_time=[5, at + 7]).sheet
    assert (given.value("record_time", 0), given.value("arrival_lag", 0)) == (at + 7, 7)
    ingest = Field("record_time", "time", source="$.ingested", encoding="epoch_us")
    read = decode([bad(b"}}}", b'}},"ingested":%d}' % (at + 9)), GOOD], plan_of(ingest=ingest)).sheet
    assert [read.value("arrival_lag", k) for k in (0, 1)] == [9, None]
    assert read.value("label_delta", 0) is None


def test_doubles_are_rounded_as_python_rounds_them() -> None:
    """Doubles of 17 to 40 digits, 19 among them, and of every size, halfway cases among them, equal Python's float."""
    rng = random.Random(7)
    texts = [repr(rng.random() * 10.0 ** rng.randrange(-30, 30)) for _ in range(3000)]
    texts += [f"{(2**53 + k) * 2 ** rng.randrange(9)}.{'0' * rng.randrange(1, 30)}1" for k in range(200)]
    texts += [f"{rng.randrange(10**18)}e{rng.randrange(-60, 40)}" for _ in range(2000)]
    texts += [f"{rng.randrange(10**18, 10**19) | 1}e{rng.randrange(-40, 10)}" for _ in range(200)]
    texts += ["5e-324", "2.5e-324", "1e-400", "9.999e307", "9007199254740993", "9007199254740992.99999999999999999999"]
    decoded = decode([bad(b"}}}", b'}},"place":{"lat":%s}}' % text.encode()) for text in texts])
    assert decoded.dead.n == 0
    assert decoded.sheet.doubles("latitude").tolist() == [float(text) for text in texts]


def test_cuts_do_not_matter() -> None:
    """Records decoded one by one or together give the same values and the same dead letters."""
    rng = random.Random(23)
    records = [mutate(rng, a_record(rng)) if rng.random() < 0.5 else a_record(rng) for _ in range(150)]
    together = decode(records)
    rows = [values(together.sheet, k) for k in range(len(together.good))]
    singles = [decode([raw]) for raw in records]
    assert rows == [values(one.sheet, 0) for one in singles if len(one.good)]
    reasons = [one.dead.reason(0) for one in singles if one.dead.n]
    assert reasons == [together.dead.reason(k) for k in range(together.dead.n)]


def test_a_dead_letter_says_all_and_quotes_nothing() -> None:
    """The record of a dead letter is JSON with its place, reason and raw bytes; the reason holds no value."""
    raw = bad(b'"e1"', b'"taro@example.jp\\q"')
    dead = decode([GOOD, raw]).dead
    line = json.loads(dead.record(0, "payments", 3, 1234, raw))
    assert list(line) == ["v", "source", "code", "field", "position", "reason", "size", "raw"]
    assert line["source"] == {"topic": "payments", "partition": 3, "offset": 1234}
    assert (line["code"], line["position"], line["size"]) == ("escape", 28, len(raw))
    assert base64.b64decode(line["raw"]) == raw
    assert "byte 28" in line["reason"] and "taro" not in line["reason"]


@pytest.mark.parametrize(
    "field",
    [
        Field("x", "text", source="$.payment.amount"),
        Field("x", "text", source="$.event_id.more"),
        Field("x", "text", source="$."),
        Field("x", "text", source='$.a"b'),
        Field("x", "text", encoding="minor"),
        Field("x", "time", encoding="epoch"),
        Field("x", "money", encoding="epoch_s"),
    ],
)
def test_senseless_sources_are_refused(field: Field) -> None:
    """A path through a value, an empty key, or an encoding of another type is refused when the plan is made."""
    with pytest.raises(Refusal, match="'x'"):
        plan_of(Schema((*FIELDS, field)))
