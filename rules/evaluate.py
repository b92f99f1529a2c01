"""Rules over a sheet: every condition in one program, then stages, lifting and fallbacks in one kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.kernel import kernel
from features.lists import ListTables
from features.program import Program, compile_conditions
from features.sheet import ANSWERS, Bytes, Ints, Layout, Sheet, Slot
from features.types import BOOL
from rules.records import OUTCOMES, Condition, Rule, RuleSet, ShadowRule

Codes = npt.NDArray[np.int8]

# What a rule answers on an event.
NO_HIT, HIT, UNKNOWN, FAILED = ANSWERS
FOREVER = 2**63 - 1
STATUS_NAMES = ("no_hit", "hit", "unknown", "error")


@dataclass(frozen=True)
class Answers:
    """Where conditions' answers stand in the sheet, m rows one behind the other, and until when a hit counts.

    expires_us: int64[m].
    """

    rows: slice
    expires_us: Ints


@dataclass(frozen=True)
class LivePlan:
    """What live rules ask for. Only `Rule`s can be put into it, so no shadow rule reaches an outcome (law L9).

    asks: uint8[m, 4], the code of the least outcome by status.   lifts: int64[k, 2], (exempt, lifted rule).
    """

    rules: tuple[Rule, ...]
    answers: Answers
    asks: Bytes
    lifts: Ints


@dataclass(frozen=True)
class CompiledRules:
    """A rule set laid out in a sheet. on_degraded: the code of a degraded event's least outcome."""

    program: Program
    event_time: Slot
    live: LivePlan
    shadows: tuple[ShadowRule, ...]
    shadow_answers: Answers
    on_degraded: int


@dataclass(frozen=True)
class RuleResults:
    """What m live and k shadow rules said of n events.

    status: uint8[m, n] of NO_HIT, HIT, UNKNOWN, FAILED.   lifted: uint8[m, n], 1 where an exempt took the rule away.
    muted: uint8[m, n], 1 where somebody has muted the rule; such a rule is not lifted, too.
    outcome: int8[n], index into OUTCOMES.   counts: int64[m, 4], events by status.   shadow_*: the same of shadows.
    """

    rules: tuple[Rule, ...]
    status: Bytes
    lifted: Bytes
    muted: Bytes
    outcome: Codes
    counts: Ints
    shadows: tuple[ShadowRule, ...]
    shadow_status: Bytes
    shadow_counts: Ints

    def speaking(self, i: int) -> list[Rule]:
        """The rules whose hits count on event i, in pack order."""
        counts = (self.status[:, i] == HIT) & (self.lifted[:, i] == 0) & (self.muted[:, i] == 0)
        return [self.rules[k] for k in np.flatnonzero(counts)]


def compile_rules(ruleset: RuleSet, layout: Layout, lists: Mapping[str, int], on_degraded: str) -> CompiledRules:
    """Lay out and compile the rules; adds columns to the layout. Raises Refusal for what the layout lacks."""
    if not all(type(rule) is Rule for rule in ruleset.rules):
        raise TypeError("only live rules have an outcome")
    conditions: tuple[Condition, ...] = (*ruleset.rules, *ruleset.shadows)
    slots = [layout.temporary(BOOL) for _ in conditions]
    program = compile_conditions(
        [(rule.when, slot) for rule, slot in zip(conditions, slots, strict=True)], layout, lists
    )
    live = len(ruleset.rules)
    return CompiledRules(
        program,
        layout["event_time"],
        _plan(ruleset.rules, slots[:live]),
        ruleset.shadows,
        _answers(ruleset.shadows, slots[live:]),
        OUTCOMES.index(on_degraded),
    )


