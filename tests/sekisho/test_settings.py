"""Settings: every error names file, line and key; secrets never show."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sekisho.settings import KafkaSettings, Settings, SettingsError, load_settings
from streams.commands import config

GOOD = """\
pack = "packs/card_payments"
state = "state"

[kafka]
bootstrap = "127.0.0.1:9092"

[kafka.client]
"security.protocol" = "SASL_SSL"
"sasl.password" = { env = "PASSWORD" }

[topics]
input = ["payments"]

[lane]
batch_events = 2048
"""


def _load(folder: Path, text: str, **environment: str) -> Settings:
    file = folder / "sekisho.toml"
    file.write_text(text, "utf-8")
    return load_settings(file, environment)


def _problems(folder: Path, text: str, **environment: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        _load(folder, text, **environment)
    return refused.value.problems


def test_file_and_environment_become_settings(tmp_path: Path) -> None:
    """The file is read, folders are relative to it, and the environment wins over it."""
    settings = _load(tmp_path, GOOD, PASSWORD="s3cret", SEKISHO_LANE_BATCH_EVENTS="17", SEKISHO_TOPICS_INPUT="a, b")
    assert settings.pack == tmp_path / "packs/card_payments"
    assert settings.lane.batch_events == 17
    assert settings.topics.input == ("a", "b")
    assert settings.kafka.client["sasl.password"] == "s3cret"


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    """Neither repr nor `config check` nor an error repeats a secret."""
    assert "s3cret" not in repr(_load(tmp_path, GOOD, PASSWORD="s3cret"))
    shown = CliRunner().invoke(
        config, ["check", "--config", str(tmp_path / "sekisho.toml")], env={"PASSWORD": "s3cret"}
    )
    assert shown.exit_code == 0 and "sasl.password" in shown.output and "s3cret" not in shown.output
    (problem,) = _problems(tmp_path, GOOD.replace('{ env = "PASSWORD" }', '"s3cret"'))
    assert "sekisho.toml:9: [kafka.client] sasl.password" in problem and "s3cret" not in problem


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    """A mounted secret is read, its last line end removed."""
    (tmp_path / "password").write_text("p w\n")
    settings = _load(tmp_path, GOOD.replace('env = "PASSWORD"', 'file = "password"'))
    assert settings.kafka.client["sasl.password"] == "p w"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("batch_events = 2048", "batch_events = 0", ":15: [lane] batch_events: must be a whole number from 1 to"),
        ("batch_events = 2048", "batch_events = true", ":15: [lane] batch_events: must be a whole number"),
        ("batch_events", "batch_event", ":15: [lane] batch_event: unknown; known are name,"),
        ("batch_events = 2048", 'delivery = "maybe"', ":15: [lane] delivery: must be one of: exactly-once"),
        ('input = ["payments"]', "", ":11: [topics] input: missing"),
        ('input = ["payments"]', "input = []", ":12: [topics] input: must be a list"),
        ('input = ["payments"]', 'input = ["a b"]', ":12: [topics] input: must be a topic's name"),
        ('input = ["payments"]', 'input = ["alerts"]', ":11: [topics] alerts: 'alerts' is used twice"),
        ('"security.protocol"', '"group.id"', ":8: [kafka.client] group.id: is set by Sekisho"),
        ('env = "PASSWORD"', 'env = "OTHER"', ":9: [kafka.client] sasl.password: the environment has no OTHER"),
        ('env = "PASSWORD"', 'file = "none"', ":9: [kafka.client] sasl.password: none cannot be read"),
        ('pack = "packs/card_payments"', "", ": pack: missing"),
        ('state = "state"', "state = 3", ":2: state: must be a text"),
        ("[lane]", "[lanes]", ":14: lanes: unknown"),
        ("[kafka]", "[kafka", "not readable as TOML"),
    ],
)
def test_each_error_names_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    """An error says file, line, key and what to do."""
    assert told in "\n".join(_problems(tmp_path, GOOD.replace(old, new), PASSWORD="x"))


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    """Nobody mends one line only to meet the next; a bad variable is named as such."""
    text = GOOD.replace("batch_events = 2048", "batch_events = 0").replace('state = "state"', "")
    problems = _problems(tmp_path, text, PASSWORD="x", SEKISHO_WEB_PORT="http")
    assert len(problems) == 3
    assert "environment: SEKISHO_WEB_PORT: must be a whole number from 1 to 65,535" in problems


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """No file, no traceback."""
    with pytest.raises(SettingsError, match="there is no such file\n  fix: name the settings' file with --config"):
        load_settings(tmp_path / "none.toml", {})


def test_a_protective_key_that_kafka_python_lacks_is_named_without_its_value() -> None:
    """Nothing that protects a connection is left out in silence: each such key is named, its value never."""
    client = {"ssl.ca.pem": "PEM-BYTES", "sasl.oauthbearer.config": "hush", "linger.ms": "5", "sasl.username": "bank"}
    with pytest.raises(SettingsError) as caught:
        _ = KafkaSettings("broker:9092", client).python_client
    first, second = caught.value.problems
    assert "sasl.oauthbearer.config" in first and "ssl.ca.pem" in second
    assert "PEM-BYTES" not in str(caught.value) and "hush" not in str(caught.value)


def test_what_kafka_python_can_say_is_said() -> None:
    """Tuning of librdkafka and kafka-python's own defaults are no error."""
    client = {"ssl.endpoint.identification.algorithm": "https", "linger.ms": "5", "ssl.ca.location": "ca.pem"}
    assert KafkaSettings("broker:9092", client).python_client == {"ssl_cafile": "ca.pem"}


def test_config_check_tells_what_only_the_worker_can_use(tmp_path: Path) -> None:
    """A key that kafka-python lacks serves the worker, not topics and replays: check says so, without its value."""
    text = GOOD.replace('"sasl.password"', '"ssl.keystore.password" = { env = "KEYS" }\n"sasl.password"')
    (tmp_path / "sekisho.toml").write_text(text)
    words = ["check", "--config", str(tmp_path / "sekisho.toml")]
    shown = CliRunner().invoke(config, words, env={"PASSWORD": "s3cret", "KEYS": "h1dden"})
    assert shown.exit_code == 0 and "ssl.keystore.password: the Python client" in shown.output
    assert "the worker can run so" in shown.output and "h1dden" not in shown.output
