"""The state of a lane: what step() consumes and gives back, and how it is kept on disk.

A snapshot is a folder of arrays with a manifest: format version, pack hash, and a sha256 of every array. It is written
beside its final name and renamed, so a half-written one is never taken for a whole one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.backend import Windows
from features.lists import ListTables, with_spans
from rules.alerts import AlertState
from rules.controls import ControlState
from sekisho.compile import Engine
from sekisho.errors import SnapshotError
from sekisho.intake import IntakeState, new_intake_state
from sekisho.ledger import new_ledger

FORMAT = 6
_LEDGERS = ("seen", "payments", "verdicts")
Array = npt.NDArray[np.generic]


@dataclass
class State:
    """Everything that the next event's decision depends on, besides the pack and the event itself.

    cold_us: what arrived up to this W is not known, so windows that reach back to it give NULL; None: all is known.
    lists: the pack's with what `control` says of them; None where it says nothing.
    """

    intake: IntakeState
    windows: tuple[Windows, ...]
    alerts: AlertState
    cold_us: int | None = None
    control: ControlState = field(default_factory=ControlState)
    lists: ListTables | None = None

    def report(self) -> dict[str, int]:
        """What it holds: keys, live rows and bytes, for health output."""
        stores = [store for window in self.windows for store in window.report()]
        ledgers = {f"{name}_bytes": getattr(self.intake, name).bytes for name in _LEDGERS}
        return {key: sum(getattr(store, key) for store in stores) for key in ("keys", "rows", "bytes")} | ledgers


def new_state(engine: Engine, cold_us: int | None = None) -> State:
    """The state before the first event that it is to know. Its hash tables have the engine's key, for good."""
    return State(
        new_intake_state(engine.intake, engine.hash_key),
        tuple(engine.backend.empty(stage.windows, engine.hash_key) for stage in engine.stages),
        AlertState(),
        cold_us,
    )


def changed_lists(engine: Engine, state: State, changed: Collection[tuple[str, str]]) -> ListTables:
    """The lists after something was said of these (list, value); lists that the pack lacks are passed over."""
    spans: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for name, number in engine.lists.index.items():
        values = {value for other, value in changed if other == name}
        own = [entry for entry in engine.pack.rules.lists[name] if entry.value in values] if values else []
        spans |= {(number, value): state.control.spans(name, value, own) for value in sorted(values)}
    return with_spans(state.lists or engine.lists, spans)


def save_state(state: State, engine: Engine, folder: Path, note: Mapping[str, object] | None = None) -> None:
    """Write a snapshot. `note` is kept with it: the position in the log that it stands for."""
    arrays = _arrays(state)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    digests = {}
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array, allow_pickle=False)
        digests[name] = _digest(partial / f"{name}.npy")
    manifest = {
        "format": FORMAT,
        "pack": engine.pack.hash,
        "cold_us": state.cold_us,
        "backend": engine.backend.name,
        "topics": state.intake.topics,
        "alerts": state.alerts.to_json(),
        "control": state.control.to_json(),
        "note": dict(note or {}),
        "arrays": digests,
    }
    body = json.dumps(manifest, ensure_ascii=False, indent=1)
    (partial / "manifest.json").write_text(json.dumps({"sha256": _hash(body.encode()), "body": body}), "utf-8")
    for file in partial.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load_state(engine: Engine, folder: Path) -> tuple[State, dict[str, object]]:
    """Read a snapshot and its note.

    Raises SnapshotError when it is damaged, of another format, or of another pack.
    """
    manifest = _manifest(folder)
    if manifest["format"] != FORMAT:
        raise SnapshotError(folder, f"its format is {manifest['format']}, this version reads {FORMAT}")
    if manifest["pack"] != engine.pack.hash:
        raise SnapshotError(folder, f"it belongs to pack {manifest['pack'][:12]}, not to {engine.pack.hash[:12]}")
    if manifest["backend"] != engine.backend.name:
        raise SnapshotError(folder, f"it was written on the {manifest['backend']}, not on the {engine.backend.name}")
    arrays = {}
    for name, digest in manifest["arrays"].items():
        file = folder / f"{name}.npy"
        if not file.is_file() or _digest(file) != digest:
            raise SnapshotError(folder, f"{file.name} is missing or damaged")
        arrays[name] = np.load(file, allow_pickle=False)
    plan = engine.intake
    words = {"seen": 5, "payments": 2 * len(plan.inherit), "verdicts": 1}
    ledgers = {name: new_ledger(words[name], _under(arrays, name)) for name in _LEDGERS}
    intake = IntakeState(arrays["secret"], arrays["watermark"], list(manifest["topics"]), **ledgers)
    windows = tuple(
        engine.backend.restore(stage.windows, _under(arrays, f"stage{k}")) for k, stage in enumerate(engine.stages)
    )
    state = State(intake, windows, AlertState.from_json(manifest["alerts"]), manifest["cold_us"])
    state.control = ControlState.from_json(manifest["control"])
    said = [(name, value) for name, values in state.control.lists.items() for value in values]
    state.lists = changed_lists(engine, state, said) if said else None
    return state, manifest["note"]


def read_note(folder: Path) -> tuple[str, dict[str, Any]]:
    """The pack and the note of a snapshot, without its arrays. Raises SnapshotError."""
    manifest = _manifest(folder)
    return manifest["pack"], manifest["note"]


def _arrays(state: State) -> dict[str, Array]:
    arrays: dict[str, Array] = {"secret": state.intake.secret, "watermark": state.intake.watermark}
    for name in _LEDGERS:
        arrays |= {f"{name}.{key}": array for key, array in getattr(state.intake, name).arrays().items()}
    for k, window in enumerate(state.windows):
        arrays |= {f"stage{k}.{key}": array for key, array in window.arrays().items()}
    return arrays


def _under(arrays: Mapping[str, Array], prefix: str) -> dict[str, npt.NDArray[np.int64]]:
    """The arrays whose names begin with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}  # type: ignore[misc]


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        wrapped = json.loads((folder / "manifest.json").read_text("utf-8"))
        body = wrapped["body"]
        if _hash(body.encode()) != wrapped["sha256"]:
            raise ValueError("checksum")
        manifest: dict[str, Any] = json.loads(body)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(folder, "its manifest.json is missing or damaged") from error
    return manifest


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        digest = sha256()
        while block := handle.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
