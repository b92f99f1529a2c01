"""Packs that try to break their reader: each is refused on one screen, with the file."""

import shutil

import pytest

from sekisho.load import PackErrors, load_pack
from sekisho.packs import shipped_pack


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "pack"
    shutil.copytree(shipped_pack("card_payments"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _refused(pack):
    with pytest.raises(PackErrors) as caught:
        load_pack(pack)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules.yaml", "rules: " + "[" * 5000),
        ("pack.toml", "z = " + "[" * 5000),
        ("features.sql", "SELECT event_id, " + "(" * 2000 + "1" + ")" * 2000 + " AS x FROM events"),
        ("features.sql", "SELECT event_id, " + "+".join(["amount"] * 3000) + " AS x FROM events"),
    ],
)
def test_what_is_nested_too_deeply_is_refused_with_its_file(pack, name, text):
    """A refusal and no RecursionError, whatever reads the file."""
    (pack / name).write_text(text)
    text = _refused(pack)
    assert name in text and "nested too deeply" in text


def test_a_duration_that_no_clock_can_add_is_refused(pack):
    """Microseconds of times and durations are added in 64 bits."""
    file = pack / "pack.toml"
    file.write_text(file.read_text().replace('lateness = "24h"', 'lateness = "999999999d"'))
    assert "lateness is longer than 100 years" in _refused(pack)


def test_a_folder_in_the_place_of_the_rules_is_not_no_rules(pack):
    """rules.yaml may be left out; something else of its name may not be taken for that."""
    (pack / "rules.yaml").unlink()
    (pack / "rules.yaml").mkdir()
    assert "rules.yaml" in _refused(pack)


def test_of_many_errors_the_first_are_told(pack):
    """The first errors are often the cause of the others."""
    (pack / "features.sql").write_text("SELECT event_id, amount AS other FROM events")
    text = _refused(pack)
    assert text.count("fix: ") == 20 and text.rstrip().endswith("more")
