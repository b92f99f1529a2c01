"""Seeded random SQL: the text of a features.sql and of rule conditions, over all that the dialect knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from features.query import FUNCTIONS
from features.schema import Schema

ZONES = ("Asia/Tokyo", "Europe/Paris", "America/New_York", "UTC")
PARTS = ("year", "month", "day", "hour", "minute", "dow", "isodow", "doy", "week")
WIDTHS = ("1 SECOND", "10 SECOND", "1 MINUTE", "10 MINUTE", "1 HOUR", "1 DAY", "30 DAY")


@dataclass
class Draft:
    """A features.sql in the making.

    offered: what earlier stages made, name -> kind.   named: windows of this stage's WINDOW clause, text -> name.
    """

    rng: Random
    schema: Schema
    overflow: bool
    offered: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)

    def pick(self, options: Sequence[str]) -> str:
        return self.rng.choice(options)

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def of(self, *kinds: str) -> list[str]:
        """The columns that earlier stages made, of these kinds: exact, double, text, bool, time."""
        return [name for name, kind in self.offered.items() if kind in kinds]


def random_features(rng: Random, schema: Schema, calls: int = 6, overflow: bool = False) -> str:
    """The text of a features.sql: one SELECT or a chain of two or three, about `calls` window functions in all."""
    draft = Draft(rng, schema, overflow)
    stages = rng.choice((1, 1, 1, 2, 2, 3))
    parts = []
    for stage in range(stages):
        last = stage == stages - 1
        source = f"s{stage}" if stage else "events"
        outputs = [_output(draft, f"f{stage}_{k}") for k in range(max(1, calls // stages))]
        head = "event_id" if last else "*"
        select = f"SELECT {head},\n       " + ",\n       ".join(text for text, _, _ in outputs) + f"\nFROM {source}"
        if draft.named:
            windows = ",\n       ".join(f"{name} AS ({text})" for text, name in draft.named.items())
            select += f"\nWINDOW {windows}"
        draft.named.clear()
        draft.offered |= {name: kind for _, name, kind in outputs}
        parts.append(select)
    chain = ", ".join(f"s{k + 1} AS (\n{text}\n)" for k, text in enumerate(parts[:-1]))
    return f"WITH {chain}\n{parts[-1]}\n" if chain else f"{parts[0]}\n"


def random_condition(rng: Random, columns: dict[str, str]) -> str:
    """A rule's condition over columns, given by kind (exact, double, text, bool, time)."""
    names = list(columns)
    terms = [_test(rng, name, columns[name]) for name in rng.choices(names, k=rng.randint(1, 3))]
    text = terms[0]
    for term in terms[1:]:
        text = f"({text}) {rng.choice(('AND', 'OR'))} {rng.choice(('', 'NOT '))}({term})"
    return text


def _test(rng: Random, name: str, kind: str) -> str:
    number = rng.choice(("0", "1", "2", "5", "100", "-3"))
    menu = {
        "exact": (f"{name} > {number}", f"{name} BETWEEN 1 AND {number}", f"{name} IN (0, 1, {number})",
                  f"{name} IS NULL", f"{name} <> {number}"),
        "double": (f"{name} > {number}", f"{name} <= {number}", f"{name} IS NOT NULL"),
        "text": (f"{name} = 'c1'", f"{name} LIKE '%1'", f"{name} IN ('c0', 'JP', 't1')",
                 f"{name} IN (SELECT value FROM watched)", f"{name} IS NULL", f"length({name}) > 2"),
        "bool": (name, f"NOT {name}", f"{name} IS NULL"),
        "time": (f"extract(hour FROM {name} AT TIME ZONE 'Asia/Tokyo') < 12", f"{name} IS NULL"),
    }  # fmt: skip
    return rng.choice(menu[kind])


def _output(draft: Draft, name: str) -> tuple[str, str, str]:
    """One output, its name, and the kind of its values."""
    if draft.chance(0.2):
        text, kind = _row_expression(draft)
        return f"{text} AS {name}", name, kind
    function = draft.pick(FUNCTIONS)
    call, kind = _call(draft, function)
    if kind == "exact" and draft.chance(0.5):
        call, kind = _around_exact(draft, call, function)
    elif kind == "double" and draft.chance(0.4):
        call, kind = _around_double(draft, call)
    elif kind == "text" and draft.chance(0.4):
        call, kind = draft.pick((f"{call} = country", f"{call} LIKE 'c%'", f"{call} IS DISTINCT FROM card_id")), "bool"
    elif kind == "time" and draft.chance(0.6):
        unit = draft.pick(("second", "minute", "hour", "day"))
        call, kind = f"date_diff('{unit}', {call}, event_time)", "exact"
    return f"{call} AS {name}", name, kind


