"""Each operator against DuckDB, whose values are ours: NULLs, signs, halves, bounds, leap days, summer time."""

import math
import random
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import duckdb
import pytest

from features.expr import OPS, Call, Case, Column, Expr, Literal
from features.lists import build_lists
from features.program import compile_program
from features.sheet import Layout, sheet_of
from features.types import BIGINT, BOOL, DOUBLE, HUGEINT, INTERVAL, LOCAL, TEXT, TIME, Kind, Type, decimal

I64, I128, DAY = 2**63 - 1, 2**127 - 1, 86_400_000_000
MONEY, PRICE, WIDE = decimal(18, 2), decimal(9, 3), decimal(38, 4)
COLUMNS: dict[str, tuple[Type, list[object]]] = {
    "a": (BIGINT, [0, 1, -1, 7, -7, 25, -25, I64, -I64 - 1, 1250, -1350]),
    "b": (BIGINT, [0, 1, -1, 2, -2, 3, -3, 10, I64, 2**62]),
    "h": (HUGEINT, [0, 1, -1, 7, -7, 10**20, -(10**20), I128, -I128 - 1, 2**64, 2**100 + 1]),
    "g": (HUGEINT, [0, 1, -1, 2, -3, 10**19, 2**64, 2**90, -(2**64) - 5]),
    "m": (MONEY, [0, 1, -1, 49, 50, -50, 149, 150, 250, -250, 12345, 10**18 - 1, 1 - 10**18]),
    "n": (MONEY, [0, 100, -100, 33, 7, -7, 999, 10**17]),
    "p": (PRICE, [0, 1, -5, 500, -500, 1500, 2500, 12345, 15345, -15345, 99500, 999999999]),
    "w": (WIDE, [0, 1, -1, 5000, -5000, 15000, 25001, 10**37, 10**38 - 1, 1 - 10**38]),
    "v": (WIDE, [0, 10000, -10000, 3, -7, 123456789, 10**30]),
    "x": (DOUBLE, [0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.125, 1.005, 2.675, 0.145, -0.4, 1e300, -1e308, 1234.5, 9.3e18,
        1e17]),
    "y": (DOUBLE, [0.0, 1.0, -2.0, 0.3, 1e-300, 1e308, 7.25]),
    "s": (TEXT, ["", "a", "ab", "aXb", "é", "日本", "payment", "a%b", "a_b", "Z"]),
    "t": (TEXT, ["", "a", "b", "ab", "日", "zz", "payment"]),
    "u": (TIME, [0, DAY - 1, 951_782_400_000_000 + 5, 1_711_846_799_999_999, 1_711_846_800_000_000,
        1_729_990_800_000_000, 1_735_689_599_999_999, 1_704_067_200_000_000, 1_293_840_000_000_000,
        4_102_444_799_000_000]),
    "z": (TIME, [0, 3_600_000_000, 1_709_164_800_000_000, 1_709_251_199_999_999, 1_711_843_200_000_000, -DAY]),
    "k": (LOCAL, [0, 1_709_251_199_999_999, -1, -DAY * 400, 253_402_300_799_000_000, 1_230_768_000_000_000]),
    "i": (INTERVAL, [0, 1, -1, DAY, 1_500_000, -DAY * 3 - 1]),
    "o": (BOOL, [True, False]),
    "q": (BOOL, [True, False]),
    "r": (TEXT, ["12", " 12 ", "+12", "-12", "1_000", "1__0", "_1", "1_", "1e3", "1E3", "1.5", "2.5", "-2.5", "1.",
        ".5", ".", "", "+", "-", "1e", "1e-400", "9223372036854775807", "9223372036854775808", "12a", "0012",
        "12.345", "12.355", "-0.005", "99999999.99", "99999999.995", "1.49999999999999999999999999999", "1.5e1",
        "15e-1", "25e-1", "\t12\n", "1 2", "--1", "1e+2", "1e 2", "٣", "12.3_4", "1_.5", "1._5", ".e1", "0e400",
        "1e20", "170141183460469231731687303715884105727", "-170141183460469231731687303715884105728", "1e37", "5e-3",
        "4.9e-3", "4.9e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "2.4703282292062327e-324",
        "2.4703282292062328e-324", "9007199254740993", "9007199254740993." + "0" * 40 + "1", "1e23", "8.5e22",
        "0." + "0" * 60 + "7", "2e1_0"]),
    "e": (TEXT, ["123456789012345678901234567890123456789012345678901234567890e-50", "9" * 400, "0." + "3" * 500,
        "1e308", "1e-323", "7e-324", "179769313486231580793728971405301e276", "1" + "0" * 300 + ".5",
        "1.7976931348623159e308"]),
    "c": (TEXT, ["true", "t", "T", "TRUE", "yes", "no", "y", "N", "f", "1", "0", "on", "", " true", "False",
        "truee"]),
    "d": (TEXT, ["2024-01-02", "2024-01-02 03:04", "2024-01-02 03:04:05", "2024-01-02T03:04:05Z", "2024-02-30",
        "2024-01-02T03:04:05.123456789Z", "2024-01-02 03:04:05+02", "2024-01-02 03:04:05-02:30", "2024-02-29",
        "2023-02-29", "2024-13-01", "2024-01-02 03:04:60", "2024-01-02 03:04:05.1", "2024-01-02T", "2024-01-02 03",
        "1969-12-31 23:59:59.999999", "", "tomorrow", "2024-01-02 25:00:00", "2024-01-02T03:04:05.0000009Z"]),
}  # fmt: skip


