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

_MAP_FIXED = 0x10  # on Linux and macOS
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)


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
        with _zeros_for_what_is_gone(data):
            failed: InputError | None = None
            try:
                yield data
            except InputError as error:
                failed = error
        size = os.fstat(file).st_size
        if size != len(data):
            raise InputError(
                f"{path}: changed from {len(data)} to {size} bytes while it was read; import it "
                "when nothing writes to it"
            )
        if failed is not None:
            raise failed


@contextmanager
def _zeros_for_what_is_gone(data: memoryview) -> Iterator[None]:
    """Have zeros in place of ``data`` from the first page of it on that cannot be read."""
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    start = np.frombuffer(data, np.uint8).ctypes.data
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    before = ctypes.c_void_p()

    def gone(_number: int) -> None:
        libc.mmap(start, len(data), mmap.PROT_READ, flags, -1, 0)
        # If it was not of this mapping, it comes again and ends the process, as it would have.
        libc.signal(signal.SIGBUS, before)

    handler = _Handler(gone)
    before.value = libc.signal(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        libc.signal(signal.SIGBUS, before)
