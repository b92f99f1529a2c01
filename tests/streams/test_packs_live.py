"""Packs switched on a running worker, on a real broker: published, killed in it, rolled back, refused, verified."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from replay.state_commands import state as state_group
from replay.verify_command import verify_command
from sekisho.errors import SekishoError
from sekisho.journal import JournalRecord, decode
from sekisho.packs import shipped_pack
from sekisho.settings import Settings
from sekisho.testing.kafka import KafkaBroker
from sekisho.testing.world import world_of
from streams.pack_commands import pack as pack_group
from streams.topics import create_topics
from tests.streams.test_lane import read_all
from tests.streams.test_worker import Worker, _decided, _send

EVENTS = 12_000


def changed(folder: Path, name: str, edit: Callable[[str], str], file: str = "rules.yaml") -> Path:
    """The shipped pack, edited."""
    pack = folder / name
    shutil.copytree(shipped_pack("card_payments"), pack)
    text = (pack / file).read_text("utf-8")
    assert edit(text) != text
    (pack / file).write_text(edit(text), "utf-8")
    return pack


def longer(sql: str) -> str:
    """A window that the running pack does not have."""
    return sql.replace("INTERVAL 1 HOUR PRECEDING", "INTERVAL 5 HOUR PRECEDING")


def sekisho(worker: Worker, *words: str) -> Result:
    return CliRunner().invoke(pack_group, [*words, "--config", str(worker.config)], env={"COLUMNS": "200"})


def journal(settings: Settings) -> list[JournalRecord]:
    return [decode(m.value or b"") for m in read_all(settings, settings.topics.journal)]


class Stream:
    """A bank's events, sent a few at a time until all are out or it is told to stop."""

    def __init__(self, worker: Worker, lines: list[bytes]) -> None:
        self.worker, self.lines, self.sent, self.stopping = worker, lines, 0, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Stream":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()

    def _run(self) -> None:
        while self.sent < len(self.lines) and not self.stopping.is_set():
            _send(self.worker.settings, self.lines[self.sent : self.sent + 40], self.sent)
            self.sent += 40
            time.sleep(0.1)


@pytest.fixture
def workers(tmp_path: Path, broker: KafkaBroker, prefix: str) -> Iterator[tuple[Worker, Worker]]:
    both = Worker(tmp_path, "one", broker.bootstrap, prefix), Worker(tmp_path, "two", broker.bootstrap, prefix)
    create_topics(both[0].settings, log_append=False)
    yield both
    for worker in both:
        if worker.process is not None:
            worker.process.kill()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    file = tmp_path_factory.mktemp("world") / "world.jsonl"
    world_of(EVENTS).write_jsonl(file, EVENTS)
    return file.read_bytes().splitlines()


def verified(worker: Worker, packs: int) -> None:
    proof = CliRunner().invoke(verify_command, ["--config", str(worker.config)])
    assert proof.exit_code == 0 and f"batches by {packs} packs" in proof.output, proof.output


def test_a_pack_is_switched_under_load(tmp_path: Path, workers: tuple[Worker, Worker], lines: list[bytes]) -> None:
    """L12: with a standby, a pack with other windows is published, rolled back, and a bad one refused; the standby
    follows without a difference, and everything is what each pack decides from the whole log."""
    one, two = workers
    one.start()
    one.wait(lambda status: status.get("phase") == "active")
    two.start()
    two.wait(lambda status: status.get("phase") == "following")
    better = changed(tmp_path, "better", longer, "features.sql")
    with Stream(one, lines):
        one.wait(_decided(1000))
        told = sekisho(one, "publish", str(better), "--wait", "120")
        assert told.exit_code == 0 and "decides since batch" in told.output, told.output
        told = sekisho(one, "list")
        assert "decides since batch" in told.output and "decided until batch" in told.output, told.output

        strict = changed(
            tmp_path,
            "strict",
            lambda t: t.replace("[fields]", '[fields]\nbranch = { type = "id", required = true }'),
            "pack.toml",
        )
        told = sekisho(one, "publish", str(strict), "--wait", "120")
        assert isinstance(told.exception, SekishoError) and "are dead letters to pack" in str(told.exception), told
        assert "refused:" in sekisho(one, "list").output
        assert "are dead letters" in str(one.status()["pack_refused"])

        told = sekisho(one, "rollback", "--wait", "120")
        assert told.exit_code == 0 and "decides since batch" in told.output, (told.output, told.exception)
    sent = one.wait(lambda status: bool(status.get("positions")))
    two.wait(lambda status: status.get("sequence") == one.status().get("sequence"))
    records = journal(one.settings)
    assert [r.pack for r in records if r.since == r.sequence] == [records[0].pack, records[-1].before, records[0].pack]
    assert not two.status()["differences"] and two.status()["pack"] == records[-1].pack and sent
    for worker in workers:
        assert worker.end(signal.SIGTERM) == 0
    verified(one, 2)


