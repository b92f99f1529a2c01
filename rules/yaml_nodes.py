"""YAML whose every value knows its line and column, read without YAML's guesses about types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import yaml

from features.refusal import Place, Refusal, suggest

QUOTED = ("'", '"', "|", ">")  # the styles of scalars whose text is not to be guessed at


def parse_yaml(text: str) -> yaml.Node | None:
    """The root node, or None of an empty text. Refusal says where the text stops being YAML."""
    try:
        return yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place()
        problem, fix = str(error.problem or error.context), "correct the indentation or the quotes near here"
        if "nesting depth" in problem:
            problem, fix = "it is nested too deeply", "use fewer levels"
        raise Refusal(f"this is not YAML: {problem}", fix, place) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Refusal(f"YAML does not allow this character: {error.reason}", "remove it", Place(line)) from None


def place_of(node: yaml.Node) -> Place:
    """Where the node begins."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def is_null(node: yaml.Node) -> bool:
    """True for an unquoted null, ~ or nothing."""
    return node.tag == "tag:yaml.org,2002:null"


@dataclass
class Mapping:
    """A YAML mapping with text keys. Each getter answers None after noting what is wrong in `refusals`."""

    node: yaml.Node
    what: str
    known: tuple[str, ...] | None
    refusals: list[Refusal]
    entries: dict[str, yaml.Node] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(self.node, f"{self.what} is not a mapping", "write it as `key: value` lines")
            return
        for key, value in self.node.value:
            self._take(key, value)

    def _take(self, key: yaml.Node, value: yaml.Node) -> None:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if self.known is not None and name not in self.known:
            self.refuse(key, f"{self.what} has no key {name!r}", suggest(name, self.known))
        elif name in self.entries:
            self.refuse(key, f"{name!r} stands twice in {self.what}", "keep one of the two")
        else:
            self.entries[name] = value

    def refuse(self, at: yaml.Node | str, what: str, fix: str) -> None:
        """Note a refusal at a node, or at the value of a key (at the mapping itself where the key is missing)."""
        node = self.entries.get(at, self.node) if isinstance(at, str) else at
        self.refusals.append(Refusal(what, fix, place_of(node)))

    def text(self, key: str, required: bool = False) -> str:
        """A scalar's text, "" where there is none."""
        node = self.entries.get(key)
        if node is None or is_null(node):
            if required:
                self.refuse(key, f"{self.what} has no {key}", f"add `{key}: ...`")
            return ""
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, f"{key} is not a single value", f"write `{key}: value`")
            return ""
        value = node.value.strip()
        if required and not value:
            self.refuse(node, f"{key} is empty", f"write `{key}: value`")
        return value

    def choice(self, key: str, options: tuple[str, ...], default: str = "") -> str:
        """A text that is one of the options; no default means that the key must stand here."""
        value = self.text(key, required=not default) or default
        if value and value not in options:
            self.refuse(key, f"{key} cannot be {value!r}", suggest(value, options))
            return options[0]
        return value

    def flag(self, key: str) -> bool:
        """true or false; false where there is none."""
        value = self.text(key).lower()
        if value not in ("", "true", "false"):
            self.refuse(key, f"{key} is neither true nor false", f"write `{key}: true` or leave it out")
        return value == "true"

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or a single one."""
        node = self.entries.get(key)
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node] if node else []
        if not all(isinstance(each, yaml.ScalarNode) for each in nodes):
            self.refuse(key, f"{key} is not a list of names", f"write `{key}: [a, b]`")
            return ()
        return tuple(each.value for each in nodes)

    def items(self, key: str) -> list[yaml.Node]:
        """The nodes of a list; empty where there is none."""
        node = self.entries.get(key)
        if node is None or is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, f"{key} is not a list", "begin each item with `- `")
            return []
        return list(node.value)


def source_positions(text: str, node: yaml.ScalarNode) -> Callable[[Place], Place]:
    """A function from a place in the scalar's value to the place in the file, whatever the scalar's style.

    Walks the source beside the value: what YAML folded, indented, quoted or escaped is stepped over.
    """
    source, value = text[: node.end_mark.index], node.value
    at = node.start_mark.index
    if node.style in ("|", ">"):
        at = source.index("\n", at) + 1
    elif node.style in ("'", '"'):
        at += 1
    offsets = []
    for char in value:
        if not char.isspace():
            at = _step_to(source, at, char, node.style)
        offsets.append(at)
        if not char.isspace():
            at += 2 if node.style == "'" and char == "'" else 1
        elif at < len(source) and source[at] == char:
            at += 1
    offsets.append(at)
    line_starts = [0] + [k + 1 for k, char in enumerate(value) if char == "\n"]

    def locate(place: Place) -> Place:
        if not place.line:
            return place_of(node)
        start = line_starts[min(place.line, len(line_starts)) - 1]
        offset = offsets[min(start + max(place.column, 1) - 1, len(value))]
        return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))

    return locate


def _step_to(source: str, at: int, char: str, style: str | None) -> int:
    """From `at` to where `char` of the value stands in the source."""
    while source[at].isspace() or (style == '"' and source[at] == "\\" and source[at + 1].isspace()):
        at += 1
    if style == '"' and source[at] == "\\":
        return at + {"x": 3, "u": 5, "U": 9}.get(source[at + 1], 1)
    return at
