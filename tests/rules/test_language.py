"""rules.yaml: what is read, and where every error stands."""

from dataclasses import replace

import pytest

from features.expr import Column, walk
from features.refusal import Place
from features.sql import parse_condition
from features.types import BIGINT, BOOL, DOUBLE, TEXT, TIME, decimal
from rules.examples import check_examples
from rules.language import read_rules
from rules.records import ListEntry, Reasons, Rule, ShadowRule
from rules.yaml_nodes import parse_yaml, source_positions

COLUMNS = {
    "event_time": TIME, "amount": decimal(18, 0), "usd": decimal(18, 2), "country": TEXT, "present": BOOL,
    "card_count_1h": BIGINT, "risk_score": BIGINT, "ratio": DOUBLE,
}  # fmt: skip
LISTS = {"blocked": (ListEntry("c1", 0, 10**18),)}

GOOD = """\
rules:
  - id: large
    when: >-
      amount > 100000
        AND card_count_1h > 3
    then: review
    owner: fraud desk
    typology: cnp
    reasons: {en: large, ja: 大口, customer_en: call us, customer_ja: お電話を}
    queue: cards
    review_by: 2027-01-01
    examples:
      hit: [{amount: 100001, card_count_1h: 4}]
      miss:
        - {amount: 100001}
        - {amount: 1, card_count_1h: 4, country: NO}
  - id: known
    stage: exempt
    when: country = 'JP'
    lifts: [large, later]
    expires: 2027-01-01T00:00:00+09:00
    owner: fraud desk
    reasons: {en: known, ja: 既知}
  - id: later
    when: risk_score >= 900
    then: decline
    on_unknown: review
    on_error: outcome
    shadow: true
    owner: models
    typology: cnp
    reasons: {en: score, ja: スコア}
"""


def read(text):
    return read_rules(text, lambda sql: parse_condition(sql, COLUMNS, LISTS), LISTS)


def test_a_good_file_is_read_whole():
    """Every key arrives; a shadow rule is a type of its own."""
    ruleset, refusals = read(GOOD)
    assert refusals == []
    large, known = ruleset.rules
    (later,) = ruleset.shadows
    assert (type(large), type(later)) == (Rule, ShadowRule)
    assert large.reasons == Reasons("large", "大口", "call us", "お電話を")
    assert (large.queue, large.review_by, large.place) == ("cards", "2027-01-01", Place(2, 5))
    assert (known.outcome, known.lifts, known.expires_us) == ("approve", ("large", "later"), 1_798_729_200_000_000)
    assert (later.on_unknown, later.on_error) == ("review", "outcome")
    assert check_examples(ruleset, COLUMNS) == []
    assert read("")[0].rules == () and read("rules:\n") == read("")


