"""Seeded random models: forests written as LightGBM writes them, and packs whose models have every part there is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from typing import Any

from features.expr import Expr
from features.sql import parse_condition
from features.types import BOOL, TEXT, Kind, Type
from models.card import Calibration, Feature, ModelCard
from models.forest import CATEGORICAL, parse_forest
from models.scorer import Challenger, Model, Scorer, ShadowModel
from rules.reasons import ReasonBook, ReasonCode
from rules.records import Reasons, Rule
from sekisho.pack import Pack
from sekisho.roster import score_columns
from sekisho.testing.random_sql import random_condition

_COUNTRIES = ("FR", "JP", "US")
_THRESHOLDS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.5, 10.0, 60.0)
_WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def scored(pack: Pack, seed: int) -> Pack:
    """The pack with a champion and its challenger, a model of a segment, a shadow, and rules that read the scores."""
    rng, columns = Random(f"models {seed}"), pack.schema.columns() | dict(pack.query.features)
    kinds = {name: "exact" if type.exact else type.kind.value for name, type in columns.items() if name != "event_id"}

    def part() -> dict[str, Any]:
        sql = random_condition(rng, kinds) if rng.random() < 0.6 else ""
        return {"segment": parse_condition(sql, columns, pack.rules.lists) if sql else None}

    champion, second, shadow = (
        {**vars(random_model(rng, name, columns)), **part()} for name in ("first", "second", "looker")
    )
    challenger = Challenger(
        **vars(random_model(rng, "first_b", columns)), share=rng.choice((0.1, 0.5, 0.9)),
        by=rng.choice(("card_id", "account_id", "country")), salt=f"trial {seed}",
    )  # fmt: skip
    live = Scorer(**champion, challenger=challenger if rng.random() < 0.7 else None), Scorer(**second)
    readable = columns | score_columns("first") | score_columns("second")
    rules = tuple(
        _rule(rng, id, parse_condition(sql, readable), sql, outcome)
        for id, sql, outcome in (
            ("high", "first_score >= 500", "hold"),
            ("likely", "second_probability > 0.01", "decline"),
        )
    )
    return replace(
        pack,
        models=live,
        shadow_models=(ShadowModel(**shadow),),
        rules=replace(pack.rules, rules=(*pack.rules.rules, *rules)),
    )


def reasoned(pack: Pack, seed: int) -> Pack:
    """The pack with reasons for what its live models read; their texts name numbers and a word."""
    rng, columns = Random(f"reasons {seed}"), pack.schema.columns() | dict(pack.query.features)
    kinds = {name: "exact" if type.exact else type.kind.value for name, type in columns.items() if name != "event_id"}
    live = [each for scorer in pack.models for each in (scorer, scorer.challenger) if each]
    modelled = sorted({name for model in live for name in model.features})
    rng.shuffle(modelled)
    spoken = [name for name, type in columns.items() if type.exact or type.kind is Kind.DOUBLE]

    def number() -> str:
        return f"{{{rng.choice(spoken)}:{rng.choice(('', ','))}.{rng.randint(0, 3)}}}"

    codes = []
    for k in range(4):
        sql = random_condition(rng, kinds) if rng.random() < 0.7 else "event_time IS NOT NULL"
        when = parse_condition(sql, columns, pack.rules.lists)
        said = " ".join(number() for _ in range(rng.randint(0, 2)))
        customer = ("{country}", "{amount:,}円") if k == 1 else ("", "")
        texts = Reasons(f"why {k} {said}", f"理由{k} {said}", *customer)
        codes.append(ReasonCode(f"c{k}", tuple(modelled[k::5]), when, sql, texts))
    return replace(pack, reasons=ReasonBook(rng.choice((0, 450, 600)), rng.choice((2, 4)), tuple(codes)))


def _rule(rng: Random, id: str, when: Expr, sql: str, outcome: str) -> Rule:
    unknown = rng.choice(("ignore", "review"))
    return Rule(id, when, sql, outcome, Reasons(f"score {id}", f"スコア {id}"), "me", "m", on_unknown=unknown)


def random_model(rng: Random, name: str, columns: dict[str, Type]) -> Model:
    """A model over some of the columns."""
    able = [each for each, type in columns.items() if type.numeric or type == BOOL or each == "country"]
    names = rng.sample(sorted(able), min(len(able), rng.randint(2, 6)))
    features = tuple(
        Feature(each, "categorical", _COUNTRIES) if columns[each] == TEXT else Feature(each) for each in names
    )
    raw = random_forest(rng, features, rng.randint(1, 12)).encode()
    calibration = Calibration(rng.choice((0.5, 1.0, 1.7)), rng.choice((-4.0, 0.0, 0.3)))
    digest = sha256(raw).hexdigest()
    card = ModelCard(name, digest, features, _WHEN, _WHEN, 9, 9, "me", "tests", {}, calibration)
    return Model(name, parse_forest(raw), card)


def random_forest(rng: Random, features: tuple[Feature, ...], trees: int) -> str:
    """A model file of LightGBM's text format."""
    names = " ".join(feature.name for feature in features)
    head = ["tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0"]
    head += [f"max_feature_idx={len(features) - 1}", "objective=binary sigmoid:1", f"feature_names={names}"]
    head += [f"tree_sizes={' '.join('1' * trees)}", ""]
    for number in range(trees):
        tree = _Tree(rng, features)
        tree.grow(rng.randint(50, 1000), rng.randint(0, 5))
        head += [f"Tree={number}", *tree.lines(), ""]
    return "\n".join([*head, "end of trees", ""])


