"""Verification: what stands on the topics is what the journal's order and the pack give, byte for byte.

The journal names the records of each batch, how they are merged, and which pack decided. Each pack folds them from the
first event on, or from where its knowledge begins, also while another pack decides; every decision, alert and dead
letter is compared with its topic. One reader a topic, nothing kept: any length of log.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from replay.topic import TopicReader
from sekisho.decider import Decider, Placed, Verdicts
from sekisho.errors import SourceError
from sekisho.journal import START, Cold, JournalError, JournalRecord, Range, chain_of, decode
from sekisho.log import Message, merge_order


@dataclass(frozen=True)
class Topics:
    """Where a worker reads and writes. client: kafka-python's settings for TLS and SASL."""

    bootstrap: str
    journal: str
    decisions: str
    alerts: str
    dead_letters: str
    packs: str
    events: str
    client: Mapping[str, object] = field(default_factory=dict, repr=False)


Known = tuple[str, Cold | None]
Maker = Callable[[str, str | None], Decider]


@dataclass(frozen=True)
class Part:
    """Which batches are compared: from `first` to `last`, by sequence, or [from_us, to_us) by the journal's clock."""

    first: int = 0
    last: int | None = None
    from_us: int | None = None
    to_us: int | None = None

    def holds(self, record: JournalRecord, time_us: int) -> bool:
        """True for a batch that is compared."""
        return (self.from_us is None or time_us >= self.from_us) and record.sequence >= self.first

    def is_over(self, record: JournalRecord, time_us: int) -> bool:
        """True behind the last one."""
        late = self.to_us is not None and time_us >= self.to_us
        return late or (self.last is not None and record.sequence > self.last)

    @property
    def open_ended(self) -> bool:
        return self.last is None and self.to_us is None


@dataclass(frozen=True)
class Difference:
    """The first place where a topic and the replay part. found, wanted: bytes, or None where there is no record."""

    sequence: int
    topic: str
    partition: int
    offset: int | None
    wanted: bytes | None
    found: bytes | None


@dataclass
class Report:
    """What was compared.

    chain: the hash over all outputs.   packs: which decided.   repeated: records that stand twice (at least once).
    """

    batches: int = 0
    events: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    chain: bytes = START
    packs: set[str] = field(default_factory=set)
    difference: Difference | None = None


def verify(
    packs: Maker, topics: Topics, part: Part | None = None, told: Callable[[Report], None] = lambda report: None
) -> Report:
    """Compare what a journal names; `told` hears of every batch. Stops at the first difference.

    packs: gives a pack by its hash, in the state before the first batch: after the history with the journal's seed.
    Raises JournalError where the journal cannot be followed, SourceError where the log no longer holds what it names.
    """
    verification = _Verification(packs, topics, part or Part())
    try:
        verification.prepare()
        for record, compared in verification.records():
            verification.batch(record, compared)
            told(verification.report)
            if verification.report.difference:
                break
        else:
            if verification.part.open_ended:
                verification.nothing_more()
                if verification.report.difference and verification.went_on():
                    verification.report.difference = None  # a later batch's, which was not asked about
    finally:
        verification.close()
    return verification.report


