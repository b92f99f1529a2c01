"""One decision as a page: customers' texts apart from internal ones, masked, valid, in both languages."""

import json
import re
from dataclasses import replace

import html5lib
import pytest

from replay.explain import explain
from replay.pages.decision_page import decision_page
from replay.pages.say import LANGUAGES
from replay.run import Recorder, run
from replay.sources import Input, read_log
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.state import new_state
from sekisho.testing.world import world_of

X = "{http://www.w3.org/1999/xhtml}"


class World:
    """A seeded world by the demo pack, many payments explained; one is sent twice, one has an evil channel."""

    def __init__(self, folder):
        pack = load_pack(shipped_pack("card_payments"))
        self.engine = compile_pack(replace(pack, reasons=replace(pack.reasons, above=500)))
        self.file, decisions = folder / "log.jsonl", folder / "out.jsonl"
        world_of(2500, seed=8).write_jsonl(self.file, 2500)
        lines = self.file.read_text("utf-8").splitlines()
        at = [k for k, line in enumerate(lines) if '"type":"payment"' in line][200]
        evil = json.loads(lines[at]) | {
            "id": "evil",
            "channel": "<script>alert(1)</script>",
            "card": {"id": "card-00000666"},
        }
        lines[at + 1 : at + 1] = [lines[at], json.dumps(evil)]
        self.file.write_text("\n".join(lines) + "\n", "utf-8")
        with Recorder(self.engine, decisions) as recorder:
            for part in run(self.engine, new_state(self.engine), self.log()):
                recorder.record(part)
        self.records = decisions.read_bytes().splitlines(keepends=True)

    def log(self):
        return read_log(self.engine, [Input(self.file)])

    def blocked(self):
        """The decision on the blocked card, and on the evil channel."""
        return next(record for record in self.records if b'"evil"' in record)

    def page(self, record, lang="en", unmask=False):
        return decision_page(explain(self.engine, self.log, record), lang, unmask)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def parsed(html):
    return html5lib.HTMLParser(strict=True).parse(html)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_customer_is_told_nothing_internal(world, lang):
    """The first part holds customers' texts alone; the others begin on another sheet and say that they are internal."""
    record = world.blocked()
    tree = parsed(world.page(record, lang))
    parts = {node.get("id"): "".join(node.itertext()) for node in tree.iter(f"{X}section")}
    assert next(iter(parts)) == "customer"
    hits = {rule["id"] for rule in json.loads(record)["rules"]}
    assert "blocked_card" in hits
    assert not {reason[lang] for reason in json.loads(record)["reasons"] if reason[lang] in parts["customer"]}
    for rule in world.engine.pack.rules.rules:
        internal, told = getattr(rule.reasons, lang), getattr(rule.reasons, f"customer_{lang}")
        assert internal not in parts["customer"] and rule.id not in parts["customer"]
        assert (internal in parts["rules"]) == (rule.id in hits)
        assert bool(told and told in parts["customer"]) == bool(told and rule.id in hits)
    apart = [node.get("id") for node in tree.iter(f"{X}section") if node.get("class") == "apart"]
    assert apart == ["verdict"]
    assert {"not for the customer", "社内限り"} & set(re.findall("not for the customer|社内限り", parts["verdict"]))


def test_accounts_are_masked_unless_asked_for(world):
    """No value of a field marked pii stands on the page; with `unmask` it does."""
    record = world.blocked()
    explanation = explain(world.engine, world.log, record)
    fields = [field.name for field in world.engine.pack.schema.fields if field.pii]
    values = [explanation.decided.sheet.value(name, explanation.row) for name in fields]
    known = [value for value in values if value]
    assert known
    masked, plain = decision_page(explanation), decision_page(explanation, unmask=True)
    assert not any(value in masked for value in known) and all(value in plain for value in known)


def test_every_feature_and_rule_has_its_place(world):
    """Features by name with what their windows counted, every rule with its answer, every field of the record."""
    page = world.page(world.blocked()).replace("<wbr>", "")
    names = [name for name, _ in world.engine.pack.query.features]
    names += [rule.id for rule in (*world.engine.pack.rules.rules, *world.engine.pack.rules.shadows)]
    assert [name for name in [*names, *json.loads(world.blocked())] if f">{name}<" not in page] == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_duplicates_differences_and_evil_values_have_their_page(world, lang):
    """Valid HTML that fetches nothing, and whatever an event says stays text."""
    duplicate = next(record for record in world.records if b"duplicate_of" in record)
    forged = world.records[50].replace(b'"outcome":"', b'"outcome":"x')
    pages = [world.page(record, lang) for record in (duplicate, world.blocked(), forged)]
    for page in pages:
        assert all(link.get("href")[0] == "#" for link in parsed(page).iter(f"{X}a"))
        assert "<script" not in page and "http://" not in page
    assert "&lt;script&gt;alert(1)" in pages[1]
    assert 'class="warning"' in pages[2] and 'class="warning"' not in pages[1]
    assert json.loads(duplicate)["duplicate_of"] in pages[0]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_raised_the_score_is_said_inside(world, lang):
    """Each reason of the record with its points, in the internal part; its customer's text, if any, in the other."""
    record = next(each for each in world.records if b'"customer_reasons":[{' in each)
    parts = {node.get("id"): "".join(node.itertext()) for node in parsed(world.page(record, lang)).iter(f"{X}section")}
    given = json.loads(record)
    for reason in given["reasons"]:
        assert reason[lang] in parts["reasons"] and f"{reason['points']:+}" in parts["reasons"]
        assert reason[lang] not in parts["customer"]
    assert all(each[lang] in parts["customer"] for each in given["customer_reasons"])
