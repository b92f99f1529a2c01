"""The records of the rule layer: outcomes, rules, reasons, lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.expr import Expr
from features.refusal import Place

HOUR_US = 3_600_000_000

# From mildest to strongest: a decision takes the strongest that a rule asks for.
OUTCOMES = ("approve", "challenge", "review", "hold", "decline")
# In order of evaluation. A hard_block cannot be lifted; an exempt lifts the normal rules that it names.
STAGES = ("hard_block", "exempt", "normal")
# What an unknown (NULL) or failed condition does: nothing, a review, or the rule's own outcome.
FALLBACKS = ("ignore", "review", "outcome")


@dataclass(frozen=True)
class Reasons:
    """Why a rule speaks. Internal texts are for analysts; customer texts never tip anybody off."""

    en: str
    ja: str
    customer_en: str = ""
    customer_ja: str = ""


@dataclass(frozen=True)
class Example:
    """Columns (fields, features, scores) with values as SQL literals, and whether the rule must hit on them."""

    values: Mapping[str, str]
    must_hit: bool
    place: Place = Place()


@dataclass(frozen=True)
class Condition:
    """What every rule has, live or shadow."""

    id: str
    when: Expr
    when_sql: str
    outcome: str
    reasons: Reasons
    owner: str
    typology: str
    stage: str = "normal"
    on_unknown: str = "ignore"
    on_error: str = "review"
    rationale: str = ""
    queue: str = ""
    review_by: str = ""
    lifts: tuple[str, ...] = ()
    expires_us: int | None = None
    examples: tuple[Example, ...] = ()
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True)
class Rule(Condition):
    """A rule whose outcome counts."""


@dataclass(frozen=True)
class ShadowRule(Condition):
    """A rule that is evaluated, counted and reported, and that no outcome or alert can read (law L9)."""


@dataclass(frozen=True)
class ListEntry:
    """One value of a list, active for event times in [starts_us, expires_us)."""

    value: str
    starts_us: int
    expires_us: int


@dataclass(frozen=True)
class RuleSet:
    """rules.yaml and lists/*.csv, checked."""

    rules: tuple[Rule, ...] = ()
    shadows: tuple[ShadowRule, ...] = ()
    lists: Mapping[str, tuple[ListEntry, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class AlertPolicy:
    """The `[alert]` table: which outcomes alert, and how alerts are grouped (durations in microseconds).

    group_by: fields, the first not NULL is the group's key.   escalate_on: "outcome", "typology", "amount".
    """

    outcomes: tuple[str, ...] = ("review", "hold", "decline")
    group_by: tuple[str, ...] = ()
    quiet_us: int = HOUR_US
    max_open_us: int = 24 * HOUR_US
    escalate_on: tuple[str, ...] = ("outcome", "typology")
    amount_field: str = ""
    amount_factor: int = 10
    storm_limit: int = 50
    act_by_us: int = HOUR_US
