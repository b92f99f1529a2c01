"""The bank's key for the entities in alerts: the same for the worker, a standby and a replay, or their bytes differ."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sekisho.errors import SekishoError

VARIABLE = "SEKISHO_TOKEN_KEY"
_SHORTEST = 16


def token_key(environment: Mapping[str, str] | None = None) -> bytes | None:
    """The key of SEKISHO_TOKEN_KEY, or of the file that SEKISHO_TOKEN_KEY_FILE names; None masks entities.

    Raises SekishoError for a file that cannot be read and for a key below 16 bytes; neither shows the key.
    """
    given = os.environ if environment is None else environment
    key = given.get(VARIABLE, "").encode()
    if name := given.get(f"{VARIABLE}_FILE", ""):
        try:
            key = Path(name).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise SekishoError(
                f"{VARIABLE}_FILE: {name} cannot be read ({type(error).__name__})", "name the file of the secret"
            ) from error
    elif not key:
        return None
    if len(key) < _SHORTEST:
        raise SekishoError(
            f"the key for entity tokens has {len(key)} bytes", f"make one of at least {_SHORTEST}: openssl rand -hex 32"
        )
    return key
