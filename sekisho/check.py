"""Checking a pack as its author does: load it, compile it, ask DuckDB about its SQL, and sum it up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import sqlglot
from sqlglot import exp

from features.query import Frame, WindowCall
from features.refusal import Refusal
from features.types import Type
from sekisho.compile import compile_pack
from sekisho.load import PackErrors, load_pack
from sekisho.pack import Pack
from sekisho.roster import score_columns

# DuckDB's own names for types that Sekisho calls otherwise; its small literals are narrower than BIGINT.
_TYPE_NAMES = {"INTEGER": "BIGINT", "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}


@dataclass(frozen=True)
class Feature:
    """One output of features.sql."""

    name: str
    type: Type
    sql: str


@dataclass(frozen=True)
class Windows:
    """The window calls that share one key: one store of rows. `frames` counts calls by frame."""

    key: str
    frames: Mapping[str, int]


@dataclass(frozen=True)
class Summary:
    """A checked pack at a glance. `examples` is how many rule examples ran and agreed."""

    pack: Pack
    features: tuple[Feature, ...]
    windows: tuple[Windows, ...]
    scores: tuple[str, ...]
    examples: int
    rules_without_examples: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.pack.name

    @property
    def hash(self) -> str:
        return self.pack.hash


def check_pack(path: Path) -> Summary:
    """Everything that `load_pack` checks, and that the pack compiles and DuckDB types its features alike.

    Raises PackErrors.
    """
    pack = load_pack(path)
    try:
        compile_pack(pack)
    except Refusal as refusal:
        file = refusal.file or ("features.sql" if refusal.place.line else "pack.toml")
        raise PackErrors(path, [Refusal(refusal.what, refusal.fix, refusal.place, file)]) from None
    if refusals := duckdb_refusals(pack):
        raise PackErrors(path, refusals)
    rules = (*pack.rules.rules, *pack.rules.shadows)
    return Summary(
        pack=pack,
        features=_features(pack),
        windows=_windows(pack),
        scores=tuple(name for scorer in pack.models for name in score_columns(scorer.name)),
        examples=sum(len(rule.examples) for rule in rules),
        rules_without_examples=tuple(rule.id for rule in rules if not rule.examples),
    )


def overdue(pack: Pack, day: date) -> tuple[str, ...]:
    """What of a pack should have been looked at anew by a day: models by their cards' `expires`, rules by `review_by`.

    They go on deciding: nothing that decides reads a clock.
    """
    fix = "train it again, or review it and write a later `expires` into its card"
    found = [f"model {c.name} expired on {c.expires}: {fix}" for c in pack.cards if c.expires and c.expires <= day]
    rules = [rule for rule in (*pack.rules.rules, *pack.rules.shadows) if rule.review_by]
    late = [f"{rule.id} ({rule.review_by})" for rule in rules if date.fromisoformat(rule.review_by) < day]
    if late:
        found.append(f"to be reviewed, and given a later `review_by`: {', '.join(late)}")
    return tuple(found)


def duckdb_refusals(pack: Pack) -> list[Refusal]:
    """What DuckDB has against features.sql, asked over an empty `events` table of the schema's types."""
    columns = ", ".join(f'"{name}" {type}' for name, type in pack.schema.columns().items())
    ours = {name: str(type).replace(" ", "") for name, type in pack.query.features}
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"CREATE TABLE events ({columns})")
            described = connection.execute(f"DESCRIBE {pack.query.sql}").fetchall()
    except duckdb.Error as error:
        what = f"DuckDB {duckdb.__version__} does not run this: {error}"
        return [Refusal(what, "write SQL that DuckDB runs as it stands", file="features.sql")]
    theirs = {name: _TYPE_NAMES.get(given, given) for name, given, *_ in described if name in ours}
    fix = "add a CAST that states the type"
    return [
        Refusal(f"{name} is {type} here and {theirs.get(name)} in DuckDB", fix, file="features.sql")
        for name, type in ours.items()
        if theirs.get(name) != type
    ]


def _features(pack: Pack) -> tuple[Feature, ...]:
    """Each feature with its SQL in one line, from the SELECT that computes it and not from those that hand it on."""
    tree = sqlglot.parse_one(pack.query.sql, dialect="duckdb", into=exp.Select)
    texts: dict[str, str] = {}
    for select in (*(cte.this for cte in tree.ctes), tree):
        for each in select.selects:
            name, body = each.alias_or_name, each.unalias()
            if not (isinstance(body, exp.Column) and body.name == name in texts):
                text = body.sql(dialect="duckdb", comments=False)
                texts[name] = re.sub(r"NOT (\w+) IS NULL", r"\1 IS NOT NULL", text)
    return tuple(Feature(name, type, texts.get(name, "")) for name, type in pack.query.features)


def _windows(pack: Pack) -> tuple[Windows, ...]:
    """The window calls by what they partition by."""
    found: dict[str, dict[str, int]] = {}
    for stage in pack.query.stages:
        for call in stage.windows:
            frames = found.setdefault(_key(call), {})
            frame = frame_text(call.frame)
            frames[frame] = frames.get(frame, 0) + 1
    return tuple(Windows(key, frames) for key, frames in found.items())


def _key(call: WindowCall) -> str:
    """The partition: names of columns, and an ellipsis for any other expression."""
    return ", ".join(getattr(part, "name", "...") for part in call.partition) or "(all events)"


def frame_text(frame: Frame) -> str:
    """A frame as people say it: "24h", "28d until 7d ago", "30d before this one", "5 rows", "all"."""

    def span(size: int) -> str:
        return f"{size} rows" if frame.mode == "rows" else duration_text(size)

    text = "all" if frame.start is None else span(frame.start)
    text += f" until {span(frame.end)} ago" if frame.end else ""
    return text + (" before this one" if frame.exclude_current else "")


def duration_text(us: int) -> str:
    """A duration in the unit that divides it: "90s", "10m", "24h", "7d"."""
    for unit, size in (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)):
        if us and us % size == 0 and (unit != "d" or us > size):
            return f"{us // size}{unit}"
    return f"{us / 1_000_000:.6g}s"
