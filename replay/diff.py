"""What differs between two files of decisions, and between two packs."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from replay.backtest.causes import components
from rules.records import Rule, RuleSet
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack

_SHOWN = 5


def diff_decisions(a: Path, b: Path) -> list[str]:
    """Lines that say what differs, none where both say the same of the same events; the pack's hash does not count.

    Raises SekishoError where a file holds no decisions.
    """
    db = duckdb.connect()
    for name, file in (("a", a), ("b", b)):
        _load(db, name, file)
    lines = [
        f"only in {file}: {count:,} decisions"
        for file, mine, other in ((a, "a", "b"), (b, "b", "a"))
        if (count := _count(db, f"{mine} ANTI JOIN {other} USING (id)"))
    ]
    changed = "a JOIN b USING (id) WHERE a.outcome IS DISTINCT FROM b.outcome"
    query = f"SELECT a.outcome, b.outcome, count(*) FROM {changed} GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    lines += [f"{x} -> {y}: {count:,} decisions" for x, y, count in db.sql(query).fetchall()]
    for what in ("score", "rules", "flags"):
        same = f"a.outcome IS NOT DISTINCT FROM b.outcome AND a.{what} IS DISTINCT FROM b.{what}"
        if count := _count(db, f"a JOIN b USING (id) WHERE {same}"):
            lines.append(f"same outcome, other {what}: {count:,} decisions")
    shown = db.sql(f"SELECT a.id, a.event_id, a.outcome, b.outcome FROM {changed} ORDER BY a.id LIMIT {_SHOWN}")
    return lines + [f"  {id} event {event}: {x} -> {y}" for id, event, x, y in shown.fetchall()]


def _load(db: duckdb.DuckDBPyConnection, name: str, file: Path) -> None:
    reader, path = "read_parquet" if file.suffix == ".parquet" else "read_json", str(file).replace("'", "''")
    try:
        db.execute(f"""CREATE TABLE {name} AS SELECT id, event_id, outcome, score, flags,
                       list_sort([r.id FOR r IN rules]) AS rules FROM {reader}('{path}')""")
    except duckdb.Error as error:
        what, fix = str(error).splitlines()[0], "name files that `sekisho replay run --out` wrote"
        raise SekishoError(f"{file}: these are no decisions: {what}", fix) from None


def _count(db: duckdb.DuckDBPyConnection, rows: str) -> int:
    return int(db.sql(f"SELECT count(*) FROM {rows}").fetchall()[0][0])


def diff_packs(a: Path, b: Path) -> list[str]:
    """Lines that name the parts of two packs that may decide otherwise."""
    first, second = (compile_pack(load_pack(pack), hash_key=os.urandom(16)) for pack in (a, b))
    return [_change(first.pack.rules, second.pack.rules, name) for name in components(first, second, False)]


def _change(first: RuleSet, second: RuleSet, component: str) -> str:
    kind, _, name = component.partition(":")
    if kind == "list":
        had, has = (set(rules.lists.get(name, ())) for rules in (first, second))
        return f"{kind} {name}: {len(has - had):,} entries added, {len(had - has):,} removed"
    if kind == "rule":
        old, new = (next((rule for rule in rules.rules if rule.id == name), None) for rules in (first, second))
        return f"{kind} {name}: {_rule_change(old, new)}"
    return f"{component}: changed"


def _rule_change(old: Rule | None, new: Rule | None) -> str:
    if old is None or new is None:
        return "removed" if new is None else "added"
    names = ("when_sql", "outcome", "stage", "on_unknown", "on_error", "lifts", "expires_us")
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    return "; ".join(f"{name.removesuffix('_sql')} {had} -> {has}" for name, had, has in pairs if had != has)
