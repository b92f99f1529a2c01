"""From typed expressions to a program of the virtual machine (features.vm), and running it over sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features import vm
from features.builder import CONSTANT, Builder, Registers, rows_of
from features.civil import zone_arrays
from features.expr import Call, Case, Column, Expr, Literal
from features.lists import ListTables
from features.numerals import LIMBS, read_texts
from features.operators import OPERATORS
from features.query import Stage
from features.refusal import Refusal
from features.sheet import Bytes, Ints, Layout, Sheet, Slot
from features.threads import in_parts
from features.types import Kind


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

    def run(self, sheet: Sheet, lists: ListTables, threads: int = 1) -> None:
        """Compute every output for every row of the sheet."""
        if len(self.code) == 0:
            return
        shape = (self.registers, max(1, min(sheet.n, vm.BLOCK)))
        text = sheet.text.view()
        text.flags.writeable = False  # one type of array for the kernel, whoever made the sheet
        if self.before is not None:
            self.before.run(sheet, lists, threads)
            work = np.empty((2, LIMBS), np.int64)
            read_texts(self.jobs, sheet.cells, sheet.cells.view(np.float64), sheet.valid, text, work)

        def part(start: int, stop: int) -> None:
            registers, known = np.empty(shape, np.int64), np.empty(shape, np.uint8)
            vm.run(
                start, stop, self.code, self.constants, self.constant_valid, self.zones,
                sheet.cells, sheet.valid, text,
                registers, registers.view(np.float64), known,
                lists.secret, lists.slots, lists.keys, lists.spans, lists.text,
            )  # fmt: skip

        in_parts(threads, sheet.n, part)


def compile_program(outputs: Sequence[tuple[Expr, Slot]], layout: Layout, lists: Mapping[str, int]) -> Program:
    """A program that computes each expression into its slot.

    Columns are those of the layout, which takes in the texts of literals: make sheets afterwards. Every expression sees
    the sheet as it was before. `lists` gives the number of each list by name.
    Raises Refusal for a list, column, zone or cast that does not exist, ValueError for an output that is also read.
    """
    builder = Builder(layout, lists)
    for expr, slot in outputs:
        builder.store(builder.fit(_node(builder, expr), expr.type, slot.type), slot)
    return _made(builder)


def compile_conditions(conditions: Sequence[tuple[Expr, Slot]], layout: Layout, lists: Mapping[str, int]) -> Program:
    """The same for conditions of which only the answer is wanted, one byte of `valid` an event: TRUE, UNKNOWN ..."""
    builder = Builder(layout, lists)
    for expr, slot in conditions:
        builder.answer(builder.fit(_node(builder, expr), expr.type, slot.type), slot)
    return _made(builder)


def _made(builder: Builder) -> Program:
    """The program of what the builder holds."""
    if both := builder.read & builder.written:
        raise ValueError(f"rows {sorted(both)} of the sheet are read and written by one program")
    texts = [(expr, reading.texts) for (expr, _), reading in builder.readings.items()]
    registers = Registers(list(builder.nodes))
    constants = [node for node in builder.nodes if node.op == CONSTANT]
    return Program(
        np.array(registers.code, np.int64).reshape(-1, 7),
        np.array([cell for node in constants for cell in (node.p, node.q)[: node.rows]], np.int64),
        np.array([node.c for node in constants for _ in range(node.rows)], np.uint8),
        zone_arrays(list(builder.zones)),
        registers.count,
        compile_program(texts, builder.layout, builder.lists) if texts else None,
        np.array([reading.job for reading in builder.readings.values()], np.int64).reshape(-1, 5),
    )


def _node(b: Builder, expr: Expr) -> int:
    match expr:
        case Literal():
            return _literal(b, expr)
        case Column():
            return _column(b, expr)
        case Case():
            result, rows = b.fit(_node(b, expr.default), expr.default.type, expr.type), rows_of(expr.type)
            for condition, value in reversed(expr.whens):
                then = b.fit(_node(b, value), value.type, expr.type)
                result = b.node(vm.SELECT, _node(b, condition), then, result, rows=rows, p=rows)
            return result
        case Call():
            return OPERATORS[expr.op](b, expr, [_node(b, arg) for arg in expr.args])
    raise TypeError(f"not an expression: {expr!r}")


def _literal(b: Builder, expr: Literal) -> int:
    match expr.value:
        case None:
            return b.null(expr.type)
        case str():
            return b.constant(b.layout.literal(expr.value))
        case _ if expr.type.kind is Kind.DOUBLE:
            return b.float_constant(float(expr.value))
        case _:
            return b.constant(int(expr.value), rows=rows_of(expr.type))


def _column(b: Builder, expr: Column) -> int:
    if expr.name not in b.layout:
        raise Refusal(f"there is no column {expr.name}", "name a field, a feature or a score", expr.place)
    slot = b.layout[expr.name]
    return b.fit(b.load(slot), slot.type, expr.type)


def place_outputs(stage: Stage, layout: Layout) -> list[tuple[Expr, Slot]]:
    """Give each output of a stage a column; which of them remain to be computed.

    A window call's bare value is in its column already, which gets the output's name; a column handed on has its own.
    """
    calls, outputs = {call.name for call in stage.windows}, []
    for name, expr in stage.outputs:
        if isinstance(expr, Column) and expr.name == name:
            continue
        if name in layout:
            fix = "give it a name of its own"
            raise Refusal(f"the output {name!r} has the name of another column", fix, expr.place, "features.sql")
        if isinstance(expr, Column) and expr.name in calls:
            layout.alias(name, layout[expr.name])
        else:
            outputs.append((expr, layout.add(name, expr.type)))
    return outputs
