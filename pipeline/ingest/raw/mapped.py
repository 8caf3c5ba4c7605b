"""A recording's bytes without reading them: mapped, and told if the file changes meanwhile.

A page of a mapped file that is no longer there, because the file was cut or its disk is gone, is a
SIGBUS, which ends a process. Here the mapping is then replaced with zeros, so that what reads it
comes to an end, and what it made is thrown away.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allocsim.tables import UInt8

#: Bytes of a recording that are held at once: its digest is made of so many. A smaller one may stay
#: mapped whole, as every page that is let go costs as much again when it is next looked at.
HELD = 1 << 26
_MAP_FIXED = 0x10  # on Linux and macOS
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)
# Threads may all be at a page that is gone, and come back after the zeros are there.
_MOST_AT_ONCE = 100


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file while the block runs.

    Raises:
        InputError: it cannot be read, or its size changed during the block.
    """
    with path.open("rb") as opened:
        file = opened.fileno()
        # The mapping goes when the last view of it does, which an error may keep a while.
        data = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
        before = os.fstat(file)
        failed: Exception | None = None
        with _zeros_for_what_is_gone(data) as gone:
            try:
                yield data
            except (InputError, OSError) as error:  # a system call given what is gone fails
                failed = error
        after = os.fstat(file)
        if after.st_size != len(data):
            changed = f"changed from {len(data)} to {after.st_size} bytes"
        elif gone or after.st_mtime_ns != before.st_mtime_ns:
            changed = "changed"
        elif failed is not None:
            raise failed
        else:
            return
        raise InputError(
            f"{path}: {changed} while it was read; import it when nothing writes to it"
        ) from None


def let_go(data: memoryview | UInt8, held: int = 0) -> None:
    """Keep no page of a mapped recording: what is read again comes from the page cache.

    Args:
        data: the recording or a part of it; nothing is done where that is not mapped.
        held: bytes that a recording may have to be kept.
    """
    base: object = data
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap) and len(base.obj) > held:
        base.obj.madvise(mmap.MADV_DONTNEED)


@contextmanager
def _zeros_for_what_is_gone(data: memoryview) -> Iterator[list[int]]:
    """Have zeros in place of all of ``data`` once a page of it cannot be read.

    The handler is Python: a thread that faults without the interpreter's lock (hashing,
    decompressing) waits for it there, holding nothing that another thread needs.

    Yields:
        an item for each time that this was so.
    """
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    start = np.frombuffer(data, np.uint8).ctypes.data
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    before = ctypes.c_void_p()
    times: list[int] = []

    def gone(number: int) -> None:
        libc.mmap(start, len(data), mmap.PROT_READ, flags, -1, 0)
        times.append(number)
        # If it is not of this mapping, it comes again and ends the process, as it would have.
        if len(times) == _MOST_AT_ONCE:
            libc.signal(signal.SIGBUS, before)

    handler = _Handler(gone)
    before.value = libc.signal(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield times
    finally:
        libc.signal(signal.SIGBUS, before)