class _Verification:
    def __init__(self, packs: Maker, topics: Topics, part: Part) -> None:
        self.packs, self.topics, self.part, self.report = packs, topics, part, Report()
        self.readers: dict[str, TopicReader] = {}
        self.ends: dict[tuple[str, int], int] = {}
        self.seen: set[bytes] = set()  # delivery at least once: what may stand again
        self.last = -1
        self.needed: dict[Known, int] = {}  # each pack that is compared, and the last batch that it decided
        self.deciders: dict[Known, Decider] = {}
        self.found: set[tuple[str, int]] = set()  # outputs' partitions whose first record to compare is found

    def reader(self, topic: str) -> TopicReader:
        if topic not in self.readers:
            self.readers[topic] = TopicReader(self.topics.bootstrap, topic, self.topics.client)
        return self.readers[topic]

    def close(self) -> None:
        for reader in self.readers.values():
            reader.close()

    def prepare(self) -> None:
        """Look through the journal: which packs are needed, and whether their beginning is there."""
        first: JournalRecord | None = None
        last, said = -1, list[tuple[int, Range]]()
        for record, compared in self.records():
            first, last = first or record, record.sequence
            said += [(last, each) for each in record.ranges if each.topic == self.topics.events]
            if compared:
                self.needed[record.pack, record.cold] = record.sequence
        self.last = last
        self.readers.pop(self.topics.journal).close()
        for pack, cold in self.needed:
            if first is not None and first.sequence > (0 if cold is None else cold.sequence + 1):
                raise JournalError(
                    f"it begins with batch {first.sequence}, and pack {pack[:12]} has folded what came before"
                )
            self.deciders[pack, cold] = decider = self.packs(pack, first.seed if first is not None else None)
            if cold is not None:
                decider.reset(cold.watermark_us)
                decider.recall(self.said_before(cold, said))
        if first is not None and first.seed is not None:
            self.report.chain = bytes.fromhex(first.seed)

    def said_before(self, cold: Cold, said: Sequence[tuple[int, Range]]) -> Iterator[Message]:
        """The events topic up to where the log stood in it when the pack's knowledge began."""
        before = [each.end for sequence, each in said if sequence <= cold.sequence]
        after = [each.first for sequence, each in said if sequence > cold.sequence]
        reader = TopicReader(self.topics.bootstrap, self.topics.events, self.topics.client)
        try:
            yield from reader.take(0, before[-1] if before else after[0] if after else 2**63 - 1)
        finally:
            reader.close()

    def records(self) -> Iterator[tuple[JournalRecord, bool]]:
        """The journal's records that count, see sekisho.journal, and whether they are compared."""
        sequence, epoch, journal = None, 0, self.reader(self.topics.journal)
        while (message := journal.peek(0)) is not None:
            record = decode(message.value or b"")
            if record.epoch >= epoch and (sequence is None or record.sequence > sequence):
                if sequence is not None and record.sequence != sequence + 1:
                    raise JournalError(f"record {record.sequence} follows {sequence}: some are missing")
                if self.part.is_over(record, message.time_us) or record.sequence > self.last >= 0:
                    return
                sequence, epoch = record.sequence, record.epoch
                yield record, self.part.holds(record, message.time_us)
            journal.pop(0)

    def batch(self, record: JournalRecord, compared: bool) -> None:
        """Decide a batch again by every pack that will be needed, and compare it with what is on the topics."""
        behind = [known for known in self.deciders if self.needed[known] < record.sequence]
        for known in behind:
            del self.deciders[known]
        folding = [known for known in self.deciders if known[1] is None or known[1].sequence < record.sequence]
        messages = self.messages(record) if folding else []
        verdicts = {known: self.deciders[known].decide(messages) for known in folding}
        if compared:
            self.judge(record, verdicts[record.pack, record.cold])
            self.report.batches += 1
            self.report.packs.add(record.pack)
            self.report.events += len(messages)
        else:
            self.report.chain = record.chain

    def messages(self, record: JournalRecord) -> list[Message]:
        """The batch's records in the journal's order."""
        order, messages = merge_order([self.inputs(each) for each in record.ranges])
        return [messages[i] for i in order]

    def judge(self, record: JournalRecord, verdicts: Verdicts) -> None:
        """Compare a batch's outputs, and the journal's chain."""
        parts = (verdicts.decisions, verdicts.alerts, verdicts.dead_letters)
        once = record.confirmed == record.sequence
        for topic, part in zip(self.outputs(), parts, strict=True):
            for placed in part:
                self.compare(record.sequence, topic, placed, once)
                if self.report.difference:
                    return
            self.report.counts[topic] += len(part)
        report = self.report
        report.chain = chain_of(report.chain, *(part.values for part in parts))
        if report.chain != record.chain:
            wanted, found = report.chain.hex().encode(), record.chain.hex().encode()
            report.difference = Difference(record.sequence, self.topics.journal, 0, None, wanted, found)

    def inputs(self, wanted: Range) -> list[Message]:
        """The records of a range, which must go on where the one before ended."""
        place = wanted.topic, wanted.partition
        began = place not in self.ends
        if self.ends.get(place, wanted.first) != wanted.first:
            raise JournalError(f"{place[0]}[{place[1]}]: a range begins at {wanted.first}, not at {self.ends[place]}")
        self.ends[place] = wanted.end
        messages = list(self.reader(wanted.topic).take(wanted.partition, wanted.end))
        if began:
            messages = [message for message in messages if message.offset >= wanted.first]
        if not messages or messages[-1].offset != wanted.end - 1 or messages[0].offset < wanted.first:
            raise SourceError(
                f"{place[0]}[{place[1]}]: records {wanted.first} to {wanted.end - 1} are not all there any more",
                "verify before retention removes what the journal names, and on the cluster that the worker wrote to",
            )
        return messages

    def compare(self, sequence: int, topic: str, placed: Placed, once: bool) -> None:
        """The next record of the output's partition must be this one."""
        reader = self.reader(topic)
        partition = placed.partition % len(reader.places)
        found = reader.peek(partition)
        while found is not None and found.value != placed.value and self.passed_over(topic, partition, found):
            reader.pop(partition)
            found = reader.peek(partition)
        if found is None or found.value != placed.value:
            offset, value = (None, None) if found is None else (found.offset, found.value)
            self.report.difference = Difference(sequence, topic, partition, offset, placed.value, value)
            return
        reader.pop(partition)
        self.found.add((topic, partition))
        if not once:
            self.seen.add(placed.value)

    def passed_over(self, topic: str, partition: int, found: Message) -> bool:
        """True for what stands again, and for what comes before the first batch that is compared."""
        if found.value in self.seen:
            self.report.repeated += 1
            return True
        return self.part != Part() and (topic, partition) not in self.found

    def nothing_more(self) -> None:
        """Behind the journal's last batch no topic holds anything else."""
        for topic in self.outputs():
            reader = self.reader(topic)
            for partition in reader.places:
                while (found := reader.peek(partition)) is not None and found.value in self.seen:
                    self.report.repeated += 1
                    reader.pop(partition)
                if found is not None and (self.part == Part() or (topic, partition) in self.found):
                    self.report.difference = Difference(self.last, topic, partition, found.offset, None, found.value)
                    return

    def went_on(self) -> bool:
        """True when a worker has written more batches since the journal was looked through."""
        self.readers.pop(self.topics.journal).close()
        last, self.last = self.last, -1
        sequences = [record.sequence for record, _ in self.records()]
        self.last = last
        return bool(sequences) and sequences[-1] > last

    def outputs(self) -> tuple[str, str, str]:
        return self.topics.decisions, self.topics.alerts, self.topics.dead_letters


def describe(difference: Difference) -> str:
    """The difference as a person reads it: the place, and each key that is not the same."""
    at = "" if difference.offset is None else f", offset {difference.offset}"
    head = f"batch {difference.sequence}: {difference.topic}[{difference.partition}]{at}"
    if difference.wanted is None:
        return f"{head}: a record that the journal does not name\n  found  {_short(difference.found)}"
    if difference.found is None:
        return f"{head}: a record is missing\n  wanted {_short(difference.wanted)}"
    try:
        wanted, found = json.loads(difference.wanted), json.loads(difference.found)
        keys = [key for key in wanted | found if wanted.get(key) != found.get(key)]
        rows = [f"  {key}: wanted {json.dumps(wanted.get(key))}, found {json.dumps(found.get(key))}" for key in keys]
    except (ValueError, TypeError, AttributeError):
        rows = [f"  wanted {_short(difference.wanted)}", f"  found  {_short(difference.found)}"]
    return "\n".join([head, *rows])


def _short(raw: bytes | None, most: int = 400) -> str:
    text = (raw or b"").decode("utf-8", "replace")
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
