"""The examination that a shipped model passes: what a bank asks of a scorer before it decides anything."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from features.refusal import Refusal
from features.sheet import Layout, Sheet, sheet_of
from features.types import TEXT
from models.card_toml import read_card, write_card
from models.scorer import compile_scorer, load_scorer, score
from sekisho.load import load_pack
from sekisho.packs import shipped_pack

ROOT = Path(__file__).parents[2]
PACK = load_pack(shipped_pack("card_payments"))
MODEL = shipped_pack("card_payments") / "models" / "fraud.txt"
CARD = MODEL.with_suffix(".toml").read_bytes()
TYPES = PACK.schema.columns() | dict(PACK.query.features)


def rows(n: int, seed: int = 1) -> dict[str, list[object]]:
    """Values of every feature in the units of its type, a third NULL, some categories never seen in training."""
    rng, columns = np.random.default_rng(seed), {}
    for feature in PACK.models[0].card.features:
        known = rng.random(n) > 0.3
        if feature.categories:
            values = [str(rng.choice([*feature.categories, "never seen", ""])) for _ in range(n)]
        else:
            values = [
                float(x) if TYPES[feature.name].kind.value == "double" else int(x) for x in rng.integers(0, 90, n)
            ]
        columns[feature.name] = [value if there else None for value, there in zip(values, known, strict=True)]
    return columns


def scored(columns: dict[str, list[object]], names: list[str]) -> Sheet:
    """The rows scored, their columns laid out in this order."""
    layout = Layout()
    for name in names:
        layout.add(name, TYPES[name])
    compiled = compile_scorer(PACK.models[0], layout)
    sheet = sheet_of(layout, columns)  # type: ignore[arg-type]
    score(compiled, sheet)
    return sheet


def test_the_scores_are_lightgbms() -> None:
    """Raw scores equal to the last bit, NULLs and unknown categories as missing values."""
    columns = rows(400)
    sheet = scored(columns, list(columns))
    matrix = np.full((400, len(columns)), np.nan)
    for k, feature in enumerate(PACK.models[0].card.features):
        for i, value in enumerate(columns[feature.name]):
            if feature.categories:
                matrix[i, k] = feature.categories.index(value) if value in feature.categories else np.nan
            elif value is not None:
                matrix[i, k] = value / 10 ** TYPES[feature.name].scale  # type: ignore[operator]
    booster = lightgbm.Booster(model_file=str(MODEL))
    assert np.array_equal(sheet.doubles("fraud_raw"), booster.predict(matrix, raw_score=True))


def test_columns_are_found_by_name() -> None:
    """Any order of the columns gives the same bits."""
    columns = rows(200)
    a, b = scored(columns, list(columns)), scored(columns, sorted(columns, reverse=True))
    assert np.array_equal(a.doubles("fraud_raw"), b.doubles("fraud_raw"))


def test_a_row_alone_scores_as_among_others() -> None:
    """Batches of one and of many."""
    columns = rows(130)
    whole = scored(columns, list(columns)).doubles("fraud_raw")
    alone = [scored({n: [v[i]] for n, v in columns.items()}, list(columns)).doubles("fraud_raw")[0] for i in range(130)]
    assert whole.tolist() == alone


def test_a_row_of_nothing_but_null_has_a_score() -> None:
    """Missing everything is a finite score, never an error."""
    columns = {name: [None] for name in PACK.models[0].features}
    sheet = scored(columns, list(columns))
    assert np.isfinite(sheet.doubles("fraud_raw")).all() and 0 <= sheet.ints("fraud_score")[0] <= 999


def test_a_wrong_fingerprint_is_refused() -> None:
    """One byte more, one less, another digit in the card."""
    raw = MODEL.read_bytes()
    for other in (raw + b"\n", raw[:-1]):
        with pytest.raises(Refusal, match="sha256"):
            load_scorer(other, CARD)
    with pytest.raises(Refusal, match="sha256"):
        load_scorer(raw, CARD.replace(sha256(raw).hexdigest().encode(), b"0" * 64))


@pytest.mark.parametrize("cut", [0, 1, 4, 1000, 20_000, -200])
def test_a_truncated_file_is_refused_even_if_its_card_knows_it(cut: int) -> None:
    """With a line and what to do: a copy that broke off scores nothing."""
    raw = MODEL.read_bytes()[:cut]
    card = write_card(read_card(CARD)).replace(sha256(MODEL.read_bytes()).hexdigest(), sha256(raw).hexdigest())
    with pytest.raises(Refusal) as refused:
        load_scorer(raw, card.encode())
    assert refused.value.place.line and refused.value.fix


@pytest.mark.parametrize("raw", [b"\x80\x04\x95", b"PK\x03\x04" + bytes(50), b"tree\n" * 10_000, bytes(10_000)])
def test_what_is_no_text_model_is_refused(raw: bytes) -> None:
    """A pickle, an archive, a flood of headers, zeros."""
    card = CARD.replace(sha256(MODEL.read_bytes()).hexdigest().encode(), sha256(raw).hexdigest().encode())
    with pytest.raises(Refusal):
        load_scorer(raw, card)


def test_a_column_of_another_type_is_refused() -> None:
    """By name."""
    layout = Layout()
    for name in PACK.models[0].features:
        layout.add(name, TEXT if name == "amount" else TYPES[name])
    with pytest.raises(Refusal, match="`amount` as numeric"):
        compile_scorer(PACK.models[0], layout)


def test_nothing_is_pickled() -> None:
    """No module of the product imports pickle or one that unpickles, and arrays are read without it."""
    words = r"^\s*(import|from) (pickle|dill|cloudpickle|joblib|shelve|marshal)\b|allow_pickle=True"
    rooms = [str(ROOT / room) for room in ("features", "models", "rules", "sekisho", "streams", "replay", "packs")]
    found = subprocess.run(["grep", "-rnE", "--include=*.py", words, *rooms], capture_output=True, check=False)
    assert found.stdout == b"" and found.returncode == 1
