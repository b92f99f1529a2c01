"""The journal: one small record a batch that says which input it decided, in which order, and to which bytes.

The live lane commits it together with the batch's outputs; its last committed record is the truth about what is
decided. A replay follows it, and a standby compares hashes with it.

A record is one JSON object with a fixed order of keys, format version 2:

    {"v":2,"sequence":7,"epoch":2,"confirmed":7,"pack":"<sha256>","since":5,"before":"<sha256>","cold":null,
     "seed":null,"merge":"log-time/1","ranges":[["payments",0,1200,1262],["payments",3,900,914]],
     "counts":[74,1,2],"watermark_us":1700000000000000,"chain":"<sha256>"}

sequence: 0, 1, 2... without a gap; a record that repeats one is void.   epoch: grows whenever a lane becomes active; a
record of a lower epoch after a higher one is void.   confirmed: the greatest sequence whose outputs are known to be on
their topics (in a transaction the record's own).   pack: which pack decided, its state being its fold of all before.
since: the first batch that it decided without a break.   before: the pack that decided until then, null if none.
cold: null, or [sequence, W] where the log before is lost to this pack: it has folded the batches behind that one, and
windows that reach back to W or before give NULL.   seed: null, or a sha256 that names the history before batch 0 with
which every state begins.   ranges: topic, partition, first offset, and the offset after the
last; every record between them that a committed reader sees is part of the batch.   merge: the rule that orders them,
`log-time/1`: take, again and again, the head of a partition that has the least record time, at equal times the least
(topic, partition).
counts: decisions, alerts, dead letters.   watermark_us: W after the batch, null before the first accepted event.
chain: sha256 over the chain before (32 bytes; at the start the seed or zeros) and the batch's outputs, see `chain_of`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple

from sekisho.errors import SekishoError

VERSION = 2
MERGE = "log-time/1"
START = bytes(32)
_KEYS = (
    *("v", "sequence", "epoch", "confirmed", "pack", "since", "before", "cold", "seed"),
    *("merge", "ranges", "counts", "watermark_us", "chain"),
)
_MAX = 2**63 - 1
_SIZE = struct.Struct(">I")


class JournalError(SekishoError):
    """A journal that cannot be followed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the journal: {what}", "do not delete it; find out who else writes to its topic")


class Cold(NamedTuple):
    """Where a pack's knowledge of the log begins: behind batch `sequence`, whose W was `watermark_us`."""

    sequence: int
    watermark_us: int


@dataclass(frozen=True, order=True)
class Range:
    """Records [first, end) of one partition."""

    topic: str
    partition: int
    first: int
    end: int


@dataclass(frozen=True)
class JournalRecord:
    """One batch; see the module for each field."""

    sequence: int
    epoch: int
    confirmed: int
    pack: str
    ranges: tuple[Range, ...]
    counts: tuple[int, int, int]
    watermark_us: int | None
    chain: bytes
    since: int = 0
    before: str | None = None
    cold: Cold | None = None
    seed: str | None = None
    merge: str = MERGE

    def encode(self) -> bytes:
        """The record's bytes."""
        values = {
            "v": VERSION,
            "sequence": self.sequence,
            "epoch": self.epoch,
            "confirmed": self.confirmed,
            "pack": self.pack,
            "since": self.since,
            "before": self.before,
            "cold": self.cold,
            "seed": self.seed,
            "merge": self.merge,
            "ranges": [[r.topic, r.partition, r.first, r.end] for r in self.ranges],
            "counts": self.counts,
            "watermark_us": self.watermark_us,
            "chain": self.chain.hex(),
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def decode(raw: bytes) -> JournalRecord:
    """Read a record strictly. Raises JournalError that names the field at fault."""
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise JournalError(f"a record is not JSON: {error}") from error
    if not isinstance(values, dict) or values.get("v") != VERSION:
        raise JournalError(f"a record is not of format version {VERSION}")
    if tuple(values) != _KEYS:
        raise JournalError(f"a record's keys are {', '.join(values)}; expected {', '.join(_KEYS)}")
    counts, chain, cold = values["counts"], values["chain"], values["cold"]
    _demand(values["merge"] == MERGE, "merge", f"this version follows {MERGE}")
    _demand(isinstance(values["pack"], str), "pack", "not a text")
    for key in ("before", "seed"):
        _demand(values[key] is None or isinstance(values[key], str), key, "not a text")
    _demand(
        cold is None or (isinstance(cold, list) and len(cold) == 2 and all(map(_whole, cold))), "cold", "not a place"
    )
    _demand(isinstance(counts, list) and len(counts) == 3 and all(map(_natural, counts)), "counts", "not three counts")
    _demand(isinstance(chain, str) and len(chain) == 64 and set(chain) <= set("0123456789abcdef"), "chain", "no sha256")
    _demand(values["watermark_us"] is None or _whole(values["watermark_us"]), "watermark_us", "not microseconds")
    for key in ("sequence", "epoch"):
        _demand(_natural(values[key]), key, "not a natural number")
    _demand(
        _whole(values["confirmed"]) and -1 <= values["confirmed"] <= values["sequence"], "confirmed", "out of range"
    )
    _demand(_natural(values["since"]) and values["since"] <= values["sequence"], "since", "out of range")
    return JournalRecord(
        values["sequence"],
        values["epoch"],
        values["confirmed"],
        values["pack"],
        _ranges(values["ranges"]),
        (counts[0], counts[1], counts[2]),
        values["watermark_us"],
        bytes.fromhex(chain),
        values["since"],
        values["before"],
        None if cold is None else Cold(*cold),
        values["seed"],
    )


def chain_of(before: bytes, *parts: Iterable[bytes]) -> bytes:
    """The chain after a batch: sha256 over `before`, then of decisions, alerts and dead letters, in this order, the
    count (uint64, big-endian) and of each record its length (uint32) and its bytes."""
    digest = sha256(before)
    for part in parts:
        records = list(part)
        sizes = map(_SIZE.pack, map(len, records))
        digest.update(len(records).to_bytes(8, "big"))
        digest.update(b"".join(chain.from_iterable(zip(sizes, records, strict=True))))
    return digest.digest()


def _ranges(values: Any) -> tuple[Range, ...]:
    _demand(isinstance(values, list) and len(values) > 0, "ranges", "not a list, or empty")
    ranges = []
    for value in values:
        match value:
            case [str(topic), int(partition), int(first), int(end)] if (
                _natural(partition) and _natural(first) and first < end <= _MAX
            ):
                ranges.append(Range(topic, partition, first, end))
            case _:
                _demand(False, "ranges", f"not [topic, partition, first, end]: {value}")
    places = [(r.topic, r.partition) for r in ranges]
    _demand(places == sorted(set(places)), "ranges", "not in order of topic and partition, each once")
    return tuple(ranges)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX


def _natural(value: Any) -> bool:
    return _whole(value) and value >= 0


def _demand(good: bool, key: str, why: str) -> None:
    if not good:
        raise JournalError(f"field {key} of a record: {why}")
