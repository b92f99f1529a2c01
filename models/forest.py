"""Reading LightGBM's text models (version v4, written by LightGBM 4) into flat arrays, strictly."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from features.refusal import Place, Refusal
from features.sheet import Doubles, Ints

# Bits of a node's decision: a categorical split; where missing values go; what counts as missing (two bits).
CATEGORICAL = 1
DEFAULT_LEFT = 2
MISSING_SHIFT = 2
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2

MAX_LEAVES = 32_768  # nodes and leaves of one tree are numbered in 16 bits
MAX_FEATURES = 100_000  # LightGBM itself predicts otherwise above this
MAX_LEAF_VALUE = 1e300  # sums of leaves stay finite

_RETRAIN = "train it again with LightGBM 4 and save it with Booster.save_model"
_INT = re.compile(r"-?[0-9]{1,18}")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|-?inf")
_TREE_KEYS = {
    "num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "leaf_value", "leaf_weight", "leaf_count", "internal_value", "internal_weight", "internal_count",
    "cat_boundaries", "cat_threshold", "is_linear", "shrinkage",
}  # fmt: skip

_COLUMNS = ("split_feature", "decision_type", "left_child", "right_child", "threshold", "leaf_value")
_COUNTS = ("internal_count", "leaf_count")


@dataclass(frozen=True, eq=False)
class Forest:
    """The trees of one binary classifier, one after the other.

    feature_names: in the order of the model's matrix.   sigmoid: probability = 1 / (1 + exp(-sigmoid * raw)).
    Tree t has the nodes [node_start[t], node_start[t + 1]) and the leaves [leaf_start[t], leaf_start[t + 1]).
    feature, decision, left, right: int64[nodes]; a child c >= 0 is a node of the same tree, c < 0 its leaf ~c.
    threshold: float64[nodes]; of a categorical split the index of its set in set_start.
    set_start: int64[sets + 1], where each categorical set begins in set_words: int64[...] of 32 bits each.
    leaf_value: float64[leaves].   node_count, leaf_count: int64, rows of the training; 0 where the file does not say.
    """

    feature_names: tuple[str, ...]
    sigmoid: float
    node_start: Ints
    leaf_start: Ints
    feature: Ints
    decision: Ints
    threshold: Doubles
    left: Ints
    right: Ints
    set_start: Ints
    set_words: Ints
    leaf_value: Doubles
    node_count: Ints
    leaf_count: Ints

    @property
    def trees(self) -> int:
        return len(self.node_start) - 1


@dataclass
class _Lines:
    """The text's lines and the one being read, counted from 0."""

    lines: list[str]
    at: int = 0

    def refuse(self, what: str, fix: str = _RETRAIN, at: int | None = None) -> Refusal:
        return Refusal(what, fix, Place((self.at if at is None else at) + 1))

    def peek(self) -> str:
        if self.at >= len(self.lines):
            raise self.refuse("the model ends before its line `end of trees`", "copy the whole file again")
        return self.lines[self.at]

    def pairs(self) -> dict[str, tuple[int, str]]:
        """The lines `key=value` up to an empty line: key -> (line, value)."""
        found: dict[str, tuple[int, str]] = {}
        while (line := self.peek()).strip():
            key, _, value = line.partition("=")
            if key in found:
                raise self.refuse(f"`{key}` stands twice")
            found[key] = (self.at, value)
            self.at += 1
        return found

    def skip_empty(self) -> None:
        while not self.peek().strip():
            self.at += 1


@dataclass
class _Arrays:
    """What the trees read so far add up to."""

    features: int
    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in (*_COLUMNS, *_COUNTS)})
    node_start: list[int] = field(default_factory=lambda: [0])
    leaf_start: list[int] = field(default_factory=lambda: [0])
    set_start: list[int] = field(default_factory=lambda: [0])
    set_words: list[int] = field(default_factory=list)


