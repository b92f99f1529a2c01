"""Why a payment's outcome changed: the smallest sets of changes that give CURRENT's outcome back when undone.

The components are what differs between the packs: `features` (features, models, clocks), `calibration`, each rule,
each list, and with feedback `upstream`, the log that earlier decisions have edited. A hybrid is CANDIDATE with a set of
them taken back. It is executed, not guessed: the rules' own programs run over the values of both packs. A set restores
when the hybrid decides as CURRENT did; it is minimal when no proper subset does. Sets of up to three are tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from features.lists import ListTables, build_lists
from features.sheet import DEGRADED, HANDLE_BITS, NULL, VALID, Bytes, Ints, Sheet, concat, new_sheet, take
from features.types import Kind
from models.arms import CHALLENGER, CHAMPION
from models.card import Calibration
from models.scorer import Challenger, CompiledScorer, Model, calibrate
from rules.evaluate import decide, evaluate
from rules.records import Rule
from sekisho.compile import Engine
from sekisho.pack import Pack
from sekisho.step import Decided

FEATURES, CALIBRATION, UPSTREAM = "features", "calibration", "upstream"
CURRENT, CANDIDATE = 0, 1
LARGEST = 3

Names = frozenset[str]
Codes = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]
Place = tuple[int, int]  # a pack, and the pack whose decisions edited the log


def components(current: Engine, candidate: Engine, feedback: bool) -> tuple[str, ...]:
    """What differs between two packs and may flip a decision."""
    ours, theirs = current.pack, candidate.pack
    found = []
    if _values_key(current) != _values_key(candidate):
        found.append(FEATURES)
    before = _calibrations(ours)
    if any(before.get(name, after) != after for name, after in _calibrations(theirs).items()):
        found.append(CALIBRATION)
    for kind, left, right in (
        ("rule", _rules(ours.rules.rules), _rules(theirs.rules.rules)),
        ("list", ours.rules.lists, theirs.rules.lists),
    ):
        names = dict.fromkeys((*left, *right))
        found += [f"{kind}:{name}" for name in names if left.get(name) != right.get(name)]
    return (*found, UPSTREAM) if feedback and found else tuple(found)


def _calibrations(pack: Pack) -> dict[str, Calibration]:
    """Of every live model and challenger, by its name."""
    live = [each for scorer in pack.models for each in (scorer, scorer.challenger) if each]
    return {model.name: model.calibration for model in live}


def _rules(rules: Sequence[Rule]) -> dict[str, tuple[object, ...]]:
    """What of a rule decides."""
    return {
        r.id: (r.when_sql, r.outcome, r.stage, r.on_unknown, r.on_error, frozenset(r.lifts), r.expires_us)
        for r in rules
    }


def _values_key(engine: Engine) -> tuple[object, ...]:
    """What features and raw scores depend on, beside the log."""
    pack = engine.pack
    models = tuple(_model_key(each) for scorer in pack.models for each in (scorer, scorer.challenger) if each)
    legs = tuple((leg.kind, repr(leg.when), tuple(leg.fields.items())) for leg in pack.legs)
    return pack.query.sql, models, pack.policy, pack.labels, legs, tuple(pack.schema.fields)


def _model_key(model: Model) -> tuple[object, ...]:
    drawn = (model.share, model.by, model.salt) if isinstance(model, Challenger) else ()
    return model.name, model.sha256, model.features, repr(model.segment), drawn


@dataclass
class Hybrids:
    """Decides some payments by CANDIDATE with any set of components taken back.

    sheets: by Place, the payments after step(), in one order; without feedback there is but one log, CURRENT's. Where
    both packs compute the same values, one pack's of each log will do.   fates: by Place, uint8[k].
    muted: by pack, uint8[m, k], where people had muted its rules.
    """

    engines: tuple[Engine, Engine]
    sheets: Mapping[Place, Sheet]
    fates: Mapping[Place, Bytes]
    muted: tuple[Bytes, Bytes]
    _statuses: dict[tuple[object, ...], Bytes] = field(default_factory=dict)

    @property
    def k(self) -> int:
        return next(iter(self.sheets.values())).n

    def decide(self, undone: Names) -> Codes:
        """int8[k]: the outcomes of the hybrid."""
        names = dict.fromkeys(rule.id for engine in self.engines for rule in engine.rules.live.rules)
        chosen = [pair for name in names if (pair := self._rule(undone, name))]
        place, live = self._place(undone), [engine.rules.live for engine in self.engines]
        degraded = (self.fates[place] == DEGRADED).astype(np.uint8)
        status = [self._status(side, place, undone)[k] for side, k in chosen]
        muted = [self.muted[side][k] for side, k in chosen]
        rules, asks = [live[side].rules[k] for side, k in chosen], [live[side].asks[k] for side, k in chosen]
        number = {rule.id: k for k, rule in enumerate(rules)}
        lifts = [(k, number[name]) for k, rule in enumerate(rules) for name in rule.lifts if name in number]
        shape, least = (len(rules), self.k), self.engines[place[0]].rules.on_degraded
        lifted, outcome = np.zeros(shape, np.uint8), np.zeros(self.k, np.int8)
        decide(
            np.array(status, np.uint8).reshape(shape), np.array(asks, np.uint8).reshape(-1, 4),
            np.array(lifts, np.int64).reshape(-1, 2), degraded, least, np.array(muted, np.uint8).reshape(shape),
            lifted, outcome,
        )  # fmt: skip
        return outcome

    def _rule(self, undone: Names, name: str) -> tuple[int, int] | None:
        """The pack whose version of a rule counts and its number there; None where that pack has none."""
        side = CURRENT if f"rule:{name}" in undone else CANDIDATE
        return next(((side, k) for k, rule in enumerate(self.engines[side].rules.live.rules) if rule.id == name), None)

    def _place(self, undone: Names) -> Place:
        """Where features and raw scores come from."""
        pack = CURRENT if FEATURES in undone else CANDIDATE
        logs = {log for _, log in self.sheets}
        log = CURRENT if UPSTREAM in undone or len(logs) == 1 else CANDIDATE
        return next(place for place in ((pack, log), (1 - pack, log)) if place in self.sheets)

    def _status(self, side: int, place: Place, undone: Names) -> Bytes:
        """uint8[m, k]: what a pack's rules say of the values of `place`."""
        engine = self.engines[side]
        lists = tuple(CURRENT if f"list:{name}" in undone else CANDIDATE for name in engine.pack.rules.lists)
        calibration = CURRENT if CALIBRATION in undone else CANDIDATE
        key = (side, place, calibration, lists)
        if key not in self._statuses:
            degraded = (self.fates[place] == DEGRADED).astype(np.uint8)
            sheet = self._sheet(side, place, calibration)
            self._statuses[key] = evaluate(engine.rules, sheet, self._tables(engine, lists), degraded).status
        return self._statuses[key]

    def _tables(self, engine: Engine, choice: tuple[int, ...]) -> ListTables:
        """A pack's lists in the chosen versions; a list that the chosen pack lacks is the pack's own."""
        versions = [other.pack.rules.lists for other in self.engines]
        own = engine.pack.rules.lists
        return build_lists({name: versions[side].get(name, own[name]) for name, side in zip(own, choice, strict=True)})

    def _sheet(self, side: int, place: Place, calibration: int) -> Sheet:
        """What a pack's rules read: its own columns, with the values of `place` where that pack has them too."""
        engine, source = self.engines[side], self.sheets[place]
        own = self.sheets.get((side, place[1]), source)
        if own.layout is not engine.layout:  # the other pack stands in: it computes the same values
            own = _translated(source, engine)
        sheet = Sheet(own.layout, own.cells.copy(), own.valid.copy(), own.text)
        if source is not own:
            _overwrite(sheet, source, [name for name, _ in engine.pack.query.features])
        origin = next(each for each in self.engines if each.layout is source.layout)
        for scorer in engine.scorers:
            _rescore(sheet, scorer, source, origin, self.engines[calibration])
        return sheet


