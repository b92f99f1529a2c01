"""How a decision's record is written: the templates of docs/wire.md, filled with what a pack says of itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from features.sheet import Layout
from models.arms import ARM_NAMES, CHALLENGER, propensities
from models.scorer import CompiledScorer, CompiledShadow, Model, Slots
from rules.evaluate import CompiledRules
from rules.records import OUTCOMES, Rule
from sekisho.pack import Pack
from sekisho.wire.encode import (
    CHOICE,
    COMMA,
    DOUBLE,
    HEX,
    INT,
    MASK,
    TEXT,
    TIME,
    Piece,
    Template,
    Templates,
    When,
    compile_templates,
)

Part = tuple[bytes | Piece, ...]
FLAGS = ("too_late", "future", "id_conflict", "overflow")


def decision_templates(
    pack: Pack,
    layout: Layout,
    scorers: Sequence[CompiledScorer],
    shadows: Sequence[CompiledShadow],
    rules: CompiledRules,
) -> Templates:
    """The templates 0, of a decision, and 1, of a duplicate's record. decision.py gives them columns and masks."""
    head = (
        b'{"v":1,"id":', Piece("id", HEX), b',"event_id":', _field("event_id", TEXT, layout),
        b',"payment_id":', _field("payment_id", TEXT, layout), b',"event_time":', _field("event_time", TIME, layout),
        b',"source":{"topic":', Piece("topic", CHOICE), b',"partition":', Piece("partition", INT),
        b',"offset":', Piece("offset", INT), b"}",
    )  # fmt: skip
    tail = b',"pack":' + to_json(pack.hash) + b"}\n"
    decision = (
        *head, b',"outcome":', Piece("outcome", CHOICE, tuple(map(to_json, OUTCOMES))),
        b',"score":', Piece("score", INT), b',"models":[', *_models(scorers), b"]",
        *_reasons(pack), *_lists(rules, shadows), tail,
    )  # fmt: skip
    return compile_templates([decision, (*head, b',"duplicate_of":', Piece("first", HEX), tail)])


def to_json(value: object) -> bytes:
    """A value as records write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _field(name: str, form: int, layout: Layout) -> bytes | Piece:
    return Piece(layout[name], form) if name in layout else b"null"


def _models(scorers: Sequence[CompiledScorer]) -> Template:
    """An entry a model that scored: each does where none has a segment."""
    if any(each.compiled.segment for each in scorers):
        return [When(each.score, (COMMA, *_of_scorer(each))) for each in scorers]
    return [part for k, each in enumerate(scorers) for part in (b"," if k else b"", *_of_scorer(each))]


def _reasons(pack: Pack) -> Template:
    """What has raised the score, for analysts and apart for the customer, in packs that have reasons.yaml."""
    if pack.reasons is None:
        return []
    return [b',"reasons":', Piece("reasons", CHOICE), b',"customer_reasons":', Piece("customer_reasons", CHOICE)]


def _of_scorer(scorer: CompiledScorer) -> Part:
    challenger = scorer.scorer.challenger
    if challenger is None or scorer.arm is None:
        return (_named(scorer.scorer), *_scores(scorer), b"}")
    heads = tuple(_named(challenger if arm == CHALLENGER else scorer.scorer) for arm in range(len(ARM_NAMES)))
    drawn = zip(ARM_NAMES, propensities(challenger.share), strict=True)
    ends = tuple(b',"arm":"%s","propensity":%s}' % (name.encode(), to_json(likely)) for name, likely in drawn)
    return (Piece(scorer.arm, CHOICE, heads), *_scores(scorer), Piece(scorer.arm, CHOICE, ends))


def _named(model: Model) -> bytes:
    return b'{"name":' + to_json(model.name) + b',"sha256":' + to_json(model.sha256)


def _scores(slots: Slots) -> Part:
    return (b',"score":', Piece(slots.score, INT), b',"raw":', Piece(slots.raw, DOUBLE), b',"probability":',
            Piece(slots.probability, DOUBLE))  # fmt: skip


def _shadows(shadows: Sequence[CompiledShadow]) -> Template:
    """The key `shadow_models`, in packs that have any."""
    entries = [When(each.slots.score, (COMMA, _named(each.shadow), *_scores(each.slots), b"}")) for each in shadows]
    return [b',"shadow_models":[', *entries, b"]"] if shadows else []


def _lists(rules: CompiledRules, shadows: Sequence[CompiledShadow]) -> Template:
    """What the rules said: their masks stand in this order, whichever way a rule answers."""
    live = tuple(to_json(rule.id) for rule in rules.live.rules)
    lists = {
        "rules": tuple(map(_rule, rules.live.rules)), "lifted": live, "muted": live, "unknown": live, "errors": live,
        "shadow": tuple(to_json(rule.id) for rule in rules.shadows),
    }  # fmt: skip
    masks = [part for name, texts in lists.items() for part in (b',"%s":' % name.encode(), Piece(name, MASK, texts))]
    return [*masks, *_shadows(shadows), b',"flags":', Piece("flags", MASK, tuple(map(to_json, FLAGS)))]


def _rule(rule: Rule) -> bytes:
    return to_json({"id": rule.id, "outcome": rule.outcome, "reason": {"en": rule.reasons.en, "ja": rule.reasons.ja}})
