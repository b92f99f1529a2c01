"""Random typed expressions: the virtual machine against the executable specification, value by value, with ==."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from features.expr import OPS, Call, Case, Column, Expr, Literal, walk
from features.lists import build_lists
from features.program import compile_program
from features.sheet import ERROR, VALID, Layout, Slot, sheet_of
from features.types import BIGINT, BOOL, DOUBLE, HUGEINT, INTERVAL, LOCAL, TEXT, TIME, Kind, Type, decimal
from sekisho.testing.reference import expressions as spec

MONEY, PRICE, UNITS, WIDE, WIDE_UNITS = decimal(18, 2), decimal(9, 3), decimal(18, 0), decimal(38, 4), decimal(38, 0)
EXACT = (BIGINT, HUGEINT, MONEY, PRICE, UNITS, WIDE, WIDE_UNITS)
TYPES = (*EXACT, DOUBLE, BOOL, TEXT, TIME, LOCAL, INTERVAL)
TEXTS = ["", "a", "b", "ab", "A", "payment", "payme", "日本", "日", "é", "a%b", "a_b", "x1", "true", "NO"]
TEXTS += ["12", "-3.5", " 7 ", "+0.045", "1e3", "2.5e-1", "99999999999999999999", "0.1", "123456789.987654321"]
TEXTS += ["1e300", "4.9e-324", "1_000", ".5", "5.", "1e"]
PATTERNS = ["%", "_", "", "a%", "%a%", "__", "日%", "_本", "%b", "a_b", "pay%nt", "%%", "%_%"]
ZONES = ["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]
PARTS = ["year", "month", "day", "hour", "minute", "second", "dow", "isodow", "doy", "week"]
DAY = 86_400_000_000
YEAR_2100 = 47_482 * DAY


@dataclass(frozen=True)
class Entry:
    value: str
    starts_us: int
    expires_us: int


LISTS = {
    "blocked": (Entry("a", 0, YEAR_2100), Entry("payment", 0, DAY * 9000), Entry("payment", DAY * 15000, YEAR_2100)),
    "none": (),
    "watched": (Entry("日本", DAY, DAY * 20000), Entry("a", 5, 6), Entry("", 0, DAY * 18000)),
}


def limit(type: Type) -> int:
    if type.kind is Kind.DECIMAL:
        return 10**type.width - 1
    return 2**127 - 1 if type.wide else 2**63 - 1


def random_value(rng: random.Random, type: Type) -> int | float | bool | str:
    match type.kind:
        case Kind.INT | Kind.DECIMAL | Kind.INTERVAL:
            size = min(rng.choice([2, 10, 1000, 10**6, 10**12, 10**38]), limit(type))
            return rng.choice([0, 1, -1, 5, -5, 50, limit(type), -limit(type), *[rng.randint(-size, size)] * 20])
        case Kind.DOUBLE:
            exact = [0.0, 0.5, 1.5, -2.5, 0.1, 2.675, 1e-300, 1e300, -1e18, 2.0**53, 1.005, 0.145, 1e19]
            return rng.choice([*exact, rng.uniform(-10, 10), rng.gauss(0, 1e6), rng.randint(-9, 9) / 4])
        case Kind.BOOL:
            return rng.random() < 0.5
        case Kind.TEXT:
            return rng.choice(TEXTS)
        case _:
            moment = rng.randrange(YEAR_2100)
            return rng.choice([moment, moment // DAY * DAY, moment // DAY * DAY - 1 + DAY, moment // 10**6 * 10**6])


class Trees:
    """Random expressions of a wanted type over the columns c_<number> of every type."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.columns = {f"c{k}_{copy}": type for k, type in enumerate(TYPES) for copy in range(2)}
        self.columns["event_time"] = TIME

    def tree(self, type: Type, depth: int) -> Expr:
        if depth == 0 or self.rng.random() < 0.1:
            return self.leaf(type)
        return self.rng.choice(self.makers(type))(type, depth - 1)

    def leaf(self, type: Type) -> Expr:
        if self.rng.random() < 0.2:
            return Literal(type, None if self.rng.random() < 0.1 else random_value(self.rng, type))
        return Column(type, self.rng.choice([name for name, t in self.columns.items() if t == type]))

    def makers(self, type: Type) -> list[Callable[[Type, int], Expr]]:
        found = [self.case, self.choice]
        if type.numeric:
            found += [self.arithmetic] * 3 + [self.sign, self.cast, self.try_cast, self.rounding]
        if type.kind is Kind.INT:
            found += [self.whole] * 2
        match type.kind:
            case Kind.DOUBLE:
                found += [self.quotient, self.epoch]
            case Kind.BOOL:
                found += [self.comparison, self.logic] * 3 + [self.is_null, self.like, self.in_list, self.try_cast]
                found += [self.cast]
            case Kind.TIME | Kind.LOCAL:
                found += [self.time_add]
                found += [self.at_zone] * 3 if type == LOCAL else []
            case Kind.INTERVAL:
                found += [self.time_sub]
        return found

    def call(self, type: Type, op: str, *args: Expr, param: str | int | None = None) -> Expr:
        return Call(type, op, args, param)

    def case(self, type: Type, depth: int) -> Expr:
        whens = [(self.tree(BOOL, depth), self.tree(type, depth)) for _ in range(self.rng.randint(1, 3))]
        return Case(type, tuple(whens), self.tree(type, depth))

    def choice(self, type: Type, depth: int) -> Expr:
        op = self.rng.choice(["coalesce", "greatest", "least", "nullif"])
        if type == BOOL and op in ("greatest", "least"):
            op = "nullif"
        count = 2 if op == "nullif" else self.rng.randint(1, 3)
        return self.call(type, op, *[self.tree(type, depth) for _ in range(count)])

    def arithmetic(self, type: Type, depth: int) -> Expr:
        op = self.rng.choice(["add", "sub", "mul", "mod"])
        factors = {WIDE: (MONEY, MONEY), WIDE_UNITS: (BIGINT, UNITS), MONEY: (MONEY, UNITS), PRICE: (PRICE, UNITS)}
        left, right = factors.get(type, (type, type)) if op == "mul" else (type, type)
        if op != "mul" and type.wide and self.rng.random() < 0.2:
            right = {HUGEINT: BIGINT, WIDE_UNITS: UNITS}.get(type, type)
        return self.call(type, op, self.tree(left, depth), self.tree(right, depth))

    def quotient(self, type: Type, depth: int) -> Expr:
        return self.call(type, "div", self.tree(DOUBLE, depth), self.tree(DOUBLE, depth))

    def sign(self, type: Type, depth: int) -> Expr:
        return self.call(type, self.rng.choice(["neg", "abs"]), self.tree(type, depth))

    def rounding(self, type: Type, depth: int) -> Expr:
        op = self.rng.choice(["round", "floor", "ceil"])
        if type == DOUBLE:
            digits = self.rng.choice([-3, 0, 1, 2, 5]) if op == "round" else None
            return self.call(type, op, self.tree(DOUBLE, depth), param=digits)
        if op == "round":
            digits = type.scale if type.scale else self.rng.choice([0, 0, -1, -2, -12, -30])
            return self.call(type, op, self.tree(self.rng.choice(EXACT), depth), param=digits)
        finer = [t for t in EXACT if t.scale >= type.scale and t.wide == type.wide]
        return self.call(type, op, self.tree(self.rng.choice(finer), depth))

    def cast(self, type: Type, depth: int) -> Expr:
        return self.call(type, "cast", self.tree(self.rng.choice([*EXACT, DOUBLE, BOOL]), depth))

    def try_cast(self, type: Type, depth: int) -> Expr:
        return self.call(type, "try_cast", self.tree(self.rng.choice([TEXT, TEXT, *EXACT, DOUBLE]), depth))

    def whole(self, type: Type, depth: int) -> Expr:
        if type == HUGEINT or self.rng.random() < 0.3:
            return self.call(type, "intdiv", self.tree(type, depth), self.tree(type, depth))
        match self.rng.choice(["length", "epoch_us", "extract", "date_diff"]):
            case "length":
                return self.call(type, "length", self.tree(TEXT, depth))
            case "epoch_us":
                return self.call(type, "epoch_us", self.tree(self.rng.choice([TIME, INTERVAL]), depth))
            case "extract":
                return self.call(type, "extract", self.moment(depth), param=self.rng.choice(PARTS))
            case _:
                part, kind = self.rng.choice(["day", "hour", "minute", "second"]), self.rng.choice([TIME, LOCAL])
                return self.call(type, "date_diff", self.tree(kind, depth), self.tree(kind, depth), param=part)

    def moment(self, depth: int) -> Expr:
        """A time that a calendar holds: Python's has no year 10000."""
        return self.at_zone(LOCAL, depth) if self.rng.random() < 0.5 else self.leaf(TIME)

    def at_zone(self, type: Type, depth: int) -> Expr:
        return self.call(type, "at_zone", self.leaf(TIME), param=self.rng.choice(ZONES))

    def epoch(self, type: Type, depth: int) -> Expr:
        return self.call(type, "epoch", self.tree(INTERVAL, depth))

    def time_add(self, type: Type, depth: int) -> Expr:
        return self.call(type, "time_add", self.tree(type, depth), self.tree(INTERVAL, depth))

    def time_sub(self, type: Type, depth: int) -> Expr:
        kind = self.rng.choice([TIME, LOCAL])
        return self.call(type, "time_sub", self.tree(kind, depth), self.tree(kind, depth))

    def comparison(self, type: Type, depth: int) -> Expr:
        op = self.rng.choice(["eq", "ne", "lt", "le", "gt", "ge", "distinct"])
        kind = self.rng.choice(TYPES)
        return self.call(type, op, self.tree(kind, depth), self.tree(kind, depth))

    def logic(self, type: Type, depth: int) -> Expr:
        op = self.rng.choice(["and", "or", "not"])
        return self.call(type, op, *[self.tree(BOOL, depth) for _ in range(1 if op == "not" else 2)])

    def is_null(self, type: Type, depth: int) -> Expr:
        return self.call(type, "is_null", self.tree(self.rng.choice(TYPES), depth))

    def like(self, type: Type, depth: int) -> Expr:
        return self.call(type, "like", self.tree(TEXT, depth), param=self.rng.choice(PATTERNS))

    def in_list(self, type: Type, depth: int) -> Expr:
        return self.call(type, "in_list", self.tree(TEXT, depth), param=self.rng.choice(list(LISTS)))