def _translated(source: Sheet, engine: Engine) -> Sheet:
    """The events of another pack's sheet under the names of this pack."""
    sheet = new_sheet(engine.layout, source.n)
    names = [*engine.inputs.slots, *(name for name, _ in engine.pack.query.features)]
    _overwrite(sheet, source, [name for name in names if name in source.layout])
    return sheet


def _overwrite(sheet: Sheet, source: Sheet, names: Sequence[str]) -> None:
    """Take the values of columns that stand in both sheets with one type."""
    shift = len(sheet.text) << HANDLE_BITS
    sheet.text = np.concatenate([sheet.text, source.text])
    for name in names:
        if name not in source.layout or source.layout[name].type != sheet.layout[name].type:
            continue
        to, origin, width = sheet.layout[name].row, source.layout[name], 2 if sheet.layout[name].type.wide else 1
        sheet.cells[to : to + width] = source.cells[origin.row : origin.row + width]
        sheet.valid[to : to + width] = source.valid[origin.row : origin.row + width]
        if origin.type.kind is Kind.TEXT:
            sheet.cells[to] += shift


def _rescore(sheet: Sheet, scorer: CompiledScorer, source: Sheet, origin: Engine, calibrated: Engine) -> None:
    """A model's columns: the raw score of `source`, where `origin` has the model, in the chosen calibration."""
    there = next((each for each in origin.scorers if each.scorer.name == scorer.scorer.name), None)
    if there:
        sheet.doubles(scorer.raw)[:] = source.doubles(there.raw)
        sheet.validity(scorer.raw)[:] = source.validity(there.raw)
    known, by = sheet.validity(scorer.raw) == VALID, there or scorer
    drawn = (source if there else sheet).ints(by.arm) if by.arm else np.full(sheet.n, CHAMPION)
    for slot in (scorer.probability, scorer.score):
        sheet.validity(slot)[:] = NULL
    for arm in (CHAMPION, CHALLENGER):
        rows, model = np.flatnonzero(known & ((drawn == CHALLENGER) == (arm == CHALLENGER))), by.in_arm(arm).model
        chosen = _calibrations(calibrated.pack).get(model.name, model.calibration)
        probability, points = calibrate(sheet.doubles(scorer.raw)[rows], chosen.a, chosen.b)
        for slot, values in ((scorer.probability, probability.view(np.int64)), (scorer.score, points)):
            sheet.cells[slot.row, rows], sheet.valid[slot.row, rows] = values, VALID


