"""Keeping freed memory for what comes next."""

from __future__ import annotations

import ctypes
import gc

# glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 1 << 25  #: bytes; the most that glibc takes, and more than a column of a window
_OBJECTS = 10_000  #: containers made between two looks for cycles; Python's own number is 700


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


def look_for_cycles_seldom() -> None:
    """Let Python look less often for garbage that refers to itself.

    A window makes many short lists and hardly a cycle. To go through what there is for each few
    hundred of them took a twentieth of a replay's CPU time.
    """
    gc.set_threshold(_OBJECTS)
