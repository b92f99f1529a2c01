"""Packs by their hash, from the topic where a worker keeps them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from replay.topic import TopicReader
from replay.verify import Topics
from sekisho.compile import Engine, compile_pack
from sekisho.decider import Decider
from sekisho.errors import SourceError
from sekisho.load import load_pack
from sekisho.pack_records import PackShelf, write_files
from sekisho.state import read_note
from sekisho.tokens import token_key


class TopicPacks:
    """The packs of a topic. own: a folder whose pack need not be there.   seeds: states before batch 0."""

    def __init__(self, topics: Topics, own: Path | None = None, seeds: Sequence[Path] = ()) -> None:
        self.topics, self.seeds = topics, seeds
        self.shelf: PackShelf | None = None
        self.engines: dict[str, Engine] = {}
        if own is not None:
            engine = compile_pack(load_pack(own), token_key(), os.urandom(16))
            self.engines[engine.pack.hash] = engine

    def decider(self, pack: str, seed: str | None) -> Decider:
        """A pack with the state before the first batch. Raises SourceError where there is none."""
        decider = Decider(self.engine(pack), events=self.topics.events)
        if seed is not None:
            decider.load(self._seed(pack, seed))
        return decider

    def engine(self, pack: str) -> Engine:
        """A compiled pack. Raises SourceError where the topic lacks it."""
        if pack not in self.engines:
            files = self._read().files(pack)
            if files is None:
                fix = "name the folder of this pack on the command line"
                raise SourceError(f"pack {pack} is not on the topic {self.topics.packs}", fix)
            with tempfile.TemporaryDirectory() as folder:
                write_files(files, Path(folder) / pack)
                self.engines[pack] = compile_pack(load_pack(Path(folder) / pack), token_key(), os.urandom(16))
        return self.engines[pack]

    def _read(self) -> PackShelf:
        if self.shelf is None:
            self.shelf = PackShelf()
            reader = TopicReader(self.topics.bootstrap, self.topics.packs, self.topics.client)
            while (message := reader.peek(0)) is not None:
                self.shelf.read(message.key, message.value)
                reader.pop(0)
            reader.close()
        return self.shelf

    def _seed(self, pack: str, seed: str) -> Path:
        for folder in self.seeds:
            found, note = read_note(folder)
            if found == pack and note.get("seed") == seed:
                return folder
        raise SourceError(
            f"the journal begins after a history, and no --seed has it for pack {pack[:12]}",
            "name the folder seed-... in the worker's state with --seed, or build it with `sekisho state build`",
        )
