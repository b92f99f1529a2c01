"""Verification finds what was changed, lost, doubled or added, and says where. The topics are lists."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from replay import verify as room
from replay.verify import Report, Topics, describe, verify
from sekisho.compile import Engine, compile_pack
from sekisho.decider import Decider
from sekisho.errors import SourceError
from sekisho.journal import START, JournalError, JournalRecord, Range, chain_of
from sekisho.load import load_pack
from sekisho.log import Message, merge_order
from sekisho.packs import shipped_pack
from sekisho.testing.world import world_of

TOPICS = Topics("nowhere", "journal", "decisions", "alerts", "dead")
Log = dict[str, list[list[Message]]]


class ListReader:
    """A topic in memory, as replay.topic.TopicReader reads one."""

    def __init__(self, partitions: list[list[Message]]) -> None:
        self.places = {k: list(part) for k, part in enumerate(partitions)}

    def peek(self, partition: int) -> Message | None:
        return self.places[partition][0] if self.places[partition] else None

    def pop(self, partition: int) -> Message:
        return self.places[partition].pop(0)

    def take(self, partition: int, end: int) -> Iterator[Message]:
        while (message := self.peek(partition)) is not None and message.offset < end:
            yield self.pop(partition)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def engine() -> Engine:
    return compile_pack(load_pack(shipped_pack("card_payments")))


@pytest.fixture(scope="module")
def log(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Two input partitions, decided in batches of 100 from each, and what a worker writes about them."""
    file = tmp_path_factory.mktemp("world") / "events.jsonl"
    world_of(1_200).write_jsonl(file, 1_200)
    values = file.read_bytes().splitlines()
    values[77] = b"{"
    topics: Log = {"decisions": [[], []], "alerts": [[], []], "dead": [[]], "journal": [[]]}
    topics["payments"] = [
        [Message("payments", p, k, 2 * k + p, None, v) for k, v in enumerate(values[p::2])] for p in (0, 1)
    ]
    decider, chain = Decider(engine), START
    for sequence in range(6):
        first, end = 100 * sequence, 100 * sequence + 100
        order, messages = merge_order([part[first:end] for part in topics["payments"]])
        out = decider.decide([messages[i] for i in order])
        parts = {"decisions": out.decisions, "alerts": out.alerts, "dead": out.dead_letters}
        for topic, records in parts.items():
            for placed in records:
                _append(topics, topic, placed.partition, placed.value)
        chain = chain_of(chain, *([placed.value for placed in records] for records in parts.values()))
        counts = (len(out.decisions), len(out.alerts), len(out.dead_letters))
        ranges = (Range("payments", 0, first, end), Range("payments", 1, first, end))
        record = JournalRecord(sequence, 1, sequence, engine.pack.hash, ranges, counts, out.watermark_us, chain)
        _append(topics, "journal", 0, record.encode())
    return topics


def _append(topics: Log, topic: str, partition: int, value: bytes) -> None:
    part = topics[topic][partition % len(topics[topic])]
    part.append(Message(topic, partition, len(part), 0, None, value))


def _verify(engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setattr(room, "TopicReader", lambda bootstrap, topic, client: ListReader(log[topic]))
    return verify(Decider(engine), TOPICS)


def _changed(log: Log, topic: str, partition: int, part: list[Message]) -> Log:
    return log | {topic: [part if k == partition else other for k, other in enumerate(log[topic])]}


def test_what_a_worker_wrote_matches(engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """All counts are there, and the chain is the journal's."""
    report = _verify(engine, log, monkeypatch)
    assert report.difference is None and (report.batches, report.events) == (6, 1_200)
    assert report.counts["decisions"] == sum(map(len, log["decisions"])) > 300 and report.counts["dead"] == 1


@pytest.mark.parametrize("partition", [0, 1])
def test_what_was_changed_lost_doubled_or_added_is_found(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch, partition: int
) -> None:
    """Each ends the verification at its place, in words."""
    part = log["decisions"][partition]
    forged = part[20]._replace(value=(part[20].value or b"").replace(b'"score":', b'"score":1'))
    for changed, told in (
        ([*part[:20], forged, *part[21:]], "offset 20\\n  score: wanted"),
        ([*part[:20], *part[21:]], "offset 21\\n  id: wanted"),
        ([*part[:21], *part[20:]], "offset 20\\n  id: wanted"),
        (part[:-1], "a record is missing"),
        ([*part, forged], "a record that the journal does not name"),
    ):
        difference = _verify(engine, _changed(log, "decisions", partition, changed), monkeypatch).difference
        assert difference is not None and difference.topic == "decisions" and difference.partition == partition
        assert told.replace("\\n", "\n") in describe(difference)


def test_delivery_at_least_once_may_repeat_and_nothing_else(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated record counts as repeated where the journal says at least once; a changed one never passes."""
    journal = [room.decode(message.value or b"") for message in log["journal"][0]]
    loose = [message._replace(value=replace(record, confirmed=record.sequence - 1).encode())
             for message, record in zip(log["journal"][0], journal, strict=True)]  # fmt: skip
    part = log["decisions"][0]
    twice = _changed(_changed(log, "journal", 0, loose), "decisions", 0, [*part[:30], *part[20:], part[-1]])
    report = _verify(engine, twice, monkeypatch)
    assert report.difference is None and report.repeated == 11


def test_a_journal_that_cannot_be_followed_is_refused(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap in the journal, another pack, and records that retention has taken are named."""
    journal = log["journal"][0]
    with pytest.raises(JournalError, match="record 3 follows 1"):
        _verify(engine, _changed(log, "journal", 0, journal[:2] + journal[3:]), monkeypatch)
    other = replace(room.decode(journal[0].value or b""), pack="0" * 64).encode()
    with pytest.raises(JournalError, match="was decided by pack 000000000000"):
        _verify(engine, _changed(log, "journal", 0, [journal[0]._replace(value=other)]), monkeypatch)
    with pytest.raises(SourceError, match=r"payments\[0\]: records 0 to 99 are not all there"):
        _verify(engine, _changed(log, "payments", 0, log["payments"][0][100:]), monkeypatch)