@pytest.mark.parametrize("when", ["warming", "just after"])
def test_killed_while_a_pack_is_switched(
    tmp_path: Path, workers: tuple[Worker, Worker], lines: list[bytes], when: str
) -> None:
    """SIGKILL in the warm-up, or right behind the first batch of the new pack: the worker that starts again goes on,
    the new pack comes to decide, and the whole log verifies."""
    worker = workers[0]
    worker.start()
    worker.wait(lambda status: status.get("phase") == "active")
    better = changed(tmp_path, "better", longer, "features.sql")
    with Stream(worker, lines):
        old = worker.wait(_decided(1000))["pack"]
        assert sekisho(worker, "publish", str(better), "--wait", "0").exit_code == 0
        if when == "warming":
            worker.wait(lambda status: bool(status.get("pack_wanted")))
            time.sleep(1.0)
        else:
            worker.wait(lambda status: status.get("pack") not in (None, "", old))
        worker.end(signal.SIGKILL)
        worker.start()
        worker.wait(lambda status: status.get("phase") == "active")
        new = worker.wait(lambda status: status.get("pack") not in (None, "", old))["pack"]
        worker.wait(lambda status: journal(worker.settings)[-1].pack == new)
    assert worker.end(signal.SIGTERM) == 0
    verified(worker, 2)


def test_a_worker_begins_with_history(tmp_path: Path, workers: tuple[Worker, Worker], lines: list[bytes]) -> None:
    """A seed from files: the worker goes on from it, the journal names it, verify needs it, another worker without it
    is stopped with the reason."""
    one, two = workers
    (tmp_path / "history.jsonl").write_bytes(b"\n".join(lines[:2000]) + b"\n")
    built = CliRunner().invoke(state_group, ["build", str(tmp_path / "history.jsonl"), "--config", str(one.config)])
    assert built.exit_code == 0 and "2,000 events" in built.output, built.output
    one.start()
    one.wait(lambda status: status.get("phase") == "active")
    _send(one.settings, lines[2000:3000], 0)
    one.wait(_decided(1000))
    two.start()
    assert two.process is not None and two.process.wait(120) != 0
    assert "it begins after the history" in two.log.read_text()
    assert one.end(signal.SIGTERM) == 0

    (seed,) = (tmp_path / "one-state").glob("seed-*")
    proof = CliRunner().invoke(verify_command, ["--config", str(one.config), "--seed", str(seed)])
    assert proof.exit_code == 0 and "MATCH" in proof.output, proof.output
    bare = CliRunner().invoke(verify_command, ["--config", str(one.config)])
    assert isinstance(bare.exception, SekishoError) and "begins after a history" in str(bare.exception)


def test_too_little_log(tmp_path: Path, workers: tuple[Worker, Worker], lines: list[bytes]) -> None:
    """Retention has taken the log's beginning: the pack is refused, or knows less and says so; what it decides is
    verified from there, and a worker that starts without any state of it comes to the same."""
    one, two = workers
    one.start()
    one.wait(lambda status: status.get("phase") == "active")
    _send(one.settings, lines[:1500], 0)
    old = one.wait(_decided(1500))["pack"]
    topic = one.settings.topics.input[0]
    admin = KafkaAdminClient(bootstrap_servers=one.settings.kafka.bootstrap)
    admin.delete_records({TopicPartition(topic, k): 200 for k in range(4)})
    admin.close()
    better = changed(tmp_path, "better", longer, "features.sql")
    told = sekisho(one, "publish", str(better), "--wait", "120")
    assert isinstance(told.exception, SekishoError) and "hold the log only behind batch" in str(told.exception), told
    assert one.status()["pack"] == old

    with Stream(one, lines[1500:]):
        told = sekisho(one, "publish", str(better), "--accept-cold", "--wait", "120")
        assert told.exit_code == 0 and "decides since batch" in told.output, (told.output, told.exception)
    assert "cold behind batch" in sekisho(one, "list").output
    one.wait(lambda status: journal(one.settings)[-1].sequence == status["sequence"])
    records = journal(one.settings)
    assert one.end(signal.SIGTERM) == 0
    proof = CliRunner().invoke(verify_command, ["--config", str(one.config), "--from", str(records[-1].since)])
    assert proof.exit_code == 0 and "MATCH" in proof.output, proof.output

    shutil.copytree(tmp_path / "one-state", tmp_path / "two-state")
    for kept in (tmp_path / "two-state").glob(f"*-{records[-1].pack[:12]}"):
        shutil.rmtree(kept)
    two.start()
    status = two.wait(lambda status: status.get("phase") == "active")
    assert status["pack"] == records[-1].pack and not status["differences"]
