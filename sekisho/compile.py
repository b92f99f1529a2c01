"""A pack made ready to run: one layout, and the programs, windows, scorers and rules that share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.backend import Backend, Cpu
from features.hashing import KNOWN_KEY
from features.lists import ListTables, build_lists
from features.program import Program, compile_program, place_outputs
from features.query import WindowCall
from features.schema import Field
from features.sheet import Ints, Layout, Slot
from features.types import BOOL
from features.window_plan import WindowPlan, plan_windows
from models.scorer import (
    CompiledModel,
    CompiledScorer,
    CompiledShadow,
    Predict,
    compile_scorer,
    compile_shadow,
    predict_raw,
)
from rules.evaluate import CompiledRules, compile_rules
from rules.records import OUTCOMES
from sekisho.decision_form import decision_templates
from sekisho.intake import IntakePlan, plan_intake
from sekisho.pack import Leg, Pack
from sekisho.reasons import CompiledReasons, compile_reasons
from sekisho.wire.encode import Templates
from sekisho.wire.plan import WirePlan, plan_wire


@dataclass(frozen=True)
class StageEngine:
    """One SELECT: `before` computes keys, arguments and filters; the windows; `after` the outputs.

    reaches: each window call's slot, and how far before an event its value depends on others, in microseconds; None
    where no duration bounds it (UNBOUNDED, ROWS, lag).
    """

    before: Program
    windows: WindowPlan
    after: Program
    reaches: tuple[tuple[Slot, int | None], ...]


@dataclass(frozen=True)
class LegEngine:
    """A leg, and the slot that says where its condition is true."""

    leg: Leg
    when: Slot


@dataclass(frozen=True)
class Engine:
    """A compiled pack. `inputs` is the layout that decoders fill; it is the beginning of `layout`.

    feature_rows: int64[features], where they stand in the sheet.   templates: of the decisions' records.
    alerting: bool[outcomes], those that make an alert.
    token_key: the bank's key for the entities in alerts; None masks them.
    """

    pack: Pack
    inputs: Layout
    layout: Layout
    lists: ListTables
    intake: IntakePlan
    legs: tuple[LegEngine, ...]
    leg_program: Program
    stages: tuple[StageEngine, ...]
    scorers: tuple[CompiledScorer, ...]
    shadows: tuple[CompiledShadow, ...]
    segments: Program | None
    reasons: CompiledReasons | None
    rules: CompiledRules
    feature_rows: Ints
    templates: Templates
    alerting: npt.NDArray[np.bool_]
    token_key: bytes | None = field(default=None, repr=False)
    hash_key: bytes = field(default=KNOWN_KEY, repr=False)
    backend: Backend = field(default_factory=Cpu)
    predict: Predict = predict_raw


def compile_pack(pack: Pack, token_key: bytes | None = None, hash_key: bytes = KNOWN_KEY) -> Engine:
    """Lay out and compile a pack. Raises Refusal where models or windows do not fit the features.

    hash_key: 16 bytes for the hash tables of lists and new states, which no output shows. A driver draws them by
    chance, so that nobody can send ids that collide (features.hashing).
    """
    layout = Layout()
    for name, type in pack.schema.columns().items():
        layout.add(name, type)
    inputs = layout.beginning()
    lists = build_lists(pack.rules.lists, hash_key)
    intake = plan_intake(pack, layout)
    legs = tuple(LegEngine(leg, layout.temporary(BOOL)) for leg in pack.legs)
    leg_program = compile_program([(leg.leg.when, leg.when) for leg in legs], layout, lists.index)
    stages: tuple[StageEngine, ...] = ()
    for k in range(len(pack.query.stages)):
        stages += (_compile_stage(pack, k, layout, lists, longest_reach(stages)),)
    scorers = tuple(compile_scorer(scorer, layout) for scorer in pack.models)
    shadows = tuple(compile_shadow(shadow, layout) for shadow in pack.shadow_models)
    segments = _segments((*(each.compiled for each in scorers), *(each.compiled for each in shadows)), layout, lists)
    reasons = compile_reasons(pack.reasons, scorers, layout, lists)
    rules = compile_rules(pack.rules, layout, lists.index, pack.policy.on_degraded)
    feature_rows = np.array([layout[name].row for name, _ in pack.query.features], np.int64)
    templates = decision_templates(pack, layout, scorers, shadows, rules)
    alerting = np.array([pack.alert is not None and name in pack.alert.outcomes for name in OUTCOMES])
    return Engine(
        pack, inputs, layout, lists, intake, legs, leg_program, stages, scorers, shadows, segments, reasons, rules,
        feature_rows, templates, alerting, token_key, hash_key,
    )  # fmt: skip


def _segments(models: Sequence[CompiledModel], layout: Layout, lists: ListTables) -> Program | None:
    """What computes which events the models score; None where all score every event."""
    found = [(each.model.segment, each.segment) for each in models if each.model.segment and each.segment]
    return compile_program(found, layout, lists.index) if found else None


def longest_reach(stages: tuple[StageEngine, ...]) -> int | None:
    """How far before an event its features depend on others, in microseconds; None where no duration bounds it."""
    reaches = [reach for stage in stages for _, reach in stage.reaches]
    return None if None in reaches else max((reach for reach in reaches if reach is not None), default=0)


def wire_plan(engine: Engine, arrived_at: str = "") -> WirePlan:
    """How the pack's events are decoded. arrived_at: where record_time is read from instead of the pack's own field."""
    return plan_events(engine.pack, engine.inputs, arrived_at)


def plan_events(pack: Pack, inputs: Layout, arrived_at: str = "") -> WirePlan:
    """The same for a pack's events in any layout that holds its fields."""
    policy = pack.policy
    source = arrived_at or policy.ingest
    encoding = policy.record_time_encoding if source == policy.ingest else ""
    ingest = Field("record_time", "time", source=source, encoding=encoding) if source else None
    return plan_wire(pack.schema, inputs, policy.default_zone, ingest)


def _compile_stage(pack: Pack, k: int, layout: Layout, lists: ListTables, inner: int | None) -> StageEngine:
    """inner: how far the values of the stages before it reach."""
    stage = pack.query.stages[k]
    windows = plan_windows(stage.windows, layout, pack.policy.lateness_us)
    reaches = tuple((layout[call.name], _reach(call, inner)) for call in stage.windows)
    before = compile_program(windows.inputs, layout, lists.index)
    after = compile_program(place_outputs(stage, layout), layout, lists.index)
    return StageEngine(before, windows, after, reaches)


def _reach(call: WindowCall, inner: int | None) -> int | None:
    """How far a call's value reaches, the values that it is made of included."""
    bounded = call.frame.mode == "range" and call.frame.start is not None and call.function != "lag"
    return call.frame.start + inner if bounded and inner is not None and call.frame.start is not None else None
