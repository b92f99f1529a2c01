"""A pack: everything that decides how events are scored, as one value with one hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.expr import Expr
from features.query import Query
from features.schema import Schema
from models.card import ModelCard
from models.scorer import Scorer, ShadowModel
from rules.reasons import ReasonBook
from rules.records import HOUR_US, AlertPolicy, RuleSet

__all__ = ["HOUR_US", "AlertPolicy", "EventPolicy", "LabelPolicy", "Leg", "Pack"]


@dataclass(frozen=True)
class EventPolicy:
    """The `[events]` table of pack.toml: clocks, horizons, and what is decided. Durations in microseconds.

    decide: kinds that get a decision.   on_degraded: the least outcome of an event that could not see its windows.
    time_set_by: "bank" or "device".     record_time: "log", "none", or the name of the ingest field's JSON path.
    record_time_encoding: of that field, as of any time.
    """

    decide: tuple[str, ...] = ("payment",)
    lateness_us: int = 24 * HOUR_US
    max_clock_skew_us: int = HOUR_US // 6
    dedup_horizon_us: int = 7 * 24 * HOUR_US
    inherit_horizon_us: int = 90 * 24 * HOUR_US
    inherit: tuple[str, ...] = ()
    on_degraded: str = "review"
    default_zone: str = "UTC"
    time_set_by: str = "bank"
    record_time: str = "log"
    record_time_encoding: str = ""

    @property
    def ingest(self) -> str:
        """The JSON path or column of record_time, or "" where no field of the event says it."""
        return "" if self.record_time in ("log", "none") else self.record_time


@dataclass(frozen=True)
class LabelPolicy:
    """The `[labels]` table: how a label event becomes label_delta.

    kind: the kind of label events.   names: fields that say what is labelled, the first not NULL counts.
    class_field and reversal_field: the fields that hold the class and whether it takes a verdict back.
    fraud: the classes that map to 1.   dispositions: which class an alert's disposition means; others mean none.
    maturity_us: by class, how old a payment is when such a verdict has come, if it comes; empty where nobody says.
    """

    kind: str = "label"
    names: tuple[str, ...] = ("payment_id",)
    class_field: str = "label_class"
    reversal_field: str = ""
    fraud: tuple[str, ...] = ("fraud",)
    dispositions: Mapping[str, str] = field(default_factory=dict)
    maturity_us: Mapping[str, int] = field(default_factory=dict)

    @property
    def mature_us(self) -> int | None:
        """From this age on a payment without a verdict is presumed good: any of the classes may still come before."""
        return max(self.maturity_us.values(), default=None)


@dataclass(frozen=True)
class Leg:
    """One `[[legs]]`: a derived event placed right after its source, undecided.

    when: a condition over the source's fields.   kind: of the derived event.
    fields: derived field -> source field; event_id, event_time and record_time are the source's, all others NULL.
    """

    when: Expr
    kind: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Pack:
    """A loaded and checked pack. `hash` is sha256 over the canonical bytes of every file, and the time-zone data.

    directions: 1 for features that may only raise a score as they grow, -1 for those that may only lower it.
    """

    name: str
    description: str
    owner: str
    hash: str
    schema: Schema
    policy: EventPolicy
    labels: LabelPolicy | None
    legs: tuple[Leg, ...]
    query: Query
    rules: RuleSet
    models: tuple[Scorer, ...]
    alert: AlertPolicy | None
    shadow_models: tuple[ShadowModel, ...] = ()
    directions: Mapping[str, int] = field(default_factory=dict)
    reasons: ReasonBook | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """Of every model: champions, challengers, shadows."""
        challengers = [scorer.challenger for scorer in self.models if scorer.challenger]
        return tuple(model.card for model in (*self.models, *challengers, *self.shadow_models))
