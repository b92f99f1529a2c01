"""A broker that asks who is there: what a lane without a right, or with a wrong password, says and does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.settings import KafkaSettings, Settings
from sekisho.testing.kafka import KafkaBroker
from sekisho.testing.secured import SecuredBroker, make_certificates
from sekisho.testing.world import world_of
from streams.lane import ACTIVE, WAITING, Lane
from streams.readiness import why_not_ready
from streams.topics import create_topics
from tests.streams.test_lane import SESSION_MS, check, lane_of, produce, run_until, settings_for
from tests.streams.test_worker import ROOT, Worker, _decided, _send

USERS = {"sekisho": "correct-horse-battery", "operator": "staple-of-great-use"}
# As docs/operate.md lists them: kind, name as str.format takes it, operations.
RIGHTS = (
    ("topic", "{t.input[0]}", "read", "describe"),
    ("topic", "{t.events}", "read", "describe"),
    ("topic", "{t.control}", "read", "describe"),
    ("topic", "{t.journal}", "read", "write", "describe"),
    ("topic", "{t.packs}", "read", "write", "describe"),
    ("topic", "{t.decisions}", "write", "describe"),
    ("topic", "{t.alerts}", "write", "describe"),
    ("topic", "{t.dead_letters}", "write", "describe"),
    ("group", "{lane}", "read"),
    ("group", "{lane}-leader", "read"),
    ("transactional_id", "{lane}", "write", "describe"),
)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, broker: KafkaBroker) -> Iterator[SecuredBroker]:
    """A broker of its own; `broker` skips the tests where there is none."""
    with SecuredBroker.start(tmp_path_factory.mktemp("secured"), USERS) as started:
        yield started


def rights(settings: Settings) -> list[tuple[str, str, tuple[str, ...]]]:
    names = {"t": settings.topics, "lane": settings.lane.name}
    return [(kind, name.format(**names), operations) for kind, name, *operations in RIGHTS]


def by_user(settings: Settings, secured: SecuredBroker, user: str = "sekisho", **client: str) -> Settings:
    """The same settings, for the listener that asks."""
    return replace(settings, kafka=KafkaSettings(secured.bootstrap, client={**secured.client(user), **client}))


def not_ready(lane: Lane) -> str:
    return why_not_ready(lane.status, lane.broker.now(), SESSION_MS / 1000)


def turn(lane: Lane, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lane.turn()


def turn_until_told(lane: Lane, *told: str) -> None:
    deadline = time.monotonic() + 60
    while not (lane.status.phase == WAITING and all(part in not_ready(lane) for part in told)):
        assert time.monotonic() < deadline, (told, not_ready(lane), lane.status)
        lane.turn()


@pytest.mark.parametrize(
    ("kind", "name", "operation"),
    [
        ("topic", "{t.input[0]}", "read"),
        ("topic", "{t.journal}", "read"),
        ("topic", "{t.journal}", "write"),
        ("topic", "{t.decisions}", "write"),
        ("group", "{lane}-leader", "read"),
        ("transactional_id", "{lane}", "write"),
    ],
)
def test_a_right_that_is_missing_is_named_and_waited_for(
    secured: SecuredBroker, prefix: str, kind: str, name: str, operation: str
) -> None:
    """The lane says which right it lacks, tries now and then, and goes on when it is given: nothing is lost."""
    plain = settings_for(secured.broker.bootstrap, prefix)
    create_topics(plain)
    settings, lines = by_user(plain, secured), list[str]()
    for each, full, operations in rights(settings):
        secured.allow("sekisho", each, full, *operations)
    lane = lane_of(settings, prefix)
    lane.log = lines.append
    run_until(lane, 0)
    produce(plain, 300)
    run_until(lane, 300)

    lacking = name.format(t=settings.topics, lane=settings.lane.name)
    secured.forbid("sekisho", kind, lacking, operation)
    lane.close()
    lane = lane_of(settings, prefix)
    lane.log = lines.append
    produce(plain, 300)
    turn_until_told(lane, lacking if kind == "topic" else "authorization", "docs/operate.md")
    errors, cpu = lane.status.errors, time.process_time()
    turn(lane, 2.0)
    assert lane.status.errors - errors <= 12 and time.process_time() - cpu < 1.0
    assert len(lines) <= 8, lines

    secured.allow("sekisho", kind, lacking, operation)
    run_until(lane, 600)
    turn(lane, 0.2)
    assert lane.status.phase == ACTIVE and not not_ready(lane)
    lane.close()
    check(plain, prefix)


def test_a_wrong_password_is_told_and_never_shown(secured: SecuredBroker, prefix: str) -> None:
    """SASL: who is refused says so in /readyz and the log."""
    plain = settings_for(secured.broker.bootstrap, prefix)
    create_topics(plain)
    lane, lines = lane_of(by_user(plain, secured, **{"sasl.password": "wrong-and-secret"}), prefix), list[str]()
    lane.log = lines.append
    turn_until_told(lane, "uthentication")
    assert "wrong-and-secret" not in "".join([*lines, not_ready(lane)])
    lane.close()


def test_a_certificate_of_another_authority_is_told(secured: SecuredBroker, prefix: str, tmp_path: Path) -> None:
    """TLS: a broker that cannot prove who it is gets no password."""
    make_certificates(tmp_path / "ca.pem", tmp_path / "other.pem")
    plain = settings_for(secured.broker.bootstrap, prefix)
    create_topics(plain)
    lane = lane_of(by_user(plain, secured, **{"ssl.ca.location": str(tmp_path / "ca.pem")}), prefix)
    turn_until_told(lane, "certificate verify failed")
    lane.close()


CLIENT = """
[kafka.client]
"security.protocol" = "SASL_SSL"
"ssl.ca.location" = "{ca}"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "{user}"
"sasl.password" = {secret}
"""


def command(worker: Worker, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`sekisho WORDS` as a person runs it."""
    line = [sys.executable, "-m", "sekisho", *words, "--config", str(worker.config)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_the_whole_path_over_tls_and_sasl(secured: SecuredBroker, prefix: str, tmp_path: Path) -> None:
    """Topics, a worker with the rights of docs/operate.md and no others, the proof, and a topic as a source; secrets
    from the environment and from a file stand in no output."""
    (tmp_path / "secret").write_text(USERS["operator"] + "\n")
    by_file = CLIENT.format(ca=secured.ca, user="operator", secret=f'{{ file = "{tmp_path / "secret"}" }}')
    by_environment = CLIENT.format(ca=secured.ca, user="sekisho", secret='{ env = "LANE_PASSWORD" }')
    desk = Worker(tmp_path, "desk", secured.bootstrap, prefix, by_file)
    worker = Worker(tmp_path, "one", secured.bootstrap, prefix, by_environment)
    password = {"LANE_PASSWORD": USERS["sekisho"]}
    for kind in ("topic", "group"):
        secured.allow("operator", kind, f"{prefix}*", "all")
    settings = desk.settings
    for kind, name, operations in rights(settings):
        secured.allow("sekisho", kind, name, *operations)
    said = [command(desk, *words) for words in (("config", "check"), ("topics", "create"), ("topics", "check"))]
    said += [command(worker, "config", "check", **password)]
    assert [each.returncode for each in said] == [0] * 4, said

    world_of(1_000).write_jsonl(tmp_path / "world.jsonl", 1_000)
    plain = replace(settings, kafka=KafkaSettings(secured.broker.bootstrap))
    _send(plain, (tmp_path / "world.jsonl").read_bytes().splitlines(), 0)
    try:
        worker.start(**password)
        worker.wait(_decided(1_000))
        pages = [worker.get(path)[1] for path in ("/status", "/metrics", "/readyz", "/healthz")]
        assert pages[2] == "ready\n"
        assert worker.end(signal.SIGTERM) == 0
    finally:
        if worker.process is not None:
            worker.process.kill()
    proof = command(desk, "replay", "verify")
    assert proof.returncode == 0 and "MATCH" in proof.stdout and "1,000 events" in proof.stdout, proof
    source = f"kafka:///{settings.topics.input[0]}"
    run = command(desk, "replay", "run", str(settings.pack), source, "--out", str(tmp_path / "decisions.jsonl"))
    assert run.returncode == 0, run
    told = [each.stdout + each.stderr for each in (*said, proof, run)] + [*pages, worker.log.read_text()]
    assert not any(secret in text for secret in USERS.values() for text in told)
