"""Every kind of malformed event through a real topic: named with its place, listed without its content, sent again."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from kafka.admin import KafkaAdminClient, NewTopic

from sekisho.compile import Engine, compile_pack
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.settings import Settings, load_settings
from sekisho.testing.kafka import KafkaBroker
from sekisho.testing.world import world_of
from streams.client import KafkaBroker as Clients
from streams.dead_letter_commands import dead_letters
from streams.lane import Lane
from streams.topics import create_topics
from tests.streams.standins import TOPICS_TOML, Kept, Offered
from tests.streams.test_lane import read_all, run_until
from tests.streams.test_replay_topics import Fresh

CONFIG = (
    """\
pack = "{pack}"
state = "state"
[kafka]
bootstrap = "{bootstrap}"
"""
    + TOPICS_TOML
    + """\
input_partitions = 3
output_partitions = 3
replication = 1
[lane]
name = "{prefix}lane"
session_timeout_ms = 1500
merge_wait_ms = 5000
"""
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return compile_pack(load_pack(shipped_pack("card_payments")))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A payment as the bank sends it."""
    file = tmp_path_factory.mktemp("world") / "world.jsonl"
    world_of(1000).write_jsonl(file, 100)
    return next(line for line in file.read_bytes().splitlines() if b'"type":"payment"' in line)


@pytest.fixture
def config(tmp_path: Path, broker: KafkaBroker, prefix: str) -> Iterator[Path]:
    """Settings whose topics are there; the input takes records of 16 MiB."""
    file = tmp_path / "sekisho.toml"
    pack = shipped_pack("card_payments")
    file.write_text(CONFIG.format(pack=pack, bootstrap=broker.bootstrap, prefix=prefix), "utf-8")
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic(f"{prefix}payments", 3, 1, topic_configs={"max.message.bytes": str(16 << 20)})])
    admin.close()
    create_topics(load_settings(file, {}), log_append=False)
    yield file


def edited(good: bytes, old: str, new: bytes) -> bytes:
    assert old.encode() in good
    return good.replace(old.encode(), new, 1)


def malformed(good: bytes) -> dict[str, tuple[bytes, int | None, str | None]]:
    """By code: a record, the byte at which it goes wrong, and the field."""
    amount = json.loads(good)["payment"]["amount"]
    price = json.dumps(amount["value"] if isinstance(amount, dict) else amount).encode()
    card = json.dumps(json.loads(good)["card"]["id"]).encode()
    stamp = json.dumps(json.loads(good)["time"]).encode()
    at = good.index(price, good.index(b'"amount"'))

    def with_amount(text: bytes) -> bytes:
        return good[:at] + text + good[at + len(price) :]

    def with_card(text: bytes) -> bytes:
        return good.replace(card, text, 1)

    c, t = good.index(card), good.index(stamp)
    deep = b'{"x":' + b"[" * 40 + b"]" * 40 + b"}"
    return {
        "truncated": (good[:60], 60, None),
        "syntax": (b'{"id" "x"}', 6, None),
        "wrong_type": (with_amount(b"true"), at, "amount"),
        "missing": (good.replace(b'"time"', b'"tome"', 1), len(good) - 1, "event_time"),
        "decimals": (with_amount(b'"10.555"'), at + 1, "amount"),
        "absurd_time": (good.replace(stamp, b'"1066-10-14T09:00:00Z"', 1), t + 1, "event_time"),
        "utf8": (with_card(b'"\xff\xfe"'), c + 1, None),
        "too_big": (with_card(b'"' + b"9" * 10_000_000 + b'"'), 2**20, None),
        "nul": (with_card(b'"a\\u0000"'), c + 2, None),
        "too_deep": (deep, 5 + 31, None),
        "empty": (b"", 0, None),
        "kind": (good.replace(b'"type":"payment"', b'"type":"pigeon"', 1), None, "kind"),
    }


def produce(settings: Settings, records: Sequence[bytes]) -> None:
    options = {"bootstrap.servers": settings.kafka.bootstrap, "message.max.bytes": 16 << 20}
    producer = Producer(options)
    for k, record in enumerate(records):
        producer.produce(settings.topics.input[0], record or None, b"k%d" % k, partition=k % 3)
    assert producer.flush(30) == 0


