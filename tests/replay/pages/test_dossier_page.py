"""A model's dossier: made again from its card it matches, and what was changed is named first."""

from __future__ import annotations

import shlex
from dataclasses import replace

import html5lib
import pytest
from click.testing import CliRunner

from models.card_toml import read_card, write_card
from replay.pages.say import LANGUAGES
from replay.training.again import differences
from replay.training.command import train
from replay.training.model_commands import model
from sekisho.errors import SekishoError
from tests.replay.test_train import labelled, payments


@pytest.fixture(scope="module")
def written(pack_folder, tmp_path_factory):
    """The model file that `sekisho train` wrote of a small log."""
    folder = tmp_path_factory.mktemp("dossier")
    labelled(folder, "labels", payments(folder))
    done = CliRunner().invoke(train, [
        str(pack_folder), str(folder / "payments.parquet"), "--labels", str(folder / "labels.parquet"),
        "--arrived-at", "arrived", "--train-from", "2026-01-21", "--train-to", "2026-01-31", "--delay", "5d",
        "--test-to", "2026-02-10", "--folds", "1", "--param", "num_iterations=20", "--out", str(folder / "m.txt"),
        "--owner", "me", "--use", "tests", "--limits", "all else", "--expires", "2027-03-31",
    ], catch_exceptions=False)  # fmt: skip
    assert done.exit_code == 0
    return folder / "m.txt"


def asked(file, out, *more):
    return CliRunner().invoke(model, ["dossier", str(file), "--out", str(out), "--seeds", "1", *more])


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_model_comes_out_again(written, tmp_path, lang) -> None:
    """MATCH, and a valid page with use, limits, expiry, segments, another seed and the model's hash."""
    done = asked(written, tmp_path / "d.html", "--lang", lang)
    assert done.exit_code == 0 and "MATCH" in done.output
    page = (tmp_path / "d.html").read_text()
    text = " ".join("".join(html5lib.HTMLParser(strict=True).parse(page).itertext()).split())
    card = read_card(written.with_suffix(".toml").read_bytes())
    for said in ("MATCH", "all else", "2027-03-31", card.sha256, f"{card.metrics['average_precision']:.3f}"):
        assert said in text
    assert text.count("–") > 6


def test_what_was_changed_is_named(written, tmp_path) -> None:
    """A figure that somebody made better than it is, and a log that is another one."""
    card = read_card(written.with_suffix(".toml").read_bytes())
    better = replace(card, metrics={**card.metrics, "roc_auc": 0.9999})
    file = tmp_path / "m.txt"
    file.write_bytes(written.read_bytes())
    file.with_suffix(".toml").write_text(write_card(better), "utf-8")
    done = asked(file, tmp_path / "d.html")
    assert isinstance(done.exception, SekishoError)
    assert f"metrics.roc_auc is 0.9999 on file and {card.metrics['roc_auc']} now; 1 differences" in str(done.exception)
    assert "metrics.roc_auc" in (tmp_path / "d.html").read_text()
    found = list(differences("", card, replace(card, origin=replace(card.origin, log=("other",)), owner="you")))
    assert [each.name for each in found] == ["owner", "origin.log"]


def test_the_command_stands_in_the_card_as_it_was_typed(written) -> None:
    """With quotes where a shell needs them."""
    origin = read_card(written.with_suffix(".toml").read_bytes()).origin
    assert origin is not None and shlex.split(origin.command)[:2] == ["sekisho", "train"]
    assert shlex.split(origin.command)[-3:] == ["all else", "--expires", "2027-03-31"]


def test_a_card_without_an_origin_is_refused(written, tmp_path) -> None:
    """It cannot be made again; the refusal says what to do."""
    card = replace(read_card(written.with_suffix(".toml").read_bytes()), origin=None)
    (tmp_path / "m.txt").write_bytes(written.read_bytes())
    (tmp_path / "m.toml").write_text(write_card(card), "utf-8")
    done = asked(tmp_path / "m.txt", tmp_path / "d.html")
    assert isinstance(done.exception, SekishoError) and "train the model with `sekisho train`" in str(done.exception)
