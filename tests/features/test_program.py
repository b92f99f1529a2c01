"""Compiling expressions: sharing, registers, refusals, and the sheet that a program leaves."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from features import vm
from features.expr import Call, Case, Column, Expr, Literal
from features.lists import ListTables, build_lists
from features.program import Program, compile_program
from features.refusal import Place, Refusal
from features.sheet import ERROR, NULL, VALID, Layout, Sheet, sheet_of
from features.types import BIGINT, BOOL, DOUBLE, HUGEINT, TEXT, TIME, Type, decimal
from features.types import NULL as NULL_TYPE

NO_LISTS = build_lists({})
A, B, T, P = Column(BIGINT, "a"), Column(BIGINT, "b"), Column(TEXT, "t"), Column(BOOL, "p")


def layout() -> Layout:
    made = Layout()
    for name, type in {"a": BIGINT, "b": BIGINT, "t": TEXT, "p": BOOL, "event_time": TIME}.items():
        made.add(name, type)
    return made


def call(type: Type, op: str, *args: Expr, param: str | int | None = None) -> Call:
    return Call(type, op, args, param)


def program(exprs: Sequence[Expr], made: Layout) -> Program:
    return compile_program([(e, made.add(f"o{k}", e.type)) for k, e in enumerate(exprs)], made, NO_LISTS.index)


def run(
    expr: Expr, tables: ListTables = NO_LISTS, **columns: Iterable[int | str | bool | None]
) -> tuple[Sheet, list[object]]:
    made = layout()
    made.add("out", expr.type)
    compiled = compile_program([(expr, made["out"])], made, tables.index)
    sheet = sheet_of(made, columns)
    compiled.run(sheet, tables)
    return sheet, [sheet.value("out", i) for i in range(sheet.n)]


def test_what_is_written_twice_is_computed_once() -> None:
    """Equal subexpressions share one operation, wherever their text stood."""
    total = call(BIGINT, "add", A, B)
    again = Call(BIGINT, "add", (A, Column(BIGINT, "b", place=Place(3, 4))), place=Place(9, 9))
    made = program([call(BOOL, "gt", total, Literal(BIGINT, 1)), call(BOOL, "lt", again, Literal(BIGINT, 1))], layout())
    assert sorted(made.code[:, 0]) == sorted([vm.LOAD, vm.LOAD, vm.ADD_I64, *[vm.COMPARE_I64] * 2, *[vm.STORE] * 2])
    assert list(made.constants) == [1]


def test_registers_are_used_again() -> None:
    """A long chain of sums needs no more registers than a short one."""
    chain: Expr = A
    for k in range(200):
        chain = call(BIGINT, "add", chain, call(BIGINT, "mul", B, Column(BIGINT, "a" if k % 2 else "b")))
    made = program([chain], layout())
    assert made.registers < 10


def test_no_destination_is_an_argument() -> None:
    """The loops of the machine may count on that."""
    wide = call(HUGEINT, "mul", call(HUGEINT, "cast", A), call(HUGEINT, "cast", B))
    for op, d, a, *_ in program([Case(HUGEINT, ((P, wide),), call(HUGEINT, "neg", wide)), wide], layout()).code:
        assert op in (vm.LOAD, vm.STORE) or d != a


def test_an_error_in_a_branch_not_taken_does_not_leak() -> None:
    """CASE computes all branches and takes one with its mark; the others leave nothing."""
    big = call(BIGINT, "mul", A, A)
    sheet, values = run(
        Case(BIGINT, ((call(BOOL, "lt", A, Literal(BIGINT, 10)), big),), Literal(BIGINT, -1)),
        a=[3, 2**62, -(2**62), None],
    )
    assert values == [9, -1, None, -1]
    assert list(sheet.validity("out")) == [VALID, VALID, ERROR, VALID]


def test_a_bare_null_fits_every_type() -> None:
    """coalesce(NULL, a), and a wide value compared with NULL."""
    null = Literal(NULL_TYPE, None)
    assert run(call(BIGINT, "coalesce", null, A), a=[1, None])[1] == [1, None]
    assert run(call(BOOL, "eq", call(HUGEINT, "cast", A), null), a=[1])[1] == [None]
    assert run(Literal(HUGEINT, None), a=[1])[1] == [None]


def test_texts_are_read_before_the_machine_runs_to_any_depth() -> None:
    """A try_cast inside a condition that chooses the text of another try_cast."""
    inner_value = call(BIGINT, "try_cast", T)
    text = Case(TEXT, ((call(BOOL, "gt", inner_value, Literal(BIGINT, 5)), Literal(TEXT, "0.5")),), Literal(TEXT, "x"))
    _, values = run(call(DOUBLE, "try_cast", text), t=["7", "3", "seven", None])
    assert values == [0.5, None, None, None]


def test_lists_compare_bytes_and_times() -> None:
    """An entry is active from its start to before its expiry; a value may have several; NULL is NULL."""

    class Entry:
        def __init__(self, value: str, starts_us: int, expires_us: int) -> None:
            self.value, self.starts_us, self.expires_us = value, starts_us, expires_us

    many = [Entry(f"v{k}", k, k + 1) for k in range(1000)]
    tables = build_lists(
        {"other": [Entry("x", 0, 10)], "few": [Entry("a", 5, 7), Entry("a", 9, 10), Entry("ä", 0, 9), *many]}
    )
    listed = call(BOOL, "in_list", T, param="few")
    for at_us, want in {
        4: [False, True],
        5: [True, True],
        7: [False, True],
        9: [True, False],
        10: [False, False],
    }.items():
        found = run(listed, tables, t=["a", "ä", "x", None, f"v{at_us}", f"v{at_us + 1}"], event_time=[at_us] * 6)[1]
        assert found == [*want, False, None, True, False]


def test_an_empty_sheet_is_no_case_of_its_own() -> None:
    """No rows in, no rows out, nothing raised."""
    assert run(call(BIGINT, "add", A, B), a=[], b=[])[1] == []


def test_only_its_own_rows_are_written() -> None:
    """Everything else in the sheet stays as it was."""
    made = layout()
    compiled = program([call(BIGINT, "add", A, B)], made)
    sheet = sheet_of(made, {"a": [1, 2], "b": [3, None]})
    cells, valid = sheet.cells.copy(), sheet.valid.copy()
    compiled.run(sheet, NO_LISTS)
    row = made["o0"].row
    others = [k for k in range(made.rows) if k != row]
    assert np.array_equal(sheet.cells[others], cells[others])
    assert np.array_equal(sheet.valid[others], valid[others])
    assert list(sheet.valid[row]) == [VALID, NULL]


@pytest.mark.parametrize(
    ("expr", "what"),
    [
        (call(BOOL, "in_list", T, param="absent"), "no list absent"),
        (call(TIME, "at_zone", Column(TIME, "event_time"), param="Mars/Base"), "no time zone Mars/Base"),
        (call(BIGINT, "extract", Column(TIME, "event_time"), param="century"), "cannot extract century"),
        (call(BIGINT, "date_diff", *[Column(TIME, "event_time")] * 2, param="month"), "boundaries of month"),
        (call(TEXT, "cast", A), "cannot cast BIGINT to VARCHAR"),
        (Column(BIGINT, "nowhere"), "no column nowhere"),
    ],
)
def test_what_does_not_exist_is_refused(expr: Expr, what: str) -> None:
    """When the pack is compiled, never when an event comes."""
    with pytest.raises(Refusal, match=what):
        program([expr], layout())


def test_types_that_do_not_fit_are_errors_of_the_caller() -> None:
    """A double in a column of integers, a column of another scale, an output that is also read."""
    made = layout()
    with pytest.raises(ValueError, match="DOUBLE stands where BIGINT is needed"):
        compile_program([(call(DOUBLE, "cast", A), made["b"])], made, {})
    with pytest.raises(ValueError, match=r"BIGINT stands where DECIMAL\(18, 2\) is needed"):
        compile_program([(Column(decimal(18, 2), "a"), made.add("m", decimal(18, 2)))], made, {})
    with pytest.raises(ValueError, match="read and written"):
        compile_program([(call(BIGINT, "neg", A), made["a"])], made, {})
