"""Files of lines, packed or not, read in bounded memory whatever stands in them."""

from __future__ import annotations

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from features.sheet import Bytes, Ints
from sekisho.errors import SourceError


@dataclass(frozen=True)
class LogFile:
    """An open file: what is in it, unpacked, and how much of it has been read, 0 to 1."""

    handle: BinaryIO
    read: Callable[[], float]


@contextmanager
def opened(file: Path) -> Iterator[LogFile]:
    """A file of lines; a .gz is unpacked on the way. Raises SourceError where the packing is broken."""
    size = max(1, file.stat().st_size)
    with file.open("rb") as raw:
        handle = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if file.suffix == ".gz" else raw
        try:
            yield LogFile(handle, lambda: min(1.0, raw.tell() / size))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            fix = "pack the file anew: it is broken, or was cut off"
            raise SourceError(f"{file}: not readable as gzip to its end: {error}", fix) from error


class Lines(NamedTuple):
    """Whole lines: line i ends before ends[i].   long: behind them, the beginning of a line too long, and its size."""

    blob: Bytes
    ends: Ints
    long: tuple[bytes, int] | None


def json_lines(handle: BinaryIO, limit: int, block_bytes: int) -> Iterator[Lines]:
    """The file's lines, of which one longer than `limit` bytes is not kept whole; a last line needs no end.

    A byte order mark before the first is stepped over, as editors on Windows write it.
    """
    mark = handle.read(len(BOM_UTF8))
    rest = b"" if mark == BOM_UTF8 else mark
    while data := rest + (block := handle.read(block_bytes)):
        cut = data.rfind(b"\n") + 1 if block else len(data)
        blob, rest = np.frombuffer(data[:cut], np.uint8), data[cut:]
        ends = np.flatnonzero(blob == ord("\n")) + 1
        if cut and (not len(ends) or ends[-1] != cut):
            ends = np.append(ends, cut)
        long = None
        if len(rest) > limit:
            head, size = rest[: limit + 1], len(rest)
            skipped, rest = skip_line(handle, block_bytes)
            long = head, size + skipped
        if len(ends) or long:
            yield Lines(blob, ends, long)


def skip_line(handle: BinaryIO, block_bytes: int) -> tuple[int, bytes]:
    """Read on behind the next line's end: how many bytes that was, and what was read behind it."""
    skipped = 0
    while block := handle.read(block_bytes):
        at = block.find(b"\n") + 1
        if at:
            return skipped + at, block[at:]
        skipped += len(block)
    return skipped, b""
