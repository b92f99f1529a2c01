"""A topic as the source of a replay, on a real broker: what a file of the same events gives, and what live gave."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from replay.commands import explain, replay
from sekisho.compile import Engine, compile_pack
from sekisho.errors import SekishoError, SourceError
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.settings import Settings
from sekisho.testing.kafka import KafkaBroker
from sekisho.testing.world import world_of
from streams.client import KafkaBroker as Clients
from streams.journal_tail import Place
from streams.lane import Lane
from streams.scoring import PackScorer
from streams.topics import create_topics
from tests.streams.standins import Kept, Offered
from tests.streams.test_lane import read_all, run_until, settings_for

PACK = shipped_pack("card_payments")
EVENTS = 1_500


class Fresh(Kept):
    """No snapshots: each start folds from the first batch."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        super().__init__()
        self.scorer = PackScorer(engine, settings.topics)

    def due(self, now: float, active: bool) -> bool:
        return False

    def load(self, trust: bool) -> tuple[PackScorer, Place]:  # type: ignore[override]
        return self.scorer, Place()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return compile_pack(load_pack(PACK))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A bank's events, some of them unreadable."""
    file = tmp_path_factory.mktemp("world") / "world.jsonl"
    world_of(EVENTS).write_jsonl(file, EVENTS)
    found = file.read_bytes().splitlines()
    found[300], found[900] = found[300][:50], b""
    return found


