"""How a decision's record is written: the templates of docs/wire.md, filled with what a pack says of itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from features.sheet import Layout
from models.scorer import CompiledScorer
from rules.evaluate import CompiledRules
from rules.records import OUTCOMES, Rule
from sekisho.pack import Pack
from sekisho.wire.encode import (
    CHOICE,
    DOUBLE,
    HEX,
    INT,
    MASK,
    TEXT,
    TIME,
    Piece,
    Template,
    Templates,
    compile_templates,
)

DECISION, DUPLICATE = 0, 1  # the templates' numbers
FLAGS = ("too_late", "future", "id_conflict", "overflow")


def decision_templates(
    pack: Pack, layout: Layout, scorers: Sequence[CompiledScorer], rules: CompiledRules
) -> Templates:
    """The templates of a decision and of a duplicate's record. decision.py gives them their columns and masks."""
    head = (
        b'{"v":1,"id":', Piece("id", HEX), b',"event_id":', _field("event_id", TEXT, layout),
        b',"payment_id":', _field("payment_id", TEXT, layout), b',"event_time":', _field("event_time", TIME, layout),
        b',"source":{"topic":', Piece("topic", CHOICE), b',"partition":', Piece("partition", INT),
        b',"offset":', Piece("offset", INT), b"}",
    )  # fmt: skip
    tail = b',"pack":' + to_json(pack.hash) + b"}\n"
    decision = (
        *head, b',"outcome":', Piece("outcome", CHOICE, tuple(map(to_json, OUTCOMES))),
        b',"score":', Piece("score", INT), b',"models":[', *_models(scorers), b"]", *_lists(rules), tail,
    )  # fmt: skip
    return compile_templates([decision, (*head, b',"duplicate_of":', Piece("first", HEX), tail)])


def to_json(value: object) -> bytes:
    """A value as records write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _field(name: str, form: int, layout: Layout) -> bytes | Piece:
    return Piece(layout[name], form) if name in layout else b"null"


def _models(scorers: Sequence[CompiledScorer]) -> Template:
    parts: list[bytes | Piece] = []
    for scorer in scorers:
        model = b'{"name":' + to_json(scorer.scorer.name) + b',"sha256":' + to_json(scorer.scorer.sha256)
        parts += [b"," if parts else b"", model, b',"score":', Piece(scorer.score, INT), b',"raw":',
                  Piece(scorer.raw, DOUBLE), b',"probability":', Piece(scorer.probability, DOUBLE), b"}"]  # fmt: skip
    return parts


def _lists(rules: CompiledRules) -> Template:
    """What the rules said: their masks stand in this order, whichever way a rule answers."""
    live = tuple(to_json(rule.id) for rule in rules.live.rules)
    lists = {
        "rules": tuple(map(_rule, rules.live.rules)), "lifted": live, "muted": live, "unknown": live, "errors": live,
        "shadow": tuple(to_json(rule.id) for rule in rules.shadows), "flags": tuple(map(to_json, FLAGS)),
    }  # fmt: skip
    return [part for name, texts in lists.items() for part in (b',"%s":' % name.encode(), Piece(name, MASK, texts))]


def _rule(rule: Rule) -> bytes:
    return to_json({"id": rule.id, "outcome": rule.outcome, "reason": {"en": rule.reasons.en, "ja": rule.reasons.ja}})
