"""The scoring lane: input topics in, decisions, alerts, dead letters and one journal record out, each batch once.

A lane follows the journal until it leads and has read it to its end; then it writes it. One turn does one small thing:

    not leading:  read the journal -> fold the batch that it names -> compare the chain of hashes
    leading:      open a writer, which fences the lane before -> read the journal to its end, as above
                  -> take what has arrived -> decide -> publish, and decide the next while the brokers commit

Crash-only: after any error of a client, new clients are made and the journal's end says what has happened. A batch
whose fate is unknown is kept with its outputs: the journal holds it, or the same bytes are sent again. Where another
lane has decided otherwise, the state is dropped and rebuilt from a snapshot and the log.

Exactly once, a batch's outputs and its record are one transaction. At least once, its record is written first; when it
is acknowledged at the very offset behind what the lane has read, it counts, and the outputs follow. At another offset
somebody else has written: the journal is read again before any output is sent. A lane that becomes active sends the
outputs of the last batch again, as no later record confirms them.

One flight is in the air: a transaction, a record, or outputs. Where there are transactions, what comes meanwhile is
decided meanwhile, and in one transaction leave all batches that are decided, each with a record of its own. Without
them a record flies alone: where it proves void, so would those that rely on it, and no reader could tell; so nothing is
decided ahead, which would only wait for two flights. A lane that no longer leads brings out what it has decided before
it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice

from sekisho.journal import JournalRecord
from sekisho.settings import LaneSettings, TopicSettings
from streams.broker import Answer, Broker, BrokerError, FencedError, Leadership, Partition, Send, Writer
from streams.fold import IDLE_S, Fold
from streams.journal_tail import Place
from streams.outputs import Packs, Pending, Snapshots

FOLLOWING, TAKING_OVER, ACTIVE, WAITING = "following", "taking over", "active", "waiting"
_BACKOFF_S = (0.02, 0.5)
_CALM_S = 5.0  # so long without an error, and the next one is the first of a new series
_TELL_AGAIN_S = 30.0
_PATIENCE_S = 0.05  # of a turn that has nothing to do but to wait for an answer
_YIELD_S = 0.0005  # the thread that waits for the brokers needs the interpreter to begin


@dataclass
class LaneStatus:
    """What a lane is doing, and its counts since the start. phase: one of the four above.

    silent_s: how long the brokers had not been heard at the last turn's begin.   turn_at_s: when that was.
    apart_s: how long the group had not met, so that nobody could be known to lead.   undecided_s: how long records had
    been at hand that nobody decided; both 0 for whoever leads.
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
    apart_s: float = 0.0
    undecided_s: float = 0.0


