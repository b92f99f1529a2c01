"""The back-test's report: valid, whole in both languages, readable without sight, and harmless whatever a pack says."""

import re
import shutil
from dataclasses import replace

import html5lib
import pyarrow as pa
import pytest

from replay.backtest.arms import ARMS, MEASURES
from replay.backtest.holdout import USES
from replay.backtest.records import DAY_US, Asked, Backtest, Facts, Strategy
from replay.backtest.tables import CAUSES, STRATEGIES, TABLES, TRUTHS
from replay.pages.backtest_answer import bounds, case_of
from replay.pages.backtest_page import backtest_page, fingerprint
from replay.pages.say import LANGUAGES, Say
from replay.pages.words import WORDS

EVIL = "<script>alert(1)</script>\u202egnp"
X = "{http://www.w3.org/1999/xhtml}"
ALERTS = ("review", "hold", "decline")
VALUES = {
    "outcome": "review", "recorded": "approve", "current": "approve", "candidate": "review", "rows": "immature",
    "typology": "mule", "rule": EVIL, "other": "b", "day": "2026-01-05", "column": "paid", "truth": "immature",
    "cause": "single", "restoring": f"rule:{EVIL}", "example": "good_hit", "reason": "cold", "label_class": None,
    "outcomes": "replayed", "arm": "challenger", "measure": "friction", "use": "refused", "challenger": EVIL,
}  # fmt: skip


def facts(**changed):
    strategy = Strategy("today", "a" * 64, ("c" * 64,), ALERTS, "d" * 64)
    return replace(
        Facts(
            Asked(), strategy, replace(strategy, name=EVIL, hash="b" * 64), {"log.jsonl": "e" * 32}, 1000, 2, 0,
            90 * DAY_US, 30 * DAY_US, 60 * DAY_US, 90 * DAY_US, {"": 30 * DAY_US}, "JPY", 0, 0.97, True, True, False,
            0.0, 1, 3.5, 0, False,
        ),
        **changed,
    )  # fmt: skip


def a_row(spec, k):
    """A row of a table: numbers that differ by row, texts of the kind that the column holds."""
    row = {}
    for column in spec.columns:
        plain = {"int": 100 * k + 7, "real": 0.25 * (k + 1), "text": f"{column.name}-{k}", "flag": k % 2 == 0}
        row[column.name] = VALUES.get(column.name, plain[column.kind]) if column.kind == "text" else plain[column.kind]
    if "strategy" in row:
        row["strategy"] = STRATEGIES[k % 3]
    if "rule" in row:
        row["rule"] = (EVIL, "b")[k % 2]
    if "score" in row:
        row["score"] = 25 * k
    if "hour" in row:
        row["hour"] = k % 24
    return row


def result(rows=6, **changed):
    tables = {
        name: pa.Table.from_pylist(
            [a_row(spec, k) for k in range(3 if name in ("summary", "attempts") else rows)], spec.schema
        )
        for name, spec in TABLES.items()
    }
    return Backtest(facts(**changed), tables)


def parsed(html):
    return html5lib.HTMLParser(strict=True).parse(html)


@pytest.fixture(params=LANGUAGES)
def page(request):
    return backtest_page(result(), request.param)


def test_the_page_is_valid_html_and_nothing_in_it_is_fetched(page):
    """A strict parser takes it; there is no script, no link to elsewhere, and the policy forbids both."""
    tree = parsed(page)
    assert not list(tree.iter(f"{X}script")) and not re.search(r"(src|action)=|url\(|@import", page)
    assert all(link.get("href")[0] == "#" for link in tree.iter(f"{X}a"))
    assert [link.get("href") for link in tree.iter(f"{X}link")] == ["data:,"]
    assert "default-src 'none'" in page
    assert not re.findall(r"https?://", page)


def test_a_rule_named_like_a_script_stays_text(page):
    """Whatever a pack says is shown as it is written, and cannot turn the direction of writing."""
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page and "\ufffdgnp" in page


