"""Where the rows of a block end in a tree: every node once, for 64 rows at a time as one word of bits.

A node compares the bins of 64 rows in one vector comparison; which of them stand at it is a word that its parent has
written. Nothing is looked up and nothing branches. `trees._follow`, a row alone from the root on, is its judge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic
from numba.np.arrayobj import make_array

from features.kernel import bare, inlined
from features.sheet import Bytes
from features.shims import Int
from models.plan import Numbers, Places

LANES = 64
GROUPS = 4
BLOCK = GROUPS * LANES  # rows whose bins and places stay in the nearest cache

Words = npt.NDArray[np.uint64]
_MASK = ir.VectorType(ir.IntType(1), LANES)


def _vector(context: Any, builder: Any, array: Any, data: Any, at: Any) -> Any:
    """A pointer to the 64 elements of an array from the flat place `at` on."""
    first = make_array(array)(context, builder, data).data
    element = context.get_data_type(array.dtype)
    return builder.bitcast(builder.gep(first, [at]), ir.VectorType(element, LANES).as_pointer())


def _broadcast(builder: Any, value: Any, type: Any) -> Any:
    one = builder.insert_element(ir.Constant(type, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(type, ir.Undefined), zeros)


def _type_at_most(typing: Any, bins: Any, at: Any, limit: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _vector(context, builder, signature.args[0], args[0], args[1])
        found = builder.load(place, align=1)
        bits = builder.icmp_unsigned("<=", found, _broadcast(builder, args[2], found.type))
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(bins, types.int64, bins.dtype), generate


def _type_put(typing: Any, places: Any, at: Any, rows: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _vector(context, builder, signature.args[0], args[0], args[1])
        before = builder.load(place, align=1)
        here = builder.bitcast(args[2], _MASK)
        builder.store(builder.select(here, _broadcast(builder, args[3], before.type), before), place, align=1)
        return context.get_dummy_value()

    return types.void(places, types.int64, types.uint64, places.dtype), generate


_at_most: Any = intrinsic(_type_at_most)  # the rows of bins[at : at + 64] whose bin is at most the limit, as bits
_put: Any = intrinsic(_type_put)  # places[at : at + 64], where `rows` has a bit, becomes the value


@inlined
def _place(child: Int, nodes: Int) -> Int:
    """Where a child's words stand; all leaves share a place that nobody reads."""
    return np.int64(child) if child < nodes else nodes


@bare
def sweep(
    bins: Bytes, column: Numbers, rank: Bytes, left: Places, right: Places, beyond: Places, at: Places, here: Words,
    groups: int,
) -> None:  # fmt: skip
    """The leaf of each row of a block of `groups` x 64 rows. bins: uint8[columns, BLOCK].   at: room for BLOCK rows.

    beyond: the leaf that is reached from a node by a step to the right, then ever to the left.
    here: room for GROUPS words a node, which rows stand at it, and as many that nobody reads.
    """
    nodes, leaf = len(column), np.int64(0)
    while leaf < nodes:
        leaf = np.int64(left[leaf])
    for k in range(groups * LANES):
        at[k] = leaf
    for k in range(groups):
        here[k] = ~np.uint64(0)
    for node in range(nodes):
        start, limit, target = column[node] * BLOCK, rank[node], beyond[node]
        to_left, to_right = GROUPS * _place(left[node], nodes), GROUPS * _place(right[node], nodes)
        for k in range(groups):
            rows, low = here[GROUPS * node + k], _at_most(bins, start + LANES * k, limit)
            here[to_left + k], here[to_right + k] = rows & low, rows & ~low
            _put(at, LANES * k, rows & ~low, target)
