"""Loading a pack: every file read, checked against the others, and hashed. All independent errors come out at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from features.expr import Literal
from features.query import Query
from features.refusal import Place, Refusal, suggest
from features.schema import Schema
from features.sql import parse_condition, parse_query
from features.types import BOOL, Type
from models.card_toml import read_card
from models.scorer import Model, load_model
from rules.examples import check_examples
from rules.language import read_rules
from rules.lists import read_list
from rules.reasons import ReasonBook
from rules.reasons_language import Speakable, read_book
from rules.records import ListEntry, RuleSet
from sekisho.canonical import canonical, pack_hash
from sekisho.errors import SekishoError
from sekisho.pack import Pack
from sekisho.pack_toml import PackHead, read_head, read_legs, read_training
from sekisho.roster import Roster, RosterReader, score_columns
from sekisho.toml import Document

_KNOWN = ("pack.toml", "features.sql", "rules.yaml", "reasons.yaml")
_IGNORED = (".md", ".py", ".ipynb")  # what people keep beside a pack; no part of its hash
_PRINTED = 20  # errors at once; the first are often the cause of the others

_T = TypeVar("_T")


class PackErrors(SekishoError):
    """A pack that was not loaded, with every refusal, in the order of the files and their lines."""

    def __init__(self, path: Path, refusals: Iterable[Refusal]) -> None:
        unique = {str(refusal): refusal for refusal in refusals}.values()
        self.refusals = sorted(unique, key=lambda r: (_order(r.file), r.file, r.place.line, r.place.column))
        count = f"{len(self.refusals)} errors" if len(self.refusals) > 1 else "an error"
        super().__init__(f"the pack {path} has {count}", "mend what stands below, then load it again")

    def __str__(self) -> str:
        more = len(self.refusals) - _PRINTED
        rest = [f"... and {more} more"] if more > 0 else []
        return "\n\n".join([self.what, *map(str, self.refusals[:_PRINTED]), *rest])


def load_pack(path: Path) -> Pack:
    """The pack in a folder. Raises PackErrors with all that is wrong: file, line, column, what, and what to do."""
    loader = _Loader(path)
    try:
        pack = loader.load()
    except RecursionError:
        what, fix = "this is nested too deeply to be read", "use fewer levels, or shorter chains of AND, OR, +"
        raise PackErrors(path, [*loader.refusals, Refusal(what, fix, file=loader.reading)]) from None
    if pack is None or loader.refusals:
        raise PackErrors(path, loader.refusals)
    return pack


@dataclass
class _Loader:
    path: Path
    refusals: list[Refusal] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    reading: str = ""

    def load(self) -> Pack | None:
        """The pack, or None where it cannot be put together; see also `refusals`."""
        if not self.path.is_dir():
            raise PackErrors(self.path, [Refusal("there is no such folder", "name the folder of a pack")])
        text = self.read("pack.toml")
        document = None if text is None else self.attempt("pack.toml", lambda: Document(text))
        if document is None:
            return None
        head = read_head(document)
        lists = self.lists()
        models = self.models(head)
        query = self.query(head.schema)
        legs = read_legs(document, head.schema, lambda sql: parse_condition(sql, head.schema.columns(), lists))
        roster = self.roster(document, head, query, models, lists) if query and models is not None else None
        directions = read_training(document, dict(query.features)) if query else {}
        self.note("pack.toml", document.refusals)
        self.refuse_strangers(head)
        if query is None or roster is None:
            self.rules_but_conditions(lists)
            return None
        columns = head.schema.columns() | dict(query.features)
        reasons = self.reasons(head.schema, columns, roster, lists)
        for scorer in roster.scorers:
            columns |= score_columns(scorer.name)
        rules = self.rules(columns, lists)
        return Pack(
            name=head.name,
            description=head.description,
            owner=head.owner,
            hash=pack_hash(self.files),
            schema=head.schema,
            policy=head.policy,
            labels=head.labels,
            legs=legs,
            query=query,
            rules=rules,
            models=roster.scorers,
            alert=head.alert,
            shadow_models=roster.shadows,
            directions=directions,
            reasons=reasons,
            files=self.files,
        )

    # --- files ---

    def read(self, name: str, required: bool = True) -> str | None:
        """A text file of the pack; it becomes part of the hash."""
        raw = self.bytes(name, required)
        try:
            return None if raw is None else raw.decode()
        except UnicodeDecodeError as error:
            place = Place(raw.count(b"\n", 0, error.start) + 1 if raw else 0)
            self.note(name, [Refusal(f"byte {error.start} is not UTF-8", "save the file as UTF-8", place)])
            return None

    def bytes(self, name: str, required: bool = True) -> bytes | None:
        """A file's canonical bytes; they become part of the hash."""
        file, self.reading = self.path / name, name
        if not file.is_file():
            if required or file.exists():
                self.note(name, [Refusal("this file is missing", self.missing_fix(name))])
            return None
        self.files[name] = canonical(name, file.read_bytes())
        return self.files[name]

    def missing_fix(self, name: str) -> str:
        near = get_close_matches(name, [each.relative_to(self.path).as_posix() for each in self.path.rglob("*")], 1)
        return f"did you mean {near[0]}?" if near else "put it into the pack, or name another in pack.toml"

    def refuse_strangers(self, head: PackHead) -> None:
        """A file that nothing names is a mistake: rules.yml would be no rules at all."""
        known = {*_KNOWN, *self.files, *(name for each in head.models for name in (each.file, each.card))}
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            hidden = any(part.startswith((".", "__")) for part in Path(name).parts)
            if file.is_file() and not hidden and file.suffix not in _IGNORED and name not in known:
                self.note(name, [Refusal("nothing in the pack uses this file", suggest(name, known))])

    # --- errors ---

    def note(self, file: str, refusals: Iterable[Refusal]) -> None:
        self.refusals += [Refusal(r.what, r.fix, r.place, file) for r in refusals]

    def attempt(self, file: str, action: Callable[[], _T]) -> _T | None:
        """What the action gives, or None after noting its refusal."""
        try:
            return action()
        except Refusal as refusal:
            self.note(file, refusal.each)
            return None

    # --- parts ---

    def lists(self) -> dict[str, tuple[ListEntry, ...]]:
        """Every lists/*.csv by its name."""
        lists = {}
        for file in sorted((self.path / "lists").glob("*.csv")):
            name = f"lists/{file.name}"
            if not file.stem.isidentifier() or file.stem.lower() != file.stem:
                fix = "use lower-case letters, digits and _: a condition names it"
                self.note(name, [Refusal(f"{file.stem!r} cannot name a list", fix)])
            text = self.read(name)
            if text is not None:
                lists[file.stem], refusals = read_list(text)
                self.note(name, refusals)
        return lists

    def query(self, schema: Schema) -> Query | None:
        """features.sql, parsed."""
        text = self.read("features.sql")
        return None if text is None else self.attempt("features.sql", lambda: parse_query(text, schema))

    def models(self, head: PackHead) -> tuple[Model, ...] | None:
        """Every model with its card; None where one cannot be loaded."""
        models = [self.model(each.file, each.card) for each in head.models]
        return None if None in models else tuple(model for model in models if model)

    def model(self, name: str, card_name: str) -> Model | None:
        """One model and its card."""
        model, card = self.bytes(name), self.bytes(card_name)
        if model is None or card is None or self.attempt(card_name, lambda: read_card(card)) is None:
            return None
        return self.attempt(name, lambda: load_model(model, card))

    def roster(
        self, document: Document, head: PackHead, query: Query, models: tuple[Model, ...],
        lists: dict[str, tuple[ListEntry, ...]],
    ) -> Roster:  # fmt: skip
        """What each model scores. A segment reads what models read, and no scores."""
        columns = head.schema.columns() | dict(query.features)
        reader = RosterReader(document, columns, lambda sql: parse_condition(sql, columns, lists))
        return reader.read(head.models, models)

    def reasons(
        self, schema: Schema, columns: dict[str, Type], roster: Roster, lists: dict[str, tuple[ListEntry, ...]]
    ) -> ReasonBook | None:
        """reasons.yaml, if there is one."""
        text = self.read("reasons.yaml", required=False)
        if text is None:
            return None
        modelled = {
            name for each in roster.scorers for model in (each, each.challenger) if model for name in model.features
        }
        repeated = [field.name for field in schema.fields if field.type == "category" and not field.pii]
        may = Speakable(columns, modelled, repeated, schema.by_name)
        book, refusals = read_book(text, lambda sql: parse_condition(sql, columns, lists), may)
        self.note("reasons.yaml", refusals)
        return book

    def rules(self, columns: dict[str, Type], lists: dict[str, tuple[ListEntry, ...]]) -> RuleSet:
        """rules.yaml, with its examples run."""
        text = self.read("rules.yaml", required=False) or ""
        rules, refusals = read_rules(text, lambda sql: parse_condition(sql, columns, lists), lists)
        if not refusals and not self.refusals:
            refusals = check_examples(rules, columns)
        self.note("rules.yaml", refusals)
        return rules

    def rules_but_conditions(self, lists: dict[str, tuple[ListEntry, ...]]) -> None:
        """What can be said of rules.yaml while nobody knows its columns."""
        text = self.read("rules.yaml", required=False) or ""
        self.note("rules.yaml", read_rules(text, lambda sql: Literal(BOOL, True), lists)[1])


def _order(file: str) -> int:
    return _KNOWN.index(file) if file in _KNOWN else len(_KNOWN)
