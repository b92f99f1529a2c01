"""What an analyst does wrong at the command line: one message with what, where, and what to do, and before the run."""

import csv
import json

import pytest
from click.testing import CliRunner

from replay.backtest.command import backtest_command
from sekisho.errors import SekishoError
from tests.replay.backtest.conftest import CANDIDATE, CURRENT, PACK, clock, random_world, write_log, write_pack


@pytest.fixture
def told(packs, make_log, monkeypatch):
    """told(*words, packs, log, runs): what the command says; without `runs` before the log is replayed."""

    def run(*words, packs=packs, log=None, runs=False):
        words = [*map(str, packs), str(log or make_log(1)), "--accept-cold", *map(str, words)]
        with monkeypatch.context() as patch:
            if not runs:
                patch.setattr("replay.backtest.sweep.Sweep.run", lambda *_: pytest.fail("the log is replayed first"))
            found = CliRunner().invoke(backtest_command, words)
        error = found.exception
        text = str(error) if isinstance(error, SekishoError) else found.output
        assert found.exit_code, found.output
        assert error is None or isinstance(error, SekishoError | SystemExit), error
        assert len(text.splitlines()) <= 12 and max(map(len, text.splitlines())) < 700
        return text

    return run


def labels_of(tmp_path, rows, name="labels.csv"):
    """A file of labels: CSV, or JSON lines."""
    file = tmp_path / name
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return file


def label(k, **changed):
    """A label of the k-th payment of a random world, a month after it."""
    at = clock(max(event["recorded_at"] for event in random_world(1)) + 30 * 86_400_000_000)
    row = {"event_id": f"l{k}", "event_time": at, "recorded_at": at, "payment_id": f"p{k}", "label_class": "fraud"}
    return {name: value for name, value in (row | changed).items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"payment_id": None, "transaction": "p1"},
            ("no payment_id or card_id", "name the column payment_id", "transaction"),
        ),
        ({"label_class": None, "is_fraud": "1"}, ("no label_class", "name the column label_class", "is_fraud")),
        ({"label_class": "FRAUD"}, ("means anything to pack current: FRAUD", "write one of", "[labels] fraud")),
        ({"event_time": "1767571200"}, ("none of its 3 rows can be read", "field event_time", "RFC 3339")),
        ({"event_time": None}, ("no column for event_time", "its columns are")),
    ],
)
def test_labels_of_a_wrong_column_or_time(told, tmp_path, changed, said):
    """The first labels of the file tell; the message has the file, what is missing and what the file has."""
    text = told("--labels", labels_of(tmp_path, [label(k, **changed) for k in range(3)]))
    assert all(part in text for part in ("labels.csv", "fix: ", *said)), text


def test_labels_that_do_not_say_that_they_are_some(told, tmp_path):
    """JSON lines without a kind would be read as payments."""
    text = told("--labels", labels_of(tmp_path, [label(1)], "labels.jsonl"))
    assert "these are no labels: their kind is payment" in text and '"kind": "label"' in text


def test_an_empty_file_of_labels(told, tmp_path):
    """A file with nothing in it was not meant."""
    (tmp_path / "labels.jsonl").write_text("")
    assert "there is no label in it" in told("--labels", tmp_path / "labels.jsonl")


def test_labels_with_unknown_ids(told, tmp_path):
    """None is in the log: an id of each side shows how they differ."""
    labels = labels_of(tmp_path, [label(k, payment_id=f"TX-{k}", recorded_at=None) for k in range(3)])
    text = told("--labels", labels, log=without_labels(tmp_path), runs=True)
    assert (
        "none of the 3 ids that labels name is in the log: they name 'TX-0', it has 'p0'" in text
        and "payment_id" in text
    )


def test_labels_older_than_their_payments(told, tmp_path):
    """Such labels would let features see a fraud before it is one."""
    old = clock(min(event["event_time"] for event in random_world(1)))
    labels = labels_of(tmp_path, [label(k, event_time=old, recorded_at=old) for k in range(3)])
    text = told("--labels", labels, log=without_labels(tmp_path), runs=True)
    assert "every label is as old as the payment that it names, or older (3 of 3)" in text and "--label-delay" in text


def without_labels(tmp_path):
    """A log of payments and outcomes."""
    return write_log(tmp_path / "log.jsonl", [event for event in random_world(1) if event.get("kind") != "label"])