@dataclass
class _Tree:
    """A tree as it grows; a split's rows are parted between its children."""

    rng: Random
    features: tuple[Feature, ...]
    nodes: list[list[float]] = field(default_factory=list)  # feature, decision, threshold, left, right, count
    leaves: list[tuple[float, int]] = field(default_factory=list)
    sets: list[int] = field(default_factory=list)

    def grow(self, count: int, depth: int) -> int:
        """A node or a leaf of so many rows; its number as its parent writes it."""
        rng = self.rng
        if not depth or count < 4 or rng.random() < 0.15:
            self.leaves.append((rng.uniform(-0.6, 0.6), count))
            return -len(self.leaves)
        number, which = len(self.nodes), rng.randrange(len(self.features))
        categorical = self.features[which].kind == "categorical"
        decision = CATEGORICAL if categorical else rng.choice((0, 2, 4, 6, 8, 10))
        threshold = float(len(self.sets)) if categorical else rng.choice(_THRESHOLDS)
        self.sets += [rng.randint(1, 6)] if categorical else []
        self.nodes.append([which, decision, threshold, 0, 0, count])
        left = rng.randint(1, count - 1)
        self.nodes[number][3] = self.grow(left, depth - 1)
        self.nodes[number][4] = self.grow(count - left, depth - 1)
        return number

    def lines(self) -> list[str]:
        """The tree's lines `key=value`."""
        keys = ("split_feature", "decision_type", "threshold", "left_child", "right_child", "internal_count")
        found = [f"num_leaves={len(self.leaves)}", f"num_cat={len(self.sets)}", "is_linear=0"]
        for k, key in enumerate(keys):
            values = [repr(node[k]) if key == "threshold" else str(int(node[k])) for node in self.nodes]
            found.append(f"{key}={' '.join(values)}")
        found.append("leaf_value=" + " ".join(repr(value) for value, _ in self.leaves))
        found.append("leaf_count=" + " ".join(str(count) for _, count in self.leaves))
        if self.sets:
            found.append("cat_boundaries=" + " ".join(map(str, range(len(self.sets) + 1))))
            found.append("cat_threshold=" + " ".join(map(str, self.sets)))
        return found
