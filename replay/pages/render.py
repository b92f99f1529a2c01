"""A page as one HTML file: no script, nothing fetched, every value escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from replay.pages.blocks import Page

_FOLDER = files("replay.pages")
_JOINTS = ("_", ":", "+")


def render(page: Page) -> str:
    """The page's HTML."""
    return _environment().get_template("page.html").render(page=page, style=Markup(_read("style.css")))


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, finalize=printable, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters["breaking"] = breaking
    return found


def breaking(name: str) -> Markup:
    """A name of code that may be broken behind its joints, and so is not broken within a word."""
    text = escape(printable(name))
    for joint in _JOINTS:
        text = text.replace(joint, Markup(joint + "<wbr>"))
    return text


def printable(value: object) -> object:
    """A value without control characters and marks of direction, with which a name could pass for another."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in value)


def _read(name: str) -> str:
    return _FOLDER.joinpath(name).read_text("utf-8")
