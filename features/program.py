"""From typed expressions to a program of the virtual machine (features.vm), and running it over sheets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from features import vm
from features.civil import CIVIL_PARTS, CYCLES, UNITS_US, zone_arrays, zone_table
from features.expr import Call, Case, Column, Expr, Literal
from features.lists import ListTables
from features.numerals import READ_BOOL, READ_DOUBLE, READ_EXACT, READ_TIME, read_texts
from features.refusal import Refusal
from features.sheet import NULL, VALID, Bytes, Ints, Layout, Sheet, Slot
from features.shims import MAX_I64, MIN_I64
from features.types import BIGINT, HUGEINT, Kind, Type, decimal

_CONSTANT = -1  # the opcode of a node that is a constant register
_OUTCOMES = {"lt": 1, "eq": 2, "le": 3, "gt": 4, "ne": 5, "ge": 6}  # see vm.COMPARE_I64


@dataclass(frozen=True)
class Program:
    """A compiled program, good for any sheet of its layout.

    code: int64[operations, 7].   constants: int64[k], which fill the first registers; constant_valid: uint8[k].
    zones: int64[2, z], see features.civil.   registers: how many rows of working memory.
    before: computes the texts that are to be read as numbers or times.   jobs: what to read, see numerals.read_texts.
    """

    code: Ints
    constants: Ints
    constant_valid: Bytes
    zones: Ints
    registers: int
    before: Program | None
    jobs: Ints

    def run(self, sheet: Sheet, lists: ListTables) -> None:
        """Compute every output for every row of the sheet."""
        shape = (self.registers, min(sheet.n, vm.BLOCK))
        registers, known = np.empty(shape, np.int64), np.empty(shape, np.uint8)
        text = sheet.text.view()
        text.flags.writeable = False  # one type of array for the kernel, whoever made the sheet
        if self.before is not None:
            self.before.run(sheet, lists)
            read_texts(self.jobs, sheet.cells, sheet.cells.view(np.float64), sheet.valid, text)
        vm.run(
            self.code, self.constants, self.constant_valid, self.zones,
            sheet.cells, sheet.valid, text,
            registers, registers.view(np.float64), known,
            lists.slots, lists.keys, lists.spans, lists.text,
        )  # fmt: skip


def compile_program(outputs: Sequence[tuple[Expr, Slot]], layout: Layout, lists: Mapping[str, int]) -> Program:
    """A program that computes each expression into its slot.

    Columns are those of the layout, which takes in the texts of literals: make sheets afterwards. Every expression sees
    the sheet as it was before. `lists` gives the number of each list by name.
    Raises Refusal for a list, column, zone or cast that does not exist, ValueError for an output that is also read.
    """
    compiler = _Compiler(layout, lists)
    for expr, slot in outputs:
        compiler.store(expr, slot)
    return compiler.program()


@dataclass(frozen=True)
class _Node:
    """One operation: what makes it the same as another one. rows: 2 for a wide result."""

    op: int
    args: tuple[int, ...]
    rows: int = 1
    b: int | None = None
    c: int = 0
    p: int = 0
    q: int = 0


class _Compiler:
    """Nodes in the order of evaluation, each once however often it is written."""

    def __init__(self, layout: Layout, lists: Mapping[str, int]) -> None:
        self.layout, self.lists = layout, lists
        self.nodes: dict[_Node, int] = {}
        self.read: set[int] = set()
        self.written: set[int] = set()
        self.zones: dict[str, int] = {}
        self.readings: dict[tuple[Expr, Type], Slot] = {}
        self.texts: list[tuple[Expr, Slot]] = []
        self.jobs: list[tuple[int, ...]] = []

    # --- nodes ---

    def node(self, op: int, *args: int, rows: int = 1, b: int | None = None, c: int = 0, p: int = 0, q: int = 0) -> int:
        return self.nodes.setdefault(_Node(op, args, rows, b, c, p, q), len(self.nodes))

    def constant(self, cell: int, valid: int = VALID, rows: int = 1) -> int:
        low = cell & (2**64 - 1)
        return self.node(_CONSTANT, rows=rows, p=low - 2**64 if low >= 2**63 else low, q=cell >> 64, c=valid)

    def float_constant(self, value: float) -> int:
        return self.constant(int(np.float64(value).view(np.int64)))

    def store(self, expr: Expr, slot: Slot) -> None:
        node = self.null(slot.type) if expr.type.kind is Kind.NULL else self.expr(expr)
        if expr.type.kind is not Kind.NULL and _form(expr.type) != _form(slot.type):
            raise ValueError(f"an expression of type {expr.type} does not fit a column of type {slot.type}")
        self.written.add(slot.row)
        self.node(vm.STORE, node, b=slot.row, p=_rows(slot.type))

    # --- expressions ---

    def expr(self, expr: Expr) -> int:
        match expr:
            case Literal():
                return self.literal(expr)
            case Column():
                return self.column(expr)
            case Case():
                result = self.expr(expr.default)
                for condition, value in reversed(expr.whens):
                    then, rows = self.expr(value), _rows(expr.type)
                    result = self.node(vm.SELECT, self.expr(condition), then, result, rows=rows, p=rows)
                return result
            case Call():
                return _CALLS[expr.op](self, expr, [self.expr(arg) for arg in expr.args])
        raise TypeError(f"not an expression: {expr!r}")

    def null(self, type: Type) -> int:
        return self.constant(0, NULL, _rows(type))

    def literal(self, expr: Literal) -> int:
        match expr.value:
            case None:
                return self.null(expr.type)
            case str():
                return self.constant(self.layout.literal(expr.value))
            case _ if expr.type.kind is Kind.DOUBLE:
                return self.float_constant(float(expr.value))
            case _:
                return self.constant(int(expr.value), rows=_rows(expr.type))

    def column(self, expr: Column) -> int:
        if expr.name not in self.layout:
            raise Refusal(f"there is no column {expr.name}", "name a field, a feature or a score", expr.place)
        slot = self.layout[expr.name]
        if _form(slot.type) != _form(expr.type):
            raise ValueError(f"column {expr.name} is {slot.type}, not {expr.type}")
        return self.load(slot)

    def load(self, slot: Slot) -> int:
        self.read.add(slot.row)
        return self.node(vm.LOAD, rows=_rows(slot.type), b=slot.row, p=_rows(slot.type))

    # --- exact numbers ---

    def widen(self, node: int, type: Type) -> int:
        return node if type.wide else self.node(vm.WIDEN, node, rows=2)

    def narrow(self, node: int, type: Type) -> int:
        """A wide value as `type`, which may be wide itself."""
        low, high = _bounds(type)
        return node if type.wide else self.node(vm.NARROW, node, p=low, q=high)

    def exact(self, narrow_op: int, wide_op: int, args: Sequence[int], types: Sequence[Type], type: Type) -> int:
        """An operation on int64 if all is narrow, on int128 else."""
        if not type.wide and not any(t.wide for t in types):
            low, high = _bounds(type)
            return self.node(narrow_op, *args, p=low, q=high)
        wide = [self.widen(arg, t) for arg, t in zip(args, types, strict=True)]
        return self.narrow(self.node(wide_op, *wide, rows=2, p=_digits(type)), type)

    def shift(self, node: int, type: Type, digits: int, to: Type) -> int:
        """The unscaled value times 10^digits; negative digits round halves away from zero."""
        if not type.wide and not to.wide and -18 <= digits <= 18:
            low, high = _bounds(to)
            if digits == 0 and high >= _bounds(type)[1]:
                return node
            op = vm.SCALE_UP_I64 if digits >= 0 else vm.SCALE_DOWN_I64
            return self.node(op, node, c=10 ** abs(digits), p=low, q=high)
        node = self.widen(node, type)
        while digits < -38:
            node, digits = self.node(vm.SCALE_DOWN_I128, node, rows=2, c=38), digits + 38
        if digits != 0 or _digits(to) != _digits(type):
            op = vm.SCALE_UP_I128 if digits >= 0 else vm.SCALE_DOWN_I128
            node = self.node(op, node, rows=2, c=abs(digits), p=_digits(to))
        return self.narrow(node, to)

    # --- comparison ---

    def compare(self, op: str, type: Type, a: int, b: int) -> int:
        if type.kind is Kind.TEXT and op in ("eq", "ne"):
            return self.node(vm.SAME_TEXT, a, b, p=int(op == "eq"))
        return self.node(_COMPARE[_family(type)], a, b, p=_OUTCOMES[op])

    # --- casts ---

    def cast(self, expr: Call, node: int) -> int:
        source, to = expr.args[0].type, expr.type
        if source.kind is Kind.NULL:
            return self.null(to)
        if source.kind is Kind.BOOL and to.numeric:
            source = BIGINT
        if source.exact and to.exact:
            return self.shift(node, source, to.scale - source.scale, to)
        if source.exact and to.kind is Kind.DOUBLE:
            return self.node(vm.I128_TO_F64 if source.wide else vm.I64_TO_F64, node, c=source.scale)
        if source.kind is Kind.DOUBLE and to.exact:
            return self.double_to_exact(node, to)
        if source.numeric and to.kind is Kind.BOOL:
            return self.compare("ne", source, node, self.constant(0, rows=_rows(source)))
        if source.kind is to.kind or {source.kind, to.kind} == {Kind.TIME, Kind.LOCAL}:
            return node
        raise Refusal(f"cannot cast {source} to {to}", "compare or compute in the type that it has", expr.place)

    def double_to_exact(self, node: int, to: Type) -> int:
        away = int(to.kind is Kind.DECIMAL)  # DuckDB rounds halves to even only when it casts to an integer
        ten = self.float_constant(10.0**to.scale)
        return self.narrow(self.node(vm.F64_TO_I128, node, ten, rows=2, p=_digits(to), q=away), to)

    def read_text(self, expr: Call) -> int:
        """A number, truth or time out of text, which is read between two runs of the machine: see Program.before."""
        source, to = expr.args[0], expr.type
        what, scale, detail = _reading(expr)
        slot = self.readings.get((source, to))
        if slot is None:
            slot = self.readings[source, to] = self.layout.temporary(HUGEINT if what == READ_EXACT else to)
            texts = self.layout.temporary(source.type)
            self.texts.append((source, texts))
            self.jobs.append((what, texts.row, slot.row, scale, detail))
        node = self.load(slot)
        return self.narrow(node, to) if what == READ_EXACT else node

    # --- the finished program ---

    def program(self) -> Program:
        if both := self.read & self.written:
            raise ValueError(f"rows {sorted(both)} of the sheet are read and written by one program")
        registers = _Registers(list(self.nodes))
        constants = [cell for node in self.nodes if node.op == _CONSTANT for cell in (node.p, node.q)[: node.rows]]
        valid = [node.c for node in self.nodes if node.op == _CONSTANT for _ in range(node.rows)]
        return Program(
            np.array(registers.code, np.int64).reshape(-1, 7),
            np.array(constants, np.int64),
            np.array(valid, np.uint8),
            zone_arrays(list(self.zones)),
            registers.count,
            compile_program(self.texts, self.layout, self.lists) if self.texts else None,
            np.array(self.jobs, np.int64).reshape(-1, 5),
        )


class _Registers:
    """Gives each node its registers: constants keep theirs, others are used again after the last use."""

    def __init__(self, nodes: list[_Node]) -> None:
        self.code: list[tuple[int, ...]] = []
        self.count = 0
        self._free: dict[int, list[int]] = {1: [], 2: []}
        self._at: dict[int, int] = {}
        last = {arg: k for k, node in enumerate(nodes) for arg in node.args}
        for k, node in enumerate(nodes):
            if node.op == _CONSTANT:
                self._at[k] = self._new(node.rows)
        for k, node in enumerate(nodes):
            if node.op == _CONSTANT:
                continue
            self.code.append(self._encode(k, node))
            for arg in {arg for arg in node.args if last[arg] == k and nodes[arg].op != _CONSTANT}:
                self._free[nodes[arg].rows].append(self._at[arg])

    def _new(self, rows: int) -> int:
        self.count += rows
        return self.count - rows

    def _encode(self, k: int, node: _Node) -> tuple[int, ...]:
        """The row of code. A destination never shares a register with an argument, so loops can be vectorised."""
        at = [self._at[arg] for arg in node.args]
        if node.op == vm.STORE:
            return (node.op, node.b or 0, at[0], at[0], 0, node.p, 0)
        free = self._free[node.rows]
        self._at[k] = target = free.pop() if free else self._new(node.rows)
        if node.op == vm.LOAD:
            return (node.op, target, node.b or 0, 0, 0, node.p, 0)
        b = node.b if node.b is not None else at[1] if len(at) > 1 else at[0]
        return (node.op, target, at[0], b, at[2] if len(at) > 2 else node.c, node.p, node.q)


# --- types as the machine sees them ---


def _rows(type: Type) -> int:
    return 2 if type.wide else 1


def _family(type: Type) -> str:
    if type.kind in (Kind.DOUBLE, Kind.TEXT):
        return type.kind.value
    return "wide" if type.wide else "int64"


def _form(type: Type) -> tuple[Kind, int, bool]:
    """What two types must share for a cell of one to be a cell of the other."""
    return type.kind, type.scale, type.wide


def _digits(type: Type) -> int:
    """The digits that a wide result is held to; 0 for what is bounded elsewhere."""
    return type.width if type.wide and type.kind is Kind.DECIMAL else 0


def _bounds(type: Type) -> tuple[int, int]:
    """The least and the greatest value of a narrow type."""
    if type.kind is Kind.DECIMAL and not type.wide:
        return 1 - 10**type.width, 10**type.width - 1
    return MIN_I64, MAX_I64


_COMPARE = {"int64": vm.COMPARE_I64, "wide": vm.COMPARE_I128, "double": vm.COMPARE_F64, "text": vm.COMPARE_TEXT}


def _reading(call: Call) -> tuple[int, int, int]:
    """What to read, the scale, and the precision or whether it is local: a job of numerals.read_texts."""
    to = call.type
    match to.kind:
        case Kind.INT | Kind.DECIMAL:
            return READ_EXACT, to.scale, _digits(to)
        case Kind.DOUBLE:
            return READ_DOUBLE, 0, 0
        case Kind.BOOL:
            return READ_BOOL, 0, 0
        case Kind.TIME | Kind.LOCAL:
            return READ_TIME, 0, int(to.kind is Kind.LOCAL)
        case _:
            raise Refusal(f"cannot read {to} from text", "read a number, a time or a boolean", call.place)


# --- one function an operator: compiler, call, compiled arguments -> node ---

_Rule = Callable[[_Compiler, Call, list[int]], int]


def _arithmetic(narrow_op: int, wide_op: int, double_op: int) -> _Rule:
    def rule(c: _Compiler, call: Call, args: list[int]) -> int:
        if call.type.kind is Kind.DOUBLE:
            return c.node(double_op, *args)
        return c.exact(narrow_op, wide_op, args, [arg.type for arg in call.args], call.type)

    return rule


def _round(c: _Compiler, call: Call, args: list[int]) -> int:
    source, to, digits = call.args[0].type, call.type, int(call.param or 0)
    if to.kind is Kind.DOUBLE:
        ten = 10.0 ** abs(digits) if abs(digits) <= 308 else math.inf
        return c.node(vm.ROUND_F64, args[0], c.float_constant(ten), p=int(digits >= 0))
    if digits >= source.scale:
        return c.shift(args[0], source, to.scale - source.scale, to)
    between = decimal(38 if source.wide or to.wide else 18, max(digits, 0))
    return c.shift(c.shift(args[0], source, digits - source.scale, between), between, to.scale - digits, to)


def _floor(c: _Compiler, call: Call, args: list[int]) -> int:
    source, to = call.args[0].type, call.type
    if to.kind is Kind.DOUBLE:
        return c.node(vm.FLOOR_F64, args[0])
    digits = source.scale - to.scale
    if digits == 0:
        return c.shift(args[0], source, 0, to)
    if source.wide:
        return c.narrow(c.node(vm.FLOOR_I128, args[0], rows=2, c=digits), to)
    floored = c.node(vm.FLOOR_I64, args[0], p=10**digits)
    return c.widen(floored, source) if to.wide else floored


def _ceil(c: _Compiler, call: Call, args: list[int]) -> int:
    if call.type.kind is Kind.DOUBLE:
        return c.node(vm.CEIL_F64, args[0])
    source, to = call.args[0].type, call.type
    negated = c.exact(vm.NEG_I64, vm.NEG_I128, args, [source], source)
    floored = _floor(c, call, [negated])
    return c.exact(vm.NEG_I64, vm.NEG_I128, [floored], [to], to)


def _comparison(c: _Compiler, call: Call, args: list[int]) -> int:
    return c.compare(call.op, call.args[0].type, *args)


def _distinct(c: _Compiler, call: Call, args: list[int]) -> int:
    return c.node(vm.DISTINCT, *args, c.compare("ne", call.args[0].type, *args))


def _logic(op: int) -> _Rule:
    return lambda c, call, args: reduce(lambda x, y: c.node(op, x, y), args)


def _unary(op: int) -> _Rule:
    return lambda c, call, args: c.node(op, args[0])


def _coalesce(c: _Compiler, call: Call, args: list[int]) -> int:
    rows = _rows(call.type)
    return reduce(lambda x, y: c.node(vm.COALESCE, x, y, rows=rows, p=rows), args)


def _nullif(c: _Compiler, call: Call, args: list[int]) -> int:
    rows = _rows(call.type)
    return c.node(vm.NULLIF, args[0], c.compare("eq", call.args[0].type, *args), rows=rows, p=rows)


def _extreme(better: str) -> _Rule:
    def rule(c: _Compiler, call: Call, args: list[int]) -> int:
        rows = _rows(call.type)
        return reduce(lambda x, y: c.node(vm.PREFER, x, y, c.compare(better, call.type, x, y), rows=rows, p=rows), args)

    return rule


def _cast(c: _Compiler, call: Call, args: list[int]) -> int:
    return c.cast(call, args[0])


def _try_cast(c: _Compiler, call: Call, args: list[int]) -> int:
    read = call.args[0].type.kind is Kind.TEXT and call.type.kind is not Kind.TEXT
    rows = _rows(call.type)
    return c.node(vm.UNMARK, c.read_text(call) if read else c.cast(call, args[0]), args[0], rows=rows, p=rows)


def _like(c: _Compiler, call: Call, args: list[int]) -> int:
    return c.node(vm.LIKE, args[0], p=c.layout.literal(str(call.param)))


def _in_list(c: _Compiler, call: Call, args: list[int]) -> int:
    name = str(call.param)
    if name not in c.lists:
        raise Refusal(f"there is no list {name}", f"add lists/{name}.csv to the pack", call.place)
    return c.node(vm.LISTED, args[0], c.load(c.layout["event_time"]), p=c.lists[name])


def _same(c: _Compiler, call: Call, args: list[int]) -> int:
    return args[0]


def _at_zone(c: _Compiler, call: Call, args: list[int]) -> int:
    name = str(call.param)
    try:
        size = len(zone_table(name))
    except (KeyError, ValueError, OSError) as error:
        raise Refusal(f"there is no time zone {name}", "use an IANA name like 'Asia/Tokyo'", call.place) from error
    if name not in c.zones:
        c.zones[name] = sum(len(zone_table(other)) for other in c.zones)
    return c.node(vm.LOCALIZE, args[0], p=c.zones[name], q=c.zones[name] + size)


def _extract(c: _Compiler, call: Call, args: list[int]) -> int:
    part = str(call.param)
    if part in CYCLES:
        unit, shift, modulus, first = CYCLES[part]
        return c.node(vm.CYCLE, args[0], b=shift, c=first, p=unit, q=modulus)
    if part in CIVIL_PARTS:
        return c.node(vm.CIVIL, args[0], p=CIVIL_PARTS[part])
    raise Refusal(f"cannot extract {part}", f"use one of {', '.join((*CYCLES, *CIVIL_PARTS))}", call.place)


def _epoch(c: _Compiler, call: Call, args: list[int]) -> int:
    return c.node(vm.I64_TO_F64, args[0], c=6)


def _date_diff(c: _Compiler, call: Call, args: list[int]) -> int:
    part = str(call.param)
    if part not in UNITS_US:
        raise Refusal(f"cannot count boundaries of {part}", f"use one of {', '.join(UNITS_US)}", call.place)
    return c.node(vm.BOUNDARIES, *args, p=UNITS_US[part])


_CALLS: Mapping[str, _Rule] = {
    "add": _arithmetic(vm.ADD_I64, vm.ADD_I128, vm.ADD_F64),
    "sub": _arithmetic(vm.SUB_I64, vm.SUB_I128, vm.SUB_F64),
    "mul": _arithmetic(vm.MUL_I64, vm.MUL_I128, vm.MUL_F64),
    "div": lambda c, call, args: c.node(vm.DIV_F64, *args),
    "intdiv": _arithmetic(vm.DIV_I64, vm.DIV_I128, vm.DIV_F64),
    "mod": _arithmetic(vm.MOD_I64, vm.MOD_I128, vm.MOD_F64),
    "neg": _arithmetic(vm.NEG_I64, vm.NEG_I128, vm.NEG_F64),
    "abs": _arithmetic(vm.ABS_I64, vm.ABS_I128, vm.ABS_F64),
    "round": _round,
    "floor": _floor,
    "ceil": _ceil,
    **dict.fromkeys(_OUTCOMES, _comparison),
    "distinct": _distinct,
    "and": _logic(vm.AND),
    "or": _logic(vm.OR),
    "not": _unary(vm.NOT),
    "is_null": _unary(vm.IS_NULL),
    "coalesce": _coalesce,
    "nullif": _nullif,
    "greatest": _extreme("ge"),
    "least": _extreme("le"),
    "cast": _cast,
    "try_cast": _try_cast,
    "like": _like,
    "length": _unary(vm.LENGTH),
    "in_list": _in_list,
    "epoch_us": _same,
    "at_zone": _at_zone,
    "extract": _extract,
    "epoch": _epoch,
    "date_diff": _date_diff,
    "time_sub": _arithmetic(vm.SUB_I64, vm.SUB_I128, vm.SUB_F64),
    "time_add": _arithmetic(vm.ADD_I64, vm.ADD_I128, vm.ADD_F64),
}
