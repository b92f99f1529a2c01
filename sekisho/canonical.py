"""A pack's canonical bytes and their hash: the same on every machine, whatever its line endings."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from pathlib import Path

_TEXTS = (".toml", ".sql", ".yaml", ".csv")


def canonical(name: str, raw: bytes) -> bytes:
    """The bytes of one file: texts with the line ends of Unix, models as they stand (their cards hash them)."""
    return raw.replace(b"\r\n", b"\n") if name.endswith(_TEXTS) else raw


def pack_hash(files: Mapping[str, bytes]) -> str:
    """sha256 in hex over the sorted names, lengths and bytes of canonical files, and the time-zone data's version."""
    digest = sha256()
    for name, raw in sorted({**files, "/tzdata": time_zone_version().encode()}.items()):
        for part in (name.encode(), raw):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def time_zone_version() -> str:
    """The version of the time-zone data that zoneinfo reads: the system's, else the tzdata package's."""
    for folder in map(Path, zoneinfo.TZPATH):
        listing = folder / "tzdata.zi"
        if listing.is_file():
            with listing.open(encoding="ascii") as lines:
                return lines.readline().removeprefix("# version ").strip()
        if (folder / "UTC").exists():
            return f"unversioned {sha256((folder / 'Asia' / 'Tokyo').read_bytes()).hexdigest()[:16]}"
    return str(import_module("tzdata").IANA_VERSION)
