"""A page as one HTML file: no script, nothing fetched, every value escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from replay.pages.blocks import Page

_FOLDER = files("replay.pages")


def render(page: Page) -> str:
    """The page's HTML."""
    return _environment().get_template("page.html").render(page=page, style=Markup(_read("style.css")))


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, finalize=printable, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def printable(value: object) -> object:
    """A value without control characters and marks of direction, with which a name could pass for another."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in value)


def _read(name: str) -> str:
    return _FOLDER.joinpath(name).read_text("utf-8")