@dataclass(frozen=True)
class Causes:
    """Of k flips: restoring: the minimal sets as text, "" if there is none.   kind: one of CAUSES."""

    restoring: list[str]
    kind: list[str]


def causes_of(hybrids: Hybrids, names: Sequence[str], wanted: Codes) -> Causes:
    """The minimal restoring sets of up to LARGEST components. wanted: int8[k], CURRENT's outcomes."""
    found: list[tuple[Names, Mask]] = []
    for size in range(1, LARGEST + 1):
        for combination in combinations(names, size):
            undone = frozenset(combination)
            covered = [mask for smaller, mask in found if smaller < undone]
            open_ = ~np.logical_or.reduce(covered) if covered else np.ones(len(wanted), bool)
            if open_.any():
                found.append((undone, open_ & (hybrids.decide(undone) == wanted)))
    patterns = np.array([mask for _, mask in found], bool).reshape(len(found), len(wanted))
    unique, inverse = np.unique(patterns, axis=1, return_inverse=True)
    sets = [[found[j][0] for j in np.flatnonzero(column)] for column in unique.T]
    texts = [" | ".join(sorted("+".join(sorted(each)) for each in group)) for group in sets]
    flat = inverse.reshape(-1).tolist()
    return Causes([texts[j] for j in flat], _kinds(hybrids, names, wanted, [sets[j] for j in flat]))


def _kinds(hybrids: Hybrids, names: Sequence[str], wanted: Codes, sets: Sequence[Sequence[Names]]) -> list[str]:
    alone = {name: hybrids.decide(frozenset(names) - {name}) != wanted for name in _in_large(sets)}
    return [_kind(group, all(alone[name][i] for name in _in_large([group]))) for i, group in enumerate(sets)]


def _in_large(sets: Sequence[Sequence[Names]]) -> Names:
    """The components of those rows that no single component restores."""
    groups = (group for group in sets if group and all(len(each) > 1 for each in group))
    return frozenset(name for group in groups for each in group for name in each)


def _kind(group: Sequence[Names], each_suffices: bool) -> str:
    """single: one change restores.   alternative: any of several does.   joint: several must be undone together.

    over_determined: several must, because each of them alone would flip the payment as well.
    """
    if not group:
        return "unresolved"
    singles = [each for each in group if len(each) == 1]
    if singles == [frozenset({UPSTREAM})]:
        return "upstream"
    if singles:
        return "single" if len(singles) == 1 and len(group) == 1 else "alternative"
    return "over_determined" if each_suffices else "joint"


def gather(decided: Sequence[Decided], index: Ints) -> tuple[Sheet, Bytes, Bytes]:
    """The payments at `index` of a chunk's payments: as one sheet, their fates uint8[k], muted rules uint8[m, k]."""
    sheets, fates, muted, before = [], [], [], 0
    for part in decided:
        inside = index[(index >= before) & (index < before + len(part.rows))] - before
        rows = part.rows[inside]
        sheets.append(take(part.sheet, rows))
        fates.append(part.admission.fate[rows])
        muted.append(part.results.muted[:, rows])
        before += len(part.rows)
    return concat(sheets), np.concatenate(fates), np.concatenate(muted, axis=1)
