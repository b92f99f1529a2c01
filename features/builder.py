"""Operations of the virtual machine (features.vm) as a graph, each once however often it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from features import vm
from features.expr import Expr
from features.sheet import NULL, VALID, Layout, Slot
from features.shims import MAX_I64, MIN_I64
from features.types import Kind, Type

CONSTANT = -1  # the opcode of a node that is a constant register
OUTCOMES = {"lt": 1, "eq": 2, "le": 3, "gt": 4, "ne": 5, "ge": 6}  # see vm.COMPARE_I64


# --- types as the machine sees them ---


def rows_of(type: Type) -> int:
    """How many registers, or rows of the sheet, a value takes."""
    return 2 if type.wide else 1


def family_of(type: Type) -> str:
    """Which family of opcodes handles it: int64, wide, double or text."""
    if type.kind in (Kind.DOUBLE, Kind.TEXT):
        return type.kind.value
    return "wide" if type.wide else "int64"


def digits_of(type: Type) -> int:
    """The digits that a wide result is held to; 0 for what is bounded elsewhere."""
    return type.width if type.wide and type.kind is Kind.DECIMAL else 0


def bounds_of(type: Type) -> tuple[int, int]:
    """The least and the greatest value of a narrow type."""
    if type.kind is Kind.DECIMAL and not type.wide:
        return 1 - 10**type.width, 10**type.width - 1
    return MIN_I64, MAX_I64


COMPARE = {"int64": vm.COMPARE_I64, "wide": vm.COMPARE_I128, "double": vm.COMPARE_F64, "text": vm.COMPARE_TEXT}


@dataclass(frozen=True)
class Node:
    """One operation: what makes it the same as another one. rows: 2 for a wide result."""

    op: int
    args: tuple[int, ...]
    rows: int = 1
    b: int | None = None
    c: int = 0
    p: int = 0
    q: int = 0


@dataclass(frozen=True)
class Reading:
    """Values that are read from text before the machine runs.

    texts, values: where they stand in the sheet.   job: how to read them, see features.numerals.read_texts.
    """

    texts: Slot
    values: Slot
    job: tuple[int, ...]


@dataclass
class Builder:
    """Nodes in the order of evaluation; a node is known by its number.

    read, written: rows of the sheet.   zones: name -> first row of its table, in order.
    readings: what is read from text, by the text's expression and the wanted type.
    """

    layout: Layout
    lists: Mapping[str, int]
    nodes: dict[Node, int] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)
    zones: dict[str, int] = field(default_factory=dict)
    readings: dict[tuple[Expr, Type], Reading] = field(default_factory=dict)

    def node(self, op: int, *args: int, rows: int = 1, b: int | None = None, c: int = 0, p: int = 0, q: int = 0) -> int:
        return self.nodes.setdefault(Node(op, args, rows, b, c, p, q), len(self.nodes))

    def constant(self, cell: int, valid: int = VALID, rows: int = 1) -> int:
        low = cell & (2**64 - 1)
        return self.node(CONSTANT, rows=rows, p=low - 2**64 if low >= 2**63 else low, q=cell >> 64, c=valid)

    def float_constant(self, value: float) -> int:
        return self.constant(int(np.float64(value).view(np.int64)))

    def null(self, type: Type) -> int:
        return self.constant(0, NULL, rows_of(type))

    def load(self, slot: Slot) -> int:
        self.read.add(slot.row)
        return self.node(vm.LOAD, rows=rows_of(slot.type), b=slot.row, p=rows_of(slot.type))

    def store(self, node: int, slot: Slot) -> None:
        self.written.add(slot.row)
        self.node(vm.STORE, node, b=slot.row, p=rows_of(slot.type))

    def answer(self, node: int, slot: Slot) -> None:
        self.written.add(slot.row)
        self.node(vm.ANSWER, node, b=slot.row)

    def widen(self, node: int, type: Type) -> int:
        return node if type.wide else self.node(vm.WIDEN, node, rows=2)

    def narrow(self, node: int, type: Type) -> int:
        """A wide value as `type`, which may be wide itself."""
        low, high = bounds_of(type)
        return node if type.wide else self.node(vm.NARROW, node, p=low, q=high)

    def exact(self, narrow_op: int, wide_op: int, args: Sequence[int], types: Sequence[Type], type: Type) -> int:
        """An operation on int64 if all is narrow, on int128 else."""
        if not type.wide and not any(t.wide for t in types):
            low, high = bounds_of(type)
            return self.node(narrow_op, *args, p=low, q=high)
        wide = [self.widen(arg, t) for arg, t in zip(args, types, strict=True)]
        return self.narrow(self.node(wide_op, *wide, rows=2, p=digits_of(type)), type)

    def shift(self, node: int, type: Type, digits: int, to: Type) -> int:
        """The unscaled value times 10^digits; negative digits round halves away from zero."""
        if not type.wide and not to.wide and -18 <= digits <= 18:
            low, high = bounds_of(to)
            if digits == 0 and high >= bounds_of(type)[1]:
                return node
            op = vm.SCALE_UP_I64 if digits >= 0 else vm.SCALE_DOWN_I64
            return self.node(op, node, c=10 ** abs(digits), p=low, q=high)
        node = self.widen(node, type)
        while digits < -38:
            node, digits = self.node(vm.SCALE_DOWN_I128, node, rows=2, c=38), digits + 38
        if digits != 0 or digits_of(to) != digits_of(type):
            op = vm.SCALE_UP_I128 if digits >= 0 else vm.SCALE_DOWN_I128
            node = self.node(op, node, rows=2, c=abs(digits), p=digits_of(to))
        return self.narrow(node, to)

    def compare(self, op: str, type: Type, a: int, b: int) -> int:
        if type.kind is Kind.TEXT and op in ("eq", "ne"):
            return self.node(vm.SAME_TEXT, a, b, p=int(op == "eq"))
        return self.node(COMPARE[family_of(type)], a, b, p=OUTCOMES[op])

    def fit(self, node: int, source: Type, to: Type) -> int:
        """The node where a value of type `to` is needed: bare NULLs and widths give way, all else must agree."""
        if source.kind is Kind.NULL:
            return self.null(to)
        kinds_agree = source.kind is to.kind or (source.exact and to.exact)
        if not kinds_agree or source.scale != to.scale:
            raise ValueError(f"an expression of type {source} stands where {to} is needed")
        return self.widen(node, source) if to.wide else self.narrow(node, to) if source.wide else node


class Registers:
    """Gives each node its registers: constants keep theirs, others are used again after the last use."""

    def __init__(self, nodes: list[Node]) -> None:
        self.code: list[tuple[int, ...]] = []
        self.count = 0
        self._free: dict[int, list[int]] = {1: [], 2: []}
        self._at: dict[int, int] = {}
        last = {arg: k for k, node in enumerate(nodes) for arg in node.args}
        for k, node in enumerate(nodes):
            if node.op == CONSTANT:
                self._at[k] = self._new(node.rows)
        for k, node in enumerate(nodes):
            if node.op == CONSTANT:
                continue
            self.code.append(self._encode(k, node))
            for arg in {arg for arg in node.args if last[arg] == k and nodes[arg].op != CONSTANT}:
                self._free[nodes[arg].rows].append(self._at[arg])

    def _new(self, rows: int) -> int:
        self.count += rows
        return self.count - rows

    def _encode(self, k: int, node: Node) -> tuple[int, ...]:
        """The row of code. A destination never shares a register with an argument, so loops can be vectorised."""
        at = [self._at[arg] for arg in node.args]
        if node.op in (vm.STORE, vm.ANSWER):
            return (node.op, node.b or 0, at[0], at[0], 0, node.p, 0)
        free = self._free[node.rows]
        self._at[k] = target = free.pop() if free else self._new(node.rows)
        if node.op == vm.LOAD:
            return (node.op, target, node.b or 0, 0, 0, node.p, 0)
        b = node.b if node.b is not None else at[1] if len(at) > 1 else at[0]
        return (node.op, target, at[0], b, at[2] if len(at) > 2 else node.c, node.p, node.q)
