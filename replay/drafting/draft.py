"""A pack drafted from a sample, written to a folder, and checked as every pack is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from replay.drafting.meaning import Doubt, Meaning
from replay.drafting.reader import read_meaning
from replay.drafting.sample import Sample, read_sample
from replay.drafting.texts import Thresholds, conditions, features_sql, pack_toml, rules_yaml
from replay.drafting.trial import Trial
from sekisho.check import Summary, check_pack
from sekisho.errors import SekishoError


@dataclass(frozen=True)
class Draft:
    """What was written and why. hits: of each rule, the payments of the sample that it hits; of `payments` in all."""

    folder: Path
    sample: Sample
    meaning: Meaning
    toml: str
    limits: Thresholds
    hits: dict[str, int]
    payments: int
    summary: Summary

    def line(self, doubt: Doubt) -> int:
        """The line of pack.toml that a doubt is about."""
        lines = self.toml.splitlines()
        return next((k for k, line in enumerate(lines, 1) if line.startswith((f"{doubt.line} =", doubt.line))), 1)


def draft_pack(folder: Path, file: Path, owner: str, currency: str = "") -> Draft:
    """Read a sample, write its pack. Raises SekishoError where the folder is there, or the sample says too little."""
    if folder.exists():
        raise SekishoError(
            f"{folder}: this is there already", "name a folder that is not there; nothing is overwritten"
        )
    if not folder.parent.is_dir():
        raise SekishoError(f"{folder.parent}: there is no such folder", "make it, or name another")
    sample = read_sample(file)
    meaning = read_meaning(sample, currency)
    if not meaning.entities and not meaning.amount:
        fix = "rename a column to card_id, account_id, merchant_id or amount: the draft goes by names"
        raise SekishoError(f"{file}: no column names an account, a card, a merchant or an amount", fix)
    sql = features_sql(meaning)
    trial = Trial(sample, meaning, sql)
    _doubt(meaning, trial)
    limits = trial.thresholds()
    toml = pack_toml(_name(folder), owner, file.name, meaning)
    _write(folder, {"pack.toml": toml, "features.sql": sql, "rules.yaml": rules_yaml(owner, meaning, limits)})
    hits = {id: trial.hits(when) for id, when in conditions(meaning, limits).items()}
    return Draft(folder, sample, meaning, toml, limits, hits, trial.hits(), check_pack(folder))


def _doubt(meaning: Meaning, trial: Trial) -> None:
    """What the rows say of each other."""
    if not meaning.entities:
        what = "no column names a card, an account or a merchant: there is nothing to count by"
        meaning.doubts.append(Doubt("[fields]", what, 'card_id = { type = "id", from = "..." }, and windows by it'))
    if behind := trial.behind():
        what = (
            f"{behind:,} events stand more than a day behind an earlier row: they would be too late for their windows"
        )
        meaning.doubts.append(Doubt("[events]", what, "sort the file by time"))
    if trial.days() < 30:
        what = f"the sample spans {trial.days()} days, and windows of 30: habits are young in it"
        meaning.doubts.append(
            Doubt("[events]", what, "nothing; give a longer log to `replay run` and `replay backtest`")
        )


def _name(folder: Path) -> str:
    """The folder's name as a pack's."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")
    return name if name[:1].isalpha() else f"pack_{name}".rstrip("_")


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