def col(name: str) -> Column:
    return Column(COLUMNS[name][0], name)


def call(type: Type, op: str, *args: Expr, param: str | int | None = None) -> Call:
    return Call(type, op, args, param)


def cases() -> Iterator[tuple[str, Expr]]:
    """(SQL, the same expression as the parser types it)."""
    a, b, h, g, m, n, p, w, v, x, y = (col(name) for name in "abhgmnpwvxy")
    s, u, z, k, i, o, q, r, c, d = (col(name) for name in "suzkioqrcd")
    for sign, op in {"+": "add", "-": "sub", "*": "mul"}.items():
        yield f"a {sign} b", call(BIGINT, op, a, b)
        yield f"h {sign} g", call(HUGEINT, op, h, g)
        yield f"x {sign} y", call(DOUBLE, op, x, y)
        yield f"m {sign} n", call(decimal(18, 4) if op == "mul" else decimal(19, 2), op, m, n)
        if op != "mul":
            yield f"w {sign} v", call(WIDE, op, w, v)
    # DuckDB fails on the least integer % -1; ours is 0
    for left, right in ("ab", "hg"):
        type, not_one = COLUMNS[left][0], call(COLUMNS[left][0], "nullif", col(right), Literal(COLUMNS[left][0], -1))
        yield f"{left} % nullif({right}, -1)", call(type, "mod", col(left), not_one)
    for left, right in ("mn", "wv", "xy"):
        yield f"{left} % nullif({right}, 0)", call(COLUMNS[left][0], "mod", col(left), col(right))
    yield "p * p", call(decimal(18, 6), "mul", p, p)
    yield "x / NULLIF(y, 0)", call(DOUBLE, "div", x, y)
    yield "a // NULLIF(b, 0)", call(BIGINT, "intdiv", a, b)
    yield "h // NULLIF(g, 0)", call(HUGEINT, "intdiv", h, g)
    for name, type in {"a": BIGINT, "h": HUGEINT, "m": MONEY, "w": WIDE, "x": DOUBLE}.items():
        yield f"abs({name})", call(type, "abs", col(name))
        yield f"0 - {name}" if name == "h" else f"-{name}", call(type, "neg", col(name))
    for digits in (-2, -1, 0, 1, 2):
        yield f"round(x, {digits})", call(DOUBLE, "round", x, param=digits)
        yield f"round(p, {digits})", call(decimal(9, max(digits, 0)), "round", p, param=digits)
        yield f"round(m, {digits})", call(decimal(18, max(digits, 0)), "round", m, param=digits)
        yield f"round(w, {digits})", call(decimal(38, max(digits, 0)), "round", w, param=digits)
    yield "round(a, -2)", call(BIGINT, "round", a, param=-2)
    for op in ("floor", "ceil"):
        yield f"{op}(x)", call(DOUBLE, op, x)
        yield f"{op}(p)", call(decimal(9, 0), op, p)
        yield f"{op}(m)", call(decimal(18, 0), op, m)
        yield f"{op}(w)", call(decimal(38, 0), op, w)
    signs = {"=": "eq", "<>": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "IS DISTINCT FROM": "distinct"}
    for sign, op in signs.items():
        for left, right in ("ab", "hg", "mn", "wv", "xy", "st", "uz", "oq"):
            yield f"{left} {sign} {right}", call(BOOL, op, col(left), col(right))
    yield "o AND q", call(BOOL, "and", o, q)
    yield "o OR q", call(BOOL, "or", o, q)
    yield "NOT o", call(BOOL, "not", o)
    for left, right in ("ab", "hg", "mn", "xy", "st", "uz"):
        type = COLUMNS[left][0]
        yield f"{left} IS NULL", call(BOOL, "is_null", col(left))
        yield f"nullif({left}, {right})", call(type, "nullif", col(left), col(right))
        for op in ("coalesce", "greatest", "least"):
            yield f"{op}({left}, {right})", call(type, op, col(left), col(right))
    yield (
        "CASE WHEN a > b THEN m WHEN o THEN n ELSE 0.5 END",
        Case(MONEY, ((call(BOOL, "gt", a, b), m), (o, n)), Literal(MONEY, 50)),
    )
    yield from casts(a, h, m, p, w, x, o, r, c, d)
    for pattern in ("%", "_", "", "a%", "a_b", "%b", "%本", "__", "pay%nt", "%a%b%"):
        yield f"s LIKE '{pattern}'", call(BOOL, "like", s, param=pattern)
    yield "length(s)", call(BIGINT, "length", s)
    text = call(TEXT, "coalesce", s, Literal(TEXT, ""))  # DuckDB's NULL IN (nothing) is false, ours NULL
    active = "SELECT value FROM blocked WHERE starts <= event_time AND event_time < expires"
    yield f"coalesce(s, '') IN ({active})", call(BOOL, "in_list", text, param="blocked")
    yield from times(u, z, k, i)


