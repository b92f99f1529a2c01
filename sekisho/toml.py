"""TOML tables whose every key knows its line and column."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from features.refusal import Place, Refusal, suggest

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*([A-Za-z0-9_\-."' ]+?)\s*=""")
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)")
_LONGEST_US = 36_525 * 86_400_000_000  # sums of a few such durations and times still fit 64 bits
_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


@dataclass
class Document:
    """A parsed TOML file: its tables, where its keys stand, and what was found wrong so far."""

    text: str
    refusals: list[Refusal] = field(default_factory=list)
    tables: Mapping[str, Any] = field(init=False)
    lines: list[str] = field(init=False)
    _keys: dict[Path, Place] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = self.text.splitlines()
        self._keys = _find_keys(self.lines)
        try:
            self.tables = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            place = Place(int(found[1]), int(found[2])) if found else Place(len(self.lines))
            what = f"this is not TOML: {str(error).split(' (at')[0]}"
            raise Refusal(what, "correct the line: texts stand in quotes, lists in [ ], tables in { }", place) from None

    def place(self, path: Path) -> Place:
        """Where the key stands; a key inside { ... } is looked for in its line, else the nearest parent counts."""
        if path in self._keys or not path:
            return self._keys.get(path, Place(1, 1))
        parent = self.place(path[:-1])
        line = self.lines[parent.line - 1] if parent.line <= len(self.lines) else ""
        found = re.search(rf"\b{re.escape(str(path[-1]))}\s*=", line[parent.column :])
        return Place(parent.line, parent.column + found.start() + 1) if found else parent

    def inside(self, path: Path, place: Place) -> Place:
        """A place within the text that stands at the key, as a place in the file."""
        key = self.place(path)
        line = self.lines[key.line - 1]
        opening = re.compile(r"=\s*(\"\"\"|'''|\"|')").search(line, key.column - 1)
        if not opening or not place.line:
            return key
        start = opening.end()
        if len(opening[1]) == 3 and not line[start:].strip():
            return Place(key.line + place.line, place.column)
        return Place(key.line + place.line - 1, place.column + (start if place.line == 1 else 0))

    def refuse(self, path: Path, what: str, fix: str) -> None:
        """Note what is wrong at a key."""
        self.refusals.append(Refusal(what, fix, self.place(path)))

    def table(self, *path: str | int, known: Iterable[str] | None = None) -> Table:
        """The table at a path, empty where there is none; keys that are not known are refused."""
        found: Any = self.tables
        for part in path:
            found = found[part] if isinstance(part, int) else found.get(part, {}) if isinstance(found, Mapping) else {}
        if not isinstance(found, Mapping):
            name = _name(path)
            fix = f"write [[{name}]]" if isinstance(path[-1], int) else f"write [{name}], or {path[-1]} = {{ ... }}"
            self.refuse(path, f"{name} is not a table", fix)
            found = {}
        for key in found:
            if known is not None and key not in known:
                self.refuse((*path, key), f"{_name(path)} has no key {key!r}", suggest(key, known))
        return Table(self, path, found)


@dataclass(frozen=True)
class Table:
    """One table. Each getter notes a wrong value and answers its default, so that all errors come out at once."""

    document: Document
    path: Path
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def refuse(self, key: str, what: str, fix: str) -> None:
        """Note what is wrong at one of the table's keys."""
        self.document.refuse((*self.path, key), what, fix)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; no default means that the key must stand here."""
        if key not in self.values and default is None:
            self.refuse(key, f"{_name(self.path)} has no {key}", f'add {key} = "..."')
        value = self.values.get(key, default or "")
        if not isinstance(value, str):
            self.refuse(key, f"{key} is not a text", f'write {key} = "..."')
            return default or ""
        return value

    def choice(self, key: str, options: Iterable[str], default: str | None = None) -> str:
        """A text that is one of the options."""
        known = list(options)
        value = self.text(key, default)
        if value and value not in known:
            self.refuse(key, f"{key} cannot be {value!r}", suggest(value, known))
            return default or (known[0] if known else value)
        return value

    def texts(self, key: str, default: tuple[str, ...] = (), options: Iterable[str] | None = None) -> tuple[str, ...]:
        """A list of texts, each one of the options if there are any."""
        value = self.values.get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            self.refuse(key, f"{key} is not a list of texts", f'write {key} = ["...", "..."]')
            return default
        known = None if options is None else list(options)
        for each in value:
            if known is not None and each not in known:
                self.refuse(key, f"{key} cannot hold {each!r}", suggest(each, known))
        return tuple(dict.fromkeys(value))

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, f"{key} is neither true nor false", f"write {key} = true")
            return default
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number between two bounds."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(key, f"{key} is not a whole number from {least} to {most}", f"write {key} = {default}")
            return default
        return value

    def duration_us(self, key: str, default: int) -> int:
        """A duration as "90s", "10m", "24h" or "7d", in microseconds."""
        value = self.values.get(key)
        if value is None:
            return default
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if not found:
            self.refuse(key, f"{key} is no duration", f'write {key} = "90s", "10m", "24h" or "7d"')
            return default
        us = int(found[1]) * _UNIT_US[found[2]]
        if us > _LONGEST_US:
            self.refuse(key, f"{key} is longer than 100 years", "write a shorter duration")
            return default
        return us


def _name(path: Path) -> str:
    return ".".join(str(part) for part in path if isinstance(part, str)) or "pack.toml"


def _find_keys(lines: list[str]) -> dict[Path, Place]:
    """The place of every table and every key that begins a line. A [[table]] is counted from 0."""
    places: dict[Path, Place] = {}
    table: Path = ()
    counts: dict[str, int] = {}
    fence = ""
    for number, line in enumerate(lines, 1):
        if fence:
            fence = "" if line.count(fence) % 2 else fence
            continue
        if header := _HEADER.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                counts[header[2]] = counts.get(header[2], -1) + 1
                table = (*table, counts[header[2]])
            places.setdefault(table, Place(number, header.start(1) + 1))
        elif key := _KEY.match(line):
            parts = _parts(key[1])
            for k in range(1, len(parts) + 1):
                places.setdefault((*table, *parts[:k]), Place(number, key.start(1) + 1))
        fence = next((quotes for quotes in ('"""', "'''") if line.count(quotes) % 2), "")
    return places


def _parts(key: str) -> Path:
    return tuple(part.strip(" \"'") for part in key.split("."))
