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
    return secret(VARIABLE, "the key for entity tokens", environment)


def secret(variable: str, what: str, environment: Mapping[str, str] | None = None) -> bytes | None:
    """A secret of the environment, or of the file that <variable>_FILE names; None without either.

    what: it is, for people. Raises SekishoError for a file that cannot be read and for a secret below 16 bytes.
    """
    given = os.environ if environment is None else environment
    found = given.get(variable, "").encode()
    if name := given.get(f"{variable}_FILE", ""):
        try:
            found = Path(name).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise SekishoError(
                f"{variable}_FILE: {name} cannot be read ({type(error).__name__})", "name the file of the secret"
            ) from error
    elif not found:
        return None
    if len(found) < _SHORTEST:
        raise SekishoError(f"{what} has {len(found)} bytes", f"make one of at least {_SHORTEST}: openssl rand -hex 32")
    return found