def parse_forest(raw: bytes) -> Forest:
    """The forest that a LightGBM text model describes. Refusal names the line of anything else."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start)
        raise Refusal(f"byte {error.start} of the model is not UTF-8", _RETRAIN, Place(line + 1)) from None
    lines = _Lines(text.split("\n"))
    names, sigmoid, trees = _header(lines)
    arrays = _Arrays(len(names))
    for number in range(trees):
        lines.skip_empty()
        _tree(lines, number, arrays)
    lines.skip_empty()
    if lines.peek() != "end of trees":
        raise lines.refuse(f"expected `end of trees` after {trees} trees, found `{lines.peek()[:40]}`")
    _trailer(lines)
    return _forest(names, sigmoid, arrays)


def _forest(names: tuple[str, ...], sigmoid: float, arrays: _Arrays) -> Forest:
    def ints(values: list[float] | list[int]) -> Ints:
        return np.array(values, np.int64)

    columns = arrays.columns
    return Forest(
        names,
        sigmoid,
        ints(arrays.node_start),
        ints(arrays.leaf_start),
        ints(columns["split_feature"]),
        ints(columns["decision_type"]),
        np.array(columns["threshold"], np.float64),
        ints(columns["left_child"]),
        ints(columns["right_child"]),
        ints(arrays.set_start),
        ints(arrays.set_words),
        np.array(columns["leaf_value"], np.float64),
        *(ints(columns[key]) for key in _COUNTS),
    )


def _header(lines: _Lines) -> tuple[tuple[str, ...], float, int]:
    """Feature names, sigmoid and the number of trees."""
    if lines.peek() != "tree":
        raise lines.refuse("this is not a LightGBM text model: its first line is not `tree`")
    head = lines.pairs()
    for key, expected in (("version", "v4"), ("num_class", "1"), ("num_tree_per_iteration", "1")):
        at, value = _need(lines, head, key)
        if value != expected:
            raise lines.refuse(f"{key}={value} is not supported, only {expected} is", at=at)
    if "average_output" in head:
        raise lines.refuse("random forests (boosting=rf) are not supported", at=head["average_output"][0])
    names = _feature_names(lines, head)
    at, sizes = _need(lines, head, "tree_sizes")
    return names, _sigmoid(lines, head), len(_ints(lines, at, sizes))


def _feature_names(lines: _Lines, head: Mapping[str, tuple[int, str]]) -> tuple[str, ...]:
    at, text = _need(lines, head, "feature_names")
    names = tuple(text.split(" "))
    if len(set(names)) != len(names) or "" in names:
        raise lines.refuse("feature_names holds an empty name or one name twice", at=at)
    (last,) = _ints(lines, *_need(lines, head, "max_feature_idx"), 1)
    if last != len(names) - 1 or len(names) > MAX_FEATURES:
        raise lines.refuse(f"{len(names)} feature names, but max_feature_idx={last}", at=at)
    return names


def _sigmoid(lines: _Lines, head: Mapping[str, tuple[int, str]]) -> float:
    at, objective = _need(lines, head, "objective")
    match = re.fullmatch(r"binary sigmoid:(\S+)", objective)
    if not match:
        fix = "train it with objective=binary"
        raise lines.refuse(f"the objective `{objective}` is not supported, only `binary` is", fix, at)
    (sigmoid,) = _floats(lines, at, match[1], 1)
    if not 0 < sigmoid < math.inf:
        raise lines.refuse(f"sigmoid:{sigmoid:g} is not above 0", at=at)
    return sigmoid


def _tree(lines: _Lines, number: int, arrays: _Arrays) -> None:
    if lines.peek() != f"Tree={number}":
        raise lines.refuse(f"expected `Tree={number}`, found `{lines.peek()[:40]}`")
    lines.at += 1
    tree = lines.pairs()
    for key in tree.keys() - _TREE_KEYS:
        raise lines.refuse(f"`{key[:40]}` is not a line of a plain tree", at=tree[key][0])
    at, linear = _need(lines, tree, "is_linear")
    if linear != "0":
        raise lines.refuse("linear trees are not supported", "train it with linear_tree=false", at)
    at, text = _need(lines, tree, "num_leaves")
    (leaves,) = _ints(lines, at, text, 1)
    if not 1 <= leaves <= MAX_LEAVES:
        raise lines.refuse(f"num_leaves={leaves} is not from 1 to {MAX_LEAVES}", at=at)
    (sets,) = _ints(lines, *_need(lines, tree, "num_cat"), 1)
    _leaves_and_nodes(lines, tree, leaves, arrays)
    _check_nodes(lines, tree, leaves, sets, arrays)
    if sets:
        _sets(lines, tree, sets, arrays)
    arrays.node_start.append(arrays.node_start[-1] + leaves - 1)
    arrays.leaf_start.append(arrays.leaf_start[-1] + leaves)


def _leaves_and_nodes(lines: _Lines, tree: Mapping[str, tuple[int, str]], leaves: int, arrays: _Arrays) -> None:
    for key in _COLUMNS:
        at, text = _need(lines, tree, key)
        count = leaves if key == "leaf_value" else leaves - 1
        read = _floats if key in ("threshold", "leaf_value") else _ints
        arrays.columns[key].extend(read(lines, at, text, count))
        if key == "leaf_value" and max(map(abs, arrays.columns[key][-count:])) > MAX_LEAF_VALUE:
            raise lines.refuse(f"a leaf value is beyond {MAX_LEAF_VALUE:g}", at=at)
    for key, count in zip(_COUNTS, (leaves - 1, leaves), strict=True):
        found = _ints(lines, *tree[key], count) if key in tree and tree[key][1] else [0] * count
        arrays.columns[key].extend(found)


def _check_nodes(lines: _Lines, tree: Mapping[str, tuple[int, str]], leaves: int, sets: int, arrays: _Arrays) -> None:
    """Every node but the root and every leaf hangs from exactly one node of a lower number: so no walk is endless."""
    nodes = leaves - 1
    base = arrays.node_start[-1]
    first_set = len(arrays.set_start) - 1
    seen = set()
    for i in range(base, base + nodes):
        decision = int(arrays.columns["decision_type"][i])
        if not 0 <= decision < 12:
            raise lines.refuse(f"decision_type {decision} is unknown", at=tree["decision_type"][0])
        if not 0 <= arrays.columns["split_feature"][i] < arrays.features:
            raise lines.refuse("split_feature names no feature", at=tree["split_feature"][0])
        if decision & CATEGORICAL:
            index = arrays.columns["threshold"][i]
            if index != int(index) or not 0 <= index < sets:
                raise lines.refuse(f"threshold {index:g} names no categorical set", at=tree["threshold"][0])
            arrays.columns["threshold"][i] = first_set + index
        for side in ("left_child", "right_child"):
            child = int(arrays.columns[side][i])
            if not (i - base < child < nodes or -leaves <= child < 0) or child in seen:
                raise lines.refuse(f"{side} {child} of node {i - base} makes no tree", at=tree[side][0])
            seen.add(child)


def _sets(lines: _Lines, tree: Mapping[str, tuple[int, str]], sets: int, arrays: _Arrays) -> None:
    at, text = _need(lines, tree, "cat_boundaries")
    bounds = _ints(lines, at, text, sets + 1)
    if bounds[0] != 0 or any(b <= a for a, b in pairwise(bounds)):
        raise lines.refuse("cat_boundaries do not rise from 0", at=at)
    at, text = _need(lines, tree, "cat_threshold")
    words = _ints(lines, at, text, bounds[-1])
    if any(not 0 <= word < 2**32 for word in words):
        raise lines.refuse("cat_threshold is not of 32 bits", at=at)
    first = arrays.set_start[-1]
    arrays.set_start.extend(first + bound for bound in bounds[1:])
    arrays.set_words.extend(words)


def _trailer(lines: _Lines) -> None:
    """What follows the trees decides nothing, but a section that begins must end."""
    rest = lines.lines[lines.at :]
    if "parameters:" in rest and "end of parameters" not in rest:
        lines.at = len(lines.lines) - 1
        raise lines.refuse("the model ends before its line `end of parameters`", "copy the whole file again")


def _need(lines: _Lines, pairs: Mapping[str, tuple[int, str]], key: str) -> tuple[int, str]:
    if key not in pairs:
        raise lines.refuse(f"the line `{key}=` is missing above")
    return pairs[key]


def _ints(lines: _Lines, at: int, text: str, count: int | None = None) -> list[int]:
    return [int(token) for token in _tokens(lines, at, text, count, _INT)]


def _floats(lines: _Lines, at: int, text: str, count: int) -> list[float]:
    return [float(token) for token in _tokens(lines, at, text, count, _FLOAT)]


def _tokens(lines: _Lines, at: int, text: str, count: int | None, form: re.Pattern[str]) -> list[str]:
    tokens = text.split(" ") if text else []
    if count is not None and len(tokens) != count:
        raise lines.refuse(f"expected {count} values, found {len(tokens)}", at=at)
    for token in tokens:
        if not form.fullmatch(token):
            raise lines.refuse(f"`{token[:40]}` is not a number of the kind that stands here", at=at)
    return tokens
