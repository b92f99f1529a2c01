"""Verification: what stands on the topics is what the journal's order and the pack give, byte for byte.

The journal names the records of each batch and how they are merged. They are decided again from the first event on, and
every decision, alert and dead letter is compared with its topic. One reader a topic, nothing kept: any length of log.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from replay.topic import TopicReader
from sekisho.decider import Decider, Placed
from sekisho.errors import SourceError
from sekisho.journal import START, JournalError, JournalRecord, Range, chain_of, decode
from sekisho.log import Message, merge_order


@dataclass(frozen=True)
class Topics:
    """Where a worker reads and writes. client: kafka-python's settings for TLS and SASL."""

    bootstrap: str
    journal: str
    decisions: str
    alerts: str
    dead_letters: str
    client: Mapping[str, object] = field(default_factory=dict, repr=False)


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
    """What was compared. chain: the hash over all outputs.   repeated: records that stand twice (at least once)."""

    batches: int = 0
    events: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    chain: bytes = START
    difference: Difference | None = None


def verify(decider: Decider, topics: Topics, told: Callable[[Report], None] = lambda report: None) -> Report:
    """Compare all that a journal names; `told` hears of every batch. Stops at the first difference.

    Raises JournalError where the journal cannot be followed, SourceError where the log no longer holds what it names.
    """
    verification = _Verification(decider, topics)
    try:
        for record in verification.records():
            verification.batch(record)
            told(verification.report)
            if verification.report.difference:
                break
        else:
            verification.nothing_more()
    finally:
        verification.close()
    return verification.report


class _Verification:
    def __init__(self, decider: Decider, topics: Topics) -> None:
        self.decider, self.topics, self.report = decider, topics, Report()
        self.readers: dict[str, TopicReader] = {}
        self.ends: dict[tuple[str, int], int] = {}
        self.seen: set[bytes] = set()  # delivery at least once: what may stand again

    def reader(self, topic: str) -> TopicReader:
        if topic not in self.readers:
            self.readers[topic] = TopicReader(self.topics.bootstrap, topic, self.topics.client)
        return self.readers[topic]

    def close(self) -> None:
        for reader in self.readers.values():
            reader.close()

    def records(self) -> Iterator[JournalRecord]:
        """The journal's records that count, see sekisho.journal."""
        sequence, epoch, journal = -1, 0, self.reader(self.topics.journal)
        while (message := journal.peek(0)) is not None:
            record = decode(message.value or b"")
            if record.epoch >= epoch and record.sequence > sequence:
                if record.sequence != sequence + 1:
                    raise JournalError(f"record {record.sequence} follows {sequence}: some are missing")
                sequence, epoch = record.sequence, record.epoch
                yield record
            journal.pop(0)

    def batch(self, record: JournalRecord) -> None:
        """Decide a batch again, and compare it."""
        pack = self.decider.engine.pack.hash
        if record.pack != pack:
            raise JournalError(
                f"batch {record.sequence} was decided by pack {record.pack[:12]}, this one is {pack[:12]}"
            )
        order, messages = merge_order([self.inputs(each) for each in record.ranges])
        verdicts = self.decider.decide([messages[i] for i in order])
        parts = (verdicts.decisions, verdicts.alerts, verdicts.dead_letters)
        once = record.confirmed == record.sequence
        for topic, part in zip(self.outputs(), parts, strict=True):
            for placed in part:
                self.compare(record.sequence, topic, placed, once)
                if self.report.difference:
                    return
            self.report.counts[topic] += len(part)
        report = self.report
        report.chain = chain_of(report.chain, *([placed.value for placed in part] for part in parts))
        if report.chain != record.chain:
            wanted, found = report.chain.hex().encode(), record.chain.hex().encode()
            report.difference = Difference(record.sequence, self.topics.journal, 0, None, wanted, found)
        report.batches += 1
        report.events += len(messages)

    def inputs(self, wanted: Range) -> list[Message]:
        """The records of a range, which must go on where the one before ended."""
        place = wanted.topic, wanted.partition
        if self.ends.get(place, wanted.first) != wanted.first:
            raise JournalError(f"{place[0]}[{place[1]}]: a range begins at {wanted.first}, not at {self.ends[place]}")
        self.ends[place] = wanted.end
        messages = list(self.reader(wanted.topic).take(wanted.partition, wanted.end))
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
        while found is not None and found.value != placed.value and found.value in self.seen:
            self.report.repeated += 1
            reader.pop(partition)
            found = reader.peek(partition)
        if found is None or found.value != placed.value:
            offset, value = (None, None) if found is None else (found.offset, found.value)
            self.report.difference = Difference(sequence, topic, partition, offset, placed.value, value)
            return
        reader.pop(partition)
        if not once:
            self.seen.add(placed.value)

    def nothing_more(self) -> None:
        """Behind the journal's last batch no topic holds anything else."""
        for topic in self.outputs():
            reader = self.reader(topic)
            for partition in reader.places:
                while (found := reader.peek(partition)) is not None and found.value in self.seen:
                    self.report.repeated += 1
                    reader.pop(partition)
                if found is not None:
                    last = self.report.batches - 1
                    self.report.difference = Difference(last, topic, partition, found.offset, None, found.value)
                    return

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
