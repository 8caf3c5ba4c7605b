"""Decompression of what a recorder compressed, with the size it said and no more."""

from __future__ import annotations

import zlib

import pyarrow as pa

from pipeline.errors import InputError

_ALGORITHMS = ("none", "zstd", "zlib")


def known_algorithm(name: str, where: str) -> None:
    """Raise InputError if no section can be decompressed with the algorithm ``name``."""
    if name not in _ALGORITHMS:
        raise InputError(f"{where}: compressed with {name!r}, only zstd and zlib can be read")


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