def _row_expression(draft: Draft) -> tuple[str, str]:
    """An expression over fields alone."""
    zone, part = (
        draft.pick(ZONES),
        draft.pick(("year", "month", "day", "hour", "minute", "dow", "isodow", "doy", "week")),
    )
    digits = draft.pick(("-2", "-1", "0", "1"))
    return draft.rng.choice(
        (
            ("TRY_CAST(note AS BIGINT)", "exact"),
            ("TRY_CAST(note AS DECIMAL(18, 1))", "exact"),
            ("TRY_CAST(note AS DOUBLE)", "double"),
            (f"round(amount, {digits})", "exact"),
            (f"round(ratio, {digits})", "double"),
            ("floor(quantity)", "exact"),
            ("ceil(quantity)", "exact"),
            ("floor(ratio)", "double"),
            ("CAST(quantity AS BIGINT)", "exact"),
            ("CAST(least(greatest(ratio, -1000.5), 1000.5) AS DECIMAL(18, 1))", "exact"),
            ("CAST(amount AS DOUBLE) * 1.1", "double"),
            ("arrival_lag // 7", "exact"),
            ("arrival_lag % 1000", "exact"),
            ("amount % NULLIF(quantity, 0)", "exact"),
            ("amount * quantity / 3" if draft.overflow else "amount * 3 / 7", "double"),
            ("amount - quantity", "exact"),
            ("-amount", "exact"),
            ("length(note)", "exact"),
            ("epoch_us(event_time - occurred_at)", "exact"),
            (f"extract({part} FROM event_time AT TIME ZONE '{zone}')", "exact"),
            ("date_diff('day', occurred_at, event_time)", "exact"),
            ("occurred_at < event_time - INTERVAL 1 HOUR", "bool"),
            ("country IS DISTINCT FROM note", "bool"),
            ("note LIKE '_1%'", "bool"),
            ("amount BETWEEN quantity AND 300", "bool"),
            ("CASE WHEN is_online THEN card_id WHEN is_online IS NULL THEN country END", "text"),
            ("NULLIF(terminal_id, card_id)", "text"),
        )
    )


def _around_exact(draft: Draft, call: str, function: str) -> tuple[str, str]:
    return draft.rng.choice(
        (
            (f"coalesce({call}, 0)", "exact"),
            (f"{call} + 1", "exact"),
            (f"{call} / NULLIF(quantity, 0)", "double"),
            (f"amount / NULLIF({call}, 0)", "double"),
            (f"CASE WHEN {call} > 3 THEN 1 WHEN {call} IS NULL THEN -1 ELSE 0 END", "exact"),
            (f"greatest({call}, 2)", "exact"),
            (f"least({call}, amount)", "exact"),
            (f"abs({call})", "exact"),
            (f"{call} BETWEEN 1 AND 4", "bool"),
            (f"{call} IN (0, 1, 5)", "bool"),
            (f"CAST({call} AS DOUBLE) * 0.5", "double"),
            (f"round(CAST({call} AS DOUBLE) / 7, 2)", "double"),
            (f"floor(CAST({call} AS DOUBLE) / 3)", "double"),
        )
    )


def _around_double(draft: Draft, call: str) -> tuple[str, str]:
    return draft.rng.choice(
        (
            (f"coalesce({call}, 0.0)", "double"),
            (f"abs({call})", "double"),
            (f"{call} * 2", "double"),
            (f"greatest({call}, 1.5)", "double"),
            (f"{call} IS NULL", "bool"),
            (f"{call} / NULLIF(amount, 0)", "double"),
        )
    )


def _call(draft: Draft, function: str) -> tuple[str, str]:
    """A window call with its guards, and the kind of its values."""
    keys, guards = _keys(draft)
    by_kind = draft.chance(0.2) or function in ("lag", "first_value", "last_value")
    if by_kind:
        keys = ["kind", *keys] if draft.chance(0.5) else [*keys, "kind"]
    argument, kind = _argument(draft, function)
    frame = "" if function == "lag" else _frame(draft, unbounded=function != "count_distinct")
    over = f"PARTITION BY {', '.join(keys)} ORDER BY event_time {frame}".strip()
    text = f"{_function(draft, function, argument)}{_filter(draft, by_kind, function)} OVER {_named(draft, over)}"
    if guards:
        text = f"CASE WHEN {' AND '.join(f'{guard} IS NOT NULL' for guard in guards)} THEN {text} END"
    return text, kind


