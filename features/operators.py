"""What each operator of features.expr becomes on the virtual machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce

from features import vm
from features.builder import OUTCOMES, Builder, Reading, digits_of, rows_of
from features.civil import CIVIL_PARTS, CYCLES, UNITS_US, zone_table
from features.expr import Call
from features.numerals import READ_BOOL, READ_DOUBLE, READ_EXACT, READ_TIME
from features.refusal import Refusal
from features.types import BIGINT, HUGEINT, Kind, Type, decimal

# builder, call, the nodes of its arguments -> the node of its value
Rule = Callable[[Builder, Call, list[int]], int]


def _arithmetic(narrow_op: int, wide_op: int, double_op: int) -> Rule:
    def rule(b: Builder, call: Call, args: list[int]) -> int:
        if call.type.kind is Kind.DOUBLE:
            return b.node(double_op, *args)
        return b.exact(narrow_op, wide_op, args, [arg.type for arg in call.args], call.type)

    return rule


def _round(b: Builder, call: Call, args: list[int]) -> int:
    source, to, digits = call.args[0].type, call.type, int(call.param or 0)
    if to.kind is Kind.DOUBLE:
        ten = 10.0 ** abs(digits) if abs(digits) <= 308 else math.inf
        return b.node(vm.ROUND_F64, args[0], b.float_constant(ten), p=int(digits >= 0))
    if digits >= source.scale:
        return b.shift(args[0], source, to.scale - source.scale, to)
    between = decimal(38 if source.wide or to.wide else 18, max(digits, 0))
    return b.shift(b.shift(args[0], source, digits - source.scale, between), between, to.scale - digits, to)


def _floor(b: Builder, call: Call, args: list[int]) -> int:
    source, to = call.args[0].type, call.type
    if to.kind is Kind.DOUBLE:
        return b.node(vm.FLOOR_F64, args[0])
    digits = source.scale - to.scale
    if digits == 0:
        return b.shift(args[0], source, 0, to)
    if source.wide:
        return b.narrow(b.node(vm.FLOOR_I128, args[0], rows=2, c=digits), to)
    floored = b.node(vm.FLOOR_I64, args[0], p=10**digits)
    return b.widen(floored, source) if to.wide else floored


def _ceil(b: Builder, call: Call, args: list[int]) -> int:
    if call.type.kind is Kind.DOUBLE:
        return b.node(vm.CEIL_F64, args[0])
    source, to = call.args[0].type, call.type
    negated = b.exact(vm.NEG_I64, vm.NEG_I128, args, [source], source)
    floored = _floor(b, call, [negated])
    return b.exact(vm.NEG_I64, vm.NEG_I128, [floored], [to], to)


def _compare(b: Builder, call: Call, args: list[int], op: str) -> int:
    """Both arguments as the wider of their types, compared."""
    type = max((arg.type for arg in call.args), key=lambda t: (t.kind is not Kind.NULL, t.wide))
    left, right = (b.fit(node, arg.type, type) for node, arg in zip(args, call.args, strict=True))
    return b.compare(op, type, left, right)


def _comparison(b: Builder, call: Call, args: list[int]) -> int:
    return _compare(b, call, args, call.op)


def _distinct(b: Builder, call: Call, args: list[int]) -> int:
    return b.node(vm.DISTINCT, *args, _compare(b, call, args, "ne"))


def _fitted(b: Builder, call: Call, args: list[int]) -> list[int]:
    """The arguments as the type of the result."""
    return [b.fit(node, arg.type, call.type) for node, arg in zip(args, call.args, strict=True)]


def _logic(op: int) -> Rule:
    return lambda b, call, args: reduce(lambda x, y: b.node(op, x, y), args)


def _unary(op: int) -> Rule:
    return lambda b, call, args: b.node(op, args[0])


def _coalesce(b: Builder, call: Call, args: list[int]) -> int:
    rows = rows_of(call.type)
    return reduce(lambda x, y: b.node(vm.COALESCE, x, y, rows=rows, p=rows), _fitted(b, call, args))


def _nullif(b: Builder, call: Call, args: list[int]) -> int:
    rows = rows_of(call.type)
    value = b.fit(args[0], call.args[0].type, call.type)
    return b.node(vm.NULLIF, value, _compare(b, call, args, "eq"), rows=rows, p=rows)


def _extreme(better: str) -> Rule:
    def rule(b: Builder, call: Call, args: list[int]) -> int:
        rows = rows_of(call.type)

        def better_of(x: int, y: int) -> int:
            return b.node(vm.PREFER, x, y, b.compare(better, call.type, x, y), rows=rows, p=rows)

        return reduce(better_of, _fitted(b, call, args))

    return rule


# --- casts ---


def _convert(b: Builder, expr: Call, node: int) -> int:
    source, to = expr.args[0].type, expr.type
    if source.kind is Kind.NULL:
        return b.null(to)
    if source.kind is Kind.BOOL and to.numeric:
        source = BIGINT
    if source.exact and to.exact:
        return b.shift(node, source, to.scale - source.scale, to)
    if source.exact and to.kind is Kind.DOUBLE:
        return b.node(vm.I128_TO_F64 if source.wide else vm.I64_TO_F64, node, c=source.scale)
    if source.kind is Kind.DOUBLE and to.exact:
        return _double_to_exact(b, node, to)
    if source.numeric and to.kind is Kind.BOOL:
        return b.compare("ne", source, node, b.constant(0, rows=rows_of(source)))
    if source.kind is to.kind or {source.kind, to.kind} == {Kind.TIME, Kind.LOCAL}:
        return node
    raise Refusal(f"cannot cast {source} to {to}", "compare or compute in the type that it has", expr.place)


def _double_to_exact(b: Builder, node: int, to: Type) -> int:
    away = int(to.kind is Kind.DECIMAL)  # DuckDB rounds halves to even only when it casts to an integer
    ten = b.float_constant(10.0**to.scale)
    return b.narrow(b.node(vm.F64_TO_I128, node, ten, rows=2, p=digits_of(to), q=away), to)


def _cast(b: Builder, call: Call, args: list[int]) -> int:
    return _convert(b, call, args[0])


def _reading(call: Call) -> tuple[int, int, int]:
    """What to read, the scale, and the precision or whether it is local: a job of numerals.read_texts."""
    to = call.type
    match to.kind:
        case Kind.INT | Kind.DECIMAL:
            return READ_EXACT, to.scale, digits_of(to)
        case Kind.DOUBLE:
            return READ_DOUBLE, 0, 0
        case Kind.BOOL:
            return READ_BOOL, 0, 0
        case Kind.TIME | Kind.LOCAL:
            return READ_TIME, 0, int(to.kind is Kind.LOCAL)
        case _:
            raise Refusal(f"cannot read {to} from text", "read a number, a time or a boolean", call.place)


def _read(b: Builder, call: Call) -> int:
    """A number, time or boolean out of text, which is read before the machine runs: see Program.before."""
    source, to = call.args[0], call.type
    what, scale, detail = _reading(call)
    if (source, to) not in b.readings:
        texts, values = b.layout.temporary(source.type), b.layout.temporary(HUGEINT if what == READ_EXACT else to)
        b.readings[source, to] = Reading(texts, values, (what, texts.row, values.row, scale, detail))
    node = b.load(b.readings[source, to].values)
    return b.narrow(node, to) if what == READ_EXACT else node


def _try_cast(b: Builder, call: Call, args: list[int]) -> int:
    read = call.args[0].type.kind is Kind.TEXT and call.type.kind is not Kind.TEXT
    rows = rows_of(call.type)
    return b.node(vm.UNMARK, _read(b, call) if read else _convert(b, call, args[0]), args[0], rows=rows, p=rows)


def _like(b: Builder, call: Call, args: list[int]) -> int:
    return b.node(vm.LIKE, args[0], p=b.layout.literal(str(call.param)))


def _in_list(b: Builder, call: Call, args: list[int]) -> int:
    name = str(call.param)
    if name not in b.lists:
        raise Refusal(f"there is no list {name}", f"add lists/{name}.csv to the pack", call.place)
    return b.node(vm.LISTED, args[0], b.load(b.layout["event_time"]), p=b.lists[name])


def _same(b: Builder, call: Call, args: list[int]) -> int:
    return args[0]


def _at_zone(b: Builder, call: Call, args: list[int]) -> int:
    name = str(call.param)
    try:
        size = len(zone_table(name))
    except (KeyError, ValueError, OSError) as error:
        raise Refusal(f"there is no time zone {name}", "use an IANA name like 'Asia/Tokyo'", call.place) from error
    if name not in b.zones:
        b.zones[name] = sum(len(zone_table(other)) for other in b.zones)
    return b.node(vm.LOCALIZE, args[0], p=b.zones[name], q=b.zones[name] + size)


def _extract(b: Builder, call: Call, args: list[int]) -> int:
    part = str(call.param)
    if part in CYCLES:
        unit, shift, modulus, first = CYCLES[part]
        return b.node(vm.CYCLE, args[0], b=shift, c=first, p=unit, q=modulus)
    if part in CIVIL_PARTS:
        return b.node(vm.CIVIL, args[0], p=CIVIL_PARTS[part])
    raise Refusal(f"cannot extract {part}", f"use one of {', '.join((*CYCLES, *CIVIL_PARTS))}", call.place)


def _epoch(b: Builder, call: Call, args: list[int]) -> int:
    return b.node(vm.I64_TO_F64, args[0], c=6)


def _date_diff(b: Builder, call: Call, args: list[int]) -> int:
    part = str(call.param)
    if part not in UNITS_US:
        raise Refusal(f"cannot count boundaries of {part}", f"use one of {', '.join(UNITS_US)}", call.place)
    return b.node(vm.BOUNDARIES, *args, p=UNITS_US[part])


OPERATORS: Mapping[str, Rule] = {
    "add": _arithmetic(vm.ADD_I64, vm.ADD_I128, vm.ADD_F64),
    "sub": _arithmetic(vm.SUB_I64, vm.SUB_I128, vm.SUB_F64),
    "mul": _arithmetic(vm.MUL_I64, vm.MUL_I128, vm.MUL_F64),
    "div": lambda b, call, args: b.node(vm.DIV_F64, *args),
    "intdiv": _arithmetic(vm.DIV_I64, vm.DIV_I128, vm.DIV_F64),
    "mod": _arithmetic(vm.MOD_I64, vm.MOD_I128, vm.MOD_F64),
    "neg": _arithmetic(vm.NEG_I64, vm.NEG_I128, vm.NEG_F64),
    "abs": _arithmetic(vm.ABS_I64, vm.ABS_I128, vm.ABS_F64),
    "round": _round,
    "floor": _floor,
    "ceil": _ceil,
    **dict.fromkeys(OUTCOMES, _comparison),
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
