"""What people change while the log runs: entries of lists, muted rules, marks on alerts. Each is an event of the log.

What is kept here knows no pack: a list or a rule that this pack lacks may be the next one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rules.records import ListEntry

ACKNOWLEDGE, SNOOZE, CLOSE, DISPOSITION = "acknowledge", "snooze", "close", "disposition"
ACTIONS = (ACKNOWLEDGE, SNOOZE, CLOSE, DISPOSITION)


@dataclass(frozen=True)
class Control:
    """Who changed something, when (microseconds UTC, as they say) and why. id: the event's own."""

    id: str
    time_us: int
    by: str
    why: str


@dataclass(frozen=True)
class ListChange(Control):
    """A value goes on a list for event times in [starts_us, expires_us); or, with `remove`, all its entries go."""

    list: str
    value: str
    starts_us: int
    expires_us: int
    remove: bool = False


@dataclass(frozen=True)
class RuleMute(Control):
    """A rule's hits have no outcome until W reaches until_us; None takes a mute back."""

    rule: str
    until_us: int | None


@dataclass(frozen=True)
class AlertMark(Control):
    """What somebody does about a group of alerts. action: one of ACTIONS.   until_us: of a snooze.

    disposition: what came of it, in the bank's own word.
    """

    action: str
    group: str
    until_us: int | None = None
    disposition: str = ""


@dataclass
class Said:
    """What was said of one value of a list. cleared: the pack's own entries are gone.   spans: (starts, expires)."""

    cleared: bool = False
    spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class ControlState:
    """Entries by list and value, and the last word on each rule. It belongs to the lane, whichever pack decides."""

    lists: dict[str, dict[str, Said]] = field(default_factory=dict)
    mutes: dict[str, RuleMute] = field(default_factory=dict)

    def take_in(self, control: ListChange | RuleMute) -> None:
        """Apply one event. Saying the same again changes nothing."""
        if isinstance(control, RuleMute):
            if control.until_us is None:
                self.mutes.pop(control.rule, None)
            else:
                self.mutes[control.rule] = control
            return
        said = self.lists.setdefault(control.list, {}).setdefault(control.value, Said())
        span = (control.starts_us, control.expires_us)
        if control.remove:
            said.cleared, said.spans = True, []
        elif span not in said.spans:
            said.spans.append(span)

    def spans(self, name: str, value: str, own: Sequence[ListEntry]) -> list[tuple[int, int]]:
        """When a value is on a list, of which the pack's own entries are given."""
        said = self.lists.get(name, {}).get(value, Said())
        kept = [] if said.cleared else [(e.starts_us, e.expires_us) for e in own if e.value == value]
        return kept + said.spans

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a snapshot."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> ControlState:
        """The state that `to_json` wrote."""
        lists = {
            name: {value: Said(said["cleared"], [(a, b) for a, b in said["spans"]]) for value, said in values.items()}
            for name, values in plain["lists"].items()
        }
        return cls(lists, {rule: RuleMute(**mute) for rule, mute in plain["mutes"].items()})