RULE = """\
rules:
  - id: r
    when: amount > 5
    then: review
    owner: o
    typology: t
    reasons: {en: e, ja: j}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "what", "fix"),
    [
        ("rules:", "rule:", 1, 1, "no key 'rule'", "did you mean rules?"),
        ("owner: o", "owned: o", 5, 5, "no key 'owned'", "did you mean owner?"),
        ("then: review", "then: reveiw", 4, 11, "then cannot be 'reveiw'", "did you mean review?"),
        ("then: review", "stage: normal", 2, 5, "no then", "add `then: ...`"),
        ("id: r", "id: R-1", 2, 9, "'R-1' cannot name a rule", "lower-case"),
        ("owner: o", "id: s", 5, 5, "'id' stands twice", "keep one"),
        ("then: review", "then: decline", 2, 5, "no on_unknown", "ignore | review | outcome"),
        ("then: review", "then: hold\n    stage: hard_block", 2, 5, "no on_unknown", "ignore | review | outcome"),
        ("then: review", "stage: exempt", 2, 5, "an exempt has no lifts", "names the rules that it lifts"),
        ("then: review", "then: approve\n    stage: hard_block\n    on_unknown: ignore\n    on_error: ignore", 4, 11,
         "blocks nothing", "use challenge"),
        ("owner: o", "owner: o\n    lifts: [x]", 6, 12, "only an exempt has lifts", "stage: exempt"),
        ("{en: e, ja: j}", "{en: e}", 7, 14, "reasons has no ja", "add `ja: ...`"),
        ("{en: e, ja: j}", "{en: e, ja: j, customer_en: c}", 7, 14, "lacks customer_ja", "customer_ja"),
        ("owner: o", "owner: o\n    shadow: yes please", 6, 13, "neither true nor false", "shadow: true"),
        ("owner: o", "owner: o\n    review_by: soon", 6, 16, "'soon' is no date", "2026-12-31"),
        ("typology: t", "typology:", 6, 14, "no typology", "add `typology: ...`"),
        ("amount > 5", "amuont > 5", 3, 11, "amuont", "amount"),
        ("amount > 5", "amount >\n      5 AND countri = 'x'", 4, 13, "countri", "country"),
        ("amount > 5", "|\n      amount > 5\n        AND countri = 'x'", 5, 13, "countri", "country"),
        ("amount > 5", "'countri = ''x'''", 3, 12, "countri", "country"),
        ("amount > 5", "amount", 3, 11, "DECIMAL", ""),
        ("owner: o", "owner: [o", 6, 13, "not YAML", "indentation or the quotes"),
        ("owner: o", "owner: o\n    examples: {hits: []}", 6, 16, "no key 'hits'", "did you mean hit?"),
    ],
)  # fmt: skip
def test_every_error_names_line_and_column(old, new, line, column, what, fix):
    """And says what is wrong and what to do."""
    _, refusals = read(RULE.replace(old, new, 1))
    found = [(r.place.line, r.place.column) for r in refusals if what in r.what and fix in r.fix]
    assert found == [(line, column)]


def test_errors_of_several_rules_come_out_together():
    """One reading, all errors."""
    _, refusals = read(RULE + RULE.removeprefix("rules:\n").replace("id: r", "id: s").replace("review", "wait"))
    assert [r.place.line for r in refusals] == [10]
    _, refusals = read(RULE + RULE.removeprefix("rules:\n"))
    assert [(r.place.line, r.what) for r in refusals] == [(8, "the rule 'r' stands twice; the first is on line 2")]


@pytest.mark.parametrize(("name", "what"), [("nobody", "which is no rule"), ("block", "which is a hard_block rule")])
def test_an_exempt_lifts_normal_rules_that_exist(name, what):
    """A hard block cannot be lifted, a name that is no rule is a mistake."""
    text = GOOD.replace("[large, later]", f"[{name}]") + (
        "  - {id: block, stage: hard_block, when: present, then: hold, on_unknown: ignore, on_error: review,\n"
        "     owner: o, typology: t, reasons: {en: e, ja: j}}\n"
    )
    _, refusals = read(text)
    assert [(r.place.line, what in r.what) for r in refusals] == [(17, True)]


@pytest.mark.parametrize(
    ("example", "what"),
    [
        ("hit: [{amount: 5}]", "must hit on this example; it answers no_hit"),
        ("hit: [{country: JP}]", "must hit on this example; it answers unknown"),
        ("miss: [{amount: 6}]", "must miss on this example; it answers hit"),
        ("hit: [{amuont: 6}]", "there is no column amuont"),
        ("hit: [{amount: 6.5}]", "has more digits"),
        ("hit: [{amount: JP}]", "is VARCHAR"),
    ],
)
def test_a_failing_example_is_refused_at_its_line(example, what):
    """It says what the rule answered."""
    ruleset, refusals = read(RULE + f"    examples:\n      {example}\n")
    assert refusals == []
    refusals = check_examples(ruleset, COLUMNS)
    assert [(r.place.line, what in r.what) for r in refusals] == [(9, True)]


def test_examples_of_shadow_and_expired_rules_run_too():
    """An exempt's end is no part of its condition; a shadow rule is tested as a live one is."""
    ruleset, _ = read(GOOD.replace("2027-01-01T00", "1999-01-01T00"))
    known = replace(ruleset.rules[1], examples=ruleset.rules[0].examples[:1])
    (refusal,) = check_examples(replace(ruleset, rules=(ruleset.rules[0], known)), COLUMNS)
    assert "known must hit on this example; it answers unknown" in refusal.what


def test_a_quoted_value_of_an_example_is_a_text():
    """YAML's quotes say so, whatever stands between them: a code of digits is a code."""
    text = (
        RULE.replace("amount > 5", "country = '007'")
        + "    examples: {hit: [{country: '007'}], miss: [{country: 'NULL'}]}\n"
    )
    assert check_examples(read(text)[0], COLUMNS) == []
    (refusal,) = check_examples(read(RULE + "    examples: {hit: [{amount: '6'}]}\n")[0], COLUMNS)
    assert "'6' is VARCHAR" in refusal.what


def test_an_example_of_a_list_needs_its_time():
    """Whether an entry is active depends on event_time."""
    text = RULE.replace("amount > 5", "country IN (SELECT value FROM blocked)")
    assert "no event_time" in check_examples(read(text + "    examples: {hit: [{country: c1}]}\n")[0], COLUMNS)[0].what
    timed = text + "    examples: {hit: [{country: c1, event_time: 2026-01-01T00:00:00Z}]}\n"
    assert check_examples(read(timed)[0], COLUMNS) == []


@pytest.mark.parametrize(
    "scalar",
    ["a AND\n      b  OR c", "|\n      a > 5\n        AND x = 'y'\n      z", ">-  # note\n      a AND\n\n      b   c",
     "'it''s b'", '"it \\"a\\" \\\n        b c"', "|2\n        a\n      b"],
)  # fmt: skip
def test_positions_within_a_scalar_are_positions_in_the_file(scalar):
    """Every character of the value is found where it stands in the source, in every style that YAML has."""
    text = f"rules:\n  - when: {scalar}\n    id: x\n"
    node = parse_yaml(text).value[0][1].value[0].value[0][1]
    locate, lines = source_positions(text, node), text.split("\n")
    for number, line in enumerate(node.value.split("\n"), 1):
        for column, char in enumerate(line, 1):
            if not char.isspace():
                place = locate(Place(number, column))
                assert lines[place.line - 1][place.column - 1] == char


def test_a_condition_reads_the_columns_that_it_names():
    """What parse_condition gave is what the rule carries."""
    ruleset, _ = read(GOOD)
    assert {e.name for e in walk(ruleset.rules[0].when) if isinstance(e, Column)} == {"amount", "card_count_1h"}
