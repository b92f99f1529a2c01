"""docker-compose.yml: it keeps the compose specification, and its commands and settings are ones that Sekisho takes."""

from pathlib import Path

import click
import pytest
import yaml
from compose_spec import PyCompose

from sekisho.settings import load_settings
from streams import commands

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
OURS = ("topics", "worker-1", "worker-2", "generator")


def _services() -> dict[str, dict[str, object]]:
    return yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]


def _resolved() -> str:
    """The file with its YAML merges done, as Compose does them."""
    return yaml.safe_dump(yaml.safe_load(COMPOSE.read_text("utf-8")), sort_keys=False)


def test_the_file_keeps_the_compose_specification() -> None:
    """Every key and value is one that the specification knows; a wrong one would be refused."""
    PyCompose.from_yaml(_resolved())
    with pytest.raises(ValueError, match="service_helthy"):
        PyCompose.from_yaml(_resolved().replace("service_healthy", "service_helthy", 1))


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_that_sekisho_has(name: str) -> None:
    """The words after the entry point parse as a command line."""
    command: click.Command = click.Group(
        commands={c.name or "": c for c in vars(commands).values() if isinstance(c, click.Command)}
    )
    words = [str(word) for word in _services()[name]["command"]]  # type: ignore[attr-defined]
    context = click.Context(command)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    assert command.make_context(command.name or "", words, parent=context)


@pytest.mark.parametrize("name", OURS)
def test_the_settings_in_the_container_are_good(name: str) -> None:
    """The mounted file and the environment are valid settings together, and point at the broker's service."""
    environment = {key: str(value) for key, value in _services()[name]["environment"].items()}  # type: ignore[attr-defined]
    settings = load_settings(ROOT / "sekisho.toml", environment)
    assert settings.kafka.bootstrap == "kafka:9092"
    assert settings.state == Path("/state") and settings.pack == Path("/app/packs/card_payments")


def test_the_broker_is_the_one_that_the_tests_run() -> None:
    """The image's version is that of pom.xml."""
    image = str(_services()["kafka"]["image"])
    assert f"<version>{image.removeprefix('apache/kafka:')}</version>" in (ROOT / "pom.xml").read_text("utf-8")
