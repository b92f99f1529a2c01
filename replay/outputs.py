"""What a command will write, tried before it works: a path that fails is known at once, and not after the run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sekisho.errors import SekishoError


def check_outputs(inputs: Iterable[Path], outputs: Iterable[Path | None]) -> None:
    """Refuse what cannot be written, or would overwrite an input or another output. Leaves no new file behind."""
    taken = {file.resolve() for file in inputs}
    for file in outputs:
        if file is None:
            continue
        if file.resolve() in taken:
            raise SekishoError(f"{file}: this file is read, or written twice", "give each output a name of its own")
        taken.add(file.resolve())
        if file.is_dir() or not file.parent.is_dir():
            why = "it is a folder" if file.is_dir() else f"there is no folder {file.parent}"
            raise SekishoError(f"{file}: a file cannot be written here: {why}", "name a file in a folder that is there")
        _try(file)


def _try(file: Path) -> None:
    """Open it as it will be opened; what permissions and file systems allow is known by no other way."""
    fresh = not file.exists()
    if not fresh and not file.is_file():  # a pipe or a device: opening it would be felt
        return
    try:
        with file.open("ab"):
            pass
    except OSError as error:
        fix = "name a file that you may write, on a disk that takes it"
        raise SekishoError(f"{file}: a file cannot be written here: {error.strerror}", fix) from None
    if fresh:
        file.unlink()
