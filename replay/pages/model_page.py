"""A model's card as a page: what it learnt from, what it reads, how well it ranks, whether its probabilities hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.card import ModelCard
from models.forest import parse_forest
from models.inspect import byar
from models.scorer import score_of_odds
from replay.pages.backtest_plots import size_of
from replay.pages.blocks import Cell, Column, Fact, Figure, Page, Section, Table
from replay.pages.plots import Bar, Series, bars, lines
from replay.pages.render import render
from replay.pages.say import Say
from replay.training.make import Made
from replay.training.train import Trained

_FRAME = ("skip", "warning", "contents", "data", "none")
LEFT_OUT = ("young", "unsettled", "other")
_BARS = 10
_MEASURES = ("roc_auc", "average_precision", "card_precision_100", "precision_100", "adr_5_to_1", "vdr_5_to_1",
             "recall_5_to_1")  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A model as its page reads it."""

    made: Made
    say: Say

    @property
    def trained(self) -> Trained:
        return self.made.trained

    @property
    def card(self) -> ModelCard:
        return self.made.trained.card


def model_page(made: Made, lang: str = "en") -> str:
    """The page of a model that has just been trained, one HTML file. lang: en or ja."""
    subject = Subject(made, Say(lang))
    sections = [answer(subject), data(subject), ranks(subject), calibration(subject), histogram(subject),
                features(subject), thresholds(subject), facts(subject)]  # fmt: skip
    return page_of(subject, subject.say("model.title", name=subject.card.name), sections)


def page_of(subject: Subject, title: str, sections: Sequence[Section]) -> str:
    """A page about a model, with what was taken for granted at its top."""
    say, card, window = subject.say, subject.card, subject.trained.folds[0].split.window
    lead = [
        say("model.lead", use=card.intended_use, owner=card.owner),
        say("model.span", first=say.day(window.train_from_us), last=say.day(window.train_to_us - 1),
            test=say.day(window.known_us), until=say.day(window.test_to_us - 1)),
    ]  # fmt: skip
    origin = card.origin
    warned = [("order", origin.order_assumed), ("labels", origin.labels_simulated)] if origin else []
    warnings = [say(f"model.warn.{name}") for name, holds in warned if holds]
    return render(Page(say.lang, title, lead, warnings, sections, {name: say(name) for name in _FRAME}))


def answer(subject: Subject) -> Section:
    """The headline: what it finds on payments later than all that it knows."""
    say, metrics, split = subject.say, subject.card.metrics, subject.trained.folds[0].split
    defrauded = len(set(split.cards[split.test_labels == 1].tolist()) - {-1})
    found = [
        Fact(say("model.ap"), say.real(metrics["average_precision"]), [_validated(subject, "average_precision")]),
        Fact(say("model.measure.roc_auc"), say.real(metrics["roc_auc"]), [_validated(subject, "roc_auc")]),
    ]
    if "adr_5_to_1" in metrics:
        how = say("model.caught.how", n=say.count(defrauded)), say("model.money.how")
        for name, key, note in zip(("caught", "money"), ("adr_5_to_1", "vdr_5_to_1"), how, strict=True):
            notes = [note, _validated(subject, key, share=True)]
            found.append(Fact(say(f"model.{name}"), say.share(metrics[key]), notes))
    tested = say("model.tested.how", n=say.count(metrics["test_positives"]))
    found.append(Fact(say("model.tested"), say.count(metrics["test_rows"]), [tested]))
    return Section("answer", say("model.answer"), [say("model.answer.text")], found)


def _validated(subject: Subject, name: str, share: bool = False) -> str:
    say, metrics = subject.say, subject.card.metrics
    mean, spread = (metrics.get(f"validation_{name}{part}") for part in ("", "_std"))
    written = say.share if share else say.real
    return say("model.validated", mean=written(mean), spread=written(spread))