def send(bootstrap: str, topic: str, lines: list[bytes], aborted: bytes, times_ms: list[int] | None = None) -> None:
    """In transactions of 100 on three partitions; behind each, one that is aborted. The last record is a marker."""
    config = {"bootstrap.servers": bootstrap, "transactional.id": topic + "-sender", "retry.backoff.ms": 5}
    producer = Producer(config)
    producer.init_transactions()
    for start in range(0, len(lines), 100):
        producer.begin_transaction()
        for k, line in enumerate(lines[start : start + 100], start):
            when = {"timestamp": times_ms[k]} if times_ms else {}
            producer.produce(topic, line or None, key=b"k%d" % (k % 3), partition=(k * k + k // 5) % 3, **when)
        producer.commit_transaction()
        producer.begin_transaction()
        for k in range(3):
            producer.produce(topic, aborted, partition=k)
        producer.flush()
        producer.abort_transaction()


def by_partition(records: list[bytes]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for record in records:
        found.setdefault(json.loads(record)["source"]["partition"], []).append(record)
    return found


def invoke(*words: object) -> Result:
    return CliRunner().invoke(replay, ["run", str(PACK), *map(str, words)])


def test_a_topic_is_decided_as_live_and_as_a_file(
    tmp_path: Path, broker: KafkaBroker, prefix: str, engine: Engine, lines: list[bytes]
) -> None:
    """Each decision and dead letter is live's, byte for byte; where it stands aside, those of a file of the merged
    log; `explain` finds a record on its topic. Aborted records and the markers at the ends change nothing."""
    settings = settings_for(broker.bootstrap, prefix)
    create_topics(settings)
    topic = settings.topics.input[0]
    send(broker.bootstrap, topic, lines, b'{"aborted":1}')
    lane = Lane(Clients(settings), Offered(Kept()), Fresh(engine, settings), settings.topics, settings.lane)
    run_until(lane, sum({m.partition: m.offset + 1 for m in read_all(settings, topic)}.values()))
    lane.close()
    out, dead = tmp_path / "out.jsonl", tmp_path / "dead.jsonl"
    source = f"kafka://{broker.bootstrap}/{topic}"
    done = invoke(source, "--out", out, "--dead-letters", dead, "--batch", 97)
    assert done.exit_code == 0 and "order was taken" not in done.output, (done.output, done.exception)
    live = [message.value or b"" for message in read_all(settings, settings.topics.decisions)]
    assert len(live) > EVENTS // 4 and by_partition(out.read_bytes().splitlines()) == by_partition(live)
    letters = [message.value or b"" for message in read_all(settings, settings.topics.dead_letters)]
    assert len(letters) == 2 and sorted(dead.read_bytes().splitlines()) == sorted(letters)

    inputs = {(m.partition, m.offset): m for m in read_all(settings, topic)}
    order = sorted(inputs.values(), key=lambda m: (m.time_us, m.partition, m.offset))
    file, again = tmp_path / "log.jsonl", tmp_path / "again.jsonl"
    file.write_bytes(b"".join((m.value or b"") + b"\n" for m in order))
    assert invoke(file, "--out", again).exit_code == 0

    def bare(path: Path) -> list[dict[str, object]]:
        records = map(json.loads, path.read_bytes().splitlines())
        return [{k: v for k, v in r.items() if k not in ("id", "source", "duplicate_of")} for r in records]

    assert bare(out) == bare(again)
    wanted = json.loads(live[len(live) // 2])["id"]
    topics = ["--decisions", f"kafka://{broker.bootstrap}/{settings.topics.decisions}"]
    told = CliRunner().invoke(explain, [str(PACK), source, *topics, "--id", wanted])
    assert told.exit_code == 0, (told.output, told.exception)


@pytest.fixture
def old_topic(broker: KafkaBroker, prefix: str, lines: list[bytes]) -> Iterator[str]:
    """Records with times of last year, a second apart: the markers between them carry today's."""
    topic = prefix + "old"
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic(topic, 3, 1)])
    admin.wait_for_topics([topic])
    start = 1_700_000_000_000
    send(broker.bootstrap, topic, lines[:300], b"{}", [start + 1000 * k for k in range(300)])
    yield topic
    admin.close()


def read(bootstrap: str, topic: str, query: str) -> list[int]:
    """Which of the records an address gives, by their number."""
    from replay.topic_input import parse_topics
    from replay.topic_log import read_messages

    messages = read_messages(parse_topics(f"kafka://{bootstrap}/{topic}{query}"))
    return [(message.time_us // 1000 - 1_700_000_000_000) // 1000 for message in messages]


def test_ranges_are_of_record_times(broker: KafkaBroker, old_topic: str) -> None:
    """[from, to) by the records' own times, also where the broker's index points at a marker of today; beyond the end
    there is nothing, and nothing is waited for."""
    day = "2023-11-14T22:"  # 1,700,000,000 is 22:13:20
    assert read(broker.bootstrap, old_topic, "") == list(range(300))
    assert read(broker.bootstrap, old_topic, f"?from={day}15:00Z&to={day}16:40.5Z") == list(range(100, 201))
    assert read(broker.bootstrap, old_topic, "?to=2023-11-15T07:13:22%2B09:00") == [0, 1]
    assert read(broker.bootstrap, old_topic, "?from=2023-11-15T07:18:18+09:00") == [298, 299]
    assert read(broker.bootstrap, old_topic, "?from=2199-01-01") == []


def test_ranges_of_offsets_and_lost_ones(broker: KafkaBroker, old_topic: str) -> None:
    """Offsets count in each partition; one that retention has taken is an error that says so."""
    whole = read(broker.bootstrap, old_topic, "?from=0&to=10")
    assert len(whole) == 30
    assert sorted(whole + read(broker.bootstrap, old_topic, "?from=10")) == list(range(300))
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.delete_records({TopicPartition(old_topic, 1): 5})
    admin.close()
    with pytest.raises(SourceError, match=r"old\[1\]: offset 0 is gone, it begins at 5"):
        read(broker.bootstrap, old_topic, "?from=0")


def test_several_topics_are_one_log(broker: KafkaBroker, prefix: str, lines: list[bytes]) -> None:
    """By commas or as sources of their own, topics of one cluster are merged by record time, then by name."""
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    names = [prefix + "b", prefix + "a"]
    admin.create_topics([NewTopic(name, 3, 1) for name in names])
    admin.wait_for_topics(names)
    admin.close()
    start = 1_700_000_000_000
    for name in names:
        send(broker.bootstrap, name, lines[:100], b"{}", [start + 1000 * (k // 2) for k in range(100)])
    from replay.topic_input import on_cluster, parse_topics
    from replay.topic_log import read_messages

    (whole,) = on_cluster([parse_topics(f"kafka://{broker.bootstrap}/{','.join(names)}")], None)
    (pieces,) = on_cluster([parse_topics(f"kafka://{broker.bootstrap}/{name}") for name in names], None)
    order = [(m.time_us, m.topic, m.partition, m.offset) for m in read_messages(whole)]
    assert order == sorted(order) and len(order) == 200
    assert order == [(m.time_us, m.topic, m.partition, m.offset) for m in read_messages(pieces)]


def test_what_cannot_be_read_says_why(broker: KafkaBroker, prefix: str, tmp_path: Path) -> None:
    """An unknown topic and brokers that are away end in one message; without an address the settings' count."""
    gone = invoke(f"kafka://{broker.bootstrap}/{prefix}none")
    assert isinstance(gone.exception, SourceError) and "there is no topic" in str(gone.exception)
    started = time.monotonic()
    away = invoke("kafka://127.0.0.1:1/payments")
    assert isinstance(away.exception, SourceError) and "127.0.0.1:1" in str(away.exception)
    assert time.monotonic() - started < 60
    nowhere = invoke("kafka:///payments")
    assert isinstance(nowhere.exception, SekishoError) and "--config" in str(nowhere.exception)
    config = tmp_path / "sekisho.toml"
    config.write_text(f'pack = "p"\nstate = "s"\n[kafka]\nbootstrap = "{broker.bootstrap}"\n[topics]\ninput = ["x"]\n')
    named = invoke(f"kafka:///{prefix}none", "--config", config)
    assert isinstance(named.exception, SourceError) and broker.bootstrap in str(named.exception)
