"""Decompression of what a recorder compressed, with the size it said and no more."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import NamedTuple

import pyarrow as pa

from pipeline.errors import InputError

_ALGORITHMS = ("none", "zstd", "zlib")


def known_algorithm(name: str, where: str) -> None:
    """Raise InputError if no section can be decompressed with the algorithm ``name``."""
    if name not in _ALGORITHMS:
        raise InputError(f"{where}: compressed with {name!r}, only zstd and zlib can be read")


class Packed(NamedTuple):
    """Compressed data: the bytes it has in all, what to call it in an error."""

    data: memoryview
    size: int
    where: str


def decompress_all(algorithm: str, pieces: list[Packed]) -> memoryview:
    """The contents of several pieces, one after the other.

    A frame of zstd behind another is decompressed by one call (RFC 8878, 3.1), of which each would
    cost as much as the contents of a piece of ten sub-buffers.

    Raises:
        InputError: one of them is damaged, or has other bytes than it should.
    """
    if algorithm == "zstd" and len(pieces) > 1:
        together = memoryview(b"".join([piece.data for piece in pieces]))
        with suppress(InputError):  # then the damaged one is named
            return decompress(algorithm, together, sum(piece.size for piece in pieces), "")
    plain = [decompress(algorithm, *piece) for piece in pieces]
    return plain[0] if len(plain) == 1 else memoryview(b"".join(plain))


def decompress(algorithm: str, data: memoryview, size: int, where: str) -> memoryview:
    """Decompress ``data`` to exactly ``size`` bytes.

    Raises:
        InputError: the data is damaged, or is not ``size`` bytes; says ``where``.
    """
    try:
        if algorithm == "zstd":
            plain = memoryview(pa.decompress(data, size, codec="zstd"))
        elif algorithm == "zlib":
            plain = memoryview(zlib.decompressobj().decompress(data, size))
        else:
            plain = data
    except (OSError, ValueError, zlib.error) as error:
        raise InputError(f"{where}: the {algorithm} data is damaged ({error})") from None
    if len(plain) != size:
        raise InputError(
            f"{where}: the {algorithm} data has {len(plain)} bytes, not the {size} it should"
        )
    return plain