def test_the_page_can_be_heard(page):
    """One h1, sections under h2, links that lead somewhere, captions and scopes, titles and tables beside plots."""
    tree = parsed(page)
    assert len(list(tree.iter(f"{X}h1"))) == 1
    ids = [node.get("id") for node in tree.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    assert {link.get("href")[1:] for link in tree.iter(f"{X}a")} <= set(ids)
    for section in tree.iter(f"{X}section"):
        assert section.get("aria-labelledby") in ids and len(list(section.iter(f"{X}h2"))) == 1
    tables = list(tree.iter(f"{X}table"))
    assert len(tables) > 20
    for table in tables:
        assert "".join(table.find(f"{X}caption").itertext()).strip()
        assert {head.get("scope") for head in table.iter(f"{X}th")} == {"col", "row"}
        widths = {len(list(row)) for row in table.iter(f"{X}tr")}
        assert len(widths) == 1
    figures = list(tree.iter(f"{X}figure"))
    assert len(figures) >= 9
    for figure in figures:
        svg = next(node for node in figure.iter() if node.tag.endswith("}svg"))
        named = {node.tag.rpartition("}")[2]: node.text for node in svg if node.text}
        assert svg.get("role") == "img" and named["title"] and named["desc"]
        assert list(figure.iter(f"{X}table"))


def test_every_text_is_in_both_languages():
    """Both texts take the same values, and no Japanese text was left in English."""
    for key, (en, ja) in WORDS.items():
        assert en and ja, key
        assert set(re.findall(r"{\w+}", en)) == set(re.findall(r"{\w+}", ja)), key
        spoken = re.sub(r"{\w+}|sha256|PSI|ADR|A-FPR|VDR", "", en)
        assert not re.search("[a-z]{3}", spoken) or re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", ja), key


@pytest.mark.parametrize(
    "kind, values",
    [("truth", TRUTHS), ("cause", CAUSES), ("strategy", STRATEGIES), ("use", USES), ("arm", ARMS.values()),
     ("arm", MEASURES)],
)  # fmt: skip
def test_closed_sets_have_their_words(kind, values):
    """What a table may hold can be said in both languages."""
    assert {f"{kind}.{value}" for value in values} <= set(WORDS)


def test_a_low_fidelity_is_the_first_thing_said():
    """Under 99 % there is a banner; from there on there is none."""
    assert "97.00%" in backtest_page(result(), "en").partition("<main")[0]
    assert 'class="warning"' not in backtest_page(result(fidelity=0.99, dead_letters=0), "en")
    assert 'class="warning"' not in backtest_page(result(fidelity=None, dead_letters=0), "en")


def test_events_that_could_not_be_read_are_said_first():
    """Their number stands above every figure."""
    assert "2 of 1,002 events could not be read" in backtest_page(result(fidelity=1.0), "en").partition("<main")[0]


def test_a_run_without_labels_models_or_budget_still_has_its_page():
    """Every table but the summary may be empty."""
    empty = result(rows=0, labels_known=False, outcomes_known=False)
    for lang in LANGUAGES:
        parsed(backtest_page(empty, lang))


def test_the_difference_is_bounded_by_what_is_open():
    """Only open payments that alert under one strategy alone can move the difference: by all of their money."""
    rows = [
        ("approve", "review", "immature", 5), ("hold", "approve", "censored", 7), ("hold", "review", "immature", 11),
        ("approve", "challenge", "immature", 13), ("approve", "review", "fraud", 17),
    ]  # fmt: skip
    names = ("current", "candidate", "truth", "amount_minor")
    table = pa.Table.from_pylist(
        [{"recorded": None, "payments": 1, **dict(zip(names, row, strict=True))} for row in rows],
        TABLES["transitions"].schema,
    )
    case = case_of(Backtest(facts(), {**result().tables, "transitions": table}), "en")
    assert bounds(case) == (7, 5)


def test_the_fingerprint_is_of_what_was_seen():
    """How long it took does not change it; one figure does."""
    seen = fingerprint(result())
    assert fingerprint(result(seconds=99.0)) == seen
    assert fingerprint(result(events=1001)) != seen
    assert fingerprint(result(rows=5)) != seen


@pytest.mark.parametrize(
    "lang, minor, exact, short",
    [("en", 46_435_797, "¥46,435,797", "46.4M"), ("ja", 46_435_797, "46,435,797円", "4,644万"),
     ("en", -4_711, "−¥4,711", "−4.71k"), ("ja", 0, "0円", "0")],
)  # fmt: skip
def test_money_reads_as_it_is_written_in_the_language(lang, minor, exact, short):
    """Exact in tables; on an axis in thousands, or in ten thousands and hundred millions."""
    say = Say(lang, "JPY")
    assert say.money(minor) == exact and say.short(minor) == short
    assert Say(lang, "USD", 2).money(minor).endswith(" USD")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_browser_shows_it_whole(tmp_path, lang):
    """At 1280 and 400 px, light and dark: nothing runs out of the page, no error, no request."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium is installed")
    file = tmp_path / "report.html"
    file.write_text(backtest_page(result(), lang), "utf-8")
    with api.sync_playwright() as play, play.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as chrome:
        for width in (1280, 400):
            for theme in ("light", "dark"):
                view = chrome.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                told = []
                view.on("console", lambda message, told=told: told.append(message.text))
                view.on("request", lambda asked, told=told: told.append(asked.url))
                view.goto(file.as_uri())
                assert told == [file.as_uri()] or told == [file.as_uri(), "data:,"]
                assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert view.evaluate(_CUT) == []


_CUT = """[...document.querySelectorAll('svg text')].filter(t => {
  const own = t.getBoundingClientRect(), all = t.ownerSVGElement.getBoundingClientRect();
  return own.left < all.left - 1 || own.right > all.right + 1 || own.bottom > all.bottom + 1;
}).map(t => t.textContent)"""
