"""A model's dossier: one page for those who review its risk, every figure of it made again from the log."""

from __future__ import annotations

from collections.abc import Sequence

from models.card import ModelCard
from models.inspect import byar, wilson
from replay.pages import model_page
from replay.pages.blocks import Cell, Column, Fact, Section, Table
from replay.pages.model_page import Subject, page_of
from replay.pages.say import NOTHING, Say
from replay.training.again import Difference
from replay.training.make import Made
from replay.training.study import Segment

_SHOWN = 50


def dossier_page(made: Made, on_file: ModelCard, found: Sequence[Difference], lang: str = "en") -> str:
    """The dossier of a model that has been made again, one HTML file. found: what came out otherwise."""
    subject = Subject(made, Say(lang))
    sections = [
        _reproduced(subject, found), _use(subject, on_file), model_page.answer(subject), model_page.ranks(subject),
        _segments(subject), model_page.calibration(subject), _sensitivity(subject), _directions(subject),
        model_page.features(subject), model_page.thresholds(subject), model_page.data(subject),
        model_page.facts(subject),
    ]  # fmt: skip
    return page_of(subject, subject.say("dossier.title", name=on_file.name), sections)


def _reproduced(subject: Subject, found: Sequence[Difference]) -> Section:
    """Whether the model and every figure of its card came out again; else the first difference, and all."""
    say = subject.say
    if not found:
        return Section("again", say("dossier.again"), [], [Fact(say("dossier.check"), say("dossier.match"),
                                                                [say("dossier.match.how")])])  # fmt: skip
    first = say("dossier.first", name=found[0].name, on_file=found[0].on_file, again=found[0].again)
    rows = [[Cell(each.name), Cell(each.on_file), Cell(each.again)] for each in found[:_SHOWN]]
    columns = [Column(say("decision.field"), "code"), Column(say("decision.on_file"), "code")]
    table = Table(say("differences"), [*columns, Column(say("decision.again"), "code")], rows)
    fact = Fact(say("dossier.check"), say("dossier.differs"), [first])
    return Section("again", say("dossier.again"), [], [fact], tables=[table])


def _use(subject: Subject, card: ModelCard) -> Section:
    say, known = subject.say, subject.trained.folds[0].split.known
    left = ", ".join(f"{say(f'model.left.{name}')} {say.count(known[name])}" for name in model_page.LEFT_OUT)
    terms = [
        ("use", card.intended_use), ("owner", card.owner), ("limits", card.limits or say("dossier.limits.none")),
        ("exclusions", say("dossier.exclusions.text", left=left)),
        ("expires", card.expires.isoformat() if card.expires else say("dossier.expires.none")),
    ]  # fmt: skip
    return Section("use", say("dossier.use"), terms=[(say(f"dossier.term.{name}"), text) for name, text in terms])


def _segments(subject: Subject) -> Section:
    """Parts of the test, each share with its 95 % interval."""
    say, rows = subject.say, []
    for each in subject.trained.study.segments:
        counts = [say.count(each.rows), say.count(each.frauds), say.share(each.alerts / each.rows, 2)]
        texts = [*counts, _caught(say, each), _ratio(say, each)]
        rows.append([Cell(_name(say, each)), *(Cell(text) for text in texts)])
    columns = [Column(say("dossier.segment"), "text"), Column(say("payments")), Column(say("model.frauds"))]
    columns += [Column(say(f"dossier.segment.{name}")) for name in ("alerts", "caught", "ratio")]
    table = Table(say("dossier.segments"), columns, rows, say("dossier.segments.note"))
    return Section("segments", say("dossier.segments"), tables=[table])


def _caught(say: Say, each: Segment) -> str:
    if not each.frauds:
        return NOTHING
    low, high = (say.share(share, 0) for share in wilson(each.caught, each.frauds))
    return f"{say.share(each.caught / each.frauds, 0)} ({low}–{high})"


def _ratio(say: Say, each: Segment) -> str:
    if not each.expected:
        return NOTHING
    low, high = (say.real(count / each.expected, 2) for count in byar(each.frauds))
    return f"{say.real(each.frauds / each.expected, 2)} ({low}–{high})"


def _name(say: Say, each: Segment) -> str:
    if each.of in ("quarter", "fresh"):
        return say(f"dossier.segment.{each.of}.{each.value}")
    return f"{each.of} = {each.value}"


def _sensitivity(subject: Subject) -> Section:
    """How far the ranking moves with another seed, and without a feature."""
    say, names = subject.say, ("average_precision", "roc_auc")
    models = [(say("dossier.seed.own"), subject.card.metrics)]
    models += [(say("dossier.seed", n=k), each) for k, each in enumerate(subject.trained.seeds, 1)]
    rows = [[Cell(name), *(Cell(say.real(each[measure])) for measure in names)] for name, each in models]
    columns = [Column(say("dossier.changed"), "text"), *(Column(say(f"model.measure.{name}")) for name in names)]
    tables = [Table(say("dossier.seeds"), columns, rows)]
    tried = [each for each in subject.trained.study.features if each.missing is not None]
    lost = sorted(tried, key=lambda each: each.missing or 0.0)
    cells = [[Cell(each.name), Cell(say.real(each.missing))] for each in lost]
    columns = [Column(say("dossier.missing"), "code"), Column(say("model.measure.average_precision"))]
    tables.append(Table(say("dossier.missing.caption"), columns, cells, say("model.missing.note")))
    return Section("sensitivity", say("dossier.sensitivity"), tables=tables)


def _directions(subject: Subject) -> Section:
    """Features that are held to a direction, swept over every value that the model tells apart."""
    say, rows = subject.say, []
    for each in subject.trained.study.directions:
        way = say("dossier.rising" if each.way > 0 else "dossier.falling")
        held = say("yes" if each.worst >= 0 else "no")
        scores = (say.count(score) for score in (each.low, each.high, each.null))
        rows.append([Cell(each.name), Cell(way), Cell(held), *(Cell(text) for text in scores)])
    if not rows:
        return Section("directions", say("dossier.directions"), [say("dossier.directions.none")])
    columns = [Column(say("model.feature"), "code"), Column(say("dossier.way"), "text")]
    columns += [Column(say("dossier.held"), "text")]
    columns += [Column(say(f"dossier.at.{name}")) for name in ("low", "high", "null")]
    table = Table(say("dossier.directions"), columns, rows, say("dossier.directions.note"))
    return Section("directions", say("dossier.directions"), tables=[table])