def decide_all(engine: Engine, settings: Settings) -> None:
    """Run a lane until it has decided what is on the input."""
    lane = Lane(Clients(settings), Offered(Kept()), Fresh(engine, settings), settings.topics, settings.lane)
    ends = {m.partition: m.offset + 1 for m in read_all(settings, settings.topics.input[0])}
    run_until(lane, sum(ends.values()))
    lane.close()


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(dead_letters, [words[0], "--config", str(config), *words[1:]])


def test_every_malformed_kind_is_placed_and_sent_again(config: Path, engine: Engine, good: bytes) -> None:
    """L10: each is dead-lettered with topic, partition, offset, byte, field and reason, and the good are decided. The
    list shows that and no digit or name of a record. Sent again, each goes once: a second run sends nothing, and what
    fails again is a dead letter of its own."""
    settings, kinds = load_settings(config, {}), malformed(good)
    produce(settings, [record for record, _, _ in kinds.values()] + [good])
    decide_all(engine, settings)
    assert len(read_all(settings, settings.topics.decisions)) == 1
    letters = [json.loads(m.value or b"") for m in read_all(settings, settings.topics.dead_letters)]
    found = {letter["code"]: letter for letter in letters}
    assert found.keys() == kinds.keys() and len(letters) == len(kinds)
    for k, (code, (_, position, field)) in enumerate(kinds.items()):
        place = {"topic": settings.topics.input[0], "partition": k % 3, "offset": k // 3}
        assert (found[code]["source"], found[code]["field"]) == (place, field), code
        if position is not None:
            assert found[code]["position"] == position, code

    listed = run(config, "list")
    assert listed.exit_code == 0, listed.exception
    for k, code in enumerate(kinds):
        assert f"{code}  {settings.topics.input[0]}[{k % 3}]:{k // 3}" in listed.output
    secrets = [json.loads(good)["card"]["id"], json.loads(good)["id"]]
    assert not any(secret in listed.output for secret in secrets)
    assert f"{len(kinds)} dead letters" in listed.output

    assert "2 dead letters" in run(config, "list", "--reason", "nul", "--reason", "utf8").output
    assert "0 dead letters" in run(config, "list", "--from", "2199-01-01").output
    assert run(config, "list", "--reason", "pigeon").exit_code == 2
    only = run(config, "list", "--at", f"{settings.topics.input[0]}[1]:0")
    assert "1 dead letters: syntax 1" in only.output

    asked = run(config, "replay", "--reason", "kind")
    assert asked.exit_code == 1 and "Send 1 records" in asked.output  # nobody said yes
    one = run(config, "replay", "--reason", "kind", "--yes")
    assert "1 sent again, 0 were sent before, 0 cannot be sent" in one.output, (one.output, one.exception)
    rest = run(config, "replay", "--yes")
    assert f"{len(kinds) - 3} sent again, 1 were sent before, 2 cannot be sent" in rest.output, rest.exception
    assert "has no bytes" in rest.output and "is longer than a record may be" in rest.output
    again = run(config, "replay", "--yes")
    assert f"0 sent again, {len(kinds) - 2} were sent before" in again.output
    inputs = read_all(settings, settings.topics.input[0])
    assert len(inputs) == 1 + len(kinds) + len(kinds) - 2
    resent = {(m.key, m.value) for m in inputs if m.offset >= 4 + (m.partition == 0)}
    sendable = enumerate((code, record) for code, (record, _, _) in kinds.items())
    assert resent == {(b"k%d" % k, record) for k, (code, record) in sendable if code not in ("empty", "too_big")}
    decide_all(engine, settings)
    assert f"{2 * len(kinds) - 2} dead letters" in run(config, "list").output


def test_a_letter_of_another_topic_is_not_sent(config: Path) -> None:
    """A dead letter whose topic nobody reads is refused; what is no dead letter is passed over."""
    settings = load_settings(config, {})
    letter = {"v": 1, "source": {"topic": "elsewhere", "partition": 0, "offset": 3}, "code": "nul", "field": None,
              "position": 4, "reason": "r", "size": 3, "raw": "YWJj"}  # fmt: skip
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap})
    for value in (b"not one", b"[]", json.dumps(letter).encode()):
        producer.produce(settings.topics.dead_letters, value, partition=0)
    assert producer.flush(30) == 0
    told = run(config, "replay", "--yes")
    assert "elsewhere" in str(told.exception) and "[topics] input" in str(told.exception)
    assert "1 dead letters: nul 1" in run(config, "list").output
