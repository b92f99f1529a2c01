"""The scoring lane: input topics in, decisions, alerts, dead letters and one journal record out, each batch once.

A lane follows the journal until it leads and has read it to its end; then it writes it. One turn does one small thing:

    not leading:  read the journal -> fold the batch that it names -> compare the chain of hashes
    leading:      open a writer, which fences the lane before -> read the journal to its end, as above
                  -> take what has arrived -> decide -> publish

Crash-only: after any error of a client, new clients are made and the journal's end says what has happened. A batch
whose fate is unknown is kept with its outputs: the journal holds it, or the same bytes are sent again. Where another
lane has decided otherwise, the state is dropped and rebuilt from a snapshot and the log.

Exactly once, a batch's outputs and its record are one transaction. At least once, its record is written first; when it
is acknowledged at the very offset behind what the lane has read, it counts, and the outputs follow. At another offset
somebody else has written: the journal is read again before any output is sent. A lane that becomes active sends the
outputs of the last batch again, as no later record confirms them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sekisho.journal import JournalRecord
from sekisho.settings import LaneSettings, TopicSettings
from streams.broker import Broker, BrokerError, FencedError, Leadership, Partition, Send, Writer
from streams.fold import Fold
from streams.outputs import Packs, Pending, Snapshots

FOLLOWING, TAKING_OVER, ACTIVE, WAITING = "following", "taking over", "active", "waiting"
_BACKOFF_S = (0.02, 0.5)
_CALM_S = 5.0  # so long without an error, and the next one is the first of a new series
_TELL_AGAIN_S = 30.0


@dataclass
class LaneStatus:
    """What a lane is doing, and its counts since the start. phase: one of the four above.

    silent_s: how long the brokers had not been heard at the last turn's begin.   turn_at_s: when that was.
    """

    phase: str = FOLLOWING
    events: int = 0
    decisions: int = 0
    alerts: int = 0
    dead_letters: int = 0
    batches: int = 0
    errors: int = 0
    fencings: int = 0
    takeovers: int = 0
    sequence: int = -1
    epoch: int = 0
    positions: Mapping[Partition, int] = field(default_factory=dict)
    last_error: str = ""
    silent_s: float = float("inf")
    turn_at_s: float = float("-inf")


class Lane:
    """See the module. Whoever owns it calls turn() again and again from one thread, then close()."""

    def __init__(
        self,
        broker: Broker,
        packs: Packs,
        snapshots: Snapshots,
        topics: TopicSettings,
        settings: LaneSettings,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.broker, self.topics, self.log = broker, topics, log
        self.fold = Fold(broker, packs, snapshots, topics, settings, log)
        self.transactional = settings.delivery == "exactly-once"
        self.status = LaneStatus()
        self._leadership: Leadership | None = None
        self._writer: Writer | None = None
        self._writable = False  # the journal is read to its end behind this writer
        self._epoch = 0  # of this writer's records
        self._next = 0  # the journal's next offset, as far as is known (delivery at least once)
        self._failures = 0
        self._failed_at = float("-inf")
        self._logged: dict[str, float] = {}  # when each error of this series was told last

    def turn(self) -> None:
        """Do one small thing. Raises DifferenceError, JournalError, LostRecordsError: what a person must mend."""
        try:
            self._turn()
        except BrokerError as error:
            self._recover(error)
        place = self.fold.place
        if place is not None:
            self.status.sequence, self.status.epoch, self.status.positions = (
                place.sequence,
                place.epoch,
                place.positions,
            )

    def close(self) -> None:
        """Let go of everything; another lane takes over at once."""
        self._close_writer()
        self.fold.close()
        self._leave()

    def _turn(self) -> None:
        leads = self._leads()
        self.status.phase = FOLLOWING if not leads else ACTIVE if self._writable else TAKING_OVER
        if not leads:
            self._close_writer()
            self.fold.follow(saving=True)
        elif self._writer is None:
            self._open_writer()
        elif not self._writable:
            self._take_over(self._writer)
        else:
            pending = self.fold.pending or self.fold.decide()
            if pending is not None:
                self._publish(self._writer, pending)
            self.broker.note_positions(self.fold.at().positions)

    def _leads(self) -> bool:
        try:
            if self._leadership is None:
                self._leadership = self.broker.leadership()
            leads = self._leadership.poll()
            self.status.silent_s, self.status.turn_at_s = self._leadership.silent_s(), self.broker.now()
            return leads
        except BrokerError:
            self._leave()
            raise

    def _recover(self, error: BrokerError) -> None:
        """Drop every client; the next turns make new ones."""
        self._note(error)
        if isinstance(error, FencedError):
            self.status.fencings += 1
            self._leave()
        self._close_writer()
        self.fold.close()
        self.status.phase = WAITING
        low, high = _BACKOFF_S
        self.broker.wait(min(high, low * 2 ** min(self._failures, 10)))
        self._failures, self._failed_at = self._failures + 1, self.broker.now()

    def _note(self, error: BrokerError) -> None:
        """Count it, and tell it: the same one again only after a while."""
        now, text = self.broker.now(), str(error)
        if now - self._failed_at > _CALM_S:
            self._failures = 0
            self._logged.clear()
        self.status.errors += 1
        said = self.broker.complaint()
        self.status.last_error = f"{text} ({said})" if said and said not in text else text
        if now - self._logged.get(text, float("-inf")) > _TELL_AGAIN_S:
            self._logged[text] = now
            self.log(self.status.last_error)

    def _open_writer(self) -> None:
        self.status.takeovers += 1
        self._writer = self.broker.writer(self.transactional)
        self._writable = False
        self.fold.close_tail()  # only a reader that begins behind the fencing knows the journal's true end

    def _take_over(self, writer: Writer) -> None:
        """Fold the journal to its end, and make sure that the last batch's outputs are out."""
        if self.fold.follow(saving=False) or not self.fold.tail().at_end:
            return
        self._epoch, self._next = self.fold.at().epoch + 1, self.fold.tail().offset
        self._send_unconfirmed(writer)
        self.fold.close_tail()
        self._writable = True

    def _publish(self, writer: Writer, pending: Pending) -> None:
        record = self._record(pending)
        entry = Send(self.topics.journal, 0, None, record.encode())
        if self.transactional:
            writer.begin()
            writer.send([*pending.outputs.sends(), entry])
            offset = writer.commit()
        else:
            offset = writer.append(entry)
            if offset != self._next:
                self._writable = False
                return
            self._next = offset + 1
        self.fold.advance(record, offset)
        self._count(pending)
        self._send_unconfirmed(writer)

    def _send_unconfirmed(self, writer: Writer) -> None:
        if self.fold.unconfirmed is None:
            return
        sends = self.fold.unconfirmed[1].sends()
        if self.transactional:
            writer.begin()
            writer.send(sends)
            writer.commit()
        else:
            writer.send(sends)
            writer.flush()
        self.fold.unconfirmed = None

    def _record(self, pending: Pending) -> JournalRecord:
        place, scorer, outputs = self.fold.at(), self.fold.scorer, pending.outputs
        sequence = place.sequence + 1
        switched = place.pack not in ("", scorer.pack)
        return JournalRecord(
            sequence=sequence,
            epoch=self._epoch,
            confirmed=sequence if self.transactional else sequence - 1,
            pack=scorer.pack,
            ranges=pending.ranges,
            counts=outputs.counts,
            watermark_us=outputs.watermark_us,
            chain=pending.chain,
            since=sequence if switched else place.since,
            before=place.pack if switched else place.before,
            cold=scorer.cold,
            seed=place.seed,
        )

    def _count(self, pending: Pending) -> None:
        status, (decisions, alerts, dead) = self.status, pending.outputs.counts
        status.batches += 1
        status.events += pending.events
        status.decisions += decisions
        status.alerts += alerts
        status.dead_letters += dead

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self.fold.close_tail()
        self._writer, self._writable = None, False

    def _leave(self) -> None:
        if self._leadership is not None:
            self._leadership.close()
        self._leadership = None
