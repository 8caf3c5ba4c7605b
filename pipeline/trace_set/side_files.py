"""Files beside events: what /proc and /sys said, read no further than they can be long.

A recording's folder, and a trace set, may be anybody's: a file in them may be a link to another
place, have holes of a terabyte, or unfold to it.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 1 << 26  # bytes of a text of /proc or /sys
LONGEST_KALLSYMS = 1 << 27  #: a million symbols are half of it
_PIECE = 1 << 20
_DIGITS = re.compile(r"\d{20,}")  # a signed column of 64 bits has 19
_SHOWN = 10


def side_bytes(path: Path, longest: int = _LONGEST) -> bytes | None:
    """What a file holds; None where there is no regular file of that name.

    Raises:
        InputError: it cannot be read, or is longer than ``longest`` bytes.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        return None
    with os.fdopen(opened, "rb") as file:
        data = file.read(longest + 1)
    return _bounded(path, data, longest)


def side_text(path: Path) -> str | None:
    """The text that a file holds; None where there is no regular file of that name.

    Raises:
        InputError: as side_bytes.
    """
    data = side_bytes(path)
    return None if data is None else data.decode("utf-8", "replace")


def counters_text(path: Path) -> str | None:
    """As side_text, of a text whose numbers can all be converted, and fit 64 bits or nearly.

    Raises:
        InputError: as side_bytes, or a number is longer.
    """
    text = side_text(path)
    if found := _DIGITS.search(text or ""):
        digits = f"{found[0][:_SHOWN]}..."
        raise InputError(f"{path}: a number of {len(found[0])} digits, {digits}, cannot be")
    return text


def unfolded(path: Path, longest: int) -> bytes | None:
    """What a file compressed with zstd holds; None where there is no regular file of that name.

    Raises:
        InputError: it cannot be read or decompressed, or is longer than ``longest`` bytes.
    """
    packed = side_bytes(path, longest)
    if packed is None:
        return None
    pieces, left = [], longest + 1
    try:
        with pa.input_stream(pa.py_buffer(packed), compression="zstd") as stream:
            while left > 0 and (piece := stream.read(min(_PIECE, left))):
                pieces.append(bytes(piece))
                left -= len(piece)
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise InputError(f"{path}: the compressed data is damaged ({why})") from None
    return _bounded(path, b"".join(pieces), longest)


def _bounded(path: Path, data: bytes, longest: int) -> bytes:
    if len(data) > longest:
        raise InputError(f"{path}: more than {longest} bytes are not believed")
    return data