def _function(draft: Draft, function: str, argument: str) -> str:
    nulls = draft.pick(("", " IGNORE NULLS"))
    match function:
        case "count_star":
            return "count(*)"
        case "count_distinct":
            return f"count(DISTINCT {argument})"
        case "lag":
            return f"lag({argument}{draft.pick(('', ', 1', ', 2', ', 3'))}{nulls})"
        case "first_value" | "last_value":
            return f"{function}({argument}{nulls})"
        case _:
            return f"{function}({argument})"


def _named(draft: Draft, over: str) -> str:
    """The window in place, or under a name in the WINDOW clause."""
    if draft.chance(0.5):
        return f"({over})"
    return draft.named.setdefault(over, f"w{len(draft.named)}")


def _keys(draft: Draft) -> tuple[list[str], list[str]]:
    """One or two keys, and those of them that may be NULL."""
    required = draft.schema.by_name
    menu = ["card_id", "card_id", "terminal_id", "account_id", "coalesce(card_id, 'none')", "country",
            "CASE WHEN is_online THEN card_id END", "amount", "is_online"]  # fmt: skip
    menu += draft.of("exact", "text", "bool")[:2]
    keys = draft.rng.sample(menu, k=draft.rng.choice((1, 1, 1, 2)))
    sure = [key for key in keys if key.startswith("coalesce") or (key in required and required[key].required)]
    return keys, [key for key in keys if key not in sure]


def _frame(draft: Draft, unbounded: bool) -> str:
    rows = draft.chance(0.4)
    near, far = sorted(draft.rng.sample(range(len(WIDTHS)), k=2))
    small, large = sorted(draft.rng.sample(range(1, 9), k=2))
    start = f"{large} PRECEDING" if rows else f"INTERVAL {WIDTHS[far]} PRECEDING"
    end = f"{small} PRECEDING" if rows else f"INTERVAL {WIDTHS[near]} PRECEDING"
    if unbounded and draft.chance(0.3):
        start = "UNBOUNDED PRECEDING"
    if draft.chance(0.7):
        end = "CURRENT ROW"
    exclude = " EXCLUDE CURRENT ROW" if draft.chance(0.3) else ""
    return f"{'ROWS' if rows else 'RANGE'} BETWEEN {start} AND {end}{exclude}"


def _filter(draft: Draft, by_kind: bool, function: str) -> str:
    if function in ("lag", "first_value", "last_value") or (by_kind and draft.chance(0.5)):
        return ""
    kind = draft.pick(("kind = 'payment'", "kind = 'payment'", "kind IN ('payment', 'login')", "kind <> 'label'"))
    more = draft.pick(("", "", " AND amount > 100", " AND is_online", " AND country = 'JP'", " AND ratio < 0.5"))
    return f" FILTER (WHERE {kind}{more})"


def _argument(draft: Draft, function: str) -> tuple[str, str]:
    """An argument that the function takes, and the kind of the call's values."""
    exact = ["amount", "amount", "quantity", "label_delta", "amount * 900", "abs(amount)", "amount - 7",
             "CASE WHEN is_online THEN amount END", "coalesce(quantity, 0)", "arrival_lag",
             f"extract(hour FROM event_time AT TIME ZONE '{draft.pick(ZONES)}')",
             *draft.of("exact")]  # fmt: skip
    if draft.overflow:
        exact += ["amount * 5000"] * 4
    double = ["ratio", "ratio * 2", "coalesce(ratio, 0.0)", *draft.of("double")]
    text = ["terminal_id", "country", "card_id", "note", *draft.of("text")]
    other = {"is_online": "bool", "occurred_at": "time", "event_time": "time"}
    match function:
        case "count_star":
            return "*", "exact"
        case "count" | "count_distinct":
            return draft.pick([*exact, *double, *text, *other]), "exact"
        case "sum":
            return draft.pick(exact), "exact"
        case "avg" | "var_samp" | "var_pop" | "stddev_samp" | "stddev_pop":
            return draft.pick(exact), "double"
        case "min" | "max":
            pool = draft.rng.choice(((exact, "exact"), (exact, "exact"), (double, "double"), (["event_time"], "time")))
        case _:
            pool = draft.rng.choice(((exact, "exact"), (double, "double"), (text, "text"), (list(other), "")))
    argument = draft.pick(pool[0])
    return argument, pool[1] or other[argument]
