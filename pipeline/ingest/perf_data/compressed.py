"""Records that perf record -z compressed: one stream of zstd, cut into records of their own.

perf flushes the stream at the end of each such record and never ends it (perf 6.1 util/zstd.c:
zstd_compress_stream_to_records), and a record of the recording may begin in one and end in the
next.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.perf_data.container import headers
from pipeline.ingest.raw.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.ingest.perf_data.container import PerfData

# util/event.h of perf 6.1 and of 6.16, where the second came, which says how much of it is data.
COMPRESSED, COMPRESSED2 = 81, 83
_HEADER = 8
_READ = 1 << 20
# An empty last block: what a frame ends with that has no checksum (RFC 8878, 3.1.1.2).
_END_OF_FRAME = b"\x01\x00\x00"


def decompress_records(perf: PerfData, target: Path) -> None:
    """Write all records to ``target``: first those that were not compressed.

    Raises:
        InputError: the data is damaged.
    """
    with target.open("wb") as out:
        for at, kind, size in headers(perf, perf.begin, perf.end):
            if kind not in (COMPRESSED, COMPRESSED2):
                out.write(perf.data[at : at + size])
        start = out.tell()
        try:
            _decompress(perf, out, _END_OF_FRAME)
        except OSError:
            # The stream was ended after all, or is damaged.
            out.seek(start)
            out.truncate()
            try:
                _decompress(perf, out, b"")
            except OSError as error:
                why = " ".join(str(error).split())
                raise InputError(
                    f"{perf.path}: the compressed records are damaged ({why})"
                ) from None


def _decompress(perf: PerfData, out: BinaryIO, end: bytes) -> None:
    packed = io.BufferedReader(_Pieces(_pieces(perf, end)), _READ)
    with pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd") as source:
        while piece := source.read(_READ):
            out.write(piece)


def _pieces(perf: PerfData, end: bytes) -> Iterator[memoryview]:
    """The compressed data of each record, and what ends it."""
    for at, kind, size in headers(perf, perf.begin, perf.end):
        if kind == COMPRESSED:
            yield perf.data[at + _HEADER : at + size]
        elif kind == COMPRESSED2:
            record = Cursor(perf.data[: at + size], perf.order, perf.path, at + _HEADER)
            yield record.block(8, "a compressed record")
    yield memoryview(end)


class _Pieces(io.RawIOBase):
    """Pieces of data as one file."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, room: memoryview) -> int:  # type: ignore[override] # what io passes
        while not self._left:
            found = next(self._pieces, None)
            if found is None:
                return 0
            self._left = found
        count = min(len(room), len(self._left))
        room[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
