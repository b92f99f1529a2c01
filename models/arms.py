"""Arms: which entities a challenger scores in its champion's place, stable and recomputable by anybody.

The first eight bytes of sha256(salt, a NUL byte, the entity), big-endian, are a number below 2^64. Where it is below
share x 2^64, the challenger scores, on every payment of that entity. A payment of no entity goes to the champion.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from hashlib import sha256

import numpy as np

from features.sheet import HANDLE_BITS, VALID, Ints, Sheet

# CERTAIN: the champion's, because the entity is NULL; the other two are drawn.
CERTAIN, CHAMPION, CHALLENGER = 0, 1, 2
ARM_NAMES = ("champion", "champion", "challenger")

_LENGTH = (1 << HANDLE_BITS) - 1


def threshold(share: float) -> int:
    """The challenger's numbers are those below it. The share is the decimal that is written in the pack."""
    return int(Fraction(repr(share)) * 2**64)


def propensities(share: float) -> tuple[float, float, float]:
    """By arm, how likely it was to score its payment."""
    return 1.0, float(1 - Decimal(repr(share))), share


def arms(sheet: Sheet, by: str, salt: str, share: float, index: Ints) -> Ints:
    """int64[k]: the arm of each event at `index`."""
    handles, known = sheet.ints(by)[index], sheet.validity(by)[index] == VALID
    text, start, below = memoryview(sheet.text), sha256(f"{salt}\0".encode()), threshold(share)  # type: ignore[arg-type]
    arm = np.full(len(index), CERTAIN, np.int64)
    drawn = np.flatnonzero(known)
    for k, handle in zip(drawn.tolist(), handles[drawn].tolist(), strict=True):
        at, digest = handle >> HANDLE_BITS, start.copy()
        digest.update(text[at : at + (handle & _LENGTH)])
        arm[k] = CHALLENGER if int.from_bytes(digest.digest()[:8], "big") < below else CHAMPION
    return arm
