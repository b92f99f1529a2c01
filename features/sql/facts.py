"""What a CASE condition proves about the expressions below it: not NULL, not zero, positive."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from features.expr import Call, Case, Column, Expr, Literal
from features.types import DOUBLE, Kind

_FLIPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_NEGATED = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}
# Operators whose value is NULL only if an argument is. (Overflow gives NULL as well: such a row joins no window.)
_STRICT = frozenset({
    "add", "sub", "mul", "neg", "abs", "round", "floor", "ceil", "eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or",
    "cast", "like", "length", "epoch_us", "at_zone", "extract", "epoch", "date_diff", "time_sub", "time_add",
})  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """Expressions (their casts taken off) known to be so wherever the facts hold."""

    present: frozenset[Expr] = frozenset()
    nonzero: frozenset[Expr] = frozenset()
    positive: frozenset[Expr] = frozenset()

    def __or__(self, other: Facts) -> Facts:
        return Facts(self.present | other.present, self.nonzero | other.nonzero, self.positive | other.positive)


def bare(expr: Expr) -> Expr:
    """The expression without casts that keep zero, sign and NULL as they are."""
    while isinstance(expr, Call) and expr.op == "cast":
        inner = expr.args[0]
        if not inner.type.numeric or (expr.type.exact and (inner.type == DOUBLE or expr.type.scale < inner.type.scale)):
            break
        expr = inner
    return expr


def implied(condition: Expr, truth: bool = True) -> Facts:
    """What holds where the condition is true, or where it is not true (false or NULL)."""
    if not isinstance(condition, Call):
        return Facts()
    if condition.op == "not":
        return implied_false(condition.args[0]) if truth else implied_untrue_not(condition.args[0])
    if condition.op == ("and" if truth else "or"):
        return implied(condition.args[0], truth) | implied(condition.args[1], truth)
    if condition.op == "is_null" and not truth:
        return Facts(present=frozenset({bare(condition.args[0])}))
    if condition.op in _FLIPPED:
        return _compared(condition, condition.op if truth else _NEGATED[condition.op], known=truth)
    return Facts()


def implied_false(condition: Expr) -> Facts:
    """What holds where the condition is false, not NULL."""
    if not isinstance(condition, Call):
        return Facts()
    if condition.op == "not":
        return implied(condition.args[0])
    if condition.op == "or":
        return implied_false(condition.args[0]) | implied_false(condition.args[1])
    if condition.op == "is_null":
        return Facts(present=frozenset({bare(condition.args[0])}))
    if condition.op in _FLIPPED:
        return _compared(condition, _NEGATED[condition.op], known=True)
    return Facts()


def implied_untrue_not(condition: Expr) -> Facts:
    """What holds where NOT condition is false or NULL: the condition is true or NULL."""
    if isinstance(condition, Call) and condition.op in _FLIPPED:
        return _compared(condition, condition.op, known=False)
    return Facts()


def _compared(condition: Call, op: str, known: bool) -> Facts:
    """Facts from `left op right`. Without `known` either side may be NULL too: a divisor of NULL gives NULL."""
    left, right = (bare(side) for side in condition.args)
    present = frozenset({left, right}) if known else frozenset[Expr]()
    if isinstance(left, Literal) and not isinstance(right, Literal):
        left, right, op = right, left, _FLIPPED[op]
    if not (isinstance(right, Literal) and right.type.numeric and right.value is not None):
        return Facts(present=present)
    bound = right.value
    assert not isinstance(bound, str)
    above = (op == "gt" and bound >= 0) or (op in ("ge", "eq") and bound > 0)
    apart = above or (op == "lt" and bound <= 0) or (op in ("le", "eq") and bound < 0) or (op == "ne" and bound == 0)
    this = frozenset({left})
    return Facts(present, this if apart else frozenset(), this if above else frozenset())


def never_null(expr: Expr, facts: Facts, nullable: AbstractSet[str]) -> bool:
    """True when the expression cannot be NULL. `nullable` names the columns that can."""
    if expr in facts.present or bare(expr) in facts.present:
        return True
    match expr:
        case Literal():
            return expr.value is not None
        case Column():
            return expr.name not in nullable
        case Case():
            values = [*(value for _, value in expr.whens), expr.default]
            return all(never_null(value, facts, nullable) for value in values)
        case Call(op="coalesce" | "greatest" | "least"):
            return any(never_null(arg, facts, nullable) for arg in expr.args)
        case Call(op="is_null" | "distinct"):
            return True
        case Call() if expr.op in _STRICT:
            return all(never_null(arg, facts, nullable) for arg in expr.args)
    return False


def never_zero(expr: Expr, facts: Facts, counts: AbstractSet[str]) -> bool:
    """True when the expression is NULL or not zero. `counts` names the columns that are never negative."""
    expr = bare(expr)
    if expr in facts.nonzero or positive(expr, facts, counts):
        return True
    match expr:
        case Literal():
            return expr.value is None or bool(expr.value)
        case Call(op="nullif"):
            other = bare(expr.args[1])
            return isinstance(other, Literal) and other.value == 0 and other.value is not None
        case Call(op="neg" | "abs"):
            return never_zero(expr.args[0], facts, counts)
        case Call(op="coalesce"):
            return all(never_zero(arg, facts, counts) for arg in expr.args)
        case Case():
            return _nullif_zero(expr) or (
                all(never_zero(value, facts | implied(when), counts) for when, value in expr.whens)
                and never_zero(expr.default, facts | _else(expr), counts)
            )
    return False


def _nullif_zero(expr: Case) -> bool:
    """NULLIF(x, 0) over two types: CASE WHEN x = 0 THEN NULL ELSE x END."""
    return (
        len(expr.whens) == 1
        and expr.whens[0][1] == Literal(expr.type, None)
        and (bare(expr.default) in implied(expr.whens[0][0], truth=False).nonzero)
    )


def _else(expr: Case) -> Facts:
    facts = Facts()
    for when, _ in expr.whens:
        facts |= implied(when, truth=False)
    return facts


def positive(expr: Expr, facts: Facts, counts: AbstractSet[str]) -> bool:
    """True when the expression is NULL or greater than zero."""
    expr = bare(expr)
    if expr in facts.positive:
        return True
    match expr:
        case Literal():
            return expr.value is None or (not isinstance(expr.value, str) and expr.value > 0)
        case Call(op="greatest"):
            return any(
                isinstance(bare(arg), Literal) and positive(arg, facts, counts) and not _null(arg) for arg in expr.args
            )
        case Call(op="add"):
            a, b = expr.args
            return (positive(a, facts, counts) and not_negative(b, facts, counts)) or (
                positive(b, facts, counts) and not_negative(a, facts, counts)
            )
        case Call(op="mul") if expr.type.kind is not Kind.DOUBLE:
            return all(positive(arg, facts, counts) for arg in expr.args)
        case Call(op="coalesce" | "least"):
            return all(positive(arg, facts, counts) for arg in expr.args)
    return False


def not_negative(expr: Expr, facts: Facts, counts: AbstractSet[str]) -> bool:
    """True when the expression is NULL or at least zero."""
    expr = bare(expr)
    match expr:
        case Literal():
            return expr.value is None or (not isinstance(expr.value, str) and expr.value >= 0)
        case Column():
            return expr.name in counts or expr in facts.positive
        case Call(op="abs" | "length"):
            return True
        case Call(op="add" | "coalesce" | "mul"):
            return all(not_negative(arg, facts, counts) for arg in expr.args)
        case Call(op="greatest"):
            return any(
                isinstance(bare(arg), Literal) and not_negative(arg, facts, counts) and not _null(arg)
                for arg in expr.args
            )
    return positive(expr, facts, counts)


def _null(expr: Expr) -> bool:
    inner = bare(expr)
    return isinstance(inner, Literal) and inner.value is None
