"""The tables of a back-test: what stands in each column, and in which unit. A report, JSON and notebooks read these.

Amounts end in `_minor`: whole units of 10^-exponent of the currency (`Facts.currency`, `Facts.exponent`; yen have
exponent 0). Times end in `_us`: microseconds UTC. `strategy` is recorded, current or candidate. Shares lie in 0 to 1.
`truth` is one of TRUTHS. *Caught* means: the outcome is among the pack's alert outcomes; *stopped*: hold or decline.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

STRATEGIES = ("recorded", "current", "candidate")
TRUTHS = ("fraud", "good", "presumed_good", "excluded", "immature", "censored")
CAUSES = ("single", "alternative", "joint", "over_determined", "upstream", "unresolved")

_TYPES = {"int": pa.int64(), "real": pa.float64(), "text": pa.string(), "flag": pa.bool_()}


@dataclass(frozen=True)
class Column:
    """kind: int, real, text or flag. A value may be null where nothing can be said."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True)
class TableSpec:
    """A table's name, what one row of it is, and its columns."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(column.name, _TYPES[column.kind]) for column in self.columns])


def _spec(name: str, row: str, *lines: str) -> TableSpec:
    return TableSpec(name, row, tuple(Column(*(part.strip() for part in line.split("|", 2))) for line in lines))


_STRATEGY = "strategy | text | recorded, current or candidate"
_COUNTED = ("payments | int | how many", "amount_minor | int | their money")
_FRAUDS = ("frauds | int | payments labelled fraud", "fraud_minor | int | their money")

_SUMMARY = (
    _STRATEGY, *_COUNTED, *_FRAUDS,
    "caught | int | frauds whose outcome alerts",
    "caught_minor | int | their money",
    "missed | int | frauds whose outcome does not alert",
    "missed_minor | int | their money",
    "settled_minor | int | of the frauds' money, what settled: the loss, gross",
    "net_minor | int | of that, what did not come back: the loss, net",
    "missed_net_minor | int | the net loss by missed frauds",
    "stopped_minor | int | money of frauds held or declined",
    "prevented_minor | int | per entity, payee and 24 h the largest declined fraud, capped by the balance if known",
    "goods | int | payments known or presumed to be good",
    "goods_alerted | int | those of them whose outcome alerts",
    "false_positive_ratio | real | goods_alerted to caught",
    "adr | real | entities with a fraud caught, of all entities with a fraud",
    "a_fpr | real | good entities alerted, to fraud entities detected",
    "vdr | real | settled fraud money at and after the entity's first detection, of all of it",
    "touched | int | entities with an outcome other than approve",
    "touched_good | int | those of them without a fraud",
    "unknown | int | refused in history and approved now: nobody knows; netted with nothing",
    "unknown_minor | int | their money",
    "alert_groups | int | groups that the alerting opened",
    "notifications | int | all that it would have sent",
    "fidelity | real | share of payments whose outcome equals the recorded one",
)  # fmt: skip

_SPECS = (
    _spec("summary", "a strategy, over all payments that count", *_SUMMARY),
    _spec("attempts", "with collapsed attempts, the summary with every attempt counted; else empty", *_SUMMARY),
    _spec("outcomes", "a strategy, outcome and truth", _STRATEGY, "outcome | text | approve to decline",
          "truth | text | see TRUTHS", *_COUNTED),
    _spec("transitions", "the three outcomes with their truth", "recorded | text | what was applied, or null",
          "current | text | what CURRENT decides", "candidate | text | what CANDIDATE decides",
          "truth | text | see TRUTHS", *_COUNTED),
    _spec(
        "ranges", "what immature or censored rows may still add to the frauds of a strategy", _STRATEGY,
        "rows | text | immature or censored",
        "caught | flag | of payments whose outcome alerts, or of the others",
        *_COUNTED,
        "low_minor | int | fraud money: the 5th percentile of the bootstrap; of censored rows, if none is fraud",
        "likely_minor | int | by development factors; null for censored rows",
        "high_minor | int | the 95th percentile; of censored rows, if all are fraud",
    ),
    _spec("development", "how many of a typology's verdicts are in by an age", "typology | text | the label's class",
          "age_days | int | days since the payment", "reported | real | share of the final count that is known by then",
          "frauds | int | verdicts that the share rests on"),
    _spec("typologies", "a strategy and typology", _STRATEGY, "typology | text | the label's class", *_FRAUDS,
          "caught | int | frauds whose outcome alerts", "caught_minor | int | their money"),
    _spec(
        "rules", "a rule of a strategy", _STRATEGY, "rule | text | its id", "outcome | text | what it asks for",
        "typology | text | the rule's own",
        "shadow | flag | it is evaluated and asks for nothing",
        "hits | int | payments on which it is true and not lifted",
        "hits_minor | int | their money",
        "unique_hits | int | hits on which no other rule of an alerting outcome is true",
        "goods | int | known or presumed good payments among the hits",
        *_FRAUDS,
        "false_positive_ratio | real | goods to frauds",
        "unknown | int | payments on which its condition is NULL",
        "errors | int | payments on which its condition failed",
        "changed | int | payments with another outcome if the strategy runs without it",
        "value_minor | int | fraud money that only alerts because of it",
        "cost_goods | int | good payments that only alert because of it",
        "silent | flag | it hit nothing",
    ),
    _spec("overlaps", "two rules of a strategy that hit together", _STRATEGY, "rule | text | the first",
          "other | text | the second", "both | int | payments on which both hit"),
    _spec("thresholds", "a strategy and a score: alerting on all at or above it", _STRATEGY,
          "score | int | 0 to 999", "alerts | int | payments at or above it", "goods | int | good ones among them",
          *_FRAUDS, "recall | real | of all frauds", "value_recall | real | of all fraud money",
          "false_positive_ratio | real | goods to frauds"),
    _spec(
        "budget", "a strategy and day under the causal alert budget", _STRATEGY, "day | text | in the report's zone",
        "threshold | real | raw score that fitted the budget in the 28 days before; null on days without history",
        "alerts | int | payments at or above it",
        "worked | int | alerts that an analyst reached before they expired",
        "expired | int | alerts that expired in the queue",
        "frauds | int | frauds among the worked",
        "fraud_minor | int | their money",
        "recoverable_alert_minor | int | of it, money still with the payee when the alert came; null if nobody knows",
        "recoverable_turn_minor | int | and when the analyst's turn came; null if nobody knows",
        "night | int | worked alerts that came between 22:00 and 06:00",
    ),
    _spec(
        "hindsight", "a strategy and day, ranked with the whole day known: the literature's measure, not attainable",
        _STRATEGY, "day | text | in the report's zone", "k | int | the budget",
        "precision | real | frauds among the k highest payments",
        "entity_precision | real | entities with a fraud among the k highest, found on no earlier day",
        "ceiling | real | the best that the day's frauds allow",
    ),
    _spec("hours", "a strategy, day and hour in the report's zone", _STRATEGY, "day | text | YYYY-MM-DD",
          "hour | int | 0 to 23", *_COUNTED, "alerted | int | payments whose outcome alerts",
          "stopped | int | held or declined", *_FRAUDS, "caught | int | frauds whose outcome alerts"),
    _spec("drift", "a feature or score of CANDIDATE against its baseline", "column | text | its name",
          "psi | real | population stability index", "expected | real | what sampling alone gives on average",
          "baseline_rows | int | values sampled before", "rows | int | values sampled in the range",
          "null_share_before | real | NULLs before", "null_share | real | NULLs in the range"),
    _spec("card_drift", "a feature or the score of a model of CANDIDATE against its card, where that has a reference",
          "model | text | its name", "column | text | its name", "psi | real | population stability index",
          "by_chance | real | what sampling alone gives on average", "values | int | values sampled in the range"),
    _spec(
        "flips", "a payment that CANDIDATE decides otherwise than CURRENT, the most money first",
        "decision_id | text | id of the record, hex", "event_id | text | of the payment",
        "payment_id | text | the bank's, or null", "at_us | int | event time",
        "entity | text | whose payment it is, masked",
        "amount_minor | int | money", "recorded | text | what was applied, or null", "current | text | CURRENT's",
        "candidate | text | CANDIDATE's outcome", "current_score | int | 0 to 999", "candidate_score | int | 0 to 999",
        "truth | text | see TRUTHS, or unknown where a refused payment would now be approved",
        "label_class | text | the verdict, or null",
        "cause | text | single, alternative, joint, over_determined, upstream or unresolved",
        "restoring | text | the minimal sets that restore CURRENT's outcome: `rule:a+list:b | features`",
        "first_flip | text | event_id of the entity's first flip, where the cause lies upstream; else null",
        "example | text | fraud_found, fraud_lost, good_freed or good_hit, where labels say so",
    ),
    _spec("causes", "flips with one set of causes", "restoring | text | as in flips", "cause | text | its kind",
          "flips | int | how many", "amount_minor | int | their money", "fraud_found | int | frauds that now alert",
          "fraud_found_minor | int | their money", "fraud_lost | int | frauds that no longer alert",
          "fraud_lost_minor | int | their money", "good_freed | int | good payments that no longer alert",
          "good_hit | int | good payments that now alert"),
    _spec(
        "arms", "an arm of a challenger, with the entities that were drawn into it (see replay/backtest/arms.py)",
        "strategy | text | whose arms: current or candidate",
        "outcomes | text | recorded: what was applied; replayed: what the strategy decides",
        "champion | text | the model that is challenged", "challenger | text | its challenger",
        "arm | text | champion, challenger, or not_drawn where the entity is NULL: the champion's, and not compared",
        "share | real | how likely the arm was",
        "payments | int | that the arm scored", "entities | int | whose they are",
        "attempted_minor | int | money of those old enough to be judged; on these all that follows rests",
        "frauds | int | payments labelled fraud",
        "net_minor | int | net loss by frauds; replayed: by those not held, declined or stopped by a challenge",
        "net_per_million | real | net_minor per million attempted",
        "goods | int | payments known or presumed to be good",
        "goods_touched | int | those of them that are challenged, held or declined",
        "friction | real | their share",
        "friction_most | real | the share if every censored payment were good",
        "unknown | int | replayed: refused in history and not stopped now; costed at nothing",
        "unknown_minor | int | their money",
        "fidelity | real | replayed: share of payments whose outcome equals the recorded one",
    ),
    _spec(
        "arm_differences", "a measure of a trial: challenger less champion",
        "strategy | text | whose arms: current or candidate", "outcomes | text | recorded or replayed",
        "champion | text | the model that is challenged", "challenger | text | its challenger",
        "measure | text | net_per_million, friction or friction_most, see arms",
        "difference | real | the challenger's value less the champion's",
        "low | real | the 2.5th percentile of a bootstrap by entity; null below two entities an arm",
        "high | real | the 97.5th percentile",
    ),
    _spec(
        "holdout", "what payments that history refused and a strategy does not stop hold; empty unless asked for",
        "strategy | text | current or candidate",
        "unknown | int | refused in history and not stopped", "unknown_minor | int | their money",
        "covered | int | those of them whose propensity is known, between 0 and 1", "covered_minor | int | their money",
        "let_through | int | let through for learning, not stopped by the strategy, of known truth",
        "let_through_frauds | int | frauds among them",
        "effective_size | real | as many of equal weight would say as much",
        "fraud_rate | real | of the covered: share of frauds",
        "frauds | int | of the covered: estimated frauds",
        "frauds_low | int | the 2.5th percentile of a bootstrap by entity",
        "frauds_high | int | the 97.5th; where no fraud was let through, of a binomial of the effective size",
        "fraud_share | real | of the covered: share of fraud money",
        "fraud_minor | int | of the covered: estimated fraud money", "fraud_minor_low | int | the 2.5th percentile",
        "fraud_minor_high | int | the 97.5th",
    ),
    _spec("propensities", "what became of refused payments and of those with a propensity; empty unless asked for",
          "use | text | let_through and refused are used; the others and why: see replay/backtest/holdout.py",
          *_COUNTED),
    _spec("excluded", "why payments do not count in the figures", "reason | text | see docs/analyst.md", *_COUNTED),
)  # fmt: skip

TABLES = {spec.name: spec for spec in _SPECS}
