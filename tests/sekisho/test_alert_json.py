"""The alert's JSON: what the engine writes fulfils the published schema; an attack is a handful of notifications."""

import hmac
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from replay.commands import run
from sekisho.compile import compile_pack
from sekisho.decider import Decider
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.packs import shipped_pack
from sekisho.tokens import token_key

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = Draft202012Validator(json.loads((DOCS / "alert.schema.json").read_text("utf-8")))
KEY = b"0123456789abcdef"
START_S = 1_790_000_000
PAYMENTS, CARDS = 500, 300


def attack() -> list[bytes]:
    """500 payments over one terminal with 300 blocked cards, six a minute, then one elsewhere two hours later."""

    def payment(k: int, terminal: str, at_s: int) -> bytes:
        record = {
            "id": f"e{k}", "type": "payment", "time": _iso(at_s), "recorded_at": _iso(at_s),
            "payment": {"id": f"p{k}", "amount": {"value": "25000", "currency": "JPY"}}, "channel": "pos",
            "card": {"id": f"hot-{k % CARDS:08d}"}, "terminal": {"id": terminal}, "merchant": {"id": "m-1"},
        }  # fmt: skip
        return json.dumps(record).encode()

    lines = [payment(k, "terminal-attack", 10 * k) for k in range(PAYMENTS)]
    return [*lines, payment(PAYMENTS, "terminal-other", 10 * PAYMENTS + 7_500)]


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(START_S + at_s, UTC).isoformat()


@pytest.fixture(scope="module")
def pack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """card_payments with every card of the attack on its block list."""
    folder = tmp_path_factory.mktemp("pack") / "card_payments"
    shutil.copytree(shipped_pack("card_payments"), folder)
    rows = "".join(f"hot-{k:08d},,,\n" for k in range(CARDS))
    with (folder / "lists/blocked_cards.csv").open("a", encoding="utf-8") as entries:
        entries.write(rows)
    return folder


@pytest.fixture(scope="module")
def live(pack_folder: Path) -> list[bytes]:
    """The notifications that a worker's decider writes, whatever the batches."""
    lines = attack()
    told = []
    for cut in (7, 4096):
        decider = Decider(compile_pack(load_pack(pack_folder), KEY))
        messages = [Message("payments", 0, k, 0, None, line) for k, line in enumerate(lines)]
        parts = [decider.decide(messages[k : k + cut]) for k in range(0, len(messages), cut)]
        told.append([placed.value for part in parts for placed in part.alerts])
    assert told[0] == told[1]
    return told[0]


def test_an_attack_of_500_payments_is_three_notifications_that_list_them_all(live: list[bytes]) -> None:
    """One terminal, 300 cards: opened, escalated once, closed with 500 members."""
    group = [each for each in map(json.loads, live) if each["members"][0]["payment_id"] == "p0"]
    assert len(group) <= 3 and len({each["group_id"] for each in group}) == 1
    assert [each["kind"] for each in group] == ["opened", "escalated", "closed"]
    assert {m["payment_id"] for m in group[-1]["members"]} == {f"p{k}" for k in range(PAYMENTS)}
    assert group[-1]["count"] == PAYMENTS and group[-1]["amount"] == PAYMENTS * 25_000


def test_what_is_written_fulfils_the_schema_and_the_documents_example_too(live: list[bytes]) -> None:
    """docs/alert.schema.json is exact: every key is named, none is missing."""
    example = re.search(r"## Alerts out.*?```json\n(.*?)```", (DOCS / "wire.md").read_text("utf-8"), re.DOTALL)
    assert example is not None
    for raw in (*live, example[1].encode()):
        SCHEMA.validate(json.loads(raw))
    assert list(json.loads(example[1])) == list(json.loads(live[0]))
    broken = json.loads(live[0]) | {"extra": 1}
    assert not SCHEMA.is_valid(broken) and not SCHEMA.is_valid({**json.loads(live[0]), "kind": "other"})


def test_entities_are_tokens_of_the_banks_key_and_never_readable(live: list[bytes]) -> None:
    """Joinable by whoever has the key; no account number anywhere in the bytes."""
    tokens = {each["field"]: each["token"] for each in json.loads(live[0])["entities"]}
    assert tokens["terminal_id"] == hmac.new(KEY, b"terminal-attack", "sha256").hexdigest()[:32]
    assert set(tokens) == {"terminal_id", "card_id"}
    assert not any(re.search(rb"hot-0|terminal-", raw) for raw in live)


def test_without_a_key_values_are_masked_and_names_show_nothing(pack_folder: Path) -> None:
    """The pack's pii marks decide what a mask may show."""
    pack = load_pack(pack_folder)
    fields = [replace(field, pii="name") if field.name == "card_id" else field for field in pack.schema.fields]
    schema = replace(pack.schema, fields=tuple(fields))
    engine = replace(compile_pack(pack), pack=replace(pack, schema=schema))
    verdicts = Decider(engine).decide([Message("payments", 0, 0, 0, None, attack()[0])])
    tokens = {each["field"]: each["token"] for each in json.loads(verdicts.alerts.values[0])["entities"]}
    assert tokens == {"terminal_id": "****tack", "card_id": "****"}


def test_a_replay_writes_what_live_wrote(
    live: list[bytes], pack_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`replay run --alerts` gives the same notifications as the lane; only ids differ, as the topic is a file."""
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(attack()) + b"\n")
    monkeypatch.setenv("SEKISHO_TOKEN_KEY", KEY.decode())
    words = [str(pack_folder), str(tmp_path / "log.jsonl"), "--alerts", str(tmp_path / "alerts.jsonl")]
    done = CliRunner().invoke(run, words)
    assert done.exit_code == 0, done.output
    replayed = (tmp_path / "alerts.jsonl").read_bytes().splitlines()
    assert list(map(_without_ids, replayed)) == list(map(_without_ids, live))


def _without_ids(raw: bytes) -> object:
    return json.loads(re.sub(rb'"[0-9a-f]{32}"(?=[,}\]])', b'"id"', raw))


@pytest.mark.parametrize("given", [{"SEKISHO_TOKEN_KEY": "short"}, {"SEKISHO_TOKEN_KEY_FILE": "/none"}])
def test_a_key_that_will_not_do_is_refused_and_not_shown(given: dict[str, str]) -> None:
    """No weak key, no silent mask where a key was meant."""
    with pytest.raises(SekishoError) as refused:
        token_key(given)
    assert "short" not in str(refused.value)
