"""A model as the command line asks for it: for `sekisho train`, and again for its dossier."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from features.sql.query import output_texts
from models.card import Origin
from models.prequential import Window
from models.training import Purpose
from replay.backtest.view import watched
from replay.report import inputs_of
from replay.sources import Input, file_topic
from replay.topic_input import TopicInput
from replay.training.rows import learnable
from replay.training.train import Plan, Trained, train_on_log
from sekisho.compile import compile_pack
from sekisho.load import load_pack
from sekisho.pack import Pack


@dataclass(frozen=True)
class Made:
    """sql: how each feature is written, by its name.   maturity_us: a payment is presumed good from this age on."""

    trained: Trained
    sql: Mapping[str, str]
    maturity_us: int


def make(
    command: str,
    console: Console,
    *,
    pack: Path,
    source: Sequence[Path | TopicInput],
    train_from_us: int,
    train_to_us: int,
    delay_us: int,
    test_to_us: int,
    maturity_us: int | None,
    folds: int,
    features: tuple[str, ...],
    params: Sequence[tuple[str, Any]],
    tries: int,
    name: str,
    owner: str,
    intended_use: str,
    limits: str,
    expires: datetime | None,
    seed: int,
    threads: int,
    file: Path | None,
    seeds: int = 0,
    **log: Any,
) -> Made:
    """Train what the options of `sekisho train` say; `seeds` other seeds train it again. command: for the card."""
    if not train_from_us < train_to_us < train_to_us + delay_us + 1 <= test_to_us:
        raise click.UsageError("give --train-from, --train-to, and --test-to behind --train-to plus --delay, in order")
    engine = compile_pack(load_pack(pack), hash_key=os.urandom(16))
    if not features:
        for feature in learnable(engine)[1]:
            console.print(f"! {feature} is a time or an interval: the model does not see it", style="yellow")
    window = Window(train_from_us, train_to_us, delay_us, test_to_us)
    stated = (maturity_us, engine.pack.labels.mature_us if engine.pack.labels else None, delay_us)
    mature_us = next(each for each in stated if each is not None)
    plan = Plan(window, folds, mature_us, seed, dict(params), features, tries, seeds)
    purpose = Purpose(name, owner, intended_use, limits, expires.date() if expires else None)
    inputs = inputs_of(source, settings=file, **log)
    origin = origin_of(command, engine.pack, inputs, mature_us)
    with watched(console) as told:
        trained = train_on_log(engine, inputs, plan, purpose, told, threads, origin)
    return Made(trained, output_texts(engine.pack.query.sql), mature_us)


def origin_of(command: str, pack: Pack, inputs: Sequence[Input | TopicInput], maturity_us: int) -> Origin:
    """The origin of a model that a command makes of a pack and its log."""
    tables = [each for each in inputs if isinstance(each, Input)]
    files = dict.fromkeys(file for source in inputs for file in source.files())
    return Origin(
        command=command,
        pack=pack.hash,
        log=tuple(f"{file.name} {file_topic(file).removeprefix('file:')}" for file in files),
        lightgbm=version("lightgbm"),
        order_assumed=not pack.policy.ingest and any(not each.arrived_at for each in tables),
        labels_simulated=any(each.labels is not None for each in tables),
        maturity_us=maturity_us,
    )
