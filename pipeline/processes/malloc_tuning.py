"""Keeping freed memory for what comes next."""

from __future__ import annotations

import ctypes

# glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 1 << 25  #: bytes; the most that glibc takes, and more than a column of a window


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory; whether it can.

    Left to itself, glibc maps large arrays one by one and gives them back when they are freed, so
    that every window touches all its memory for the first time: a fifteenth of a replay's CPU time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # Together these are kept up to eight times the largest array.
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, 8 * _LARGEST))
