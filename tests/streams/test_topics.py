"""Topics on a real broker: made as they should be, and every difference told."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka.admin import KafkaAdminClient, NewTopic

from sekisho.packs import shipped_pack
from sekisho.settings import KafkaSettings, LaneSettings, Settings, TopicSettings, WebSettings
from sekisho.testing.kafka import KafkaBroker
from streams.commands import topics
from streams.topics import TopicError, check_topics, create_topics

KEYS = ("decisions", "alerts", "dead_letters", "journal", "control", "packs", "events")


def _settings(bootstrap: str, prefix: str) -> Settings:
    names = {key: prefix + key for key in KEYS}
    topics = TopicSettings((prefix + "payments",), **names, replication=1)
    return Settings(Path(), Path(), KafkaSettings(bootstrap), topics, LaneSettings(), WebSettings())


def test_created_topics_are_as_they_should_be(broker: KafkaBroker, prefix: str) -> None:
    """Missing topics are named; created ones pass the check; creating again makes none."""
    settings = _settings(broker.bootstrap, prefix)
    assert len(check_topics(settings)) == 8
    assert create_topics(settings)[0] == f"{prefix}payments"
    assert check_topics(settings) == ()
    assert create_topics(settings) == ()


def test_each_difference_is_told(broker: KafkaBroker, prefix: str) -> None:
    """A journal of two partitions, a clock of the producers, a short retention: each is a sentence."""
    settings = _settings(broker.bootstrap, prefix)
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics(
        [
            NewTopic(f"{prefix}journal", 2, 1),
            NewTopic(f"{prefix}payments", 4, 1, topic_configs={"retention.ms": "1000"}),
        ],
        wait_for_metadata=True,
    )
    admin.close()
    create_topics(settings)
    problems = check_topics(settings)
    assert f"{prefix}journal: has 2 partitions, and works with 1 only" in problems
    assert f"{prefix}payments: message.timestamp.type is CreateTime, should be LogAppendTime" in problems
    assert f"{prefix}payments: retention.ms is 1000, should be at least 7776000000, or -1" in problems
    assert len(check_topics(settings, log_append=False)) == len(problems) - 1
    more = replace(settings, topics=replace(settings.topics, replication=3))
    assert f"{prefix}alerts: replication is 1, should be 3" in check_topics(more)


def test_a_cluster_of_too_few_brokers_is_asked_again(
    broker: KafkaBroker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brokers may be on their way up: what they refuse is asked again for a while, then told with what to do."""
    monkeypatch.setattr("streams.topics._ANSWER_WITHIN_MS", 300)
    asked: list[float] = []
    monkeypatch.setattr("streams.topics.time.sleep", asked.append)
    settings = _settings(broker.bootstrap, prefix)
    with pytest.raises(TopicError, match=r"(?s)only 1 broker.*start what is down") as told:
        create_topics(replace(settings, topics=replace(settings.topics, replication=3)))
    assert asked and str(told.value).count(prefix) == 8


def test_the_commands_create_and_check(broker: KafkaBroker, prefix: str, tmp_path: Path) -> None:
    """`check` fails with what is missing, `create` makes it, `check` is content; the pack names its own clock."""
    names = "".join(f'{key} = "{prefix}{key}"\n' for key in KEYS)
    file = tmp_path / "sekisho.toml"
    file.write_text(
        f'pack = "{shipped_pack("card_payments")}"\nstate = "state"\n[kafka]\nbootstrap = "{broker.bootstrap}"\n'
        f'[topics]\ninput = ["{prefix}payments"]\n{names}replication = 1\n'
    )
    options = ["--config", str(file)]
    refused = CliRunner().invoke(topics, ["check", *options])
    assert refused.exit_code == 1 and f"{prefix}payments: is missing" in str(refused.exception)
    made = CliRunner().invoke(topics, ["create", *options])
    assert made.exit_code == 0 and made.output.splitlines()[0] == f"created {prefix}payments"
    assert CliRunner().invoke(topics, ["check", *options]).exit_code == 0


def test_a_cluster_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker, no traceback: the address and what to look at."""
    monkeypatch.setattr("streams.topics._ANSWER_WITHIN_MS", 300)
    with pytest.raises(TopicError, match=r"127\.0\.0\.1:1"):
        check_topics(_settings("127.0.0.1:1", ""))
