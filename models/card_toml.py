"""A model's card as TOML: read strictly, and written so that it reads back to an equal card."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, TypeVar

from features.refusal import Place, Refusal
from models.card import Calibration, Feature, ModelCard, Origin, Thresholds
from models.drift import Bins

FEATURE_KINDS = ("numeric", "categorical")

_T = TypeVar("_T")


def read_card(raw: bytes) -> ModelCard:
    """The card that a TOML file holds. Refusal says what is missing or wrong, and where."""
    try:
        text = raw.decode()
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise Refusal(f"byte {error.start} of the card is not UTF-8", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _syntax(error) from None
    reader = _Reader(text, table)
    reader.only(ModelCard.__dataclass_fields__)
    return ModelCard(
        name=_name(reader),
        sha256=_sha256(reader),
        features=(features := _features(reader)),
        trained_from=_time(reader, "trained_from"),
        trained_to=_time(reader, "trained_to"),
        rows=reader.get("rows", int),
        positives=reader.get("positives", int),
        owner=reader.get("owner", str),
        intended_use=reader.get("intended_use", str),
        limits=reader.get("limits", str) if "limits" in reader.table else "",
        expires=_expires(reader),
        metrics=_metrics(reader),
        calibration=_calibration(reader),
        origin=_origin(reader),
        thresholds=_thresholds(reader),
        reference=_reference(reader, {feature.name for feature in features}),
        scores=_bins(reader, "scores", "the scores", reader.table["scores"]) if "scores" in reader.table else None,
    )


def write_card(card: ModelCard) -> str:
    """The card as TOML, which read_card reads back to an equal card."""
    lines = [f"{key} = {_toml(getattr(card, key))}" for key in ("name", "sha256", "owner", "intended_use")]
    lines += [f"{key} = {_toml(getattr(card, key))}" for key in ("trained_from", "trained_to", "rows", "positives")]
    lines += [f"limits = {_toml(card.limits)}"] if card.limits else []
    lines += [f"expires = {card.expires.isoformat()}"] if card.expires else []
    lines += ["features = ["]
    for feature in card.features:
        parts = [f"name = {_toml(feature.name)}", f"kind = {_toml(feature.kind)}"]
        if feature.kind == "categorical":
            parts.append(f"categories = [{', '.join(map(_toml, feature.categories))}]")
        lines.append(f"    {{ {', '.join(parts)} }},")
    lines.append("]")
    if card.calibration:
        lines += ["", "[calibration]", f"a = {card.calibration.a!r}", f"b = {card.calibration.b!r}"]
    if card.metrics:
        lines += ["", "[metrics]", *(f"{name} = {value!r}" for name, value in card.metrics.items())]
    if card.origin:
        lines += ["", "[origin]", *(f"{key} = {_toml(value)}" for key, value in vars(card.origin).items())]
    if card.thresholds:
        rows = [list(row) for row in card.thresholds.rows]
        lines += ["", "[thresholds]", f"champion = {_toml(card.thresholds.champion)}", f"rows = {rows}"]
    if card.scores:
        lines += ["", "[scores]", *_bin_lines(card.scores)]
    for name, bins in card.reference.items():
        lines += ["", f"[reference.{_toml(name)}]", *_bin_lines(bins)]
    return "\n".join(lines) + "\n"


def _bin_lines(bins: Bins) -> list[str]:
    return [f"{key} = [{', '.join(map(repr, values))}]" for key, values in vars(bins).items()]


@dataclass(frozen=True)
class _Reader:
    text: str
    table: Mapping[str, Any]

    def refuse(self, key: str, what: str, fix: str) -> Refusal:
        found = re.search(rf"^\s*\[?{re.escape(key)}\b", self.text, re.MULTILINE)
        line = self.text.count("\n", 0, found.end()) + 1 if found else 0
        return Refusal(what, fix, Place(line))

    def get(self, key: str, type: type[_T]) -> _T:
        """The value of a required key."""
        if key not in self.table:
            raise Refusal(f"the card has no `{key}`", f"add `{key}`; the training script writes a complete card")
        value = self.table[key]
        if not isinstance(value, type) or isinstance(value, bool):
            raise self.refuse(key, f"`{key}` is not of type {type.__name__}", f"write `{key}` as {type.__name__}")
        return value

    def only(self, known: Mapping[str, Any]) -> None:
        for key in self.table.keys() - known.keys():
            raise self.refuse(key, f"a card has no `{key}`", f"remove it; a card has {', '.join(known)}")


def _name(reader: _Reader) -> str:
    name = reader.get("name", str)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        fix = "use lower-case letters, digits and _; scores are named after it"
        raise reader.refuse("name", f"`{name}` cannot name a model", fix)
    return name


def _sha256(reader: _Reader) -> str:
    digest = reader.get("sha256", str)
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise reader.refuse(
            "sha256", "sha256 is not 64 hexadecimal digits", "write what `sha256sum` prints of the model"
        )
    return digest


def _time(reader: _Reader, key: str) -> datetime:
    value = reader.get(key, datetime)
    if value.tzinfo is None:
        raise reader.refuse(key, f"`{key}` has no zone", "write it with its offset, as 2026-01-31T00:00:00Z")
    return value.astimezone(UTC)


def _expires(reader: _Reader) -> date | None:
    found = reader.table.get("expires")
    if isinstance(found, datetime) or not isinstance(found, date | None):
        raise reader.refuse("expires", "`expires` is not a day", "write it as 2027-03-31, without quotes")
    return found


def _features(reader: _Reader) -> tuple[Feature, ...]:
    features = tuple(_feature(reader, row) for row in reader.get("features", list))
    names = [feature.name for feature in features]
    for name in names:
        if names.count(name) > 1:
            raise reader.refuse("features", f"the feature `{name}` stands twice", "remove one of the two")
    return features


def _feature(reader: _Reader, row: object) -> Feature:
    def refuse(what: str) -> Refusal:
        fix = 'write { name = "...", kind = "numeric" } or { name = "...", kind = "categorical", categories = [...] }'
        return reader.refuse("features", what, fix)

    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise refuse(f"`{row}` is not a feature")
    name, kind, categories = row["name"], row.get("kind"), row.get("categories", [])
    if kind not in FEATURE_KINDS or row.keys() - {"name", "kind", "categories"}:
        raise refuse(f"the feature `{name}` is neither numeric nor categorical, or has a key too many")
    if not isinstance(categories, list) or not all(isinstance(value, str) for value in categories):
        raise refuse(f"the categories of `{name}` are not a list of texts")
    if len(set(categories)) != len(categories) or bool(categories) != (kind == "categorical"):
        raise refuse(f"the categories of `{name}` repeat, are missing, or stand at a numeric feature")
    return Feature(name, kind, tuple(categories))


def _metrics(reader: _Reader) -> dict[str, float]:
    metrics = reader.get("metrics", dict) if "metrics" in reader.table else {}
    for name, value in metrics.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise reader.refuse("metrics", f"the metric `{name}` is not a number", "write a number")
    return {name: float(value) for name, value in metrics.items()}


def _calibration(reader: _Reader) -> Calibration | None:
    if "calibration" not in reader.table:
        return None
    table = reader.get("calibration", dict)
    values = [table.get(key) for key in ("a", "b")]
    good = all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    if not good or table.keys() != {"a", "b"} or table["a"] <= 0:
        fix = "write two finite numbers a and b, with a > 0: a calibration keeps the order of scores"
        raise reader.refuse("calibration", "the calibration is not strictly increasing", fix)
    return Calibration(float(table["a"]), float(table["b"]))


def _origin(reader: _Reader) -> Origin | None:
    if "origin" not in reader.table:
        return None
    table = reader.get("origin", dict)
    kinds = {"log": list, "order_assumed": bool, "labels_simulated": bool, "maturity_us": int}
    names = Origin.__dataclass_fields__
    good = table.keys() == names.keys() and all(isinstance(table[key], kinds.get(key, str)) for key in names)
    if not good or not all(isinstance(each, str) for each in table["log"]):
        fix = f"write the card with `sekisho train`: it has {', '.join(names)}"
        raise reader.refuse("origin", "[origin] does not say how the model was made", fix)
    return Origin(**{**table, "log": tuple(table["log"])})


def _thresholds(reader: _Reader) -> Thresholds | None:
    if "thresholds" not in reader.table:
        return None
    table = reader.get("thresholds", dict)
    rows = table.get("rows")
    good = isinstance(rows, list) and table.keys() == {"champion", "rows"}
    if not good or not all(isinstance(row, list) and [type(score) for score in row] == [int] * 3 for row in rows or ()):
        fix = "write the card with `sekisho train`: champion, and rows of three scores"
        raise reader.refuse("thresholds", "[thresholds] is not a champion and rows of scores", fix)
    return Thresholds(str(table["champion"]), tuple((a, b, c) for a, b, c in rows or ()))


def _reference(reader: _Reader, names: Collection[str]) -> dict[str, Bins]:
    table = reader.get("reference", dict) if "reference" in reader.table else {}
    for name in table:
        if name not in names:
            raise reader.refuse("reference", f"`{name}` of [reference] is no feature of the model", "remove it")
    return {name: _bins(reader, "reference", f"`{name}`", bins) for name, bins in table.items()}


def _bins(reader: _Reader, key: str, whose: str, table: object) -> Bins:
    def refuse(what: str) -> Refusal:
        return reader.refuse(key, f"the reference of {whose} {what}", "write the card with `sekisho train`")

    if not isinstance(table, dict) or table.keys() != Bins.__dataclass_fields__.keys():
        raise refuse(f"has not the keys {', '.join(Bins.__dataclass_fields__)}")
    for part, values in table.items():
        if not isinstance(values, list) or not all(_is_finite(value) for value in values):
            raise refuse(f"has {part} that are no list of numbers")
    edges, masses, counts = (table[key] for key in Bins.__dataclass_fields__)
    if any(b <= a for part in (edges, masses) for a, b in pairwise(part)):
        raise refuse("has edges or masses that do not rise")
    if len(counts) != len(edges) + len(masses) + 2 or any(not isinstance(c, int) or c < 0 for c in counts):
        raise refuse(f"needs {len(edges) + len(masses) + 2} counts, whole numbers from 0 on")
    return Bins(tuple(map(float, edges)), tuple(map(float, masses)), tuple(counts))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _syntax(error: tomllib.TOMLDecodeError) -> Refusal:
    found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    place = Place(int(found[1]), int(found[2])) if found else Place()
    return Refusal(f"the card is not TOML: {str(error).split(' (at')[0]}", "correct the line", place)


def _toml(value: str | int | datetime | tuple[str, ...]) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)