def evaluate(
    compiled: CompiledRules,
    sheet: Sheet,
    lists: ListTables,
    degraded: Bytes,
    counted: Bytes | None = None,
    muted: Bytes | None = None,
    threads: int = 1,
) -> RuleResults:
    """Every rule on every event of the sheet.

    degraded: uint8[n], 1 where the event could not see its windows.   counted: uint8[n], the events that counts
    take in (default: all).   muted: uint8[m, n], 1 where a live rule is muted (default: nowhere). Shadow rules get
    their own arrays; the outcome is computed without them.
    """
    compiled.program.run(sheet, lists, threads)
    counted = np.ones(sheet.n, np.uint8) if counted is None else counted
    live, n = compiled.live, sheet.n
    status, counts = _ask(compiled.event_time, live.answers, sheet, counted)
    shadow_status, shadow_counts = _ask(compiled.event_time, compiled.shadow_answers, sheet, counted)
    muted = np.zeros((len(live.rules), n), np.uint8) if muted is None else muted
    lifted, outcome = np.zeros((len(live.rules), n), np.uint8), np.zeros(n, np.int8)
    decide(status, live.asks, live.lifts, degraded, compiled.on_degraded, muted, lifted, outcome)
    return RuleResults(
        live.rules, status, lifted, muted, outcome, counts, compiled.shadows, shadow_status, shadow_counts
    )


def _plan(rules: tuple[Rule, ...], slots: Sequence[Slot]) -> LivePlan:
    number = {rule.id: k for k, rule in enumerate(rules)}
    lifts = [(k, number[name]) for k, rule in enumerate(rules) for name in rule.lifts if name in number]
    asks = np.array([_asks(rule) for rule in rules], np.uint8).reshape(-1, 4)
    return LivePlan(rules, _answers(rules, slots), asks, np.array(lifts, np.int64).reshape(-1, 2))


def _asks(rule: Rule) -> tuple[int, int, int, int]:
    outcome = OUTCOMES.index(rule.outcome)
    wish = {"ignore": 0, "review": OUTCOMES.index("review"), "outcome": outcome}
    return 0, outcome, wish[rule.on_unknown], wish[rule.on_error]


def _answers(rules: Sequence[Condition], slots: Sequence[Slot]) -> Answers:
    ends = [FOREVER if rule.expires_us is None else rule.expires_us for rule in rules]
    first = slots[0].row if slots else 0
    return Answers(slice(first, first + len(slots)), np.array(ends, np.int64))


def _ask(event_time: Slot, answers: Answers, sheet: Sheet, counted: Bytes) -> tuple[Bytes, Ints]:
    status = sheet.valid[answers.rows].copy()
    counts = np.zeros((len(status), 4), np.int64)
    if len(status):
        _count(sheet.ints(event_time), answers.expires_us, counted, status, counts)
    return status, counts


@kernel
def _count(event_time: Ints, expires_us: Ints, counted: Bytes, status: Bytes, counts: Ints) -> None:
    """The counts of statuses. A rule that has expired at the event's own time says NO_HIT."""
    n = status.shape[1]
    total = counted.sum()
    for r in range(len(status)):
        if expires_us[r] != FOREVER:
            for i in range(n):
                status[r, i] *= event_time[i] < expires_us[r]
        for answer in (HIT, UNKNOWN, FAILED):
            found = 0
            for i in range(n):
                found += counted[i] * (status[r, i] == answer)
            counts[r, answer] = found
        counts[r, NO_HIT] = total - counts[r, 1:].sum()


@kernel
def decide(
    status: Bytes,
    asks: Bytes,
    lifts: Ints,
    degraded: Bytes,
    on_degraded: int,
    muted: Bytes,
    lifted: Bytes,
    outcome: Codes,
) -> None:
    """The strongest outcome that a rule asks for, beside the rules that an exempt lifted. `lifted`, `outcome`: zeros.

    A lifted rule asks for nothing; nor does a muted one, which lifts nothing either. A degraded event, or one on which
    any rule failed, gets at least on_degraded.
    """
    m, n = status.shape
    for k in range(len(lifts)):
        exempt, rule = lifts[k, 0], lifts[k, 1]
        for i in range(n):
            if status[exempt, i] == HIT and muted[exempt, i] == 0:
                lifted[rule, i] = 1 - muted[rule, i]
    for i in range(n):
        outcome[i] = on_degraded if degraded[i] else 0
    for r in range(m):
        on_hit, on_unknown, on_failed = asks[r, HIT], asks[r, UNKNOWN], asks[r, FAILED]
        for i in range(n):
            answer = status[r, i]
            asked = (answer == HIT) * on_hit + (answer == UNKNOWN) * on_unknown + (answer == FAILED) * on_failed
            asked *= (1 - lifted[r, i]) * (1 - muted[r, i])
            outcome[i] = max(outcome[i], asked, (answer == FAILED) * on_degraded)
