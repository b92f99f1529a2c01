"""JSON to sheets, against a slow door built of Python's json, Decimal and datetime."""

import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
    return plan_wire(schema, layout, **{"default_zone": ZONE, "max_record_bytes": LIMIT} | options)


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
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text):
        raise Refused
    sign, digits, power = Decimal(text).as_tuple()
    if not any(digits):
        return 0
    shift = int(power) + exponent
    number = int("".join(map(str, digits)))
    if shift < 0 and (-shift > len(digits) or number % 10**-shift):
        raise Refused
    if shift > 40:
        raise Refused
    units = number * 10**shift if shift >= 0 else number // 10**-shift
    if units > limit:
        raise Refused
    return -units if sign else units


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
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
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
        pad = (lambda: rng.choice(["", " ", "\n\t"])) if rng.random() < 0.3 else str
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


SNIPPETS = [b'"', b"\\", b"\\u0000", b"\\ud83d", b"\\ude00", b"\\u00e9", b"\\x", b"\0", b"\x1f", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80", b"\xe9", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"nul", b"NaN", b"-", b"0", b"00", b".5", b"e5",
            b"1e400", b"-0", b" ", b"\n", b"\x0b", b"\xef\xbb\xbf", b'{"a":1}', b',"note":"x"', b'"at":', b"[" * 33, b"//", b"'"]  # fmt: skip


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
    """Damaged records are taken or refused exactly as the strict definition says, and never disturb their neighbours."""
    rng = random.Random(100 + seed)
    records = [mutate(rng, a_record(rng)) for _ in range(2500)]
    taken = agree(records)
    assert 100 < taken < 2400
