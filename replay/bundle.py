"""One decision in a zip that explains itself anywhere: its record, the events that it depends on, and its pack.

    manifest.json    {"v":1,"id":...,"pack":...,"tzdata":...,"sekisho":...,"files":{name: sha256}}
    decision.json    the record, byte for byte
    events.jsonl     see bundle_events.py
    pack/...         features, rules, lists, models with their cards

Members are stored, not compressed, in a fixed form, so that every byte of the file is accounted for: a flipped one is
found and named. A bundle holds the events as they are, account numbers too: keep it as you keep the log.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from replay.bundle_events import needed, read_back, written
from replay.explain import Explanation, Log, explain
from sekisho.canonical import pack_hash, time_zone_version
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.pack_records import write_files

_EVENTS, _RECORD, _MANIFEST, _PACK = "events.jsonl", "decision.json", "manifest.json", "pack/"
_AGAIN = "ask for the bundle again: this file was damaged or changed on its way"


def bundle(explanation: Explanation, log: Log, out: Path) -> None:
    """Write the bundle of an explained decision, and prove that it gives the same record.

    Where the events that were picked are not enough, all events up to the decision are taken.
    """
    engine, record = explanation.engine, explanation.record
    source = json.loads(record)["source"]
    places = needed(engine, log, source)
    lines = list(written(engine, log, source, places))
    if places is not None and not _proves(explanation, lines):
        lines = list(written(engine, log, source, None))
    pack = {_PACK + name: raw for name, raw in engine.pack.files.items()}
    members = {_RECORD: record, _EVENTS: b"".join(lines), **pack}
    out.write_bytes(_zipped(_with_manifest(members, json.loads(record)["id"], engine.pack.hash)))


def _proves(explanation: Explanation, lines: list[bytes]) -> bool:
    """Whether these events alone give the record that the whole log gives, from the same events in every window."""
    chunk = read_back(explanation.engine, lines, _EVENTS)
    again = explain(explanation.engine, lambda: iter([chunk]), explanation.record)
    told = [{name: [s.event_id for s in seen] for name, seen in each.windows.items()} for each in (explanation, again)]
    return again.again == explanation.again and told[0] == told[1]


@contextmanager
def opened(file: Path) -> Iterator[Explanation]:
    """The explanation that a bundle holds, recomputed. Raises SekishoError naming what is damaged or missing."""
    members = _members(file)
    manifest = json.loads(members[_MANIFEST])
    files = {name.removeprefix(_PACK): raw for name, raw in members.items() if name.startswith(_PACK)}
    _check_pack(file, manifest, files)
    with tempfile.TemporaryDirectory(prefix="sekisho-bundle-") as folder:
        path = Path(folder) / "pack"
        write_files(files, path)
        engine = compile_pack(load_pack(path), hash_key=os.urandom(16))
        chunk = read_back(engine, members[_EVENTS].splitlines(), f"{file}, {_EVENTS}")
        yield explain(engine, lambda: iter([chunk]), members[_RECORD])


def _check_pack(file: Path, manifest: Mapping[str, str], files: Mapping[str, bytes]) -> None:
    """Refuse a pack that has another hash here: its files are whole, so it is the time-zone data that differs."""
    here = time_zone_version()
    if pack_hash(files) != manifest["pack"]:
        raise SekishoError(
            f"{file}: pack {manifest['pack'][:12]} has another hash here, with the time-zone data {here}",
            f"use the time-zone data {manifest['tzdata']} (package tzdata), with which the decision was made",
        )


def _with_manifest(members: Mapping[str, bytes], id: str, pack: str) -> dict[str, bytes]:
    manifest = {
        "v": 1, "id": id, "pack": pack, "tzdata": time_zone_version(), "sekisho": version("sekisho"),
        "files": {name: sha256(raw).hexdigest() for name, raw in sorted(members.items())},
    }  # fmt: skip
    return {_MANIFEST: json.dumps(manifest, indent=1).encode() + b"\n", **members}


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same members, on every machine."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, raw in members.items():
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, raw)
    return out.getvalue()


def _members(file: Path) -> dict[str, bytes]:
    """Every member by name, whole. Raises SekishoError with the member or the byte that is not as it was written."""
    raw = file.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = {info.filename: _member(file, archive, info) for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError, RuntimeError) as error:
        raise SekishoError(f"{file}: not readable as a bundle: {error}", _AGAIN) from error
    if not {_MANIFEST, _RECORD, _EVENTS} <= set(members):
        raise SekishoError(f"{file}: this is no bundle of a decision", "make one with `sekisho explain ... --bundle`")
    sums = _sums(file, members[_MANIFEST])
    for name in sorted({*sums, *members} - {_MANIFEST}):
        if name not in members or sums.get(name) != sha256(members[name]).hexdigest():
            raise SekishoError(
                f"{file}: {name} is not as the manifest says: it differs, or one has no such file", _AGAIN
            )
    whole = _zipped(members)
    if whole != raw:
        at = next((k for k, (a, b) in enumerate(zip(whole, raw, strict=False)) if a != b), min(len(whole), len(raw)))
        raise SekishoError(f"{file}: byte {at} of the zip itself is not as it was written; its files are whole", _AGAIN)
    return members


def _member(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except zipfile.BadZipFile as error:
        raise SekishoError(f"{file}: {info.filename} is damaged: {error}", _AGAIN) from error


def _sums(file: Path, manifest: bytes) -> dict[str, str]:
    try:
        found = json.loads(manifest)
        if found["v"] != 1:
            raise SekishoError(f"{file}: a bundle of version {found['v']}", "explain it with a newer Sekisho")
        return dict(found["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise SekishoError(f"{file}: {_MANIFEST} is damaged: {error!r}", _AGAIN) from error
