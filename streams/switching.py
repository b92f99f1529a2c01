"""From one pack to the next: what was asked for is warmed beside the running pack, a slice a turn, until it is level.

    asked for -> Packs brings a state of some place before -> slices of the journal -> level with the lane -> it decides

An active lane makes the switch between two batches; the first record by the new pack tells it to all who follow. These
warm the same pack when it is asked for, so that they can follow at once.
"""

from __future__ import annotations

from collections.abc import Callable

from sekisho.journal import JournalError, JournalRecord
from sekisho.settings import LaneSettings, TopicSettings
from streams.broker import Broker
from streams.journal_tail import Place
from streams.outputs import PackRefused, Packs, Request, Scorer
from streams.warming import NEAR, Warming


class Switching:
    """See the module. `refused`: what was asked for and why it was not done, the newest."""

    def __init__(
        self, broker: Broker, packs: Packs, topics: TopicSettings, settings: LaneSettings, log: Callable[[str], None]
    ) -> None:
        self.broker, self.packs, self.topics, self.settings, self.log = broker, packs, topics, settings, log
        self.warming: Warming | None = None
        self.request: Request | None = None
        self.refused: tuple[Request, str] | None = None

    def near(self, place: Place) -> bool:
        """True while so little is missing that the lane had better wait for it."""
        return self.warming is not None and place.sequence - self.warming.place.sequence <= NEAR

    def open(self, running: str) -> Request | None:
        """What people ask for beside the running pack, unless it was refused."""
        request = self.packs.wanted()
        if request is None or request.pack == running or (self.refused and self.refused[0].id == request.id):
            return None
        return request

    def asked(self, running: str, place: Place, most: int, active: bool) -> Scorer | None:
        """Work, at most about so many events, towards what people ask for; for an active lane the scorer when level."""
        request = self.open(running)
        if request is None:
            self.drop()
            return None
        try:
            return self._towards(request, place, most, active)
        except PackRefused as error:
            self.refused = request, str(error)
            self.log(f"pack {request.pack[:12]} is refused, and the running one goes on: {error}")
            if active:
                self.packs.refuse(request, str(error))
            self.drop()
            return None

    def journalled(self, record: JournalRecord, place: Place, most: int) -> Scorer | None:
        """The same towards what the journal says. Raises PackRefused: without that pack nobody can follow."""
        request = Request(f"batch {record.sequence}", record.pack, journalled=True, cold=record.cold)
        return self._towards(request, place, most, True)

    def drop(self) -> None:
        """Nothing is being warmed any more."""
        if self.request is not None:
            self.packs.drop()
        self.close()
        self.warming, self.request = None, None

    def close(self) -> None:
        """Let the clients go; the state stays."""
        if self.warming is not None:
            self.warming.close()

    def told(self) -> dict[str, object]:
        """For people: what is being warmed and how far it is, and what was refused and why."""
        request, warming, refused = self.request, self.warming, self.refused
        return {
            "pack_wanted": request and request.pack,
            "pack_warmed_to": warming and warming.place.sequence,
            "pack_refused": refused and f"{refused[0].pack[:12]}: {refused[1]}",
        }

    def _towards(self, request: Request, place: Place, most: int, taken: bool) -> Scorer | None:
        if not self._serves(request, place):
            self.drop()
        self.request = request
        if self.warming is None:
            if (found := self.packs.warmed(request, place)) is None:
                return None
            self.warming = Warming(self.broker, *found, self.topics, self.settings)
        warming = self.warming
        if warming.place.sequence < place.sequence:
            warming.follow(most, place.sequence)
        if warming.place.sequence < place.sequence or not taken:
            return None
        if warming.place.chain != place.chain:
            raise JournalError(f"batch {place.sequence} has two records that count")
        warming.examine()
        self.drop()
        self.log(f"pack {warming.scorer.pack[:12]} decides from batch {place.sequence + 1} on")
        return warming.scorer

    def _serves(self, request: Request, place: Place) -> bool:
        """Whether what is on its way is what is wanted now."""
        if self.request is None or self.request.pack != request.pack:
            return self.request is None
        if self.warming is None:
            return self.request.journalled == request.journalled
        level = self.warming.place.sequence <= place.sequence
        return level and (not request.journalled or self.warming.scorer.cold == request.cold)