def casts(*columns: Column) -> Iterator[tuple[str, Expr]]:
    a, h, m, p, w, x, o, r, c, d = columns
    targets = (BIGINT, HUGEINT, MONEY, PRICE, decimal(10, 2), decimal(5, 0), WIDE, decimal(38, 0), DOUBLE, BOOL)
    for column in (a, h, m, p, w, x, o):
        for type in targets:
            yield f"CAST({column.name} AS {type})", call(type, "cast", column)
            yield f"TRY_CAST({column.name} AS {type})", call(type, "try_cast", column)
    for type in targets[:-1]:
        yield f"TRY_CAST(r AS {type})", call(type, "try_cast", r)
    yield "TRY_CAST(e AS DOUBLE)", call(DOUBLE, "try_cast", col("e"))
    yield "TRY_CAST(c AS BOOLEAN)", call(BOOL, "try_cast", c)
    yield "TRY_CAST(d AS TIMESTAMPTZ)", call(TIME, "try_cast", d)
    yield "TRY_CAST(d AS TIMESTAMP)", call(LOCAL, "try_cast", d)


def times(u: Column, z: Column, k: Column, i: Column) -> Iterator[tuple[str, Expr]]:
    yield "epoch_us(u)", call(BIGINT, "epoch_us", u)
    yield "epoch(i)", call(DOUBLE, "epoch", i)
    yield "u - z", call(INTERVAL, "time_sub", u, z)
    yield "u + i", call(TIME, "time_add", u, i)
    yield "k + i", call(LOCAL, "time_add", k, i)
    for zone in ("Europe/Berlin", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "UTC"):
        yield f"u AT TIME ZONE '{zone}'", call(LOCAL, "at_zone", u, param=zone)
    for part in ("year", "month", "day", "hour", "minute", "second", "dow", "isodow", "doy", "week"):
        yield f"extract({part} FROM k)", call(BIGINT, "extract", k, param=part)
        yield f"extract({part} FROM u)", call(BIGINT, "extract", u, param=part)
    for part in ("day", "hour", "minute", "second"):
        yield f"date_diff('{part}', u, z)", call(BIGINT, "date_diff", u, z, param=part)


def sql_value(type: Type, value: object) -> str:
    if value is None:
        return f"NULL::{type}"
    match type.kind:
        case Kind.DECIMAL:
            digits = f"{abs(int(str(value))):0{type.scale + 1}d}"
            sign = "-" if int(str(value)) < 0 else ""
            return f"'{sign}{digits[: len(digits) - type.scale]}.{digits[len(digits) - type.scale :]}'::{type}"
        case Kind.TIME | Kind.LOCAL:
            return f"{'make_timestamptz' if type == TIME else 'make_timestamp'}({value}::BIGINT)"
        case Kind.INTERVAL:
            return f"to_microseconds({value})"
        case Kind.TEXT:
            return "'" + str(value) + "'"
        case _:
            return f"'{value}'::{type}"


