"""Topics as one log: partitions merged by record time as the lane does, decoded as the lane decodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import dropwhile, takewhile

from replay.decoder import Decoder
from replay.merge import Chunk
from replay.topic import TopicReader
from replay.topic_input import TopicInput, TopicRange
from sekisho.log import Message

_CHUNK_RECORDS = 16_384
_CHUNK_BYTES = 16 << 20


def read_topics(decoder: Decoder, source: TopicInput) -> Iterator[Chunk]:
    """Events and dead letters in the order of `log-time/1`. Raises SourceError."""
    with ExitStack() as stack:
        readers = [_reader(source, part, stack) for part in source.ranges]
        held: list[Message] = []
        size = 0
        for message in _merged(source, readers):
            held.append(message)
            size += len(message.value or b"")
            if len(held) == _CHUNK_RECORDS or size >= _CHUNK_BYTES:
                yield _chunk(decoder, source, held, readers)
                held, size = [], 0
        if held:
            yield _chunk(decoder, source, held, readers)


def read_messages(source: TopicInput) -> Iterator[Message]:
    """The records themselves, in the same order. Raises SourceError."""
    with ExitStack() as stack:
        yield from _merged(source, [_reader(source, part, stack) for part in source.ranges])


def _reader(source: TopicInput, part: TopicRange, stack: ExitStack) -> TopicReader:
    reader = TopicReader(source.bootstrap, part.topic, source.client, part.first, part.end)
    stack.callback(reader.close)
    return reader


def _merged(source: TopicInput, readers: list[TopicReader]) -> Iterator[Message]:
    """The least head again and again, at equal times the least (topic, partition): what heapq.merge does."""
    parts = sorted(zip(source.ranges, readers, strict=True), key=lambda pair: pair[0].topic)
    queues = [_within(part, reader, k) for part, reader in parts for k in reader.places]
    return merge(*queues, key=lambda message: (message.time_us, message.topic, message.partition))


def _within(part: TopicRange, reader: TopicReader, partition: int) -> Iterator[Message]:
    """A partition's part, by the records' own times: what the broker finds by time may be a transaction's marker."""
    messages = reader.take(partition, reader.ends[reader.places[partition]])
    if part.first and (from_us := part.first.time_us) is not None:
        messages = dropwhile(lambda message: message.time_us < from_us, messages)
    if part.end and (to_us := part.end.time_us) is not None:
        messages = takewhile(lambda message: message.time_us < to_us, messages)
    return messages


def _chunk(decoder: Decoder, source: TopicInput, records: list[Message], readers: list[TopicReader]) -> Chunk:
    batch, dead = decoder.records(records, source.events)
    return Chunk(batch, dead, min(reader.progress for reader in readers))
