"""What people do with packs on a running lane: publish one, go back to the one before, look which there are."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from sekisho.errors import SekishoError
from sekisho.journal import JournalRecord, decode
from sekisho.pack_records import PackShelf, Record, Stamp, pack_entries, request_entry
from streams.broker import Partition, Send
from streams.desk import Desk, patiently
from streams.scoring import PackScorer
from streams.warm_up import demand_enough
from streams.warming import beginning

_TAIL = 64  # offsets of the journal's end that surely hold a record: a transaction has two


@dataclass(frozen=True)
class Listed:
    """A pack on the topic. state: what it does now, in words."""

    hash: str
    name: str
    at: str
    by: str
    state: str


def stamp() -> Stamp:
    """Now, and who runs this process."""
    return Stamp(datetime.now(UTC).isoformat(timespec="seconds"), f"{getpass.getuser()}@{socket.gethostname()}")


class PackDesk(Desk):
    """The packs' topic and the journal's end."""

    def shelf(self) -> PackShelf:
        """All that stands on the topic now."""
        topic, shelf = self.settings.topics.packs, PackShelf()
        for key, value in self._read(dict.fromkeys(self.broker.partitions([topic]))):
            shelf.read(key, value)
        return shelf

    def last(self) -> JournalRecord | None:
        """The journal's last record that counts; None where nothing has been decided."""
        partition = (self.settings.topics.journal, 0)
        first, end = self.broker.bounds([partition])[partition]
        records = [decode(value or b"") for _, value in self._read({partition: max(first, end - _TAIL)})]
        return max(records, key=lambda record: (record.epoch, record.sequence), default=None)

    def publish(self, scorer: PackScorer, accept_cold: bool) -> str:
        """Store a pack and ask for it; the request's id. Raises PackRefused where the topics hold too little."""
        pack, last = scorer.decider.engine.pack, self.last()
        if last is not None and not accept_cold and pack.hash != last.pack:
            demand_enough(beginning(self.broker, self.settings.topics, last.sequence), scorer)
        self._write(pack_entries(pack, stamp()))
        return self.ask(pack.hash, accept_cold)

    def ask(self, pack: str, accept_cold: bool) -> str:
        """Ask for a pack that is stored; the request's id."""
        id = uuid4().hex
        self._write([request_entry(id, pack, accept_cold, stamp())])
        return id

    def outcome(self, id: str, pack: str, patience_s: float) -> str:
        """Wait for what becomes of a request, in words. Raises SekishoError when it is refused."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            last, shelf = patiently(self.last), patiently(self.shelf)
            if last is not None and last.pack == pack:
                return f"decides since batch {last.since}"
            refusal = shelf.refused.get(pack, {})
            if refusal.get("id") == id:
                why, _, fix = str(refusal["why"]).partition("\n  fix: ")
                raise SekishoError(f"pack {pack[:12]} was refused by {refusal['by']}: {why}", fix)
            if shelf.requested is not None and shelf.requested["id"] != id:
                return "another request came after this one"
            time.sleep(0.5)
        return f"has not decided anything within {patience_s:.0f} s; look again: sekisho pack list"

    def _read(self, positions: dict[Partition, int | None]) -> Iterable[Record]:
        reader, ended, found = self.broker.reader(positions), set[Partition](), list[Record]()
        try:
            while not ended >= positions.keys():
                polled = reader.poll(1000, 1.0)
                found += [(message.key or b"", message.value or b"") for message in polled.messages]
                ended |= set(polled.ended)
        finally:
            reader.close()
        return found

    def _write(self, entries: Iterable[Record]) -> None:
        writer = self.broker.writer(transactional=False)
        try:
            writer.send([Send(self.settings.topics.packs, 0, key, value) for key, value in entries])
            writer.flush()
        finally:
            writer.close()


def listed(shelf: PackShelf, last: JournalRecord | None) -> Sequence[Listed]:
    """Every pack of the topic, the newest first."""
    heads = sorted(shelf.heads.items(), key=lambda item: str(item[1].get("at")), reverse=True)
    return [
        Listed(pack, str(head.get("name")), str(head.get("at")), str(head.get("by")), _state(pack, shelf, last))
        for pack, head in heads
    ]


def before(last: JournalRecord | None) -> str:
    """The pack to go back to. Raises SekishoError where there is none."""
    if last is None or last.before is None:
        raise SekishoError("no pack has decided before this one", "publish the pack that you want")
    return last.before


def _state(pack: str, shelf: PackShelf, last: JournalRecord | None) -> str:
    requested, refusal = shelf.requested or {}, shelf.refused.get(pack)
    if last is not None and pack == last.pack:
        return f"decides since batch {last.since}" + (f", cold behind batch {last.cold.sequence}" if last.cold else "")
    asked = requested.get("pack") == pack
    if refusal is not None and (not asked or refusal.get("id") == requested.get("id")):
        return f"refused: {refusal.get('why')}"
    if asked:
        return f"asked for at {requested.get('at')} by {requested.get('by')}"
    return f"decided until batch {last.since - 1}" if last is not None and pack == last.before else ""
