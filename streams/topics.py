"""The topics that a worker needs: made where they are missing, compared where they exist, never altered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

from sekisho.errors import SekishoError
from sekisho.settings import KafkaSettings, Settings

_DAY_MS = 86_400_000
# Only closed segments are compacted, and whoever takes over reads all that is left.
_SMALL_SEGMENTS = {"segment.bytes": str(16 * 1024 * 1024), "segment.ms": str(3_600_000)}
_FOR_EVER = "-1"
_LOG_CLOCK = {"message.timestamp.type": "LogAppendTime"}
_FINE = (0, 36)  # made; another process made it meanwhile
_TOO_FEW_BROKERS = 38  # the cluster says so too where brokers have only just started
_ANSWER_WITHIN_MS = 10_000
_AGAIN_S = 0.5


class TopicError(SekishoError):
    """The cluster did not do what it was asked."""


@dataclass(frozen=True)
class TopicSpec:
    """How a topic should be. `single`: it must have one partition, no more; else more or fewer do no harm."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    single: bool = False


def wanted_topics(settings: Settings, log_append: bool = True) -> tuple[TopicSpec, ...]:
    """Every topic of the settings. log_append: the log's clock is the record time; else the pack names a field."""
    topics = settings.topics
    replicas = {"min.insync.replicas": str(min(2, topics.replication))}
    kept = {"cleanup.policy": "delete", **replicas}
    inputs = kept | (_LOG_CLOCK if log_append else {}) | {"retention.ms": str(topics.input_retention_days * _DAY_MS)}
    outputs = kept | {"retention.ms": str(topics.output_retention_days * _DAY_MS)}
    # The journal says how the inputs were ordered, so it outlives them.
    journal = kept | {"retention.ms": str((topics.input_retention_days + 7) * _DAY_MS)}
    compacted = replicas | {"cleanup.policy": "compact"}
    written = [topics.decisions, topics.alerts, topics.dead_letters]
    written += [topics.undelivered] if settings.webhooks else []
    return (
        *(TopicSpec(name, topics.input_partitions, topics.replication, inputs) for name in topics.input),
        *(TopicSpec(name, topics.output_partitions, topics.replication, outputs) for name in written),
        # What people said stands nowhere else, so it is kept for ever; one partition keeps its order.
        TopicSpec(topics.events, 1, topics.replication, kept | _LOG_CLOCK | {"retention.ms": _FOR_EVER}, single=True),
        TopicSpec(topics.journal, 1, topics.replication, journal, single=True),
        TopicSpec(topics.control, 1, topics.replication, kept, single=True),
        TopicSpec(topics.packs, 1, topics.replication, compacted, single=True),
        *(
            TopicSpec(name, 1, topics.replication, configs, single=True)
            for name, configs in ((topics.deliveries, outputs), (topics.webhooks, compacted | _SMALL_SEGMENTS))
            if settings.webhooks
        ),
    )


def create_topics(settings: Settings, log_append: bool = True) -> tuple[str, ...]:
    """Make what is missing; the names made. Raises TopicError."""
    with _admin(settings.kafka) as admin:
        existing = set(admin.list_topics())
        missing = [spec for spec in wanted_topics(settings, log_append) if spec.name not in existing]
        if missing:
            failed = [f"{answer['name']}: {answer['error_message']}" for answer in _refused(admin, missing)]
            if failed:
                raise TopicError(
                    "\n".join(failed), "start what is down, mend [topics] in the settings, or ask for the rights"
                )
            admin.wait_for_topics([spec.name for spec in missing])
    return tuple(spec.name for spec in missing)


def _refused(admin: KafkaAdminClient, specs: list[TopicSpec]) -> list[dict[str, Any]]:
    """Ask for topics, again for a while where too few brokers are up; the answers of those that were not made."""
    wanted = [NewTopic(s.name, s.partitions, s.replication, topic_configs=dict(s.configs)) for s in specs]
    until = time.monotonic() + _ANSWER_WITHIN_MS / 1000
    while True:
        answers = admin.create_topics(wanted, raise_errors=False)["topics"]
        refused = [answer for answer in answers if answer["error_code"] not in _FINE]
        if time.monotonic() > until or all(answer["error_code"] != _TOO_FEW_BROKERS for answer in refused):
            return refused
        time.sleep(_AGAIN_S)


def check_topics(settings: Settings, log_append: bool = True) -> tuple[str, ...]:
    """What differs, a sentence each. Raises TopicError where the cluster does not answer."""
    specs = wanted_topics(settings, log_append)
    with _admin(settings.kafka) as admin:
        existing = set(admin.list_topics())
        present = [spec for spec in specs if spec.name in existing]
        described = {topic["name"]: topic["partitions"] for topic in admin.describe_topics([s.name for s in present])}
        resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in present]
        configs = admin.describe_configs(resources, config_filter="all")["topic"] if resources else {}
    problems = [f"{spec.name}: is missing" for spec in specs if spec.name not in existing]
    for spec in present:
        actual = {key: str(config["value"]) for key, config in configs[spec.name].items()}
        problems += [f"{spec.name}: {problem}" for problem in _differences(spec, described[spec.name], actual)]
    return tuple(problems)


def _differences(spec: TopicSpec, partitions: list[dict[str, Any]], actual: Mapping[str, str]) -> Iterator[str]:
    if spec.single and len(partitions) != 1:
        yield f"has {len(partitions)} partitions, and works with 1 only"
    replication = min(len(partition["replica_nodes"]) for partition in partitions)
    if replication < spec.replication:
        yield f"replication is {replication}, should be {spec.replication}"
    for key, value in spec.configs.items():
        found = actual.get(key, "")
        if key == "retention.ms":
            if found != _FOR_EVER and (value == _FOR_EVER or int(found) < int(value)):
                yield f"retention.ms is {found}, should be " + (
                    "-1" if value == _FOR_EVER else f"at least {value}, or -1"
                )
        elif found != value:
            yield f"{key} is {found}, should be {value}"


@contextmanager
def _admin(settings: KafkaSettings) -> Iterator[KafkaAdminClient]:
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=settings.bootstrap.split(","),
            client_id="sekisho-topics",
            bootstrap_timeout_ms=_ANSWER_WITHIN_MS,
            **settings.python_client,
        )
        try:
            yield admin
        finally:
            admin.close()
    except KafkaError as error:
        raise TopicError(
            f"{settings.bootstrap}: {type(error).__name__}: {str(error)[:300]}",
            "look at [kafka] in the settings and at the brokers",
        ) from error
