"""Dead letters as people use them: what could not be read, and, once its cause is mended, sent to its input again.

A record that is sent again carries the header `sekisho-dead-letter` with the place of the one that failed. Whoever
sends looks for it first, so that each dead letter is sent once, however often the command runs and wherever it stopped.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sekisho.log import Message
from streams.broker import LostRecordsError, Partition, Reader, Send
from streams.desk import Desk

HEADER = "sekisho-dead-letter"
_MASKED = {**dict.fromkeys(range(48, 58), "0"), **dict.fromkeys([*range(65, 91), *range(97, 123)], "a")}
_BEFORE, _AFTER = 24, 24


class Source(NamedTuple):
    """Where the record that failed stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]:{self.offset}"


@dataclass(frozen=True)
class Letter:
    """A dead letter; docs/wire.md says each part. time_us: when its topic took it.   raw: cut off where it is long."""

    time_us: int
    key: bytes | None
    source: Source
    code: str
    field: str | None
    position: int | None
    reason: str
    size: int
    raw: bytes

    @property
    def excerpt(self) -> str:
        """What stands around the byte at fault, marked by `>`; letters are a, digits 0: nothing can be read from it."""
        at = self.position or 0
        before, after = self.raw[max(0, at - _BEFORE) : at], self.raw[at : at + _AFTER]
        return f"{_masked(before)}>{_masked(after)}" if self.position is not None else _masked(after)


@dataclass(frozen=True)
class Chosen:
    """Which dead letters are meant: of [from_us, to_us), of these codes, from these places; empty means all."""

    from_us: int | None = None
    to_us: int | None = None
    codes: Collection[str] = ()
    places: Collection[str] = ()

    def holds(self, letter: Letter) -> bool:
        """True for one that is meant."""
        early = self.from_us is not None and letter.time_us < self.from_us
        late = self.to_us is not None and letter.time_us >= self.to_us
        coded = not self.codes or letter.code in self.codes
        return not early and not late and coded and (not self.places or str(letter.source) in self.places)


class LetterDesk(Desk):
    """Clients for the dead letters."""

    def letters(self, chosen: Chosen) -> list[Letter]:
        """Those that are meant, in the order of their time; what is on the topic and no dead letter is passed over."""
        partitions = self.broker.partitions([self.settings.topics.dead_letters])
        bounds = self.broker.bounds(partitions)
        reader = self.broker.reader({p: first for p, (first, _) in bounds.items()})
        found = [letter for message in _until_end(reader, partitions) if (letter := _read(message)) is not None]
        return sorted(filter(chosen.holds, found), key=lambda letter: (letter.time_us, letter.source))

    def sent(self, letters: Iterable[Letter]) -> set[str]:
        """The places of those that were sent again already: their marks stand behind them on their partitions."""
        letters, starts = list(letters), dict[Partition, int]()
        topics = {letter.source.topic for letter in letters} & set(self.settings.topics.consumed)
        known = set(self.broker.partitions(sorted(topics)))
        for letter in letters:
            partition = letter.source.topic, letter.source.partition
            if partition not in known:  # nothing was sent to where there is nothing
                continue
            starts[partition] = min(letter.source.offset + 1, starts.get(partition, letter.source.offset + 1))
        return {mark.decode("utf-8", "replace") for mark in self.broker.marks(HEADER, starts)}

    def record(self, letter: Letter) -> bytes | None:
        """The whole record that failed, from its topic where the dead letter holds but a part; None if it is gone."""
        if letter.size == len(letter.raw):
            return letter.raw
        topic, partition, offset = letter.source
        reader = self.broker.reader({(topic, partition): offset})
        try:
            message = next(_until_end(reader, [(topic, partition)]), None)
        except LostRecordsError:
            return None
        return message.value if message is not None and message.offset == offset else None

    def send(self, letters: Sequence[tuple[Letter, bytes]]) -> None:
        """Send the records to where they came from, marked; when it returns, the brokers have them."""
        writer = self.broker.writer(transactional=False)
        try:
            for letter, record in letters:
                topic, partition, _ = letter.source
                writer.send_marked(Send(topic, partition, letter.key, record), HEADER, str(letter.source).encode())
            writer.flush()
        finally:
            writer.close()


def _until_end(reader: Reader, partitions: Sequence[Partition]) -> Iterator[Message]:
    """All records up to the partitions' ends; closes the reader."""
    ended: set[Partition] = set()
    try:
        while not ended >= set(partitions):
            polled = reader.poll(10_000, 1.0)
            yield from polled.messages
            ended |= set(polled.ended)
    finally:
        reader.close()


def _read(message: Message) -> Letter | None:
    try:
        line: Mapping[str, object] = json.loads(message.value or b"")
        source = Source(**line["source"])  # type: ignore[arg-type]
        parts = {name: line[name] for name in ("code", "field", "position", "reason", "size")}
        return Letter(message.time_us, message.key, source, raw=b64decode(str(line["raw"])), **parts)  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError):
        return None


def _masked(raw: bytes) -> str:
    return "".join(_MASKED.get(c, chr(c) if 32 <= c < 127 else "?") for c in raw)
