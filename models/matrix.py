"""From cells to the model's matrix: every feature as a double, NaN where it is NULL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.kernel import bare, kernel
from features.refusal import Refusal
from features.sheet import HANDLE_BITS, VALID, Bytes, Doubles, Ints, Layout, Sheet
from features.shims import decimal_to_double
from features.types import Kind, Type
from models.card import Feature

# How a cell becomes a double.
_EXACT, _WIDE, _DOUBLE, _CATEGORY = 0, 1, 2, 3

_EXACT_INT = np.int64(2**53)  # integers up to here are doubles
_POWERS = np.array([10.0**k for k in range(19)])  # exact doubles, so that one division rounds correctly


@dataclass(frozen=True, eq=False)
class Inputs:
    """The model's columns in a sheet.

    row, how, scale: int64[features], the column's first row, its conversion, and e of units of 10^-e.
    Feature f knows the categories [first[f], first[f + 1]), sorted by their bytes: the text of category k is
    text[start[k]:start[k + 1]], its number code[k].
    """

    row: Ints
    how: Ints
    scale: Ints
    first: Ints
    code: Ints
    start: Ints
    text: Bytes


def find_inputs(features: tuple[Feature, ...], layout: Layout) -> Inputs:
    """Match the model's features to columns by name. Refusal names one that is missing or of a wrong type."""
    slots = []
    for feature in features:
        if feature.name not in layout:
            fix = f"add `{feature.name}` to features.sql, or train a model without it"
            raise Refusal(f"the model reads `{feature.name}`, which is neither a feature nor a field", fix)
        slots.append(layout[feature.name])
        _check(feature, slots[-1].type)
    tables = [sorted((value.encode(), code) for code, value in enumerate(feature.categories)) for feature in features]
    texts = [text for table in tables for text, _ in table]
    return Inputs(
        row=np.array([slot.row for slot in slots], np.int64),
        how=np.array([_how(slot.type) for slot in slots], np.int64),
        scale=np.array([slot.type.scale for slot in slots], np.int64),
        first=_starts([len(table) for table in tables]),
        code=np.array([code for table in tables for _, code in table], np.int64),
        start=_starts([len(text) for text in texts]),
        text=np.frombuffer(b"".join(texts), np.uint8),
    )


def gather(inputs: Inputs, sheet: Sheet, index: Ints) -> Doubles:
    """float64[features, k] of the events at `index`."""
    values = np.empty((len(inputs.row), len(index)))
    _gather(
        sheet.cells, sheet.valid, sheet.text, index, inputs.row, inputs.how, inputs.scale,
        inputs.first, inputs.code, inputs.start, inputs.text, values,
    )  # fmt: skip
    return values


def _check(feature: Feature, type: Type) -> None:
    categorical = feature.kind == "categorical"
    if categorical != (type.kind is Kind.TEXT) or not (categorical or type.numeric or type.kind is Kind.BOOL):
        what = f"the model takes `{feature.name}` as {feature.kind}, but the column is {type}"
        raise Refusal(what, "a categorical feature is VARCHAR; a numeric one a number, or BOOLEAN as 0 and 1")


def _how(type: Type) -> int:
    if type.kind is Kind.TEXT:
        return _CATEGORY
    if type.kind is Kind.DOUBLE:
        return _DOUBLE
    return _WIDE if type.wide else _EXACT


def _starts(lengths: list[int]) -> Ints:
    return np.cumsum([0, *lengths], dtype=np.int64)


@kernel
def _gather(
    cells: Ints,
    valid: Bytes,
    text: Bytes,
    index: Ints,
    row: Ints,
    how: Ints,
    scale: Ints,
    first: Ints,
    code: Ints,
    start: Ints,
    category_text: Bytes,
    values: Doubles,
) -> None:
    for f in range(len(row)):
        if how[f] == _DOUBLE:
            doubles = cells[row[f]].view(np.float64)
            for k in range(len(index)):
                values[f, k] = doubles[index[k]] if valid[row[f], index[k]] == VALID else np.nan
            continue
        if how[f] == _EXACT and _gather_exact(cells[row[f]], valid[row[f]], index, _POWERS[scale[f]], values[f]):
            continue
        for k in range(len(index)):
            i = index[k]
            cell = cells[row[f], i]
            if valid[row[f], i] != VALID:
                values[f, k] = np.nan
            elif how[f] == _CATEGORY:
                at, length = cell >> HANDLE_BITS, cell & ((1 << HANDLE_BITS) - 1)
                values[f, k] = _category(text[at : at + length], first[f], first[f + 1], code, start, category_text)
            elif how[f] == _EXACT and -_EXACT_INT <= cell <= _EXACT_INT:
                values[f, k] = np.float64(cell) / _POWERS[scale[f]]
            else:
                high = cells[row[f] + 1, i] if how[f] == _WIDE else cell >> 63
                values[f, k] = decimal_to_double(cell, high, scale[f])


@bare
def _gather_exact(cells: Ints, valid: Bytes, index: Ints, power: float, values: Doubles) -> bool:
    """Integers as doubles, over a power of ten; False where one of them is too large to be a double."""
    large = np.int64(0)
    for k in range(len(index)):
        cell = cells[index[k]] if valid[index[k]] == VALID else 0
        large |= (cell + _EXACT_INT) | (_EXACT_INT - cell)
        values[k] = np.float64(cell) / power if valid[index[k]] == VALID else np.nan
    return bool(large >= 0)


@kernel
def _category(value: Bytes, low: int, high: int, code: Ints, start: Ints, category_text: Bytes) -> float:
    """The number of a category; NaN if the model has not seen it."""
    while low < high:
        middle = (low + high) >> 1
        order = _compare(value, category_text[start[middle] : start[middle + 1]])
        if order == 0:
            return np.float64(code[middle])
        if order < 0:
            high = middle
        else:
            low = middle + 1
    return np.float64(np.nan)


@kernel
def _compare(a: Bytes, b: Bytes) -> int:
    """-1, 0 or 1 as a stands before, at or behind b in the order of bytes."""
    for k in range(min(len(a), len(b))):
        if a[k] != b[k]:
            return -1 if a[k] < b[k] else 1
    return (len(a) > len(b)) - (len(a) < len(b))
