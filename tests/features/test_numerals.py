"""Numbers and times read out of text, against Python's float, Fraction and datetime."""

import math
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from features.expr import Call, Column
from features.lists import build_lists
from features.program import compile_program
from features.sheet import Layout, sheet_of
from features.types import DOUBLE, TEXT, TIME, Type, decimal


def read(texts: list[str], type: Type) -> list[object]:
    layout, lists = Layout(), build_lists({})
    layout.add("text", TEXT)
    layout.add("value", type)
    program = compile_program([(Call(type, "try_cast", (Column(TEXT, "text"),)), layout["value"])], layout, {})
    sheet = sheet_of(layout, {"text": texts})
    program.run(sheet, lists)
    return [sheet.value("value", i) for i in range(sheet.n)]


def numeral(rng: random.Random, digits: int, exponent: int) -> str:
    """Up to so many digits with a point somewhere, and an exponent of up to that size."""
    text = "".join(rng.choices("0123456789", k=rng.randint(1, digits)))
    cut = rng.randint(0, len(text))
    text = f"{rng.choice(['', '-', '+'])}{text[:cut]}.{text[cut:]}" if rng.random() < 0.7 else text
    return text + rng.choice(["", f"e{rng.randint(-exponent, exponent)}", f"E+{rng.randint(0, exponent)}"])


def test_doubles_are_correctly_rounded() -> None:
    """Short and long numerals, near and far exponents, and exact ties between neighbours, down to the subnormals."""
    rng = random.Random(11)
    texts = [numeral(rng, *rng.choice([(5, 5), (17, 30), (40, 60), (20, 340), (900, 400)])) for _ in range(1500)]
    for _ in range(300):
        x = math.ldexp(rng.getrandbits(53) | 1, rng.choice([-1074, -1100, -60, 0, 100, 900]))
        tie = (Fraction(x) + Fraction(math.nextafter(x, math.inf))) / 2
        places = max(tie.denominator.bit_length() - 1, 0)
        texts += [f"{int(tie * 10**places) + nudge}e-{places}" for nudge in (-1, 0, 1)]
    for text, got in zip(texts, read(texts, DOUBLE), strict=True):
        want = float(text)
        assert got == (want if math.isfinite(want) else None), text


def test_decimals_round_halves_away_from_zero() -> None:
    """Every numeral as DECIMAL(18, 2) and DECIMAL(38, 9): exact, or NULL when it does not fit."""
    rng = random.Random(12)
    texts = [numeral(rng, *rng.choice([(5, 3), (20, 10), (45, 40)])) for _ in range(1500)] + ["0.005", "-2.675", "1e17"]
    for type in (decimal(18, 2), decimal(38, 9)):
        for text, got in zip(texts, read(texts, type), strict=True):
            exact = Fraction(text) * 10**type.scale
            want = math.floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)
            assert got == (want if abs(want) < 10**type.width else None), text


def test_times() -> None:
    """What datetime writes is read back to the microsecond, whatever its offset."""
    rng = random.Random(13)
    moments = [datetime(1, 1, 2, tzinfo=UTC) + timedelta(microseconds=rng.randrange(10**17 * 3)) for _ in range(500)]
    texts = [moment.isoformat(sep=rng.choice("T ")) for moment in moments]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert read(texts, TIME) == [(moment - epoch) // timedelta(microseconds=1) for moment in moments]


def test_no_byte_outside_the_text_is_read() -> None:
    """A text that ends early is NULL even where the next one would continue it."""
    texts = ["2024-01-0", "2T03:04:05", "2024-01-02 03:0", "4", "2024-01-02 03:04:05+0", "1e", "5", "-", "7", "0."]
    assert [value is None for value in read(texts, TIME)] == [True] * 10
    assert read(texts, DOUBLE)[5:] == [None, 5.0, None, 7.0, 0.0]
