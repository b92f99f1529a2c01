"""Labels on their way in: rows of any file become the same events, with ids that follow from their content."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sekisho.compile import compile_pack, wire_plan
from sekisho.labels import LabelEvent, NoLabelsError, RefusedLabel, label_events
from sekisho.load import load_pack
from sekisho.packs import shipped_pack
from sekisho.wire.json_decode import decode_json

NOW = 1_767_225_600_000_001
PACK = load_pack(shipped_pack("card_payments"))
PLAN = wire_plan(compile_pack(PACK))


def made(*rows: dict[str, object], key: str = "") -> tuple[list[LabelEvent], list[RefusedLabel]]:
    return label_events(PACK, PLAN, rows, NOW, key)


def test_a_row_becomes_a_label_in_the_packs_own_form() -> None:
    """Fields by name or as the pack reads them; event and record time are now; the kind is the labels'."""
    events, refused = made(
        {"payment_id": "p1", "label_class": "fraud", "unknown_column": "x", "card_id": None},
        {"payment": {"id": "p1"}, "label": {"class": "fraud", "reversal": True}},
        {"payment.id": 7, "label.reversal": "1", "time": "2026-02-01T00:00:00+09:00"},
    )
    assert not refused and [event.names for event in events] == [("payment_id", "p1")] * 2 + [("payment_id", "7")]
    now = "2026-01-01T00:00:00.000001Z"
    assert json.loads(events[0].raw) == {
        "time": now, "payment": {"id": "p1"}, "label": {"class": "fraud"}, "id": events[0].id, "type": "label",
        "recorded_at": now,
    }  # fmt: skip
    third = json.loads(events[2].raw)
    assert third["label"] == {"reversal": True} and third["time"] == "2026-02-01T00:00:00+09:00"
    assert len({event.id for event in events}) == 3


def test_ids_follow_from_content_and_key() -> None:
    """The same row as CSV, Parquet or JSON has it is one label, at any time; another key or class is another."""
    texts = {"payment_id": "p1", "label_class": "fraud", "label_reversal": "false", "amount": "12"}
    typed = {"payment_id": "p1", "label_class": "fraud", "label_reversal": False, "amount": Decimal(12)}
    (one,), _ = made(texts)
    (two,), _ = label_events(PACK, PLAN, [typed], NOW + 10**9)
    (three,), _ = made(texts, key="k")
    (four,), _ = made(texts | {"label_class": "mule"})
    (own,), _ = made(texts | {"event_id": "mine"})
    assert one.id == two.id and len({one.id, three.id, four.id}) == 3 and own.id == "mine"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"label_class": "fraud"}, "it names nothing"),
        ({"payment_id": "", "label_class": "fraud"}, "it names nothing"),
        ({"payment_id": "p1"}, "it has no class"),
        ({"payment_id": "p1", "label_reversal": False}, "it has no class"),
        ({"payment_id": "p1", "label_class": "fraud", "amount": "a lot"}, "field amount, byte"),
        ({"payment_id": "p1", "label_class": "fraud", "event_time": "yesterday"}, "field event_time, byte"),
        ({"payment_id": "p1", "label_class": ["fraud"]}, "field label_class, byte"),
        ({"payment_id": "p\ud800", "label_class": "fraud"}, "byte"),
    ],
)
def test_what_a_worker_could_not_read_is_refused_and_says_why(row: dict[str, object], why: str) -> None:
    """Each refusal names its row; good rows beside it are made."""
    good = {"payment_id": "p2", "label_class": "fraud"}
    events, refused = made(good, row, good)
    assert [event.row for event in events] == [0, 2] and [each.row for each in refused] == [1]
    assert why in refused[0].why and "a lot" not in refused[0].why


def test_a_parquet_time_keeps_its_zone() -> None:
    """A datetime is written so that it reads back as the same microsecond."""
    at = datetime(2026, 2, 1, 12, tzinfo=UTC)
    (event,), _ = made({"payment_id": "p1", "label_class": "fraud", "event_time": at})
    import numpy as np

    sheet, *_ = decode_json(np.frombuffer(event.raw, np.uint8), np.array([0, len(event.raw)]), PLAN)
    assert sheet.value("event_time", 0) == int(at.timestamp()) * 1_000_000


def test_a_pack_without_labels_says_so() -> None:
    """Nothing is made up."""
    from dataclasses import replace

    with pytest.raises(NoLabelsError, match="has no labels"):
        label_events(replace(PACK, labels=None), PLAN, [{}], NOW)