def duckdb_values(con: duckdb.DuckDBPyConnection, wanted: Sequence[tuple[str, Expr]]) -> list[list[object]]:
    """What DuckDB makes of each expression, row by row, in the units of a cell; NULL where it fails."""
    parts = []
    for sql, expr in wanted:
        in_us = f"epoch_us({sql})" if expr.type.kind in (Kind.TIME, Kind.LOCAL, Kind.INTERVAL) else sql
        parts.append(in_us if "SELECT" in sql else f"TRY({in_us})")
    found = con.execute(f"SELECT {', '.join(parts)} FROM t ORDER BY row").fetchall()
    scales = [10**expr.type.scale for _, expr in wanted]
    return [
        [int(Fraction(v) * s) if isinstance(v, Decimal) else v for v, s in zip(row, scales, strict=True)]
        for row in found
    ]


def rows() -> dict[str, list[object]]:
    """300 rows of edge values and NULLs, drawn independently for each column."""
    rng = random.Random(7)
    data = {
        name: [*values, *rng.choices([*values, None], k=300 - len(values))] for name, (_, values) in COLUMNS.items()
    }
    for values in data.values():
        rng.shuffle(values)
    data["event_time"] = [1 if at is None else at for at in data["u"]]
    return data


def same(got: object, want: object, sql: str) -> bool:
    if isinstance(want, float) and not math.isfinite(want):
        return got is None
    if isinstance(want, float) and isinstance(got, float):
        # DuckDB divides twice where a wide decimal becomes a double; ours is the nearest one
        return got == want or ("AS DOUBLE" in sql and "(r " not in sql and math.isclose(got, want, rel_tol=4e-16))
    return got == want and (got is None) == (want is None)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    data = rows()
    lines = [
        f"({i}, {', '.join(sql_value(type, data[name][i]) for name, (type, _) in COLUMNS.items())})"
        for i in range(len(data["a"]))
    ]
    con.execute(f"CREATE TABLE t AS SELECT * FROM (VALUES {', '.join(lines)}) AS v(row, {', '.join(COLUMNS)})")
    con.execute("ALTER TABLE t ADD COLUMN event_time TIMESTAMPTZ")
    con.execute("UPDATE t SET event_time = coalesce(u, make_timestamptz(1::BIGINT))")
    con.execute("CREATE TABLE blocked(value VARCHAR, starts TIMESTAMPTZ, expires TIMESTAMPTZ)")
    for entry in LISTS["blocked"]:
        con.execute(
            "INSERT INTO blocked VALUES (?, make_timestamptz(?::BIGINT), make_timestamptz(?::BIGINT))",
            [entry.value, entry.starts_us, entry.expires_us],
        )
    return con


class Entry:
    def __init__(self, value: str, starts_us: int, expires_us: int) -> None:
        self.value, self.starts_us, self.expires_us = value, starts_us, expires_us


LISTS = {"blocked": (Entry("a", 0, DAY), Entry("a", 2**50, 2**52), Entry("日本", 0, 2**52), Entry("é", DAY, 2**51))}


def test_every_operator_equals_duckdb(con: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]) -> None:
    """All cases as one program; where DuckDB raises an error, ours is NULL."""
    layout, tables, data = Layout(), build_lists(LISTS), rows()
    layout.add("event_time", TIME)
    for name, (type, _) in COLUMNS.items():
        layout.add(name, type)
    wanted = [(sql, expr, layout.add(sql, expr.type)) for sql, expr in cases()]
    program = compile_program([(expr, slot) for _, expr, slot in wanted], layout, tables.index)
    sheet = sheet_of(layout, data)  # type: ignore[arg-type]
    program.run(sheet, tables)
    wrong = []
    answers = duckdb_values(con, [(sql, expr) for sql, expr, _ in wanted])
    for k, (sql, _, slot) in enumerate(wanted):
        for i, answer in enumerate(answers):
            got, want = sheet.value(slot, i), answer[k]
            if not same(got, want, sql):
                row = {name: data[name][i] for name in COLUMNS if re.search(rf"\b{name}\b", sql)}
                wrong.append((sql, row, "ours", got, "DuckDB's", want))
                break
    used = {expr.op for _, expr, _ in wanted if isinstance(expr, Call)}
    with capsys.disabled():
        print(f"\n{len(wanted)} expressions, {len(used)} of {len(OPS)} operators, {sheet.n} rows")
    assert not wrong, "\n".join(map(str, wrong))
    assert used == set(OPS)
