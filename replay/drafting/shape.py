"""What the texts of a column look like: times, numbers, truths, or a few words that come again."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from replay.drafting.sample import Column

FEW = 60  # values that a person would call a handful of words
_SHARE = 0.99  # of the cells must look so; the others will be dead letters, and are counted as such
_TIME = r"^\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d(:?\d\d)?)?)?$"
_ZONE = r"([Zz]|\d[+-]\d\d(:?\d\d)?)$"
_WHOLE, _DECIMAL = r"^[+-]?\d{1,15}$", r"^[+-]?\d{1,15}(\.\d+)?$"
_FLOAT = r"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$"
_CODE = r"^[+-]?0\d"
_TRUTH = r"^(?i:true|false|0|1)$"
_UNITS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}
_FROM_S, _TO_S = 631_152_000, 4_102_444_800  # 1990 to 2100


@dataclass(frozen=True)
class Shape:
    """known: cells that are not NULL.   words: the values where they are FEW, else nothing.

    time, zoned: RFC 3339 as Sekisho reads it, and with an offset.   epoch: the encoding of a number that can be a time.
    decimals: digits behind the point, None where the cells are no plain numbers.   number: of any kind.
    """

    known: int
    distinct: int
    words: tuple[str, ...]
    time: bool
    zoned: bool
    epoch: str
    whole: bool
    decimals: int | None
    number: bool
    truth: bool


def shape_of(column: Column) -> Shape:
    """Looks at every cell. What the source's type forbids is not seen: a fraction is no word, a truth no number."""
    texts = column.texts.drop_null()
    distinct = pc.unique(texts)
    text, word = column.written == "text", column.written in ("text", "whole")
    coded = word and text and len(texts) > 0 and _any(texts, _CODE)
    counted = column.written in ("text", "whole", "fraction") and not coded
    decimals = _decimals(texts) if counted and _most(texts, _DECIMAL) else None
    return Shape(
        known=len(texts),
        distinct=len(distinct),
        words=tuple(sorted(distinct.to_pylist())) if word and 0 < len(distinct) <= FEW else (),
        time=(text or column.written == "time") and _most(texts, _TIME),
        zoned=_most(texts, _ZONE),
        epoch=_epoch(texts) if word and counted and _most(texts, _WHOLE) else "",
        whole=counted and _most(texts, _WHOLE),
        decimals=decimals,
        number=counted and _most(texts, _FLOAT),
        truth=column.written != "fraction" and _most(texts, _TRUTH),
    )


def _most(texts: pa.Array, pattern: str) -> bool:
    return len(texts) > 0 and _count(texts, pattern) >= _SHARE * len(texts)


def _any(texts: pa.Array, pattern: str) -> bool:
    return _count(texts, pattern) > 0


def _count(texts: pa.Array, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0


def _decimals(texts: pa.Array) -> int:
    plain = texts.filter(pc.match_substring_regex(texts, _DECIMAL))
    behind = pc.replace_substring_regex(plain, r"^[^.]*\.?", "")
    return pc.max(pc.utf8_length(pc.utf8_rtrim(behind, "0"))).as_py() or 0


def _epoch(texts: pa.Array) -> str:
    plain = texts.filter(pc.match_substring_regex(texts, _WHOLE))
    numbers = pc.cast(pc.utf8_ltrim(plain, "+"), pa.int64())
    least, most = pc.min(numbers).as_py(), pc.max(numbers).as_py()
    for encoding, unit in _UNITS.items():
        if _FROM_S * unit <= least and most < _TO_S * unit:
            return encoding
    return ""
