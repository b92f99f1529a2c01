"""Verification finds what was changed, lost, doubled or added, and says where. The topics are lists."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from replay import verify as room
from replay.verify import Part, Report, Topics, describe, verify
from rules.controls import RuleMute
from sekisho.compile import Engine, compile_pack
from sekisho.decider import Decider
from sekisho.errors import SourceError
from sekisho.journal import START, Cold, JournalError, JournalRecord, Range, chain_of
from sekisho.load import load_pack
from sekisho.log import Message, merge_order
from sekisho.packs import shipped_pack
from sekisho.testing.world import world_of
from sekisho.wire.controls import encode_control

TOPICS = Topics("nowhere", "journal", "decisions", "alerts", "dead", "packs", "events")
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
    topics: Log = {"decisions": [[], []], "alerts": [[], []], "dead": [[]], "journal": [[]], "events": [[]]}
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


def _verify(engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch, part: Part | None = None) -> Report:
    monkeypatch.setattr(room, "TopicReader", lambda bootstrap, topic, client: ListReader(log[topic]))
    return verify(lambda pack, seed: Decider({engine.pack.hash: engine}[pack]), TOPICS, part)


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
    """A gap in the journal, an unknown pack, and records that retention has taken are named."""
    journal = log["journal"][0]
    with pytest.raises(JournalError, match="record 3 follows 1"):
        _verify(engine, _changed(log, "journal", 0, journal[:2] + journal[3:]), monkeypatch)
    other = replace(room.decode(journal[0].value or b""), pack="0" * 64).encode()
    with pytest.raises(KeyError, match="000000000000"):
        _verify(engine, _changed(log, "journal", 0, [journal[0]._replace(value=other)]), monkeypatch)
    with pytest.raises(SourceError, match=r"payments\[0\]: records 0 to 99 are not all there"):
        _verify(engine, _changed(log, "payments", 0, log["payments"][0][100:]), monkeypatch)


def test_a_part_is_verified_without_what_stands_around_it(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches 2 to 4: outputs of earlier ones may be gone, later ones are not looked at, a change within is found."""
    whole = _verify(engine, log, monkeypatch)
    part = log["decisions"][0]
    gone = _changed(log, "decisions", 0, part[10:])
    report = _verify(engine, gone, monkeypatch, Part(2, 4))
    assert report.difference is None and (report.batches, report.events) == (3, 600)
    assert 0 < report.counts["decisions"] < whole.counts["decisions"]
    middle = len(part) // 2
    lost = _changed(log, "decisions", 0, [*part[:middle], *part[middle + 1 :]])
    assert _verify(engine, lost, monkeypatch, Part(2, 4)).difference is not None
    assert _verify(engine, _changed(log, "decisions", 0, part[:-1]), monkeypatch, Part(2, 4)).difference is None


def test_a_cold_pack_needs_no_more_than_it_knew(engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal and the topics begin at batch 3, behind which the pack began cold: the rest can still be verified.

    What people had said before, it knows: a mute that is lost would be noticed.
    """
    decider, chain = Decider(engine), room.decode(log["journal"][0][2].value or b"").chain
    cold = Cold(2, room.decode(log["journal"][0][2].value or b"").watermark_us or 0)
    decider.reset(cold.watermark_us)
    hits = Counter(rule["id"] for m in log["decisions"][0] for rule in json.loads(m.value or b"").get("rules", ()))
    mute = RuleMute("m", 0, "sato", "", hits.most_common(1)[0][0], 4_000_000_000_000_000)
    said = [Message("events", 0, 0, 0, None, encode_control(mute))]
    decider.recall(said)
    cut: Log = {"decisions": [[], []], "alerts": [[], []], "dead": [[]], "journal": [[]], "events": [said]}
    cut["payments"] = [part[250:] for part in log["payments"]]
    for message in log["journal"][0][3:]:
        record = room.decode(message.value or b"")
        heads = [part[r.first : r.end] for part, r in zip(log["payments"], record.ranges, strict=True)]
        order, messages = merge_order(heads)
        out = decider.decide([messages[i] for i in order])
        parts = {"decisions": out.decisions, "alerts": out.alerts, "dead": out.dead_letters}
        for topic, records in parts.items():
            for placed in records:
                _append(cut, topic, placed.partition, placed.value)
        chain = chain_of(chain, *([placed.value for placed in records] for records in parts.values()))
        _append(cut, "journal", 0, replace(record, chain=chain, cold=cold).encode())
    report = _verify(engine, cut, monkeypatch, Part(first=4))
    assert report.difference is None and report.batches == 2
    assert _verify(engine, cut | {"events": [[]]}, monkeypatch, Part(first=4)).difference is not None
    journal = [room.decode(m.value or b"") for m in cut["journal"][0]]
    warm: Log = cut | {"journal": [[]]}
    for record in journal:
        _append(warm, "journal", 0, replace(record, cold=None).encode())
    with pytest.raises(JournalError, match="it begins with batch 3"):
        _verify(engine, warm, monkeypatch, Part(first=4))


def test_a_worker_may_go_on_meanwhile(engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs of batches that were journalled after the verification began are not taken for alien ones."""
    opened = Counter[str]()

    def reader(bootstrap: str, topic: str, client: object) -> ListReader:
        opened[topic] += 1
        early = topic == "journal" and opened[topic] <= 2
        return ListReader([part[:4] if early else part for part in log[topic]])

    monkeypatch.setattr(room, "TopicReader", reader)
    report = verify(lambda pack, seed: Decider(engine), TOPICS)
    assert report.difference is None and report.batches == 4