@dataclass(frozen=True)
class Flight:
    """What is on its way to the brokers since `began`: the oldest pending batches' records, or outputs alone."""

    records: tuple[JournalRecord, ...]
    answer: Answer
    began: float


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
        self.settings = settings
        self._leadership: Leadership | None = None
        self._writer: Writer | None = None
        self._flight: Flight | None = None
        self._usual_s = 0.0  # how long a flight takes
        self._is_behind = False  # more had arrived than the last batch could hold
        self._writable = False  # the journal is read to its end behind this writer
        self._epoch = 0  # of this writer's records
        self._next = 0  # the journal's next offset, as far as is known (delivery at least once)
        self._met_at: float | None = None  # when the group was last known to have met
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
        """Bring out what is decided, and let go of everything; another lane takes over at once."""
        try:
            while self._writer is not None and self._is_busy:
                self._work(self._writer, deciding=False)
        except BrokerError as error:
            self.log(f"{type(error).__name__}: {error}")
        self._close_writer()
        self.fold.close()
        self._leave()

    def _turn(self) -> None:
        leads = self._leads()
        self.status.phase = FOLLOWING if not leads else ACTIVE if self._writable else TAKING_OVER
        if self._writer is not None and not leads and self._is_busy:
            self._work(self._writer, deciding=False)
        elif not leads:
            self._close_writer()
            self.fold.follow(saving=True)
        elif self._writer is None:
            self._open_writer()
        elif not self._writable:
            self._take_over(self._writer)
        else:
            self._work(self._writer, deciding=True)
            self.broker.note_positions(self.fold.at().positions)

    def _leads(self) -> bool:
        try:
            if self._leadership is None:
                self._leadership = self.broker.leadership()
            leads = self._leadership.poll()
            self.status.silent_s, self.status.turn_at_s = self._leadership.silent_s(), self.broker.now()
            self._miss_leader(leads, self._leadership.has_met(), self.broker.now())
            return leads
        except BrokerError:
            self._leave()
            raise

    def _miss_leader(self, leads: bool, met: bool, now: float) -> None:
        """How long nobody has been known to lead."""
        if leads:
            self.fold.undecided_since = None
        if leads or met or self._met_at is None:
            self._met_at = now
        since = self.fold.undecided_since
        self.status.apart_s, self.status.undecided_s = now - self._met_at, 0.0 if since is None else now - since

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
        self._send_again(writer)
        self.fold.close_tail()
        self._writable = True

    def _send_again(self, writer: Writer) -> None:
        """Outputs of whoever led before, which no record says to be out."""
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

    @property
    def _is_busy(self) -> bool:
        """True while something that is decided is not out."""
        return self._flight is not None or (self._writable and not self.fold.is_level)

    def _work(self, writer: Writer, deciding: bool) -> None:
        """Let all that is decided take off, or wait for what is in the air; decide what has arrived meanwhile."""
        if self._flight is None:
            if deciding and self.fold.is_level:
                self._decide(self.settings.batch_events, IDLE_S)
            self._flight = self._take_off(writer)
            return
        room = self._room() if deciding else 0
        try:
            offset = self._flight.answer.result(self._patience_s() if room > 0 else _PATIENCE_S)
        except TimeoutError:
            if room > 0:
                self._decide(room, 0.0)
            return
        self._land(self._flight, offset)

    def _decide(self, limit: int, wait_s: float) -> None:
        batch = self.fold.decide(limit, wait_s)
        self._is_behind = batch is not None and batch.events == limit

    def _room(self) -> int:
        """How many events may be decided while a flight is in the air: what leaves together is one batch's worth."""
        if not self.transactional:
            return 0
        aloft = len(self._flight.records) if self._flight else 0
        return self.settings.batch_events - sum(batch.events for batch in islice(self.fold.pending, aloft, None))

    def _patience_s(self) -> float:
        """What comes in the first half of a flight is decided in the second; a backlog is decided at once."""
        return _YIELD_S if self._is_behind else self._usual_s / 2

    def _take_off(self, writer: Writer) -> Flight | None:
        """Send open outputs, else pending batches."""
        if self.fold.unconfirmed is not None:
            writer.send(self.fold.unconfirmed[1].sends())
            return Flight((), writer.beside(writer.flush), self.broker.now())
        if batches := tuple(self.fold.pending):
            records = self._records(batches)
            return Flight(records, writer.beside(self._publish(writer, batches, records)), self.broker.now())
        return None

    def _publish(
        self, writer: Writer, batches: Sequence[Pending], records: Sequence[JournalRecord]
    ) -> Callable[[], int | None]:
        """Send what belongs together; the call that waits until it counts."""
        entries = [Send(self.topics.journal, 0, None, record.encode()) for record in records]
        if not self.transactional:
            return partial(writer.append, entries[0])
        writer.begin()
        writer.send(chain(*(batch.outputs.sends() for batch in batches), entries))
        return writer.commit

    def _land(self, flight: Flight, offset: int | None) -> None:
        """The flight's batches count, or its outputs are out."""
        self._flight = None
        self._usual_s += (self.broker.now() - flight.began - self._usual_s) / 8
        if not flight.records:
            self.fold.unconfirmed = None
            return
        if not self.transactional:
            self._next += len(flight.records)
            if offset != self._next - 1:
                self._writable = False  # somebody else has written, too
                return
        for record in flight.records:
            last = record is flight.records[-1]
            self._count(self.fold.advance(record, offset if last else None))

    def _records(self, batches: Iterable[Pending]) -> tuple[JournalRecord, ...]:
        place, records = self.fold.at(), list[JournalRecord]()
        for batch in batches:
            records.append(self._record(place, batch))
            place = place.after(records[-1], None)
        return tuple(records)

    def _record(self, place: Place, batch: Pending) -> JournalRecord:
        scorer, sequence = self.fold.scorer, place.sequence + 1
        switched = place.pack not in ("", scorer.pack)
        return JournalRecord(
            sequence=sequence,
            epoch=self._epoch,
            confirmed=sequence if self.transactional else place.sequence,
            pack=scorer.pack,
            ranges=batch.ranges,
            counts=batch.outputs.counts,
            watermark_us=batch.outputs.watermark_us,
            chain=batch.chain,
            since=sequence if switched else place.since,
            before=place.pack if switched else place.before,
            cold=scorer.cold,
            seed=place.seed,
        )

    def _count(self, batch: Pending) -> None:
        status, (decisions, alerts, dead) = self.status, batch.outputs.counts
        status.batches += 1
        status.events += batch.events
        status.decisions += decisions
        status.alerts += alerts
        status.dead_letters += dead

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self.fold.close_tail()
        self._writer, self._writable, self._flight = None, False, None

    def _leave(self) -> None:
        if self._leadership is not None:
            self._leadership.close()
        self._leadership = None