def compare(rng: random.Random, count: int, rows: int) -> Counter[str]:
    """One program of `count` expressions over `rows` random rows, judged cell by cell; the operators that it used."""
    trees, layout, tables = Trees(rng), Layout(), build_lists(LISTS)
    for name, type in trees.columns.items():
        layout.add(name, type)
    outputs: list[tuple[Expr, Slot]] = []
    for k in range(count):
        expr = trees.tree(rng.choice(TYPES), rng.randint(1, 4))
        outputs.append((expr, layout.add(f"out{k}", expr.type)))
    program = compile_program(outputs, layout, tables.index)
    data = {
        name: [None if rng.random() < 0.15 and name != "event_time" else random_value(rng, type) for _ in range(rows)]
        for name, type in trees.columns.items()
    }
    sheet = sheet_of(layout, data)
    program.run(sheet, tables)
    for i in range(rows):
        row = {name: values[i] for name, values in data.items()}
        for expr, slot in outputs:
            want = spec.evaluate(expr, row, LISTS)  # type: ignore[arg-type]
            got: object = spec.ERROR if sheet.validity(slot)[i] == ERROR else sheet.value(slot, i)
            assert got == want and (got is None) == (want is None), (expr, row, got, want)
            assert sheet.validity(slot)[i] in (VALID, 0, ERROR)
    return Counter(node.op for expr, _ in outputs for node in walk(expr) if isinstance(node, Call))


def test_random_trees_equal_the_specification(capsys: pytest.CaptureFixture[str]) -> None:
    """500 trees over every operator and type, NULLs and overflows among them, marks included."""
    seen: Counter[str] = Counter()
    for seed in range(10):
        seen += compare(random.Random(seed), count=50, rows=40)
    with capsys.disabled():
        print("\noperators:", " ".join(f"{op}:{seen[op]}" for op in OPS))
    assert set(seen) == set(OPS)


def test_blocks_do_not_matter() -> None:
    """Rows beyond the first block are computed as all others, whatever the batch's size."""
    for rows in (1, 255, 256, 257, 600):
        compare(random.Random(rows), count=4, rows=rows)
