"""`[[models]]`: champions, segments, challengers and shadows, and what is refused of them."""

import re
import shutil
from datetime import date

import pytest
from click.testing import CliRunner

from sekisho.check import check_pack, overdue
from sekisho.commands import pack as pack_group
from sekisho.load import PackErrors, load_pack
from sekisho.packs import shipped_pack

FILES = 'file = "models/{0}.txt"\ncard = "models/{0}.toml"\n'
CHALLENGER = 'challenges = "fraud"\nshare = 0.1\nby = "account_id"\nsalt = "spring"\n'


@pytest.fixture
def pack(tmp_path):
    """The demo pack with its model under two more names."""
    folder = tmp_path / "pack"
    shutil.copytree(shipped_pack("card_payments"), folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    for name in ("second", "third"):
        shutil.copy(folder / "models" / "fraud.txt", folder / "models" / f"{name}.txt")
        card = (folder / "models" / "fraud.toml").read_text()
        (folder / "models" / f"{name}.toml").write_text(card.replace('name = "fraud"', f'name = "{name}"', 1))
    return folder


def models(pack, fraud="", second="", third=""):
    """Give the three models these lines."""
    head = (pack / "pack.toml").read_text().partition("[[models]]")[0]
    parts = [f"[[models]]\n{FILES.format(name)}{lines}\n" for name, lines in
             (("fraud", fraud), ("second", second), ("third", third))]  # fmt: skip
    (pack / "pack.toml").write_text(head + "\n".join(parts))
    return pack


def test_each_model_has_its_part(pack):
    """Segments are conditions, a challenger stands beside its champion, a shadow is apart; check says it all."""
    models(pack, "segment = \"channel = 'pos'\"\n", CHALLENGER, 'shadow = true\nsegment = "amount > 1000"\n')
    loaded = load_pack(pack)
    (fraud,), (shadow,) = loaded.models, loaded.shadow_models
    assert (fraud.name, shadow.name, fraud.challenger.name) == ("fraud", "third", "second")
    assert (fraud.challenger.share, fraud.challenger.by, fraud.challenger.salt) == (0.1, "account_id", "spring")
    assert fraud.segment is not None and shadow.segment is not None and fraud.challenger.segment is None
    summary = check_pack(pack)
    assert summary.scores == ("fraud_score", "fraud_raw", "fraud_probability")


@pytest.mark.parametrize(
    ("parts", "what", "key"),
    [
        ({"second": CHALLENGER.replace('"fraud"', '"froud"')}, "no model froud to challenge", "challenges"),
        ({"second": CHALLENGER, "third": CHALLENGER}, "has the challenger second already", "challenges"),
        (
            {"second": "shadow = true\n", "third": CHALLENGER.replace("fraud", "second")},
            "no model second",
            "challenges",
        ),
        ({"second": CHALLENGER.replace("0.1", "1")}, "between 0 and 1", "share"),
        ({"second": CHALLENGER.replace("0.1", "1.5")}, "between 0 and 1", "share"),
        ({"second": CHALLENGER.replace("share = 0.1\n", "")}, "between 0 and 1", "[[models]]"),
        ({"second": CHALLENGER.replace("account_id", "amount")}, "by cannot be 'amount'", "by"),
        ({"second": CHALLENGER.replace('salt = "spring"\n', "")}, "has no salt", "[[models]]"),
        ({"second": CHALLENGER + "shadow = true\n"}, "a challenger has no shadow", "shadow"),
        ({"second": CHALLENGER + 'segment = "night"\n'}, "a challenger has no segment", "segment"),
        ({"second": "share = 0.5\n"}, "only a challenger has share", "share"),
        ({"second": 'segment = "fraud_score > 700"\n'}, "fraud_score", "segment"),
        ({"second": 'segment = "amuont > 7"\n'}, "amuont", "segment"),
        ({"second": 'segment = "amount + 7"\n'}, "", "segment"),
    ],
)
def test_a_part_that_cannot_be_is_refused_at_its_key(pack, parts, what, key):
    """With its line in pack.toml."""
    models(pack, **parts)
    with pytest.raises(PackErrors) as caught:
        load_pack(pack)
    lines = (pack / "pack.toml").read_text().split("\n")
    found = [r for r in caught.value.refusals if r.file == "pack.toml" and what in r.what]
    assert found and all(lines[r.place.line - 1].startswith(key) for r in found), caught.value


def test_two_models_of_one_name_are_refused(pack):
    """Whatever their parts."""
    models(pack, second="shadow = true\n")
    card = pack / "models" / "second.toml"
    card.write_text(card.read_text().replace('name = "second"', 'name = "fraud"', 1))
    with pytest.raises(PackErrors, match="two models have the name fraud"):
        load_pack(pack)


def test_a_rule_cannot_name_a_shadow_or_a_challenger(pack):
    """Their columns do not exist: a rule reads the champion's, whoever fills them."""
    models(pack, second=CHALLENGER, third="shadow = true\n")
    rules = (pack / "rules.yaml").read_text()
    for name in ("second", "third"):
        (pack / "rules.yaml").write_text(re.sub(r"when: fraud_score >= 800", f"when: {name}_score >= 800", rules))
        with pytest.raises(PackErrors, match=f"{name}_score"):
            load_pack(pack)


def test_what_is_overdue_is_said_and_goes_on_deciding(pack):
    """From its `expires` on a model in any part is named, after its `review_by` a rule; not a day sooner."""
    models(pack, second=CHALLENGER, third="shadow = true\n")
    for name, day in (("second", "2026-03-31"), ("third", "2026-04-01")):
        card = pack / "models" / f"{name}.toml"
        card.write_text(f"expires = {day}\n{card.read_text()}")
    rules = pack / "rules.yaml"
    rules.write_text(re.sub(r"review_by: .*", "review_by: 2026-04-01", rules.read_text(), count=1))
    loaded = load_pack(pack)
    assert overdue(loaded, date(2026, 3, 30)) == ()
    assert [text.split(":")[0] for text in overdue(loaded, date(2026, 3, 31))] == ["model second expired on 2026-03-31"]
    assert "(2026-04-01)" not in "".join(overdue(loaded, date(2026, 4, 1)))
    assert overdue(loaded, date(2026, 4, 2))[-1].endswith(f"`review_by`: {loaded.rules.rules[0].id} (2026-04-01)")


def test_check_says_that_a_model_has_expired(pack):
    """By today's date, with what to do; the pack is good all the same."""
    models(pack)
    card = pack / "models" / "fraud.toml"
    card.write_text(f"expires = 2020-01-01\n{card.read_text()}")
    done = CliRunner().invoke(pack_group, ["check", str(pack)], catch_exceptions=False)
    said = " ".join(done.output.split())
    assert done.exit_code == 0 and "! model fraud expired on 2020-01-01: train it again, or review it" in said
