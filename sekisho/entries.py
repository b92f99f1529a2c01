"""Groups of commands that live in the rooms that they drive: each is an entry point, loaded when it is asked for."""

from __future__ import annotations

from importlib.metadata import entry_points

import click


class Commands(click.Group):
    """The commands of one group of entry points: "sekisho.commands", and "sekisho.commands.pack" for `sekisho pack`."""

    def __init__(self, *args: object, entries: str = "sekisho.commands", **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every installed command."""
        return sorted({*super().list_commands(ctx), *(entry.name for entry in entry_points(group=self.entries))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command, or None."""
        for entry in entry_points(group=self.entries, name=cmd_name):
            command: click.Command = entry.load()
            return command
        return super().get_command(ctx, cmd_name)
