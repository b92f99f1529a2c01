"""The packs that come with Sekisho."""

from __future__ import annotations

from pathlib import Path

from sekisho.errors import SekishoError


def shipped_pack(name: str) -> Path:
    """The folder of a shipped pack, in a checkout or in the installed package. Raises SekishoError if unknown."""
    here = Path(__file__).resolve().parent
    for folder in (here.parent / "packs" / name, here / "packs" / name):
        if (folder / "pack.toml").is_file():
            return folder
    raise SekishoError(f"there is no shipped pack {name!r}", "use card_payments or fdh, or give the path of your own")
