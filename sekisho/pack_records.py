"""What stands on the packs' topic, compacted by key: packs by hash, what was asked for last, and what was refused.

    pack/<sha256>/<k>   bytes      part k of the pack's files, a tar.gz cut into pieces that brokers take
    pack/<sha256>       JSON       {"v":1,"name":...,"parts":3,"at":...,"by":...}; it follows its parts
    active              JSON       {"v":1,"id":...,"pack":"<sha256>","accept_cold":false,"at":...,"by":...}
    refused/<sha256>    JSON       {"v":1,"id": of the request,"why":...,"at":...,"by":...}

Which pack decides is said by the journal alone: `active` is a wish. at: RFC 3339, UTC.   by: user@host.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sekisho.canonical import pack_hash
from sekisho.errors import SekishoError
from sekisho.pack import Pack

PART_BYTES = 900_000  # brokers take a million by default
_MAX_BYTES = 1 << 30
Record = tuple[bytes, bytes]


@dataclass(frozen=True)
class Stamp:
    """When and by whom a record is made: at is RFC 3339, UTC; by is user@host."""

    at: str
    by: str


class PackRecordError(SekishoError):
    """A pack on the topic that cannot be taken from it."""


@dataclass
class PackShelf:
    """The packs' topic as far as it has been read. requested: what `active` says."""

    heads: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    requested: dict[str, Any] | None = None
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)

    def read(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record. What is not of the format is passed over: somebody else's, or a later version's."""
        kind, *names = (key or b"").decode("utf-8", "replace").split("/")
        if kind == "pack" and len(names) == 2 and names[1].isdigit() and value:
            self.parts[names[0], int(names[1])] = value
        elif (found := _json(value)) is None:
            return
        elif kind == "pack" and len(names) == 1 and isinstance(found.get("parts"), int):
            self.heads[names[0]] = found
        elif kind == "refused" and len(names) == 1:
            self.refused[names[0]] = found
        elif kind == "active" and isinstance(found.get("pack"), str) and isinstance(found.get("id"), str):
            self.requested = found

    def files(self, pack: str) -> dict[str, bytes] | None:
        """A pack's files by name, None while it is not there. Raises PackRecordError when its hash says otherwise."""
        head = self.heads.get(pack)
        if head is None or any((pack, k) not in self.parts for k in range(head["parts"])):
            return None
        try:
            files = _unpacked(b"".join(self.parts[pack, k] for k in range(head["parts"])))
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            raise PackRecordError(f"pack {pack[:12]} on the topic is damaged: {error}", "publish it again") from error
        if (found := pack_hash(files)) != pack:
            raise PackRecordError(
                f"pack {pack[:12]} has the hash {found[:12]} here: its bytes, or this machine's time-zone data, differ",
                "use the same time-zone data (package tzdata) everywhere, and publish it again",
            )
        return files


def pack_entries(pack: Pack, stamp: Stamp) -> Iterator[Record]:
    """The records that store a pack, in the order in which they are to be written."""
    raw = _packed(pack.files)
    cuts = range(0, len(raw), PART_BYTES)
    for k, at in enumerate(cuts):
        yield f"pack/{pack.hash}/{k}".encode(), raw[at : at + PART_BYTES]
    head = {"name": pack.name, "parts": len(cuts)}
    yield f"pack/{pack.hash}".encode(), _encode(head, stamp)


def request_entry(id: str, pack: str, accept_cold: bool, stamp: Stamp) -> Record:
    """The record that asks for a pack."""
    return b"active", _encode({"id": id, "pack": pack, "accept_cold": accept_cold}, stamp)


def refusal_entry(id: str, pack: str, why: str, stamp: Stamp) -> Record:
    """The record that says why a request is not followed."""
    return f"refused/{pack}".encode(), _encode({"id": id, "why": why}, stamp)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """A pack's folder, whole or not at all."""
    if folder.is_dir():
        return
    partial = folder.with_name(f"{folder.name}.{socket.gethostname()}.partial")
    for name, raw in files.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_bytes(raw)
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was quicker
            raise
        shutil.rmtree(partial)


def _encode(values: Mapping[str, object], stamp: Stamp) -> bytes:
    return json.dumps({"v": 1, **values, "at": stamp.at, "by": stamp.by}, ensure_ascii=False).encode()


def _json(value: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("v") == 1 else None


def _packed(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, raw in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return gzip.compress(out.getvalue(), mtime=0)


def _unpacked(raw: bytes) -> dict[str, bytes]:
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as zipped:
        plain = zipped.read(_MAX_BYTES + 1)
    if len(plain) > _MAX_BYTES:
        raise ValueError(f"more than {_MAX_BYTES:,} bytes")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        for member in tar:
            path = Path(member.name)
            body = tar.extractfile(member)
            if body is None or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{member.name!r} is no file of a pack")
            files[member.name] = body.read()
    return files