def data(subject: Subject) -> Section:
    """A row a fold: what was learnt from, what judged, what was left out."""
    say, rows = subject.say, []
    for fold in subject.trained.folds:
        split = fold.split
        counts = [len(split.learn), int(split.learn_labels.sum()), len(split.test), int(split.test_labels.sum())]
        left = [sum(found[name] for found in (split.known, split.later)) for name in LEFT_OUT]
        rows.append([Cell(say.day(split.window.known_us)), *(Cell(say.count(count)) for count in (*counts, *left))])
    columns = [Column(say("model.from"), "when")]
    columns += [Column(say(f"model.{name}")) for name in ("trained", "frauds", "rows", "frauds")]
    columns += [Column(f"{say('model.left')}: {say(f'model.left.{name}')}") for name in LEFT_OUT]
    text = say("model.data.text", days=say.days(subject.made.maturity_us))
    return Section("data", say("model.data"), [text], tables=[Table(say("model.folds"), columns, rows)])


def ranks(subject: Subject) -> Section:
    """Every measure: of the test, of its cards not yet known, of each earlier fold, with mean and spread."""
    say, earlier = subject.say, subject.trained.folds[1:]
    metrics, rows = subject.card.metrics, []
    folds = [fold.measures() for fold in earlier]
    for name in _MEASURES:
        if name in metrics:
            found = [metrics[name], metrics.get(f"fresh_{name}"), metrics.get(f"validation_{name}")]
            found += [metrics.get(f"validation_{name}_std"), *(each[name] for each in folds)]
            rows.append([Cell(say(f"model.measure.{name}")), *(Cell(say.real(value)) for value in found)])
    columns = [Column(say("measure"), "text")]
    columns += [Column(say(f"model.{name}")) for name in ("own", "fresh", "mean", "spread")]
    columns += [Column(say.day(fold.split.window.known_us)) for fold in earlier]
    table = Table(say("model.ranks.caption"), columns, rows, say("model.ranks.note"))
    return Section("ranks", say("model.ranks"), tables=[table])


def calibration(subject: Subject) -> Section:
    """Expected and observed frauds by hundreds of the score."""
    say, metrics, found = subject.say, subject.card.metrics, subject.trained.bands
    rows = []
    for band in found:
        low, high = (say.real(count / band.expected, 2) for count in byar(band.frauds))
        texts = [f"{band.low}–{band.low + 99}", say.count(band.rows), say.count(band.frauds)]
        texts += [say.real(band.expected, 1), say.real(band.observed_to_expected, 2), f"{low}–{high}"]
        rows.append([Cell(text) for text in texts])
    columns = [Column(say("model.band")), Column(say("payments")), Column(say("model.frauds"))]
    columns += [Column(say(f"model.{name}")) for name in ("expected", "ratio", "interval")]
    text = say("model.calibration.text", loss=say.real(metrics["log_loss"], 5),
               raw=say.real(metrics["log_loss_uncalibrated"], 5))  # fmt: skip
    table = Table(say("model.calibration"), columns, rows)
    return Section("calibration", say("model.calibration"), [text], figures=_deserved(subject), tables=[table])


def _deserved(subject: Subject) -> list[Figure]:
    """The score that a band's frauds deserve beside the score that was expected of them."""
    say = subject.say
    pairs = [
        (float(score_of_odds(band.expected / (band.rows - band.expected))),
         float(score_of_odds(band.frauds / (band.rows - band.frauds))))
        for band in subject.trained.bands if 0 < band.frauds < band.rows
    ]  # fmt: skip
    if len(pairs) < 2:
        return []
    title = say("model.calibration.figure")
    series = [
        Series("current", say("model.expected.line"), [(x, x) for x, _ in pairs]),
        Series("candidate", say("model.observed.line"), pairs),
    ]
    svg = lines(title, say("model.calibration.about"), series, say("model.band"), say.count, say.count)
    rows = [[Cell(say.count(x)), Cell(say.count(y))] for x, y in pairs]
    columns = [Column(say(f"model.{name}.line")) for name in ("expected", "observed")]
    return [Figure(title, svg, Table(title, columns, rows))]


