"""`sekisho config`, `topics`, `worker`, `generate` and `live`."""

from __future__ import annotations

from pathlib import Path

import click

from sekisho.errors import SekishoError
from sekisho.settings import Settings, SettingsError, load_settings

CONFIG = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("sekisho.toml"),
    show_default=True,
    envvar="SEKISHO_CONFIG",
    help="The settings' file.",
)


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command("check")
@CONFIG
def config_check(file: Path) -> None:
    """Check the settings and print what they come to, without secrets."""
    from streams.webhooks.addresses import refused_hosts

    settings = load_settings(file)
    if refused := refused_hosts(settings.webhooks):
        raise SekishoError("\n".join(f"{file}: {each}" for each in refused), "mend [[webhooks]]")
    for name, value in _lines(settings):
        click.echo(f"{name:30} {value}")
    try:
        _ = settings.kafka.python_client
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"{file}: {problem}", err=True)
        click.echo("the worker can run so; `sekisho topics` and whatever reads topics for replays cannot", err=True)


def _lines(settings: Settings) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = [("pack", settings.pack), ("state", settings.state)]
    for table in ("kafka", "topics", "lane", "web"):
        for key, value in vars(getattr(settings, table)).items():
            shown = ", ".join(value) if key in ("client", "input") else value
            lines.append((f"{table}.{key}", shown))
    return lines + [(f"webhooks.{each.id}", f"{each.host} {each.filter}".strip()) for each in settings.webhooks]


@click.group()
def topics() -> None:
    """The topics that a worker reads and writes."""


def _log_append(settings: Settings) -> bool:
    """True when the pack takes the log's clock as record time, and no field of the events."""
    from sekisho.pack_toml import read_head
    from sekisho.toml import Document

    file = settings.pack / "pack.toml"
    try:
        return read_head(Document(file.read_text("utf-8"))).policy.record_time == "log"
    except OSError as error:
        raise SekishoError(f"{file}: cannot be read ({type(error).__name__})", "name a pack in the settings") from error


@topics.command("create")
@CONFIG
def topics_create(file: Path) -> None:
    """Make the topics that are missing; never change one that exists."""
    from streams.topics import create_topics

    settings = load_settings(file)
    for name in create_topics(settings, _log_append(settings)):
        click.echo(f"created {name}")


@topics.command("check")
@CONFIG
def topics_check(file: Path) -> None:
    """Say what differs between the topics and what they should be."""
    from streams.topics import check_topics

    settings = load_settings(file)
    if problems := check_topics(settings, _log_append(settings)):
        raise SekishoError("\n".join(problems), "create missing topics: sekisho topics create; alter others by hand")
    click.echo(f"all topics are as they should be on {settings.kafka.bootstrap}")


@click.command()
@CONFIG
@click.option("--only", type=click.Choice(["lane", "webhooks"]), default=None, help="One of its parts. [default: both]")
def worker(file: Path, only: str | None) -> None:
    """Score payments and deliver alerts as they arrive, or stand by for the worker that does."""
    import faust

    from streams.app import make_app

    settings = load_settings(file)
    settings.state.mkdir(parents=True, exist_ok=True)
    if only == "webhooks" and not settings.webhooks:
        raise SekishoError(f"{file}: there are no [[webhooks]]", "add one, or run the worker without --only")
    app = make_app(settings, only or "")
    faust.Worker(app, loglevel="INFO").execute_from_commandline()


@click.command()
@CONFIG
@click.option("--events", type=click.IntRange(1), default=100_000, show_default=True, help="How many.")
@click.option("--rate", type=click.FloatRange(0), default=1_000.0, show_default=True, help="A second; 0: no limit.")
@click.option("--seed", type=int, default=1, show_default=True, help="Equal seeds give equal events.")
def generate(file: Path, events: int, rate: float, seed: int) -> None:
    """Send a made-up bank's events to the first input topic."""
    from streams.broker import BrokerError
    from streams.desk import unanswered
    from streams.generate import generate as send

    settings = load_settings(file)
    try:
        send(settings, events, rate, seed, lambda sent: None)
    except BrokerError as error:
        raise unanswered(error) from error
    click.echo(f"sent {events:,} events to {settings.topics.input[0]}")


@click.command()
@click.option("--events", type=click.IntRange(100), default=20_000, show_default=True, help="How many.")
@click.option("--rate", type=click.FloatRange(1), default=1_000.0, show_default=True, help="A second.")
def live(events: int, rate: float) -> None:
    """Show the live path on this machine: broker, two workers, a kill, a takeover, and a proof that ends in MATCH."""
    import sys
    import tempfile

    from streams.live import live as show

    folder = Path(tempfile.mkdtemp(prefix="sekisho-live-"))
    click.echo(f"logs and data in {folder}")
    sys.exit(show(folder, events, rate, click.echo))
