"""Packs on their topic: what is stored is what is loaded, in pieces that a broker takes, and damage is named."""

from pathlib import Path

import pytest

from sekisho import pack_records
from sekisho.load import load_pack
from sekisho.pack_records import (
    PackRecordError,
    PackShelf,
    Stamp,
    pack_entries,
    refusal_entry,
    request_entry,
    write_files,
)
from sekisho.packs import shipped_pack

STAMP = Stamp("2026-01-01T00:00:00+00:00", "somebody@somewhere")


@pytest.mark.parametrize("name", ["card_payments", "fdh"])
def test_a_pack_comes_back_with_its_hash(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the pieces, and whether its head is read twice, the folder that is written loads to one hash."""
    pack = load_pack(shipped_pack(name))
    monkeypatch.setattr(pack_records, "PART_BYTES", 1000)
    entries, shelf = list(pack_entries(pack, STAMP)), PackShelf()
    assert len(entries) > 3 and all(len(value) <= 1000 for _, value in entries[:-1])
    for key, value in entries[:-1]:
        shelf.read(key, value)
        assert shelf.files(pack.hash) is None
    shelf.read(*entries[-1])
    files = shelf.files(pack.hash)
    assert files == dict(pack.files)
    write_files(files, tmp_path / pack.hash)
    assert load_pack(tmp_path / pack.hash).hash == pack.hash


def test_a_damaged_pack_is_named() -> None:
    """Bytes that were changed, or another pack's, are an error and never a pack."""
    pack = load_pack(shipped_pack("fdh"))
    entries, shelf = list(pack_entries(pack, STAMP)), PackShelf()
    for key, value in entries:
        shelf.read(key, value)
    shelf.parts[pack.hash, 0] = shelf.parts[pack.hash, 0][:-40]
    with pytest.raises(PackRecordError, match="is damaged"):
        shelf.files(pack.hash)
    other = PackShelf()
    for key, value in entries:
        other.read(key.replace(pack.hash.encode(), b"0" * 64), value)
    with pytest.raises(PackRecordError, match="has the hash"):
        other.files("0" * 64)


def test_a_path_out_of_the_folder_is_refused() -> None:
    """An archive cannot write beside its folder."""
    shelf, raw = PackShelf(), pack_records._packed({"../rules.yaml": b""})
    shelf.heads["0" * 64], shelf.parts["0" * 64, 0] = {"parts": 1}, raw
    with pytest.raises(PackRecordError, match=r"'\.\./rules\.yaml' is no file of a pack"):
        shelf.files("0" * 64)


def test_the_last_request_counts_and_strangers_do_not() -> None:
    """Keys and values of others are passed over."""
    shelf = PackShelf()
    for key, value in (request_entry("1", "a" * 64, False, STAMP), request_entry("2", "b" * 64, True, STAMP)):
        shelf.read(key, value)
    for stranger in ((None, b"x"), (b"active", b"["), (b"active", b'{"v":2}'), (b"\xff", None), (b"pack/x", b"{}")):
        shelf.read(*stranger)
    shelf.read(*refusal_entry("2", "b" * 64, "why", STAMP))
    assert shelf.requested is not None and (shelf.requested["id"], shelf.requested["accept_cold"]) == ("2", True)
    assert shelf.refused["b" * 64]["why"] == "why" and not shelf.heads