def histogram(subject: Subject) -> Section:
    """Where the scores of good payments and of frauds lie."""
    say, found = subject.say, subject.trained.study.histogram
    goods, frauds = (max(1, sum(row[k] for row in found)) for k in (1, 2))
    title, groups, rows = say("model.histogram"), [], []
    for low, good, bad in found:
        groups.append((str(low), [Bar("current", good / goods), Bar("candidate", bad / frauds)]))
        rows.append([Cell(text) for text in (str(low), say.count(good), say.count(bad))])
    names = {"current": say("model.good"), "candidate": say("model.bad")}
    columns = [Column(say("model.band")), *(Column(name) for name in names.values())]
    svg = bars(title, say("model.histogram.about"), groups, names, say.share)
    return Section("histogram", title, figures=[Figure(title, svg, Table(title, columns, rows))])


def features(subject: Subject) -> Section:
    """What the model reads: its SQL, what it weighs, and how far the test has moved from the training."""
    say = subject.say
    found = sorted(subject.trained.study.features, key=lambda each: -each.weight)
    rows = []
    for each in found:
        texts = [each.name, subject.made.sql.get(each.name, ""), say.share(each.weight), say.share(each.gain)]
        texts += [say.real(each.psi), say.real(each.chance), say(f"drift.{size_of(each.psi)}")]
        rows.append([Cell(text) for text in [*texts, say.share(each.nulls), say.real(each.missing)]])
    columns = [Column(say("model.feature"), "code"), Column(say("model.sql"), "code")]
    columns += [Column(say(name)) for name in ("model.shap", "model.gain", "drift.psi", "drift.expected")]
    columns += [Column(say("drift.size"), "text"), Column(say("model.nulls")), Column(say("model.missing"))]
    names = {"current": say("model.gain"), "candidate": say("model.shap")}
    title = say("model.weights")
    groups = [(each.name, [Bar("current", each.gain), Bar("candidate", each.weight)]) for each in found[:_BARS]]
    data = [[Cell(each.name), Cell(say.share(each.gain)), Cell(say.share(each.weight))] for each in found[:_BARS]]
    figure = Figure(
        title, bars(title, say("model.weights.about"), groups, names, say.share),
        Table(title, [Column(say("model.feature"), "code"), *(Column(name) for name in names.values())], data),
    )  # fmt: skip
    table = Table(say("model.features.caption"), columns, rows, say("model.missing.note"))
    return Section("features", say("model.features"), [say("model.features.text")], figures=[figure], tables=[table])


def thresholds(subject: Subject) -> Section:
    """The scores that stand for the champion's."""
    say, found = subject.say, subject.card.thresholds
    if found is None:
        return Section("thresholds", say("model.thresholds"), [say("model.thresholds.none")])
    rows = [[Cell(say.count(score)) for score in row] for row in found.rows]
    columns = [Column(say(f"model.{name}")) for name in ("champion", "equal_rate", "equal_risk")]
    table = Table(f"{say('model.champion')}: sha256 {found.champion[:12]}", columns, rows)
    return Section("thresholds", say("model.thresholds"), [say("model.thresholds.text")], tables=[table])


def facts(subject: Subject) -> Section:
    """What makes the model again."""
    say, card, origin = subject.say, subject.card, subject.card.origin
    rows = [("sha256", card.sha256), ("trees", str(parse_forest(subject.trained.model).trees))]
    if card.calibration:
        rows.append(("calibration", f"{card.calibration.a!r}, {card.calibration.b!r}"))
    if origin:
        rows += [("command", origin.command), ("pack", origin.pack), ("lightgbm", origin.lightgbm)]
        rows += [("log", text) for text in origin.log]
    columns = [Column(say("facts.what"), "text"), Column(say("facts.value"), "code")]
    cells = [[Cell(say(f"model.fact.{name}")), Cell(text)] for name, text in rows]
    table = Table(say("model.facts"), columns, cells)
    return Section("facts", say("model.facts"), [say("model.facts.text")], tables=[table])