def test_an_empty_range(told):
    """Before the run where the range is none; after it with what the log has, where the range misses it."""
    assert "--from is not before --to" in told("--from", "2026-02-01", "--to", "2026-02-01")
    text = told("--from", "2027-01-01", runs=True)
    assert "no payment counts from 2027-01-01T00:00:00Z: 40 before the range; the log goes from 2026-01-05T" in text


def test_a_propensity_that_is_not_in_json_lines(told, tmp_path):
    """Not one event has the key: it is said before the log is replayed, with the key that was meant."""
    events = [event | {"risk_q": 0.5} if "kind" not in event else event for event in random_world(1)]
    text = told("--propensity", "risk_p", log=write_log(tmp_path / "log.jsonl", events))
    assert "log.jsonl: there is no column risk_p" in text and "did you mean risk_q?" in text


def test_a_zone_that_is_none(told):
    assert "--zone Mars/Phobos: there is no such time zone" in told("--zone", "Mars/Phobos")


def test_options_without_effect(told):
    """What only --feedback reads is refused without it."""
    assert "--settle-after means nothing without --feedback" in told("--settle-after", "2d")


@pytest.mark.parametrize("option", ["--report", "--json", "--csv"])
def test_what_cannot_be_written_is_known_at_once(told, tmp_path, option):
    """A folder, no folder, the log itself, a place where nobody may write; and nothing is left behind."""
    log = without_labels(tmp_path)
    for path, why in ((tmp_path, "it is a folder"), (tmp_path / "no" / "x.html", "there is no folder"),
                      (log, "is read, or written twice"), ("/proc/x.html", "cannot be written here")):  # fmt: skip
        assert why in told(option, path, log=log)
    before = sorted(tmp_path.iterdir())
    told(option, tmp_path / "new.html", "--zone", "Mars/Phobos", log=log)
    assert sorted(tmp_path.iterdir()) == before


def test_a_rule_with_a_typo(told, packs, tmp_path):
    """File, line, column, and the word that was meant."""
    other = write_pack(tmp_path / "typo", "typo", CURRENT | {"many": ("paymnts >= 4", "review")})
    text = told(packs=(packs[0], other))
    assert "rules.yaml:" in text and "paymnts" in text and "did you mean payments?" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('amount = {{ type = "money", currency = "JPY" }}', 'amount = {{ type = "money", currency = "USD" }}',
         "(other) reads amount, outcome_amount otherwise than CURRENT (current): amount has exponent 2, not 0"),
        ('card_id = {{ type = "id",', 'card_id = {{ type = "id", from = "pan",', "card_id has from 'pan', not none"),
        ('record_time = "{record_time}"', 'record_time = "taken_at"', "CANDIDATE (other) has 'taken_at'"),
    ],
)  # fmt: skip
def test_packs_that_read_different_logs(told, packs, tmp_path, monkeypatch, old, new, said):
    """The first field that differs, and in what; or the setting of [events]."""
    monkeypatch.setattr("tests.replay.backtest.conftest.PACK", PACK.replace(old, new))
    other = write_pack(tmp_path / "other", "other", CANDIDATE)
    assert said in told(packs=(packs[0], other))


def test_a_field_that_the_log_does_not_have(packs, make_log, tmp_path, monkeypatch):
    """CANDIDATE may read a new field; that it is NULL in every event is said above the figures, in the page too."""
    text = PACK.replace("amount =", 'device_id = {{ type = "id" }}\namount =', 1)
    monkeypatch.setattr("tests.replay.backtest.conftest.PACK", text)
    other, page = write_pack(tmp_path / "other", "other", CANDIDATE), tmp_path / "page.html"
    words = [str(packs[0]), str(other), str(make_log(1)), "--accept-cold", "--report", str(page)]
    found = CliRunner().invoke(backtest_command, words)
    assert found.exit_code == 0, found.output
    assert "has device_id, which only CANDIDATE reads" in " ".join(found.output.split())
    assert "has device_id, which only CANDIDATE reads" in page.read_text("utf-8")


def test_a_budget_is_a_number_of_alerts_a_day(told):
    """Any other is wrong usage, with what to write; 20/day is 20."""
    assert "write 200, or 0 for no budget" in told("--budget", "many")
    assert "write 200" in told("--budget", "-1/day")
    (budget,) = (each for each in backtest_command.params if each.name == "budget")
    assert budget.type.convert("20/day", budget, None) == budget.type.convert("20", budget, None) == 20
