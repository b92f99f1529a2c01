"""The packs' topic as a worker uses it: a thread reads it, stores the pack of the settings, and tells refusals.

It is not an agent of Faust: the worker's Faust opens no Kafka client, so that it starts without a broker, and one poll
in a second costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event, Thread

from sekisho.compile import Engine, compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.pack_records import PackShelf, pack_entries, refusal_entry, write_files
from sekisho.settings import Settings
from sekisho.tokens import token_key
from streams.broker import BrokerError, Reader, Send
from streams.client import KafkaBroker
from streams.journal_tail import Place
from streams.outputs import Request
from streams.pack_requests import stamp
from streams.scoring import PackScorer
from streams.warm_up import WarmUp

_POLL_S = 0.5
_AGAIN_S = 3.0


class PackRoom:
    """Keeps streams.outputs.Packs and streams.snapshots.Makers. Packs lie in state/packs/<sha256>, as loaded once."""

    def __init__(self, settings: Settings, log: Callable[[str], None]) -> None:
        self.settings, self.log = settings, log
        self.folder = settings.state / "packs"
        self.shelf = PackShelf()
        self.problem = "the topic of packs has not been read yet"
        self._engines: dict[str, Engine] = {}
        self._warm_up: WarmUp | None = None
        self._mail: SimpleQueue[Send] = SimpleQueue()
        self._stopping = Event()
        own = load_pack(settings.pack)
        write_files(own.files, self.folder / own.hash)
        self._own, self._engines[own.hash] = own, compile_pack(own, token_key(), os.urandom(16))
        self._thread = Thread(target=self._run, name="packs", daemon=True)

    def start(self) -> None:
        """Begin to read the topic."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and what is on its way."""
        self._stopping.set()
        self.drop()

    def first(self) -> PackScorer:
        """The pack of the settings."""
        return self.scorer(self._own.hash)

    def scorer(self, pack: str) -> PackScorer:
        """A scorer of a pack that lies in the folder. Raises SekishoError."""
        if pack not in self._engines:
            self._engines[pack] = compile_pack(load_pack(self.folder / pack), token_key(), os.urandom(16))
        return PackScorer(self._engines[pack], self.settings.topics, self.settings.lane.threads)

    def fetch(self, pack: str) -> bool:
        """Put a pack from the topic into the folder; False while it is not there. Raises SekishoError."""
        if not (self.folder / pack).is_dir():
            if (files := self.shelf.files(pack)) is None:
                return False
            write_files(files, self.folder / pack)
        return True

    def wanted(self) -> Request | None:
        """What was asked for last."""
        asked = self.shelf.requested
        return None if asked is None else Request(asked["id"], asked["pack"], bool(asked.get("accept_cold")))

    def warmed(self, request: Request, place: Place) -> tuple[PackScorer, Place] | None:
        """See streams.warm_up. Raises PackRefused."""
        if self._warm_up is None:
            self._warm_up = WarmUp(self, self.settings, request, place, self.log)
        return self._warm_up.result(place)

    def drop(self) -> None:
        """End what is on its way."""
        if self._warm_up is not None:
            self._warm_up.stop()
        self._warm_up = None

    def refuse(self, request: Request, why: str) -> None:
        """Write the refusal to the topic, where `sekisho pack list` finds it."""
        self._post(*refusal_entry(request.id, request.pack, why, stamp()))

    def _post(self, key: bytes, value: bytes) -> None:
        self._mail.put(Send(self.settings.topics.packs, 0, key, value))

    def _run(self) -> None:
        while not self._stopping.is_set():
            broker = KafkaBroker(self.settings)
            try:
                self._follow(broker)
            except (BrokerError, SekishoError) as error:
                if str(error) != self.problem:
                    self.log(f"the topic of packs: {error}; until it can be read, no pack can be switched")
                self.problem = str(error)
                self._stopping.wait(_AGAIN_S)
            finally:
                broker.close()

    def _follow(self, broker: KafkaBroker) -> None:
        topic, self.shelf = self.settings.topics.packs, PackShelf()
        reader, stored = broker.reader(dict.fromkeys(broker.partitions([topic]))), False
        try:
            while not self._stopping.is_set():
                if self._read(reader):
                    self.problem = ""
                    if not stored and self._own.hash not in self.shelf.heads:
                        for entry in pack_entries(self._own, stamp()):
                            self._post(*entry)
                    stored = True
                self._write(broker)
        finally:
            reader.close()

    def _read(self, reader: Reader) -> bool:
        """True when the topic has been read to its end."""
        polled = reader.poll(100, _POLL_S)
        for message in polled.messages:
            self.shelf.read(message.key, message.value)
        return bool(polled.ended)

    def _write(self, broker: KafkaBroker) -> None:
        sends = []
        while not self._mail.empty():
            try:
                sends.append(self._mail.get_nowait())
            except Empty:
                break
        if sends:
            writer = broker.writer(transactional=False)
            try:
                writer.send(sends)
                writer.flush()
            finally:
                writer.close()
