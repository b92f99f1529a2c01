"""A model's page: valid, whole in both languages, harmless; and the scores that stand for a champion's."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import html5lib
import numpy as np
import pytest

from features.sql.query import output_texts
from models.calibration import fit_platt
from models.card import Origin, Thresholds
from models.card_toml import read_card, write_card
from models.scorer import points_of
from replay.pages.model_page import model_page
from replay.pages.say import LANGUAGES
from replay.training.make import Made
from replay.training.study import against
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from tests.replay.test_train import DAY, labelled, payments, trained

EVIL = "<script>alert(1)</script>\u202egnp"
ORIGIN = Origin(f"sekisho train {EVIL}", "a" * 64, ("log.parquet " + "e" * 32,), "4.7.0", True, True, 5 * DAY)


@pytest.fixture(scope="module")
def made(pack_folder, tmp_path_factory):
    """(what was trained, with an origin and a champion; how its features are written)."""
    folder, engine = tmp_path_factory.mktemp("page"), compile_pack(load_pack(pack_folder))
    found = trained(engine, labelled(folder, "page", payments(folder)), params={"num_iterations": 30})
    card = replace(found.card, origin=ORIGIN, thresholds=Thresholds("b" * 64, ((500, 510, 490),)))
    return replace(found, card=card), output_texts(engine.pack.query.sql)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_is_valid_and_whole(made, lang) -> None:
    """A strict parser takes it, nothing is fetched or run; every feature, its SQL, sha256 and command are there."""
    found, sql = made
    page = model_page(Made(found, sql, 5 * DAY), lang)
    tree = html5lib.HTMLParser(strict=True).parse(page)
    assert not list(tree.iter("{http://www.w3.org/1999/xhtml}script")) and not re.search(r"(src|action)=|url\(", page)
    text = " ".join("".join(tree.find(".//{http://www.w3.org/1999/xhtml}body").itertext()).split())
    for each in found.study.features:
        assert each.name in text and " ".join(sql[each.name].split()) in text
    metrics = found.card.metrics
    said = (found.card.sha256, "sekisho train <script>alert(1)</script>", ORIGIN.log[0], f"{metrics['roc_auc']:.3f}",
            f"{metrics['average_precision']:.3f}", f"{metrics['log_loss']:.5f}", "510")  # fmt: skip
    assert [each for each in said if each not in text] == []
    assert text.count("{") == 0 and len(tree.findall(".//{http://www.w3.org/2000/svg}svg")) >= 2


def test_a_card_with_an_origin_and_a_champion_reads_back(made) -> None:
    """What the page shows of the card is in its file."""
    assert read_card(write_card(made[0].card).encode()) == made[0].card


def test_a_champion_that_is_the_model_itself_has_its_own_thresholds() -> None:
    """As many alerts from each threshold on, and the same risk, on the payments that both score."""
    rng = np.random.default_rng(2)
    labels = (rng.random(4000) < 0.05).astype(np.uint8)
    raw = rng.normal(size=4000) + 2 * labels
    calibration = fit_platt(raw, labels)
    own, card = (
        SimpleNamespace(raw=raw, split=SimpleNamespace(test_labels=labels)),
        SimpleNamespace(calibration=calibration),
    )
    score = points_of(raw, calibration)
    found = against("c" * 64, raw, score, own, card, [555])
    assert found.champion == "c" * 64 and 555 in [row[0] for row in found.rows]
    for threshold, rate, risk in found.rows:
        assert (score >= rate).sum() == (score >= threshold).sum()
        assert risk == score[score >= threshold].min()
