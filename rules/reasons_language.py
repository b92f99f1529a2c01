"""reasons.yaml into a ReasonBook, every error with its line and column."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

import yaml

from features.refusal import Refusal, suggest
from features.types import Kind, Type
from rules.language import ID, REASON_KEYS, ParseCondition, read_texts, read_when
from rules.reasons import ReasonBook, ReasonCode, formats, unfilled
from rules.yaml_nodes import Mapping, parse_yaml

_SPOKEN = (Kind.INT, Kind.DECIMAL, Kind.DOUBLE)
_MOST = 4


@dataclass(frozen=True)
class Speakable:
    """What reasons may speak of.

    columns: fields and features, which conditions read.   modelled: columns that some live model reads.
    repeated: fields of the event whose words a text may repeat.   fields: all fields; a customer is told of no feature.
    """

    columns: MappingOf[str, Type]
    modelled: Collection[str]
    repeated: Collection[str]
    fields: Collection[str]


def read_book(text: str, parse: ParseCondition, may: Speakable) -> tuple[ReasonBook | None, list[Refusal]]:
    """The reasons that the text holds, and everything that is wrong with it."""
    refusals: list[Refusal] = []
    try:
        root = parse_yaml(text)
    except Refusal as refusal:
        return None, [refusal]
    if root is None:
        return None, [Refusal("this file is empty", "write `above:` and `reasons:`, or remove the file")]
    page = Mapping(root, "reasons.yaml", ("above", "most", "reasons"), refusals)
    above, most = _whole(page, "above", None, 999), _whole(page, "most", _MOST, 20)
    taken: dict[str, str] = {}
    codes = [_code(text, node, parse, may, taken, refusals) for node in page.items("reasons")]
    if not codes:
        page.refuse("reasons", "there are no reasons", "add one, with id, features, when, en and ja")
    names = [code.id for code in codes]
    for name in sorted({name for name in names if names.count(name) > 1}):
        page.refuse("reasons", f"two reasons have the id {name!r}", "give each an id of its own")
    return ReasonBook(above, most, tuple(codes)), refusals


def _whole(page: Mapping, key: str, default: int | None, most: int) -> int:
    text = page.text(key, required=default is None)
    if not text and default is not None:
        return default
    if text and not (text.isascii() and text.isdigit() and int(text) <= most):
        page.refuse(key, f"{key} is not a whole number from 0 to {most}", f"write `{key}: {default or 700}`")
        return 0
    return int(text or 0)


def _code(
    text: str, node: yaml.Node, parse: ParseCondition, may: Speakable, taken: dict[str, str], refusals: list[Refusal]
) -> ReasonCode:
    entry = Mapping(node, "this reason", ("id", "features", "when", *REASON_KEYS), refusals)
    id = entry.text("id", required=True)
    if id and not ID.fullmatch(id):
        entry.refuse("id", f"{id!r} cannot name a reason", "use lower-case letters, digits and _, a letter first")
    features = entry.texts("features")
    if not features:
        entry.refuse("features", "this reason has no features", "add `features: [a, b]`: what it speaks of")
    for name in features:
        if name not in may.modelled:
            entry.refuse("features", f"no model of the pack reads {name!r}", suggest(name, may.modelled))
        if name in taken:
            entry.refuse("features", f"{name} belongs to {taken[name]} already", "a feature counts for one reason")
        taken[name] = id
    sql, when = entry.text("when", required=True), read_when(text, entry, parse)
    texts = read_texts(entry)
    for key, said in vars(texts).items():
        _check(entry, key, said, may)
    return ReasonCode(id, features, when, sql, texts)  # type: ignore[arg-type]


def _check(entry: Mapping, key: str, text: str, may: Speakable) -> None:
    """What a text fills in: numbers, and words of fields that are nobody's name or account."""
    if "{" in unfilled(text) or "}" in unfilled(text):
        entry.refuse(key, "this text has a brace that fills nothing in", "write {column}, {column:,} or {column:.1}")
    known = {name for name, type in may.columns.items() if type.kind in _SPOKEN} | set(may.repeated)
    for name, rounded in formats(text):
        if name not in known:
            entry.refuse(key, f"a text cannot say {name}", suggest(name, known))
        elif may.columns[name].kind is Kind.DOUBLE and not rounded:
            entry.refuse(key, f"{name} is a DOUBLE without end", f"say how many decimals: {{{name}:.1}}")
        elif key.startswith("customer") and name not in may.fields:
            fix = "say it to the analysts alone: what the bank has counted would tip a fraudster off"
            entry.refuse(key, f"a customer is not told the feature {name}", fix)
